//! The port tests of a friend's addresses, all at once.

use std::net::{IpAddr, SocketAddr};

use futures::stream::{FuturesUnordered, StreamExt};
use kith_control::terminal::safe;
use kith_doctor::facts::{MOST_TESTS, Place, Test, TestResult};
use kith_identity::{Identity, RecoveryPhrase};
use kith_peer::{Answer, Examined, ProxyFault};

use super::super::core::Core;
use super::super::roster::Friend;
use super::attempts::of_dial;

/// Addresses that are tried at one time; more are passed over, the ones that are least likely.
const MOST_TRIED: usize = 10;

impl Core {
    /// Tries every address of a friend, and says what came of each.
    pub(super) async fn test_addresses(&self, friend: &Friend) -> Vec<Test> {
        let Ok(made_for_it) = Identity::from_seed(&RecoveryPhrase::generate().derive().identity) else {
            return Vec::new();
        };
        let key = self.dial_in_keys(&friend.device_id).into_iter().next();
        let mut tests = Vec::new();
        let mut under_way = FuturesUnordered::new();
        for address in friend.all_addresses().into_iter().take(MOST_TESTS) {
            let place = place(&address);
            if place == Place::Internal && !self.is_in_reach(&address) || under_way.len() >= MOST_TRIED {
                let test = Test { address, place, result: TestResult::Elsewhere, ..Test::default() };
                tests.push(test);
                continue;
            }
            let (outbound, id, made_for_it, key) =
                (&self.outbound, friend.device_id, &made_for_it, key.as_ref());
            under_way.push(async move {
                (kith_peer::examine(outbound, &address, id, made_for_it, key).await, place)
            });
        }
        while let Some((examined, place)) = under_way.next().await {
            tests.push(self.judged(friend, examined, place));
        }
        // What it took to answer decides nothing.
        tests.sort_by(|one, other| (one.place as u8, &one.address).cmp(&(other.place as u8, &other.address)));
        tests
    }

    /// What answered in the place of a friend whom the daemon has just dialled there may have told that one more.
    fn judged(&self, friend: &Friend, examined: Examined, place: Place) -> Test {
        let Examined { address, answer, took } = examined;
        let attempts = self.peers().and_then(|peers| peers.state(&friend.device_id));
        let attempts = attempts.map(|state| state.attempts).unwrap_or_default();
        let met = attempts.iter().rev().find(|attempt| attempt.address == address);
        let met = met.and_then(|attempt| of_dial(attempt.error.clone()));
        let (mut result, mut detail) = words(answer);
        if let (TestResult::OtherDevice | TestResult::Friend, Some((said, why))) = (result, met)
            && matches!(said, TestResult::RefusedUs | TestResult::OtherVersion)
        {
            (result, detail) = (said, why);
        }
        let detail = detail.map(|detail| safe(&detail).into_owned());
        Test { address, place, result, detail, ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Whether an address inside of a network is of one that this computer is in.
    pub(super) fn is_in_reach(&self, address: &str) -> bool {
        let Ok(address) = address.parse::<SocketAddr>() else { return true };
        let ip = address.ip().to_canonical();
        ip.is_loopback() || self.network.snapshot().is_on_link(ip)
    }

    /// Whether an address is one of the Internet.
    pub(super) fn is_of_the_internet(&self, ip: IpAddr) -> bool {
        !kith_peer::is_internal(ip)
    }
}

pub(super) fn place(address: &str) -> Place {
    match address.parse::<SocketAddr>() {
        Ok(address) if kith_peer::is_internal(address.ip().to_canonical()) => Place::Internal,
        _ => Place::Public,
    }
}

pub(super) fn words(answer: Answer) -> (TestResult, Option<String>) {
    match answer {
        Answer::Friend => (TestResult::Friend, None),
        Answer::OtherDevice(found) => {
            (TestResult::OtherDevice, found.map(|found| format!("device id {}", found.short())))
        }
        Answer::Myself => (TestResult::Myself, None),
        Answer::NotKith(said) => (TestResult::NotKith, Some(said)),
        Answer::Intercepted(said) => (TestResult::Intercepted, Some(said)),
        Answer::BlackHole => (TestResult::BlackHole, None),
        Answer::Silent => (TestResult::Silent, None),
        Answer::Refused => (TestResult::Refused, None),
        Answer::NoResponse => (TestResult::NoResponse, None),
        Answer::Unreachable(why) => (TestResult::Unreachable, Some(why)),
        Answer::ForbiddenHere(why) => (TestResult::ForbiddenHere, Some(why)),
        Answer::NotAllowed(_) => (TestResult::NotAllowed, None),
        Answer::Proxy(ProxyFault::Down, why) => (TestResult::ProxyDown, Some(why)),
        Answer::Proxy(ProxyFault::Refuses, why) => (TestResult::ProxyRefuses, Some(why)),
        Answer::NameNotFound(why) => (TestResult::NameNotFound, Some(why)),
    }
}
