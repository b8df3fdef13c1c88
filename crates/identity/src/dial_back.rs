//! How the nonce of a dial-back travels: as the server name of a ClientHello, which goes in the clear and comes first.
//!
//! A computer that wants to know whether its port can be reached from outside registers a nonce at its listener and has a
//! friend send one ClientHello that carries it. The friend's end makes the ClientHello ([`DialBackNonce::client_hello`]), the
//! listener's end finds the nonce in it ([`DialBackNonce::from_server_name`]).

use data_encoding::BASE32_NOPAD;
use rustls::pki_types::{DnsName, ServerName};

use crate::archive_id::DialBackNonce;
use crate::tls;

/// No name of the public tree ends like this (RFC 6761, section 6.4), so that no other program means it.
const SUFFIX: &str = ".dial-back.kith.invalid";

impl DialBackNonce {
    /// The server name that carries the nonce: base32 in lower case, without padding, in one label.
    #[must_use]
    pub fn server_name(&self) -> String {
        let mut name = BASE32_NOPAD.encode(self.as_bytes()).to_ascii_lowercase();
        name.push_str(SUFFIX);
        name
    }

    /// The nonce in a server name, if it is one that [`server_name`](Self::server_name) makes; case doesn't matter.
    #[must_use]
    pub fn from_server_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let label = name.strip_suffix(SUFFIX)?.to_ascii_uppercase();
        // Fails also where the two bits that are left over in the last character aren't zero: one nonce has one name.
        let bytes = BASE32_NOPAD.decode(label.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self::from_bytes)
    }

    /// The bytes of one ClientHello that carries the nonce, and nothing by which its sender could be known. It is as long as that of a
    /// link, so that whoever it reaches could be reached by a link too.
    ///
    /// # Errors
    /// If rustls makes none.
    pub fn client_hello(&self) -> Result<Vec<u8>, rustls::Error> {
        let name = DnsName::try_from(self.server_name())
            .map_err(|_| rustls::Error::General("the nonce of a dial-back makes no server name".into()))?;
        tls::client_hello_for(ServerName::DnsName(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::server::Acceptor;

    use super::*;

    #[test]
    fn the_name_of_a_nonce_is_one_short_label_before_a_name_that_nobody_has() {
        let nonce = DialBackNonce::from_bytes([0xff; 16]);
        assert_eq!(nonce.server_name(), "77777777777777777777777774.dial-back.kith.invalid");
        assert_eq!(DialBackNonce::from_server_name(&nonce.server_name()), Some(nonce));
        assert_eq!(DialBackNonce::from_server_name(&nonce.server_name().to_uppercase()), Some(nonce));
    }

    #[test]
    fn other_names_carry_no_nonce() {
        for name in [
            "",
            ".dial-back.kith.invalid",
            "example.org",
            "77777777777777777777777774.dial-back.kith.example",
            "77777777777777777777777775.dial-back.kith.invalid",
            "7777777777777777777777777.dial-back.kith.invalid",
            "777777777777777777777777744.dial-back.kith.invalid",
            "7777777777777777777777777é.dial-back.kith.invalid",
            "a.77777777777777777777777774.dial-back.kith.invalid",
            "77777777777777777777777774.dial-back.kith.invalid.",
        ] {
            assert_eq!(DialBackNonce::from_server_name(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_nonce_survives_its_name(bytes: [u8; 16]) {
            let nonce = DialBackNonce::from_bytes(bytes);
            prop_assert_eq!(DialBackNonce::from_server_name(&nonce.server_name()), Some(nonce));
        }

        #[test]
        fn no_name_makes_the_reader_stumble(name in "\\PC{0,80}") {
            if let Some(nonce) = DialBackNonce::from_server_name(&name) {
                prop_assert_eq!(nonce.server_name(), name.to_ascii_lowercase());
            }
        }
    }

    #[test]
    fn a_client_hello_carries_the_nonce_in_one_record_and_offers_a_link() {
        let nonce = DialBackNonce::generate();
        let hello = nonce.client_hello().unwrap();
        assert!(hello.len() < 2048, "{} bytes", hello.len());
        assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])) + 5, hello.len());
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut hello.as_slice()).unwrap();
        let accepted = acceptor.accept().unwrap_or_else(|_| panic!("not accepted")).unwrap();
        let seen = accepted.client_hello();
        assert_eq!(seen.server_name().and_then(DialBackNonce::from_server_name), Some(nonce));
        assert_eq!(seen.alpn().unwrap().collect::<Vec<_>>(), [tls::ALPN_LINK]);
    }
}
