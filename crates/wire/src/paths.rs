//! The paths of the services on a link, and the header that goes with one of them.

use http::HeaderMap;

/// First request of the dialer: who I am, in words; the answer says the same of the other side.
pub const HELLO: &str = "/kith/v1/hello";
/// Answered with 204 and nothing else: a sign of life.
pub const PING: &str = "/kith/v1/ping";
/// What changed since hello: names, addresses, quota.
pub const REPORT: &str = "/kith/v1/report";
/// How the asked computer is, and what came of trying the asker's addresses from there, for the doctor of the asker: `GET`.
pub const DOCTOR: &str = "/kith/v1/doctor";
/// The asker wants a ClientHello from outside at an address of his: see [`DialBackRequest`](crate::DialBackRequest).
pub const DIAL_BACK: &str = "/kith/v1/dial-back";
/// The keys by which the asker recognises the receiver's calls: `PUT` hands them over, see [`DialInKeys`](crate::DialInKeys).
pub const DIAL_IN: &str = "/kith/v1/dial-in";
/// All that the asker wants a carrier to keep for it: see [`Registration`](crate::Registration).
pub const RENDEZVOUS: &str = "/kith/v1/rendezvous";
/// Records that lie with a carrier: see [`Search`](crate::Search).
pub const RECORDS: &str = "/kith/v1/records";
/// A message to be handed to whoever awaits it: see [`Post`](crate::Post).
pub const POST: &str = "/kith/v1/post";
/// A message that is handed over by a carrier: see [`Post`](crate::Post).
pub const POSTED: &str = "/kith/v1/posted";
/// From where the asker's connection comes, before hello or after: see [`Observed`](crate::Observed).
pub const OBSERVED: &str = "/kith/v1/observed";
/// A place beside another computer at a relay: see [`RelayRequest`](crate::RelayRequest).
pub const RELAY: &str = "/kith/v1/relay";
/// The token that lets the asker in at a hub: see [`HubAdmission`](crate::HubAdmission).
pub const ADMISSION: &str = "/kith/v1/admission";
/// From a hub to a computer that is registered with it, a [`Registered`](crate::Registered): what is different from now on, of the pair of
/// hubs that it is to use and of where the hub will be. The terms in it say nothing: those of the last registration stand.
pub const REGISTERED: &str = "/kith/v1/registered";
/// From one hub to another: who it is, and where. See [`HubHello`](crate::HubHello).
pub const HUB_HELLO: &str = "/kith/v1/hub/hello";
/// From one hub to another: whether a computer is registered there. See [`Vouch`](crate::Vouch).
pub const HUB_VOUCH: &str = "/kith/v1/hub/vouch";
/// On a [`POSTED`] message that came to the hub from another one: that other one, `kith://DEVICEID@host:port`. Who wants to be joined with the
/// sender asks there.
pub const HANDED_BY_HEADER: &str = "kith-handed-by";
/// The sealed state object of the asker: `PUT` stores a version, `GET` fetches the newest.
pub const STATE: &str = "/kith/v1/state";
/// Which objects of the asker are damaged on this computer's disk.
pub const DAMAGED: &str = "/kith/v1/damaged";
/// Below it lies the asker's own part of the vault: `/{archive}/...` in restic's REST protocol.
pub const STORE: &str = "/kith/v1/store";
/// The first request of a `kith-join/1` connection between two computers whose people look for each other: who asks, and what binds him.
pub const MEET: &str = "/kith/v1/meet";
/// The second: the number that he is bound to. It is answered when the other's person has decided; [`JOIN`] is the third.
pub const MEET_NUMBER: &str = "/kith/v1/meet/number";
/// The one request of a `kith-join/1` connection by an invite.
pub const JOIN: &str = "/kith/v1/join";
/// Sequence number of a state object, a decimal number.
pub const STATE_SEQUENCE_HEADER: &str = "kith-state-sequence";

/// What [`STATE_SEQUENCE_HEADER`] says, given once and in decimal digits alone.
#[must_use]
pub fn state_sequence(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(STATE_SEQUENCE_HEADER).iter();
    let text = values.next()?.to_str().ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && values.next().is_none() { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_sequence_is_given_once_and_in_digits() {
        let check = |values: &[&'static str], expected| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(STATE_SEQUENCE_HEADER, HeaderValue::from_static(value));
            }
            assert_eq!(state_sequence(&headers), expected, "{values:?}");
        };
        check(&["0"], Some(0));
        check(&["18446744073709551615"], Some(u64::MAX));
        for wrong in ["", "+5", "-5", "5 ", "0x5", "18446744073709551616", "5,6"] {
            check(&[wrong], None);
        }
        check(&[], None);
        check(&["5", "6"], None);
    }
}
