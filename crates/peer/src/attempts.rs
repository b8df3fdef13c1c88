//! What was tried in vain, and the one sentence that is made of it. Pure.

use std::collections::VecDeque;

use crate::dial::DialError;
use crate::race::Attempt;

/// Most failures that are kept of one friend.
const MOST: usize = 24;

/// The newest failure of each candidate.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    kept: VecDeque<Attempt>,
}

impl Attempts {
    /// Keeps what failed. Says whether any of it is news.
    pub(crate) fn note(&mut self, failed: &[Attempt]) -> bool {
        let mut news = false;
        for attempt in failed.iter().filter(|attempt| is_failure(&attempt.error)) {
            let before = self.forget(attempt);
            news |= before.is_none_or(|before| before.error != attempt.error);
            if self.kept.len() >= MOST {
                self.kept.pop_front();
            }
            self.kept.push_back(attempt.clone());
        }
        news
    }

    /// This address led to the friend.
    pub(crate) fn reached(&mut self, address: &str) {
        self.kept.retain(|kept| kept.address != address);
    }

    pub(crate) fn all(&self) -> Vec<Attempt> {
        self.kept.iter().cloned().collect()
    }

    /// An address is one candidate whatever it is called by; the ways of a call are told apart by what they are, too.
    fn forget(&mut self, attempt: &Attempt) -> Option<Attempt> {
        let is_same = |kept: &Attempt| {
            kept.address == attempt.address
                && is_call(kept) == is_call(attempt)
                && (!is_call(kept) || kept.kind == attempt.kind)
        };
        let at = self.kept.iter().position(is_same)?;
        self.kept.remove(at)
    }
}

const fn is_call(attempt: &Attempt) -> bool {
    use crate::way::CandidateKind::{Punched, Relayed};
    matches!(attempt.kind, Punched | Relayed)
}

/// That another connection is kept says nothing against an address.
const fn is_failure(error: &DialError) -> bool {
    !matches!(error, DialError::Duplicate | DialError::NoBetter)
}

/// The most telling of the failures in one sentence.
pub(crate) fn sentence(attempts: &[Attempt]) -> String {
    const fn weight(error: &DialError) -> u8 {
        match error {
            DialError::RefusedUs(_) | DialError::OtherVersion(_) => 0,
            DialError::NotRecognised | DialError::OtherDevice { .. } | DialError::OlderInstallation => 1,
            DialError::Broken(_) | DialError::BrokenOff | DialError::Tls(_) => 2,
            DialError::NotKith(_) | DialError::Silent(_) | DialError::Proxy(..) => 3,
            DialError::Refused | DialError::NotAllowed(_) => 4,
            DialError::NoResponse(_) => 5,
            DialError::NameNotFound(_) | DialError::Unreachable(_) => 6,
            DialError::Helped(_) => 7,
            DialError::Myself | DialError::BadAddress(_) | DialError::Duplicate | DialError::NoBetter => 8,
        }
    }
    match attempts.iter().min_by_key(|attempt| weight(&attempt.error)) {
        None => "no address of this computer is known: add one, or wait until it connects by itself".into(),
        Some(attempt @ Attempt { address, error, .. }) => {
            let is_other = |other: &&Attempt| !is_call(other) && *other != attempt;
            let tail = match attempts.iter().filter(is_other).count() {
                0 => String::new(),
                1 => " (and 1 other address failed)".into(),
                n => format!(" (and {n} other addresses failed)"),
            };
            if address.is_empty() { format!("{error}{tail}") } else { format!("{address}: {error}{tail}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::way::CandidateKind::{Lan, LastGood, Punched, Relayed};

    fn failed(address: &str, kind: crate::way::CandidateKind, error: DialError) -> Attempt {
        Attempt::now(address.into(), kind, error)
    }

    #[test]
    fn the_newest_failure_of_each_candidate_is_kept() {
        let mut attempts = Attempts::default();
        assert!(
            attempts.note(&[failed("a:1", Lan, DialError::Refused), failed("b:1", Lan, DialError::Refused)])
        );
        assert!(!attempts.note(&[failed("a:1", LastGood, DialError::Refused)]), "the same again");
        assert!(attempts.note(&[failed("a:1", Lan, DialError::Myself)]), "for another reason");
        let kept: Vec<_> = attempts.all().into_iter().map(|kept| (kept.address, kept.error)).collect();
        assert_eq!(kept, [("b:1".to_owned(), DialError::Refused), ("a:1".to_owned(), DialError::Myself)]);
        attempts.reached("a:1");
        assert_eq!(attempts.all().len(), 1);
    }

    #[test]
    fn the_ways_of_a_call_are_candidates_of_their_own() {
        let mut attempts = Attempts::default();
        let reason = || DialError::Helped("no answer".into());
        attempts.note(&[failed("bert", Punched, reason()), failed("bert", Relayed, reason())]);
        assert_eq!(attempts.all().len(), 2);
    }

    #[test]
    fn a_kept_connection_is_no_failure_and_what_is_kept_is_bounded() {
        let mut attempts = Attempts::default();
        attempts.note(&[failed("a:1", Lan, DialError::Duplicate), failed("a:2", Lan, DialError::NoBetter)]);
        assert!(attempts.all().is_empty());
        for i in 0..100 {
            attempts.note(&[failed(&format!("a:{i}"), Lan, DialError::Refused)]);
        }
        assert_eq!((attempts.all().len(), attempts.all()[0].address.as_str()), (MOST, "a:76"));
    }

    #[test]
    fn the_sentence_names_the_most_telling_failure_and_counts_the_other_addresses() {
        assert!(sentence(&[]).starts_with("no address"));
        let helped = failed("", Relayed, DialError::Helped("no common friend is connected".into()));
        assert_eq!(sentence(std::slice::from_ref(&helped)), "no common friend is connected");
        let refused = failed("a:1", Lan, DialError::Refused);
        let silent = failed("b:1", Lan, DialError::NoResponse(std::time::Duration::from_secs(10)));
        let text = sentence(&[helped, silent, refused]);
        assert!(text.starts_with("a:1: refused") && text.ends_with("(and 1 other address failed)"), "{text}");
    }
}
