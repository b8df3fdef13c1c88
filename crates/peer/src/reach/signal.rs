//! What two friends who can't dial each other say to each other, sealed, through a carrier.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use kith_identity::{PairKey, PairTag, Sealed, TagUse};
use kith_wire::{DeviceId, SEALED_POST_LIMIT};
use serde::{Deserialize, Serialize};

/// Most endpoints of a signal: nobody is called at more places than these.
pub(crate) const MOST_ENDPOINTS: usize = 4;
/// By how many seconds the clocks of two friends may differ.
pub(crate) const MOST_SKEW: u64 = 10 * 60;
/// For how long a signal is remembered, so that it counts once: no copy of it is taken after that, by its time.
const REMEMBERED: Duration = Duration::from_secs(2 * MOST_SKEW);
/// Most signals of one friend that are remembered; when there are more, no others are taken.
const MOST_REMEMBERED: usize = 2048;
/// Most carriers by which the same signal is taken.
const MOST_COPIES: usize = 8;
/// Most calls of one friend within [`CALLS_PERIOD`].
pub(crate) const MOST_CALLS: usize = 12;
/// See [`MOST_CALLS`].
const CALLS_PERIOD: Duration = Duration::from_secs(60);
/// No signal makes us send anything to a lower port: services of the system lie there, and no router's port for us.
const LEAST_PORT: u16 = 1024;
/// Most bytes of the sentence of [`Said::Over`].
const MOST_REASON_BYTES: usize = 300;

/// Random, for one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SignalId(pub(crate) PairTag);

/// Random, for one call: all signals of it have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct CallId(pub(crate) PairTag);

/// One signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signal {
    pub(crate) id: SignalId,
    /// When it was sent, Unix seconds.
    pub(crate) time: u64,
    pub(crate) call: CallId,
    #[serde(flatten)]
    pub(crate) said: Said,
}

/// What it says. The *caller* is the one of the two with the lower device id, the other is the *callee*.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(crate) enum Said {
    /// By the callee: call me.
    Ring {
        /// Whether a relayed connection is wanted, too: there is none.
        relay: bool,
    },
    /// By the caller: where my packets come from.
    Offer {
        /// Which of several equal offers this is.
        ask: u8,
        /// Where the caller's listen port, or the one that it punches from, is seen from outside.
        endpoints: Vec<SocketAddr>,
        /// Whether the caller can punch at all.
        punch: bool,
    },
    /// By the caller: the same, for one more round, from another port.
    Again { round: u8, ask: u8, endpoints: Vec<SocketAddr> },
    /// By the callee, to an offer, through the carrier by which it came.
    Answer {
        round: u8,
        /// Of the offer that is answered.
        ask: u8,
        endpoints: Vec<SocketAddr>,
        punch: bool,
        /// Whether that carrier relays for the callee.
        relay: bool,
        /// Milliseconds from the offer's arrival to the answer: they are no part of the round trip.
        took: u32,
    },
    /// By the caller: punch now.
    Go { round: u8 },
    /// By the caller: meet me in this session at the carrier by which this comes.
    Relay { session: PairTag },
    /// No more of this call.
    Over { reason: String },
    /// By whoever holds an invite, to the inviter, sealed with what they have in common: meet me in this session at the hub by which this
    /// comes, for the pairing.
    Knock { session: PairTag },
}

/// A post that is no signal to be acted upon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignalError {
    /// Longer than any signal.
    #[error("a signal of {0} bytes is too long")]
    TooLong(usize),
    /// Sealed by somebody else, or changed.
    #[error("the signal was not sealed by this friend")]
    Sealed,
    /// Not of the form of a signal.
    #[error("the signal can't be read: {0}")]
    Malformed(String),
    /// The clocks differ, or it was kept back.
    #[error("the signal was sent at {sent}, and it is {now} here (Unix seconds): one of the clocks is wrong")]
    Time {
        /// When it says it was sent.
        sent: u64,
        /// What time it is here.
        now: u64,
    },
    /// Somebody sent it once more.
    #[error("the signal was heard before")]
    Replayed,
    /// Names places that nobody is called at.
    #[error("the signal names {0}, where nobody is called")]
    Endpoint(SocketAddr),
    /// Names too many.
    #[error("the signal names {0} endpoints")]
    Endpoints(usize),
    /// The friend calls too often.
    #[error("the friend has called {MOST_CALLS} times within a minute")]
    TooMany,
}

impl Signal {
    /// Seals it for the other of the pair.
    pub(crate) fn seal(&self, pair: &PairKey, us: &DeviceId) -> Result<Sealed, SignalError> {
        let text = serde_json::to_vec(self).map_err(|error| SignalError::Malformed(error.to_string()))?;
        let sealed = pair.seal(TagUse::Post, us, &text);
        let length = sealed.as_bytes().len();
        if length > SEALED_POST_LIMIT { Err(SignalError::TooLong(length)) } else { Ok(sealed) }
    }

    /// The signal that `from` sealed. What it says is of the right form, and may be old or known.
    pub(crate) fn open(pair: &PairKey, from: &DeviceId, sealed: &Sealed) -> Result<Self, SignalError> {
        let length = sealed.as_bytes().len();
        if length > SEALED_POST_LIMIT {
            return Err(SignalError::TooLong(length));
        }
        let text = pair.open(TagUse::Post, from, sealed).ok_or(SignalError::Sealed)?;
        let signal: Self =
            serde_json::from_slice(&text).map_err(|error| SignalError::Malformed(error.to_string()))?;
        signal.check()?;
        Ok(signal)
    }

    fn check(&self) -> Result<(), SignalError> {
        match &self.said {
            Said::Offer { endpoints, .. }
            | Said::Again { endpoints, .. }
            | Said::Answer { endpoints, .. } => {
                if endpoints.len() > MOST_ENDPOINTS {
                    return Err(SignalError::Endpoints(endpoints.len()));
                }
                match endpoints.iter().find(|endpoint| !may_be_punched(**endpoint)) {
                    Some(endpoint) => Err(SignalError::Endpoint(*endpoint)),
                    None => Ok(()),
                }
            }
            Said::Over { reason } if reason.len() > MOST_REASON_BYTES => {
                Err(SignalError::Malformed("its reason is too long".into()))
            }
            Said::Ring { .. }
            | Said::Go { .. }
            | Said::Relay { .. }
            | Said::Over { .. }
            | Said::Knock { .. } => Ok(()),
        }
    }
}

/// What a sealed signal says, for those who test the reader: its endpoints, and all of it as text; none if it is no signal.
#[doc(hidden)]
#[must_use]
pub fn read_signal(pair: &PairKey, from: &DeviceId, sealed: &Sealed) -> Option<(Vec<SocketAddr>, String)> {
    let signal = Signal::open(pair, from, sealed).ok()?;
    let endpoints = match &signal.said {
        Said::Offer { endpoints, .. } | Said::Again { endpoints, .. } | Said::Answer { endpoints, .. } => {
            endpoints.clone()
        }
        _ => Vec::new(),
    };
    Some((endpoints, serde_json::to_string(&signal).ok()?))
}

/// A sentence as it may stand in [`Said::Over`].
pub(crate) fn reason(mut sentence: String) -> String {
    sentence.truncate(sentence.floor_char_boundary(MOST_REASON_BYTES));
    sentence
}

/// Whether packets may be sent there because a friend says that he is there.
pub(crate) fn may_be_punched(endpoint: SocketAddr) -> bool {
    let ip = endpoint.ip().to_canonical();
    let is_somebody = match ip {
        IpAddr::V4(ip) => !ip.is_broadcast() && ip.octets()[0] != 0,
        IpAddr::V6(_) => true,
    };
    is_somebody
        && !ip.is_loopback()
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && endpoint.port() >= LEAST_PORT
}

/// How a signal is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// Heard for the first time.
    First,
    /// The same signal by another carrier: by this way, too, the friend can be answered.
    Copy,
}

/// Judges the signals of one friend.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    seen: BTreeMap<SignalId, Seen>,
    /// Ids in the order in which they came.
    order: VecDeque<SignalId>,
    calls: VecDeque<(Instant, CallId)>,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    by: Vec<DeviceId>,
}

impl Guard {
    /// Takes a signal that came by a carrier, or refuses it.
    pub(crate) fn admit(
        &mut self,
        signal: &Signal,
        via: DeviceId,
        unix: u64,
        now: Instant,
    ) -> Result<Fresh, SignalError> {
        if signal.time.abs_diff(unix) > MOST_SKEW {
            return Err(SignalError::Time { sent: signal.time, now: unix });
        }
        self.forget(now);
        if let Some(seen) = self.seen.get_mut(&signal.id) {
            if seen.by.contains(&via) || seen.by.len() >= MOST_COPIES {
                return Err(SignalError::Replayed);
            }
            seen.by.push(via);
            return Ok(Fresh::Copy);
        }
        if self.seen.len() >= MOST_REMEMBERED {
            return Err(SignalError::TooMany);
        }
        if matches!(signal.said, Said::Ring { .. } | Said::Offer { .. } | Said::Knock { .. }) {
            self.count(signal.call, now)?;
        }
        self.seen.insert(signal.id, Seen { at: now, by: vec![via] });
        self.order.push_back(signal.id);
        Ok(Fresh::First)
    }

    fn count(&mut self, call: CallId, now: Instant) -> Result<(), SignalError> {
        if self.calls.iter().any(|(_, known)| *known == call) {
            return Ok(());
        }
        while self.calls.front().is_some_and(|(at, _)| now.duration_since(*at) >= CALLS_PERIOD) {
            self.calls.pop_front();
        }
        if self.calls.len() >= MOST_CALLS {
            return Err(SignalError::TooMany);
        }
        self.calls.push_back((now, call));
        Ok(())
    }

    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front() {
            let is_over = self.seen.get(oldest).is_none_or(|seen| now.duration_since(seen.at) >= REMEMBERED);
            if !is_over {
                return;
            }
            self.seen.remove(oldest);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn tag(n: u16) -> PairTag {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        PairTag::from_bytes(bytes)
    }

    fn device(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 32])
    }

    fn pair() -> PairKey {
        PairKey::from_bytes([7; 32])
    }

    fn signal(id: u16, call: u16, said: Said) -> Signal {
        Signal { id: SignalId(tag(id)), time: NOW, call: CallId(tag(call)), said }
    }

    fn offer(endpoints: &[&str]) -> Said {
        let endpoints = endpoints.iter().map(|endpoint| endpoint.parse().unwrap()).collect();
        Said::Offer { ask: 0, endpoints, punch: true }
    }

    #[test]
    fn a_signal_is_read_as_it_was_sealed_and_by_its_sender_only() {
        let endpoints: Vec<SocketAddr> =
            vec!["11.0.0.1:4242".parse().unwrap(), "[2001:db8::1]:4242".parse().unwrap()];
        for said in [
            Said::Ring { relay: true },
            offer(&["11.0.0.1:4242"]),
            Said::Again { round: 2, ask: 1, endpoints: endpoints.clone() },
            Said::Answer { round: 0, ask: 1, endpoints, punch: true, relay: true, took: 40 },
            Said::Go { round: 1 },
            Said::Relay { session: tag(9) },
            Said::Over { reason: "it is over".into() },
            Said::Knock { session: tag(9) },
        ] {
            let signal = signal(1, 2, said);
            let sealed = signal.seal(&pair(), &device(1)).unwrap();
            assert_eq!(Signal::open(&pair(), &device(1), &sealed), Ok(signal));
            assert_eq!(Signal::open(&pair(), &device(2), &sealed), Err(SignalError::Sealed));
            let other = PairKey::from_bytes([8; 32]);
            assert_eq!(Signal::open(&other, &device(1), &sealed), Err(SignalError::Sealed));
        }
    }

    #[test]
    fn nobody_is_made_to_call_himself_or_a_service_of_the_system() {
        let check = |endpoint: &str| {
            let sealed = signal(1, 2, offer(&[endpoint])).seal(&pair(), &device(1)).unwrap();
            Signal::open(&pair(), &device(1), &sealed)
        };
        for allowed in ["11.0.0.1:1024", "192.168.1.7:4242", "100.64.0.9:4242", "[2001:db8::1]:50000"] {
            assert!(check(allowed).is_ok(), "{allowed}");
        }
        for refused in [
            "127.0.0.1:4242",
            "[::1]:4242",
            "[::ffff:127.0.0.1]:4242",
            "0.0.0.0:4242",
            "0.1.2.3:4242",
            "[::]:4242",
            "224.0.0.1:4242",
            "[ff02::1]:4242",
            "255.255.255.255:4242",
            "11.0.0.1:22",
            "11.0.0.1:0",
        ] {
            assert_eq!(check(refused), Err(SignalError::Endpoint(refused.parse().unwrap())));
        }
        let many = signal(1, 2, offer(&["11.0.0.1:4242"; MOST_ENDPOINTS + 1]));
        let sealed = many.seal(&pair(), &device(1)).unwrap();
        assert_eq!(
            Signal::open(&pair(), &device(1), &sealed),
            Err(SignalError::Endpoints(MOST_ENDPOINTS + 1))
        );
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        let check = |text: &[u8]| {
            let sealed = pair().seal(TagUse::Post, &device(1), text);
            Signal::open(&pair(), &device(1), &sealed)
        };
        for wrong in [&b""[..], b"{}", b"[]", b"{\"say\":\"ring\"}", &[0xff; 40]] {
            assert!(matches!(check(wrong), Err(SignalError::Malformed(_))), "{wrong:?}");
        }
        assert!(matches!(check(&[b' '; SEALED_POST_LIMIT]), Err(SignalError::TooLong(_))));
        let long = signal(1, 2, Said::Over { reason: "x".repeat(MOST_REASON_BYTES + 1) });
        let sealed = long.seal(&pair(), &device(1)).unwrap();
        assert!(matches!(Signal::open(&pair(), &device(1), &sealed), Err(SignalError::Malformed(_))));
        assert_eq!(reason("\u{e9}".repeat(200)).len(), MOST_REASON_BYTES);
        let flood = signal(1, 2, Said::Over { reason: "x".repeat(SEALED_POST_LIMIT) });
        assert!(matches!(flood.seal(&pair(), &device(1)), Err(SignalError::TooLong(_))));
    }

    #[test]
    fn a_signal_counts_once_by_each_carrier_and_only_near_its_time() {
        let now = Instant::now();
        let mut guard = Guard::default();
        let ring = signal(1, 2, Said::Ring { relay: true });
        assert_eq!(guard.admit(&ring, device(8), NOW, now), Ok(Fresh::First));
        assert_eq!(guard.admit(&ring, device(9), NOW, now), Ok(Fresh::Copy));
        assert_eq!(guard.admit(&ring, device(9), NOW, now), Err(SignalError::Replayed));
        for carrier in 10..16 {
            assert_eq!(guard.admit(&ring, device(carrier), NOW, now), Ok(Fresh::Copy));
        }
        assert_eq!(guard.admit(&ring, device(16), NOW, now), Err(SignalError::Replayed));
        for clock in [NOW - MOST_SKEW - 1, NOW + MOST_SKEW + 1] {
            assert_eq!(
                guard.admit(&signal(3, 2, Said::Ring { relay: true }), device(8), clock, now),
                Err(SignalError::Time { sent: NOW, now: clock })
            );
        }
        // It is forgotten only when its time has passed, whatever the clock says.
        let late = now + REMEMBERED - Duration::from_secs(1);
        assert_eq!(guard.admit(&ring, device(8), NOW, late), Err(SignalError::Replayed));
        assert_eq!(guard.seen.len(), 1);
        guard.forget(now + REMEMBERED);
        assert!(guard.seen.is_empty() && guard.order.is_empty());
    }

    #[test]
    fn a_friend_who_calls_too_often_is_not_heard_for_a_while() {
        let now = Instant::now();
        let mut guard = Guard::default();
        let mut id = 0;
        let mut call = |guard: &mut Guard, call, now| {
            id += 1;
            guard.admit(&signal(id, call, Said::Ring { relay: true }), device(8), NOW, now)
        };
        for n in 0..12 {
            assert_eq!(call(&mut guard, n, now), Ok(Fresh::First));
        }
        assert_eq!(call(&mut guard, 12, now), Err(SignalError::TooMany));
        assert_eq!(call(&mut guard, 11, now), Ok(Fresh::First), "the same call may ring again");
        assert_eq!(call(&mut guard, 12, now + CALLS_PERIOD), Ok(Fresh::First));
        assert!(guard.calls.len() <= MOST_CALLS);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = Instant::now();
        let mut guard = Guard::default();
        for id in 0..u16::try_from(MOST_REMEMBERED).unwrap() {
            assert_eq!(
                guard.admit(&signal(id, 1, Said::Go { round: 0 }), device(8), NOW, now),
                Ok(Fresh::First)
            );
        }
        let more = signal(u16::MAX, 1, Said::Go { round: 0 });
        assert_eq!(guard.admit(&more, device(8), NOW, now), Err(SignalError::TooMany));
        assert_eq!(guard.admit(&more, device(8), NOW, now + REMEMBERED), Ok(Fresh::First));
    }
}
