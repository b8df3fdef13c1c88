//! What friends and strangers say, and what a person pastes.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use data_encoding::BASE32_NOPAD;
use kith_identity::{
    DeviceId, DialBackNonce, DialInTag, Invite, InviteError, LineKind, MAX_ADDRESSES, MAX_NAME_CHARACTERS,
    MOST_INVITE_HUBS, RecoveryPhrase, ReplyError, ReplyLine, StateKey, sanitise_name,
};
use kith_listener::gate::{Verdict, judge};
use kith_peer::greeting::{LONGEST_GREETING, SkipGreeting};
use kith_peer::join::{JoinMessage, JoinRefusal};
use kith_wire::{
    DialBackAnswer, DialBackRequest, Hello, LEAST_DIAL_BACK_PORT, MOST_DIAL_BACK_ADDRESSES, Report,
    VersionRange,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, ReadBuf};

use crate::outcome::{NOTHING, Outcome, judged, refused, taken};

/// A message, after it was written and read again without a difference.
pub(super) fn message<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
) -> Option<T> {
    let message: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&message).expect("what was read can be written");
    let again = serde_json::from_slice(&written);
    assert_eq!(again.as_ref().ok(), Some(&message), "written and read again");
    Some(message)
}

pub(super) fn dial_back_request(bytes: &[u8]) -> Outcome {
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
    judged(checked.is_ok(), &(request, checked.map(|order| order.addresses().to_vec())))
}

pub(super) fn dial_back_answer(bytes: &[u8]) -> Outcome {
    let Ok(answer) = serde_json::from_slice::<DialBackAnswer>(bytes) else { return NOTHING };
    let checked = answer.check();
    if checked.is_ok() {
        assert!(answer.results.len() <= MOST_DIAL_BACK_ADDRESSES, "{answer:?}");
    }
    let ips = ["11.0.113.5", "2001:db8::5"].map(|ip| ip.parse().expect("these are addresses"));
    let found = ips.map(|ip| answer.of(ip).is_some());
    judged(checked.is_ok(), &(&answer, checked, found))
}

pub(super) fn hello(bytes: &[u8]) -> Outcome {
    if let Some(report) = message::<Report>(bytes) {
        let checked = report.check();
        return judged(checked.is_ok(), &(checked, report));
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
    judged(checked.is_ok(), &(hello, checked))
}

/// The first bytes of a connection that look like TLS, as the gate of the inbound port sees them.
pub(super) fn client_hello(bytes: &[u8]) -> Outcome {
    // What is said may be spread over several records.
    let (mut said, mut rest) = (Vec::new(), bytes);
    while let [_kind, _major, _minor, high, low, more @ ..] = rest {
        let (body, next) = more.split_at(usize::from(u16::from_be_bytes([*high, *low])).min(more.len()));
        said.extend(body.to_ascii_lowercase());
        rest = next;
    }
    let says = |text: &str| said.windows(text.len()).any(|part| part == text.as_bytes());
    let verdict = judge(bytes);
    match &verdict {
        Verdict::Tagged(tag) => assert!(says(&tag.to_text()), "a tag that isn't there"),
        Verdict::DialBack(nonce) => assert!(says(&nonce.server_name()), "a nonce that isn't there"),
        Verdict::Refuse { alert, .. } => assert_eq!(alert[..5], [0x15, 3, 3, 0, 2], "no alert"),
        Verdict::Stranger => {}
    }
    // Half of a ClientHello opens nothing, whatever follows later.
    let opens = matches!(verdict, Verdict::Tagged(_) | Verdict::DialBack(_));
    if opens {
        assert!(says("kith/1") || says("kith-join/1"), "no protocol of ours is offered");
        let record = bytes.len().min(5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]])));
        assert_eq!(judge(&bytes[..record / 2]), Verdict::Stranger, "half of it");
    }
    judged(opens, &(opens, verdict))
}

pub(super) fn server_name(bytes: &[u8]) -> Outcome {
    let name = String::from_utf8_lossy(bytes);
    let tag = DialInTag::from_server_name(&name);
    if let Some(tag) = &tag {
        assert_eq!(tag.to_text(), name.to_ascii_lowercase(), "one tag has one name");
        assert_eq!(DialBackNonce::from_server_name(&name), None, "a name that is both");
        return taken(&"a tag");
    }
    let Some(nonce) = DialBackNonce::from_server_name(&name) else { return NOTHING };
    assert_eq!(nonce.server_name(), name.to_ascii_lowercase(), "one nonce has one name");
    taken(&name.len())
}

/// The line as it is pasted.
pub(super) fn invite(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    let (invite, reply) = (Invite::parse(&text), ReplyLine::parse(&text));
    assert!(invite.is_err() || reply.is_err(), "a line that is both");
    let kind = LineKind::of(&text);
    assert!(invite.is_err() || kind == Some(LineKind::Invite), "{kind:?}");
    assert!(reply.is_err() || kind == Some(LineKind::Reply), "{kind:?}");
    check_invite(&invite);
    check_reply(&reply);
    let taken = invite.is_ok() || reply.is_ok();
    judged(
        taken,
        &(kind, invite.map_err(|error| error.to_string()), reply.map_err(|error| error.to_string())),
    )
}

/// What is in the line, below the check that keeps chance away from it.
pub(super) fn invite_body(body: &[u8]) -> Outcome {
    let invite = Invite::parse(&line(LineKind::Invite, body));
    check_invite(&invite);
    judged(invite.is_ok(), &invite.map_err(|error| error.to_string()))
}

pub(super) fn reply_body(body: &[u8]) -> Outcome {
    let reply = ReplyLine::parse(&line(LineKind::Reply, body));
    check_reply(&reply);
    judged(reply.is_ok(), &reply.map_err(|error| error.to_string()))
}

fn check_invite(invite: &Result<Invite, InviteError>) {
    let Ok(invite) = invite else { return };
    assert!(invite.addresses().len() <= MAX_ADDRESSES, "{invite:?}");
    assert!(invite.hubs().len() <= MOST_INVITE_HUBS, "{invite:?}");
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

pub(super) fn device_id(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    let id = text.parse::<DeviceId>();
    if let Ok(id) = &id {
        assert_eq!(id.to_string().parse().as_ref(), Ok(id), "written and read again");
    }
    let name = sanitise_name(&text);
    assert!(name.chars().count() <= MAX_NAME_CHARACTERS && name == sanitise_name(&name), "{name:?}");
    judged(id.is_ok(), &id)
}

pub(super) fn phrase(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    match RecoveryPhrase::parse(&text) {
        Ok(phrase) => {
            let again = RecoveryPhrase::parse(&phrase.words().join(" "));
            let same = again.is_ok_and(|again| *again.to_entropy() == *phrase.to_entropy());
            assert!(same, "written and read again");
            taken(&phrase.words().len())
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.chars().count() <= 400, "{sentence}");
            refused(&error)
        }
    }
}

/// Bytes as the state object that a friend gives back, and as the content of one.
pub(super) fn sealed_state(bytes: &[u8]) -> Outcome {
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
    taken(&opened.err().map(|error| error.to_string()))
}

/// What the other side says at pairing.
pub(super) fn join(bytes: &[u8]) -> Outcome {
    if let Ok(refusal) = serde_json::from_slice::<JoinRefusal>(bytes) {
        return taken(&refusal);
    }
    let Ok(message) = serde_json::from_slice::<JoinMessage>(bytes) else { return NOTHING };
    let checked = message.check();
    if checked.is_ok() {
        let texts =
            [&message.program, &message.invite, &message.dial_in, &message.recovery, &message.report.name];
        assert!(texts.iter().all(|text| text.len() <= 255), "{message:?}");
        assert!(message.report.internal.len() + message.report.public.len() <= 64, "{message:?}");
    }
    let written = serde_json::to_vec(&message).expect("what was read can be written");
    let again: JoinMessage = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&again).ok(), Some(written), "written and read again");
    judged(checked.is_ok(), &(message, checked))
}

/// What a listener says before it speaks TLS: the first byte tells in which pieces the rest arrives.
pub(super) fn greeting(bytes: &[u8]) -> Outcome {
    let Some((piece, bytes)) = bytes.split_first() else { return NOTHING };
    let mut stream = pin!(SkipGreeting::new(Pieces { bytes, piece: usize::from(*piece) + 1 }));
    let mut passed = Vec::new();
    let ended = loop {
        let mut buffer = [0; 64];
        let mut buffer = ReadBuf::new(&mut buffer);
        match stream.as_mut().poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => break Ok(()),
            Poll::Ready(Ok(())) => passed.extend_from_slice(buffer.filled()),
            Poll::Ready(Err(error)) => break Err(error),
            Poll::Pending => panic!("it waits although there is more"),
        }
    };
    match &ended {
        Ok(()) => {
            assert!(bytes.ends_with(&passed), "what passed is not the end of what came");
            let skipped = &bytes[..bytes.len() - passed.len()];
            assert!(skipped.len() <= LONGEST_GREETING, "{} bytes are left out", skipped.len());
            assert!(skipped.is_empty() || skipped.ends_with(b"\r\n"), "{skipped:?} is no line");
            let is_tls = bytes.first().is_none_or(|byte| (0x14..=0x17).contains(byte));
            assert!(skipped.is_empty() == is_tls, "TLS passes whole, and nothing else");
        }
        Err(error) => {
            assert!(passed.is_empty(), "half of it passed");
            assert!(error.to_string().len() <= 700, "{error}");
        }
    }
    judged(ended.is_ok(), &(passed.len(), ended.map_err(|error| error.to_string().len())))
}

struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.bytes.len().min(self.piece).min(buffer.remaining());
        let (piece, rest) = self.bytes.split_at(length);
        buffer.put_slice(piece);
        self.bytes = rest;
        Poll::Ready(Ok(()))
    }
}
