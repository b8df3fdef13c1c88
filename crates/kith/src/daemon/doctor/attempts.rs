//! What the daemon's own dials met, as port tests: for a diagnosis that dials nobody.

use std::time::SystemTime;

use kith_control::terminal::safe;
use kith_doctor::facts::{MOST_TESTS, Place, Test, TestResult};
use kith_peer::{Answer, Attempt, CandidateKind, DialError, PeerState};

use super::super::core::Core;
use super::super::roster::Friend;
use super::addresses::{place, words};

impl Core {
    /// What came of dialling a friend since he is apart, address by address.
    pub(super) fn tests_by_dialler(&self, friend: &Friend, state: &PeerState) -> Vec<Test> {
        // A clock that was set back since then would make everything old.
        let since = state.path_since.filter(|since| *since <= SystemTime::now());
        let met = |address: &str| newest(&state.attempts, address, since);
        let tests = friend.all_addresses().into_iter().take(MOST_TESTS).filter_map(|address| {
            let place = place(&address);
            if place == Place::Internal && !self.is_in_reach(&address) {
                return Some(Test { address, place, result: TestResult::Elsewhere, ..Test::default() });
            }
            let (result, detail) = of_dial(met(&address)?)?;
            let detail = detail.map(|detail| safe(&detail).into_owned());
            // Whether another program is there or long packets get lost is told by a test in short ones only.
            (result != TestResult::Silent).then_some(Test { address, place, result, detail, ms: 0 })
        });
        let mut tests: Vec<Test> = tests.collect();
        tests.sort_by(|one, other| (one.place as u8, &one.address).cmp(&(other.place as u8, &other.address)));
        tests
    }
}

/// Why an address was dialled in vain last, since that time.
fn newest(attempts: &[Attempt], address: &str, since: Option<SystemTime>) -> Option<DialError> {
    let is_dial = |attempt: &&Attempt| {
        attempt.address == address
            && !matches!(attempt.kind, CandidateKind::Punched | CandidateKind::Relayed)
            && since.is_none_or(|since| attempt.when >= since)
    };
    attempts.iter().rev().find(is_dial).map(|attempt| attempt.error.clone())
}

/// What a dial in vain says of the address; none if nothing.
pub(super) fn of_dial(error: DialError) -> Option<(TestResult, Option<String>)> {
    match error {
        DialError::RefusedUs(why) => Some((TestResult::RefusedUs, Some(why))),
        DialError::OtherVersion(why) => Some((TestResult::OtherVersion, Some(why))),
        other => Answer::of(other).map(words),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kith_peer::ProxyFault;

    use super::*;

    fn check(error: DialError, expected: Option<TestResult>) {
        assert_eq!(of_dial(error.clone()).map(|(result, _)| result), expected, "{error:?}");
    }

    #[test]
    fn every_dial_in_vain_says_what_a_port_test_of_that_address_would() {
        let why = || "why".to_owned();
        let found = crate::daemon::doctor::watch::tests::device(1);
        check(DialError::Refused, Some(TestResult::Refused));
        check(DialError::NoResponse(Duration::from_secs(10)), Some(TestResult::NoResponse));
        check(DialError::NameNotFound(why()), Some(TestResult::NameNotFound));
        check(
            DialError::Unreachable("no route to host (os error 113)".into()),
            Some(TestResult::Unreachable),
        );
        check(
            DialError::Unreachable("operation not permitted (os error 1)".into()),
            Some(TestResult::ForbiddenHere),
        );
        check(DialError::NotAllowed(why()), Some(TestResult::NotAllowed));
        check(DialError::Proxy(ProxyFault::Down, why()), Some(TestResult::ProxyDown));
        check(DialError::Proxy(ProxyFault::Refuses, why()), Some(TestResult::ProxyRefuses));
        check(DialError::Myself, Some(TestResult::Myself));
        check(DialError::OtherDevice { found }, Some(TestResult::OtherDevice));
        check(DialError::NotRecognised, Some(TestResult::OtherDevice));
        check(DialError::NotKith("it says \"SSH-2.0\"".into()), Some(TestResult::NotKith));
        check(
            DialError::NotKith("it says \"HTTP/1.1 400 Bad Request\"".into()),
            Some(TestResult::Intercepted),
        );
        check(DialError::Tls(why()), Some(TestResult::NotKith));
        check(DialError::BrokenOff, Some(TestResult::NotKith));
        check(DialError::Silent(Duration::from_secs(10)), Some(TestResult::Silent));
        check(DialError::RefusedUs(why()), Some(TestResult::RefusedUs));
        check(DialError::OtherVersion(why()), Some(TestResult::OtherVersion));
        check(DialError::Broken(why()), Some(TestResult::Friend));
        check(DialError::OlderInstallation, Some(TestResult::Unreachable));
    }

    #[test]
    fn what_says_nothing_of_an_address_is_no_test_of_it() {
        for error in [DialError::Duplicate, DialError::NoBetter, DialError::Helped("nobody".into())] {
            check(error, None);
        }
    }

    #[test]
    fn only_the_newest_dial_of_an_address_since_he_is_apart_counts() {
        let now = SystemTime::now();
        let attempt = |address: &str, kind, error, ago| {
            let when = now - Duration::from_secs(ago);
            Attempt { when, ..Attempt::now(address.to_owned(), kind, error) }
        };
        let attempts = [
            attempt("a:1", CandidateKind::Public, DialError::Myself, 900),
            attempt("b:1", CandidateKind::Public, DialError::Refused, 900),
            attempt("a:1", CandidateKind::LastGood, DialError::Refused, 10),
            attempt("a:1", CandidateKind::Relayed, DialError::Helped("nobody".into()), 5),
        ];
        let since = Some(now - Duration::from_secs(60));
        assert_eq!(newest(&attempts, "a:1", since), Some(DialError::Refused));
        assert_eq!(newest(&attempts, "b:1", since), None, "that was before");
        assert_eq!(newest(&attempts, "b:1", None), Some(DialError::Refused));
        assert_eq!(newest(&attempts, "c:1", None), None);
    }
}
