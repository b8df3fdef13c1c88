//! What the daemon's own dials met, as port tests: for a diagnosis that dials nobody.

use std::time::SystemTime;

use kith_control::terminal::safe;
use kith_doctor::facts::{MOST_TESTS, Place, Test, TestResult};
use kith_peer::{Answer, Attempt, CandidateKind, DialError, PeerState};

use super::super::core::Core;
use super::super::roster::Friend;
use super::addresses::{place, words};

/// What the dials of a friend's addresses tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Dialled {
    pub(super) tests: Vec<Test>,
    /// When the newest of the dials was over.
    pub(super) newest: Option<SystemTime>,
}

/// An address that may have been dialled.
struct Dial<'a> {
    address: String,
    place: Place,
    /// None: of a network that this computer is not in.
    met: Option<&'a Attempt>,
}

impl Core {
    /// What came of dialling a friend since he is apart and the network changed, address by address; none where only the doctor's own test
    /// can tell.
    pub(super) fn tests_by_dialler(
        &self,
        friend: &Friend,
        state: &PeerState,
        network_changed: Option<SystemTime>,
    ) -> Option<Dialled> {
        let since = latest([state.path_since, network_changed], SystemTime::now());
        let dials = friend.all_addresses().into_iter().take(MOST_TESTS).filter_map(|address| {
            let place = place(&address);
            let met = if place == Place::Internal && !self.is_in_reach(&address) {
                None
            } else {
                Some(newest(&state.attempts, &address, since)?)
            };
            Some(Dial { address, place, met })
        });
        told(&dials.collect::<Vec<_>>())
    }
}

/// The latest of several moments. A clock that was set back since one of them would make everything old.
fn latest(moments: [Option<SystemTime>; 2], now: SystemTime) -> Option<SystemTime> {
    moments.into_iter().flatten().filter(|moment| *moment <= now).max()
}

/// The dials as tests; none where only the doctor's own test can tell.
fn told(dials: &[Dial<'_>]) -> Option<Dialled> {
    let met = || dials.iter().filter_map(|dial| dial.met);
    // Whoever says so has proved who he is: what the other addresses met does not matter then.
    let is_said = met().any(|met| matches!(met.error, DialError::RefusedUs(_) | DialError::OtherVersion(_)));
    if !is_said && met().any(|met| is_unclear(&met.error)) {
        return None;
    }
    let test = |Dial { address, place, met }: &Dial<'_>| {
        let (result, detail) = match met {
            None => (TestResult::Elsewhere, None),
            Some(met) if is_unclear(&met.error) => return None,
            Some(met) => of_dial(met.error.clone())?,
        };
        let detail = detail.map(|detail| safe(&detail).into_owned());
        Some(Test { address: address.clone(), place: *place, result, detail, ms: 0 })
    };
    let mut tests: Vec<Test> = dials.iter().filter_map(test).collect();
    tests.sort_by(|one, other| (one.place as u8, &one.address).cmp(&(other.place as u8, &other.address)));
    Some(Dialled { tests, newest: met().map(|met| met.when).max() })
}

/// Something is there, and what it is such a dial can't tell: a Kith with too many callers, another program, a line that loses long
/// packets. Nobody may say that the computer is off.
const fn is_unclear(error: &DialError) -> bool {
    matches!(error, DialError::Silent(_) | DialError::Broken(_) | DialError::BrokenOff)
}

/// How an address was dialled in vain last, since that time.
fn newest<'a>(attempts: &'a [Attempt], address: &str, since: Option<SystemTime>) -> Option<&'a Attempt> {
    let is_dial = |attempt: &&Attempt| {
        attempt.address == address
            && !matches!(attempt.kind, CandidateKind::Punched | CandidateKind::Relayed)
            && since.is_none_or(|since| attempt.when >= since)
    };
    attempts.iter().rev().find(is_dial)
}

/// What a dial in vain says of the address; none if nothing.
pub(super) fn of_dial(error: DialError) -> Option<(TestResult, Option<String>)> {
    match error {
        DialError::RefusedUs(why) => Some((TestResult::RefusedUs, Some(why))),
        DialError::OtherVersion(why) => Some((TestResult::OtherVersion, Some(why))),
        // A Kith with too many callers does so, too.
        DialError::BrokenOff => None,
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
        check(DialError::Silent(Duration::from_secs(10)), Some(TestResult::Silent));
        check(DialError::RefusedUs(why()), Some(TestResult::RefusedUs));
        check(DialError::OtherVersion(why()), Some(TestResult::OtherVersion));
        check(DialError::Broken(why()), Some(TestResult::Friend));
        check(DialError::OlderInstallation, Some(TestResult::Unreachable));
    }

    #[test]
    fn what_says_nothing_of_an_address_is_no_test_of_it() {
        let helped = DialError::Helped("nobody".into());
        for error in [DialError::Duplicate, DialError::NoBetter, helped, DialError::BrokenOff] {
            check(error, None);
        }
    }

    /// What dials that met this tell, an address each.
    fn results(errors: Vec<DialError>) -> Option<Vec<TestResult>> {
        let attempts = errors.into_iter().zip('a'..);
        let attempts: Vec<Attempt> = attempts
            .map(|(error, name)| Attempt::now(format!("{name}:1"), CandidateKind::Public, error))
            .collect();
        let dial = |met| Dial { address: Attempt::clone(met).address, place: Place::Public, met: Some(met) };
        let dialled = told(&attempts.iter().map(dial).collect::<Vec<_>>())?;
        assert_eq!(dialled.newest, attempts.iter().map(|attempt| attempt.when).max());
        Some(dialled.tests.into_iter().map(|test| test.result).collect())
    }

    #[test]
    fn where_something_is_there_that_only_a_test_can_tell_nothing_is_told() {
        let why = || "why".to_owned();
        let unclear =
            || [DialError::Silent(Duration::from_secs(10)), DialError::Broken(why()), DialError::BrokenOff];
        for error in unclear() {
            assert_eq!(results(vec![error, DialError::Refused]), None);
        }
        for error in unclear() {
            assert_eq!(
                results(vec![error.clone(), DialError::RefusedUs(why())]),
                Some(vec![TestResult::RefusedUs])
            );
            assert_eq!(
                results(vec![DialError::OtherVersion(why()), error, DialError::Refused]),
                Some(vec![TestResult::OtherVersion, TestResult::Refused])
            );
        }
        assert_eq!(results(vec![DialError::Refused]), Some(vec![TestResult::Refused]));
        assert_eq!(results(Vec::new()), Some(Vec::new()));
    }

    #[test]
    fn dials_count_since_the_friend_is_apart_and_the_network_is_this_one() {
        let now = SystemTime::now();
        let ago = |seconds| Some(now - Duration::from_secs(seconds));
        assert_eq!(latest([ago(60), ago(10)], now), ago(10));
        assert_eq!(latest([ago(60), None], now), ago(60));
        assert_eq!(
            latest([ago(60), Some(now + Duration::from_secs(60))], now),
            ago(60),
            "the clock was set back"
        );
        assert_eq!(latest([None, None], now), None);
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
        let met = |address, since| newest(&attempts, address, since).map(|attempt| attempt.error.clone());
        assert_eq!(met("a:1", since), Some(DialError::Refused));
        assert_eq!(met("b:1", since), None, "that was before");
        assert_eq!(met("b:1", None), Some(DialError::Refused));
        assert_eq!(met("c:1", None), None);
    }
}
