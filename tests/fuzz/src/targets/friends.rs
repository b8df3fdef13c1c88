//! What friends and strangers say, and what a person pastes.

use data_encoding::BASE32_NOPAD;
use kith_identity::{
    DeviceId, DialBackNonce, Invite, InviteError, LineKind, MAX_ADDRESSES, MAX_NAME_CHARACTERS,
    RecoveryPhrase, ReplyError, ReplyLine, StateKey, sanitise_name,
};
use kith_wire::{
    DialBackAnswer, DialBackRequest, Hello, LEAST_DIAL_BACK_PORT, MOST_DIAL_BACK_ADDRESSES, Report,
    VersionRange,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::outcome::{NOTHING, outcome};

/// A message, after it was written and read again without a difference.
fn message<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let message: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&message).expect("what was read can be written");
    let again = serde_json::from_slice(&written);
    assert_eq!(again.as_ref().ok(), Some(&message), "written and read again");
    Some(message)
}

pub(super) fn dial_back_request(bytes: &[u8]) -> u64 {
    let Some(request) = message::<DialBackRequest>(bytes) else { return NOTHING };
    let checked = request.check();
    match &checked {
        Ok(order) => {
            assert!((1..=MOST_DIAL_BACK_ADDRESSES).contains(&order.addresses().len()), "{order:?}");
            assert_eq!(order.request().check().as_ref(), Ok(order), "written and read again");
            for address in order.addresses() {
                assert!(address.port() >= LEAST_DIAL_BACK_PORT, "{address}");
                assert_eq!(address.ip(), address.ip().to_canonical(), "{address}");
            }
        }
        Err(refusal) => assert!(refusal.to_string().len() <= 1024, "{refusal}"),
    }
    outcome(&(request, checked.map(|order| order.addresses().to_vec())))
}

pub(super) fn dial_back_answer(bytes: &[u8]) -> u64 {
    let Ok(answer) = serde_json::from_slice::<DialBackAnswer>(bytes) else { return NOTHING };
    let checked = answer.check();
    if checked.is_ok() {
        assert!(answer.results.len() <= MOST_DIAL_BACK_ADDRESSES, "{answer:?}");
    }
    let ips = ["11.0.113.5", "2001:db8::5"].map(|ip| ip.parse().expect("these are addresses"));
    let found = ips.map(|ip| answer.of(ip).is_some());
    outcome(&(&answer, checked, found))
}

pub(super) fn hello(bytes: &[u8]) -> u64 {
    if let Some(report) = message::<Report>(bytes) {
        return outcome(&(report.check(), report));
    }
    let Some(hello) = message::<Hello>(bytes) else { return NOTHING };
    let checked = hello.check();
    if let Ok(version) = checked {
        let ours = VersionRange::OURS;
        assert!((ours.least..=ours.most).contains(&version), "version {version}");
        assert!(
            (hello.wire.least..=hello.wire.most).contains(&version),
            "version {version} of {:?}",
            hello.wire
        );
        assert!(hello.report.internal.len() + hello.report.public.len() <= 64, "{hello:?}");
    }
    outcome(&(hello, checked))
}

pub(super) fn server_name(bytes: &[u8]) -> u64 {
    let name = String::from_utf8_lossy(bytes);
    let Some(nonce) = DialBackNonce::from_server_name(&name) else { return NOTHING };
    assert_eq!(nonce.server_name(), name.to_ascii_lowercase(), "one nonce has one name");
    outcome(&name.len())
}

/// The line as it is pasted.
pub(super) fn invite(bytes: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(bytes);
    let (invite, reply) = (Invite::parse(&text), ReplyLine::parse(&text));
    assert!(invite.is_err() || reply.is_err(), "a line that is both");
    let kind = LineKind::of(&text);
    assert!(invite.is_err() || kind == Some(LineKind::Invite), "{kind:?}");
    assert!(reply.is_err() || kind == Some(LineKind::Reply), "{kind:?}");
    check_invite(&invite);
    check_reply(&reply);
    outcome(&(kind, invite.map_err(|error| error.to_string()), reply.map_err(|error| error.to_string())))
}

/// What is in the line, below the check that keeps chance away from it.
pub(super) fn invite_body(body: &[u8]) -> u64 {
    let invite = Invite::parse(&line(LineKind::Invite, body));
    check_invite(&invite);
    outcome(&invite.map_err(|error| error.to_string()))
}

pub(super) fn reply_body(body: &[u8]) -> u64 {
    let reply = ReplyLine::parse(&line(LineKind::Reply, body));
    check_reply(&reply);
    outcome(&reply.map_err(|error| error.to_string()))
}

fn check_invite(invite: &Result<Invite, InviteError>) {
    let Ok(invite) = invite else { return };
    assert!(invite.addresses().len() <= MAX_ADDRESSES, "{invite:?}");
    let name = &invite.terms().name;
    assert!(name.chars().count() <= MAX_NAME_CHARACTERS && *name == sanitise_name(name), "{name:?}");
    assert_eq!(Invite::parse(&invite.to_text()).as_ref(), Ok(invite), "written and read again");
}

fn check_reply(reply: &Result<ReplyLine, ReplyError>) {
    let Ok(reply) = reply else { return };
    assert!(reply.addresses().len() <= MAX_ADDRESSES, "{reply:?}");
    let again = ReplyLine::parse(&reply.to_text());
    let again = again.unwrap_or_else(|error| panic!("written and read again: {error}"));
    assert_eq!(again.to_text(), reply.to_text(), "written and read again");
}

/// A line with this body and the check bytes that belong to it.
fn line(kind: LineKind, body: &[u8]) -> String {
    let check = Sha256::new().chain_update(kind.prefix()).chain_update(body).finalize();
    format!("{}{}", kind.prefix(), BASE32_NOPAD.encode(&[body, &check[..4]].concat()))
}

pub(super) fn device_id(bytes: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(bytes);
    let id = text.parse::<DeviceId>();
    if let Ok(id) = &id {
        assert_eq!(id.to_string().parse().as_ref(), Ok(id), "written and read again");
    }
    let name = sanitise_name(&text);
    assert!(name.chars().count() <= MAX_NAME_CHARACTERS && name == sanitise_name(&name), "{name:?}");
    outcome(&id)
}

pub(super) fn phrase(bytes: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(bytes);
    match RecoveryPhrase::parse(&text) {
        Ok(phrase) => {
            let again = RecoveryPhrase::parse(&phrase.words().join(" "));
            let same = again.is_ok_and(|again| *again.to_entropy() == *phrase.to_entropy());
            assert!(same, "written and read again");
            1
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.chars().count() <= 400, "{sentence}");
            outcome(&error)
        }
    }
}

/// Bytes as the state object that a friend gives back, and as the content of one.
pub(super) fn sealed_state(bytes: &[u8]) -> u64 {
    let key = StateKey::from_bytes([7; 32]);
    let opened = key.open(bytes);
    assert!(opened.is_err(), "nobody sealed this");
    let mut sealed = key.seal(bytes);
    let plain = key.open(&sealed).unwrap_or_else(|error| panic!("what was sealed does not open: {error}"));
    assert_eq!(plain.as_slice(), bytes, "sealed and opened");
    // One flipped bit, at a place that the input chooses.
    let place = bytes.iter().fold(0, |sum, byte| (sum * 31 + usize::from(*byte)) & 0xffff) % sealed.len();
    sealed[place] ^= 1;
    assert!(key.open(&sealed).is_err(), "byte {place} may be anything");
    outcome(&opened.err().map(|error| error.to_string()))
}
