use kith_identity::{InviteSecret, Sealed};

use super::*;
use crate::reach::signal::{MOST_CALLS, MOST_SKEW};

const NOW: u64 = 1_800_000_000;

fn device(byte: u8) -> DeviceId {
    DeviceId::from_bytes([byte; 32])
}

fn tag(n: u16) -> PairTag {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    PairTag::from_bytes(bytes)
}

fn pair(secret: u8) -> PairKey {
    PairKey::of_invite(&InviteSecret::from_bytes([secret; 16]))
}

fn invite(secret: u8) -> OpenInvite {
    OpenInvite { one_time: device(secret), pair: pair(secret), ends: NOW + 3600 }
}

fn knock(n: u16) -> Signal {
    let said = Said::Knock { session: tag(n) };
    Signal { id: SignalId(tag(n)), time: NOW, call: CallId(tag(n)), said }
}

fn post(signal: &Signal, secret: u8) -> Post {
    Post { tag: tag(0), message: signal.seal(&pair(secret), &device(secret)).unwrap() }
}

fn inviting() -> Inviting {
    let mut inviting = Inviting::default();
    assert!(inviting.set_open(vec![invite(1), invite(2)]));
    assert!(!inviting.set_open(vec![invite(1), invite(2)]), "no news");
    inviting
}

#[test]
fn who_holds_an_invite_is_met_once_by_each_knock_and_only_while_it_is_open() {
    let (mut inviting, now) = (inviting(), Instant::now());
    let mut judge = |post: &Post, one_time, via, unix| {
        inviting.judge(device(one_time), post, device(via), (unix, now)).map_err(|error| error.to_string())
    };
    let knocked = post(&knock(1), 1);
    assert_eq!(judge(&knocked, 1, 9, NOW), Ok(Some(tag(1))));
    assert_eq!(judge(&knocked, 1, 8, NOW), Ok(None), "the same by another hub");
    let again = judge(&knocked, 1, 9, NOW).unwrap_err();
    assert!(again.contains("heard before"), "{again}");
    for (wrong, one_time, unix, words) in [
        (post(&knock(2), 2), 1, NOW, "not sealed"),
        (Post { tag: tag(0), message: Sealed::from_bytes(vec![1; 300]) }, 1, NOW, "not sealed"),
        (post(&knock(3), 3), 3, NOW, "not open any more"),
        (post(&knock(4), 1), 1, NOW + 3600, "not open any more"),
        (post(&knock(5), 1), 1, NOW + MOST_SKEW + 1, "one of the clocks is wrong"),
        (post(&Signal { said: Said::Ring { relay: true }, ..knock(6) }, 1), 1, NOW, "no knock"),
    ] {
        let error = judge(&wrong, one_time, 9, unix).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn the_holder_of_an_invite_who_knocks_without_end_is_not_heard_and_keeps_no_other_out() {
    let (mut inviting, now) = (inviting(), Instant::now());
    let mut met = 0;
    for n in 0..500 {
        match inviting.judge(device(1), &post(&knock(n), 1), device(9), (NOW, now)) {
            Ok(Some(_)) => {
                met += 1;
                let never = tokio::spawn(std::future::pending());
                inviting.meeting.push((device(1), AbortOnDropHandle::new(never)));
            }
            Ok(None) => panic!("each is new"),
            Err(NotMet::TooMany | NotMet::Signal(SignalError::TooMany)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((met, inviting.meeting.len()), (MOST_MET_OF_ONE, MOST_MET_OF_ONE));
    let other = inviting.judge(device(2), &post(&knock(1), 2), device(9), (NOW, now));
    assert!(matches!(other, Ok(Some(_))), "{other:?}");
    // Whoever is met and gone makes room, within so many in a minute.
    inviting.meeting.clear();
    let met = (500..600)
        .filter(|n| inviting.judge(device(1), &post(&knock(*n), 1), device(9), (NOW, now)).is_ok())
        .count();
    assert_eq!(met, 0, "{MOST_CALLS} were heard in this minute");
    inviting.set_open(vec![invite(2)]);
    assert_eq!(inviting.guards.len(), 1, "nothing is remembered of an invite that is closed");
    assert_eq!(inviting.keys(NOW).len(), 1);
    assert_eq!(inviting.keys(NOW + 3600).len(), 0);
}
