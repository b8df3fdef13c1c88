//! The step between a whole ClientHello and the first costly computation.
//!
//! It looks at the ClientHello while that still lies unread in the socket, keeps no state, and answers without a key
//! being touched. What it says of a tag is only that it is there: whether somebody is recognised by it, the door knows.

use rustls::server::{Acceptor, ClientHello};

use kith_identity::tls::{ALPN_JOIN, ALPN_LINK};
use kith_identity::{DialBackNonce, DialInTag};

/// Descriptions of alerts (RFC 8446, section 6, and RFC 7301, section 3.2).
const DECODE_ERROR: u8 = 50;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Before what is in a record, and in a message of the handshake (RFC 8446, sections 5.1 and 4).
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;

/// How to go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With a handshake among the strangers' places.
    Stranger,
    /// With a handshake among the places of those who are known, if this tag is; with none, if the connection is one that is awaited
    /// to be joined with another; else as with any stranger.
    Tagged(DialInTag),
    /// Not at all, and without a word, if somebody waits for this nonce; else as with any stranger.
    DialBack(DialBackNonce),
    /// Not at all: send this alert and close.
    Refuse {
        /// The bytes of the alert.
        alert: [u8; 7],
        /// Why, for the log.
        reason: &'static str,
    },
}

/// Judges what can be read without waiting. A ClientHello that isn't whole yet is left to the handshake.
pub fn judge(mut bytes: &[u8]) -> Verdict {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes).is_err() {
            return Verdict::Stranger;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return judge_hello(&accepted.client_hello()),
            Ok(None) => {}
            Err(_) => {
                return Verdict::Refuse { alert: alert(DECODE_ERROR), reason: "no valid ClientHello" };
            }
        }
    }
    Verdict::Stranger
}

fn judge_hello(hello: &ClientHello<'_>) -> Verdict {
    let speaks_kith = hello.alpn().is_some_and(|mut protocols| {
        protocols.any(|protocol| protocol == ALPN_LINK || protocol == ALPN_JOIN)
    });
    if !speaks_kith {
        return Verdict::Refuse {
            alert: alert(NO_APPLICATION_PROTOCOL),
            reason: "no protocol of Kith is offered",
        };
    }
    let Some(name) = hello.server_name() else { return Verdict::Stranger };
    match (DialInTag::from_server_name(name), DialBackNonce::from_server_name(name)) {
        (Some(tag), _) => Verdict::Tagged(tag),
        (None, Some(nonce)) => Verdict::DialBack(nonce),
        (None, None) => Verdict::Stranger,
    }
}

/// How long the ClientHello is that lies there, if it fills one record exactly; what comes after it is somebody else's.
pub(crate) fn hello_length(bytes: &[u8]) -> Option<usize> {
    let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER>()?;
    let in_record = usize::from(u16::from_be_bytes([header[3], header[4]]));
    let [CLIENT_HELLO, high, middle, low] = *rest.first_chunk::<MESSAGE_HEADER>()? else { return None };
    let in_message = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    let is_whole = in_record == MESSAGE_HEADER + in_message && rest.len() >= in_record;
    is_whole.then_some(RECORD_HEADER + in_record)
}

/// A fatal alert in the clear: record type, version, length, level, description.
const fn alert(description: u8) -> [u8; 7] {
    [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, description]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kith_identity::tls::{client_config, placeholder_name};
    use kith_identity::{Identity, IdentitySeed};
    use rustls::{ClientConfig, ClientConnection};

    use super::*;

    fn hello(protocols: &[&[u8]]) -> Vec<u8> {
        let identity = Identity::from_seed(&IdentitySeed::from_bytes([1; 32])).unwrap();
        let mut config = ClientConfig::clone(&client_config(&identity, identity.device_id()));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let mut client = ClientConnection::new(Arc::new(config), placeholder_name()).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    fn refusal(bytes: &[u8]) -> &'static str {
        match judge(bytes) {
            Verdict::Refuse { alert, reason } => {
                assert_eq!(alert[0], 0x15, "{alert:?}");
                reason
            }
            verdict => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn whoever_offers_a_protocol_of_kith_goes_on() {
        assert_eq!(judge(&hello(&[ALPN_LINK])), Verdict::Stranger);
        assert_eq!(judge(&hello(&[b"h2", ALPN_JOIN])), Verdict::Stranger);
    }

    #[test]
    fn a_tag_and_a_nonce_in_the_server_name_are_seen_before_any_key_is_touched_and_no_other_name_is() {
        let nonce = DialBackNonce::from_bytes([7; 16]);
        let bytes = nonce.client_hello().unwrap();
        assert_eq!(judge(&bytes), Verdict::DialBack(nonce));
        assert_eq!(judge(&bytes[..bytes.len() - 1]), Verdict::Stranger);

        let named = |name: &str, protocol: &[u8]| {
            let identity = Identity::from_seed(&IdentitySeed::from_bytes([1; 32])).unwrap();
            let mut config = ClientConfig::clone(&client_config(&identity, identity.device_id()));
            config.enable_sni = true;
            config.alpn_protocols = vec![protocol.to_vec()];
            let name = name.to_owned().try_into().unwrap();
            let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            bytes
        };
        let tag = DialInTag::made_up();
        assert_eq!(judge(&named(&tag.to_text(), ALPN_LINK)), Verdict::Tagged(tag));
        assert_eq!(judge(&named(&tag.to_text(), ALPN_JOIN)), Verdict::Tagged(tag));
        assert_eq!(refusal(&named(&tag.to_text(), b"h2")), "no protocol of Kith is offered");
        let whole = named(&tag.to_text(), ALPN_LINK);
        assert_eq!(judge(&whole[..whole.len() - 1]), Verdict::Stranger, "half of one opens nothing");
        assert_eq!(judge(&named("example.org", ALPN_LINK)), Verdict::Stranger);
        assert_eq!(judge(&named(&nonce.server_name(), ALPN_LINK)), Verdict::DialBack(nonce));
        assert_eq!(refusal(&named(&nonce.server_name(), b"h2")), "no protocol of Kith is offered");
    }

    #[test]
    fn browsers_and_scanners_are_refused_before_any_key_is_touched() {
        assert_eq!(refusal(&hello(&[])), "no protocol of Kith is offered");
        assert_eq!(refusal(&hello(&[b"h2", b"http/1.1"])), "no protocol of Kith is offered");
    }

    #[test]
    fn what_is_no_client_hello_is_refused_and_half_of_one_is_not_judged() {
        assert_eq!(refusal(&[0x16, 3, 1, 0, 4, 0xff, 0, 0, 0]), "no valid ClientHello");
        let whole = hello(&[b"h2"]);
        assert_eq!(judge(&whole[..whole.len() - 1]), Verdict::Stranger);
        assert_eq!(judge(&[]), Verdict::Stranger);
    }
}
