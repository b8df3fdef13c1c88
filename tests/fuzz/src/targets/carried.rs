//! What computers leave with carriers for each other, what carriers answer, and what hubs say to hubs.

use std::sync::OnceLock;

use kith_identity::{DeviceId, Identity, IdentitySeed, PairKey, Sealed, TagUse};
use kith_peer::reach::read_signal;
use kith_wire::{
    AddressRecord, Delivered, Found, HubAddress, HubAdmission, HubHello, HubInvite, Observed, Post,
    RECORD_LIFE, RecordError, Registered, Registration, RelayLeg, RelayRequest, Search, Vouch, Vouched,
};

use super::friends::message;
use crate::outcome::{NOTHING, Outcome, judged, refused, taken};

/// The time at which records are read.
const NOW: u64 = 1_800_000_000;
/// Most endpoints of a signal.
const MOST_ENDPOINTS: usize = 4;
/// The longest sealed signal.
const MOST_SEALED: usize = 4096;

fn owner() -> &'static Identity {
    static OWNER: OnceLock<Identity> = OnceLock::new();
    OWNER.get_or_init(|| {
        Identity::from_seed(&IdentitySeed::from_bytes([7; 32])).expect("any bytes are the seed of a key")
    })
}

fn friend() -> DeviceId {
    DeviceId::from_bytes([7; 32])
}

fn pair() -> PairKey {
    PairKey::from_bytes([9; 32])
}

/// To seal and sign takes long: of what is no JSON at all, some is enough.
fn is_hopeless(text: &[u8]) -> bool {
    !text.len().is_multiple_of(16) && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err()
}

/// After an even first byte: what a carrier hands over in a friend's name. After an odd one: what the friend has sealed.
pub(super) fn signal(bytes: &[u8]) -> Outcome {
    let Some((how, rest)) = bytes.split_first() else { return NOTHING };
    if how % 2 == 0 {
        let read = read_signal(&pair(), &friend(), &Sealed::from_bytes(rest.to_vec()));
        assert!(read.is_none(), "nobody sealed this");
        return refused(&rest.len().min(MOST_SEALED));
    }
    if is_hopeless(rest) {
        return NOTHING;
    }
    let sealed = pair().seal(TagUse::Post, &friend(), rest);
    assert!(read_signal(&pair(), &DeviceId::from_bytes([8; 32]), &sealed).is_none(), "somebody else said it");
    let record = pair().seal(TagUse::Record, &friend(), rest);
    assert!(read_signal(&pair(), &friend(), &record).is_none(), "a record is no message");
    let Some((endpoints, text)) = read_signal(&pair(), &friend(), &sealed) else {
        return refused(&sealed.as_bytes().len());
    };
    assert!(sealed.as_bytes().len() <= MOST_SEALED, "a signal of {} bytes", sealed.as_bytes().len());
    assert!(endpoints.len() <= MOST_ENDPOINTS, "{endpoints:?}");
    for endpoint in &endpoints {
        let ip = endpoint.ip().to_canonical();
        let is_nobodys = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
        assert!(!is_nobodys && endpoint.port() >= 1024, "{endpoint}");
    }
    let again = pair().seal(TagUse::Post, &friend(), text.as_bytes());
    let again = read_signal(&pair(), &friend(), &again);
    assert_eq!(again.as_ref(), Some(&(endpoints, text)), "written and read again");
    taken(&again)
}

/// After an even first byte: a record as it came. After an odd one: what its owner has signed.
pub(super) fn record(bytes: &[u8]) -> Outcome {
    let Some((how, rest)) = bytes.split_first() else { return NOTHING };
    let us = owner().device_id();
    if how % 2 == 0 {
        let read = AddressRecord::verify(rest, &us, NOW);
        assert!(read.is_err(), "nobody signed this");
        return refused(&read.err().map(|error| error.to_string()));
    }
    if is_hopeless(rest) {
        return NOTHING;
    }
    let signature = owner().sign("address record", rest);
    let signed = [owner().public_key().as_bytes().as_slice(), &signature, rest].concat();
    let other = DeviceId::from_bytes([8; 32]);
    let of_another = AddressRecord::verify(&signed, &other, NOW);
    assert!(matches!(of_another, Err(RecordError::Signature | RecordError::Malformed(_))), "{of_another:?}");
    let read = AddressRecord::verify(&signed, &us, NOW);
    if let Ok(record) = &read {
        let holds = record.issued <= NOW + 600 && NOW < record.expires;
        assert!(holds && record.expires.saturating_sub(record.issued) <= RECORD_LIFE, "{record:?}");
        for list in [&record.internal, &record.public, &record.wan, &record.hubs] {
            assert!(list.len() <= 32 && list.iter().all(|address| address.len() <= 280), "{record:?}");
        }
        let again = record.sign(owner()).expect("what was read is short enough to be written");
        assert_eq!(AddressRecord::verify(&again, &us, NOW).as_ref(), Ok(record), "written and read again");
    }
    judged(read.is_ok(), &read.map_err(|error| error.to_string().len()))
}

/// The first byte says which message the rest is.
pub(super) fn rendezvous(bytes: &[u8]) -> Outcome {
    let Some((which, rest)) = bytes.split_first() else { return NOTHING };
    match which % 12 {
        0 => {
            let Some(said) = message::<Registration>(rest) else { return NOTHING };
            let checked = said.check();
            if checked.is_ok() {
                assert!(said.records.len() <= 512 && said.watch.len() <= 3 * 512, "{said:?}");
            }
            judged(checked.is_ok(), &said)
        }
        1 => {
            let Some(said) = message::<Registered>(rest) else { return NOTHING };
            let checked = said.check();
            if checked.is_ok() {
                assert!(said.prefix_digits <= 32 && said.assigned.len() <= 2, "{said:?}");
            }
            judged(checked.is_ok(), &said)
        }
        2 => read::<Search>(rest),
        3 => read::<Found>(rest),
        4 => read::<Post>(rest),
        5 => read::<Delivered>(rest),
        6 => {
            let Some(said) = message::<Observed>(rest) else { return NOTHING };
            let address = said.address();
            if let Some(at) = address {
                let is_nobodys = at.ip().is_unspecified() || at.ip().is_multicast() || at.port() == 0;
                assert!(!is_nobodys && at.ip() == at.ip().to_canonical(), "{at}");
            }
            judged(address.is_some(), &(said, address))
        }
        7 => read::<RelayRequest>(rest),
        8 => {
            let Some(said) = message::<RelayLeg>(rest) else { return NOTHING };
            judged(said.tag().is_some(), &said)
        }
        9 => read::<HubAdmission>(rest),
        10 => {
            let text = String::from_utf8_lossy(rest);
            let hub = text.parse::<HubAddress>();
            if let Ok(hub) = &hub {
                assert_eq!(hub.to_string().parse().as_ref(), Ok(hub), "written and read again");
                assert!(!hub.at.contains(|c: char| c.is_control() || c.is_whitespace()), "{hub:?}");
            }
            judged(hub.is_ok(), &hub)
        }
        _ => {
            let text = String::from_utf8_lossy(rest);
            let invite = text.parse::<HubInvite>();
            if let Ok(invite) = &invite {
                assert_eq!(invite.reveal().parse().as_ref(), Ok(invite), "written and read again");
                let (given, told) = (text.to_lowercase(), invite.hub.to_string().to_lowercase());
                if let Some(token) = invite.token.as_ref().map(|token| token.reveal().to_lowercase()) {
                    // A host may be called like the token; the token itself is not in what is told of the hub.
                    assert!(told.matches(&token).count() < given.matches(&token).count(), "a token is told");
                }
            }
            judged(invite.is_ok(), &invite)
        }
    }
}

/// What hubs say to each other: the first byte says which message the rest is.
pub(super) fn hubs(bytes: &[u8]) -> Outcome {
    let Some((which, rest)) = bytes.split_first() else { return NOTHING };
    match which % 3 {
        0 => {
            let Some(said) = message::<HubHello>(rest) else { return NOTHING };
            let checked = said.check();
            if checked.is_ok() {
                assert!(said.program.len() <= 255 && said.at.len() <= 32, "{said:?}");
            }
            judged(checked.is_ok(), &(said, checked.map_err(|error| error.to_string().len())))
        }
        1 => read::<Vouch>(rest),
        _ => read::<Vouched>(rest),
    }
}

fn read<T>(bytes: &[u8]) -> Outcome
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    message::<T>(bytes).map_or(NOTHING, |said| taken(&said))
}
