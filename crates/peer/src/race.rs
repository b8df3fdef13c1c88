//! Races the candidates of a friend: staggered starts, the first proved one wins, the rest is dropped.

use std::time::{Duration, SystemTime};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use crate::book::{Candidate, Target};
use crate::dial::DialError;
use crate::way::CandidateKind;

/// Most failures that one candidate tells of: a call tries several ways.
const MOST_OF_ONE: usize = 8;

/// A candidate that did not lead to the friend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// `host:port`; of a call, who helped, or was to help.
    pub address: String,
    /// What it is.
    pub kind: CandidateKind,
    /// Why not.
    pub error: DialError,
    /// When that was known.
    pub when: SystemTime,
}

impl Attempt {
    /// Just now.
    #[must_use]
    pub fn now(address: String, kind: CandidateKind, error: DialError) -> Self {
        Self { address, kind, error, when: SystemTime::now() }
    }
}

/// Why a candidate failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The one address.
    Here(DialError),
    /// Each of the ways that a call tried.
    Each(Vec<Attempt>),
}

impl From<DialError> for Failed {
    fn from(error: DialError) -> Self {
        Self::Here(error)
    }
}

/// How a race went.
#[derive(Debug)]
pub(crate) struct Raced<T> {
    pub(crate) won: Option<(Candidate, T)>,
    /// What had failed by then.
    pub(crate) failed: Vec<Attempt>,
}

/// Runs `dial` for the candidates at their times until one succeeds. When nothing is under way any more, the next
/// one starts at once.
pub(crate) async fn race<T, F, Fut>(candidates: Vec<Candidate>, dial: F) -> Raced<T>
where
    F: Fn(Candidate) -> Fut,
    Fut: Future<Output = Result<T, Failed>>,
{
    let start = Instant::now();
    let mut waiting = candidates.into_iter().peekable();
    let mut running = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        let next_start = match waiting.peek() {
            Some(candidate) => start + candidate.delay,
            None if running.is_empty() => return Raced { won: None, failed },
            None => start + Duration::from_secs(24 * 3600),
        };
        let idle = running.is_empty();
        tokio::select! {
            biased;
            Some((candidate, outcome)) = running.next() => match outcome {
                Ok(won) => return Raced { won: Some((candidate, won)), failed },
                Err(Failed::Here(error)) => {
                    let Candidate { target, kind, .. } = candidate;
                    let address = match target {
                        Target::Address(address) => address,
                        Target::Call => String::new(),
                    };
                    failed.push(Attempt::now(address, kind, error));
                }
                Err(Failed::Each(attempts)) => failed.extend(attempts.into_iter().take(MOST_OF_ONE)),
            },
            () = async {
                if !idle {
                    sleep_until(next_start).await;
                }
            } => if let Some(candidate) = waiting.next() {
                let dialing = dial(candidate.clone());
                running.push(async move { (candidate, dialing.await) });
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(list: &[(&str, u64)]) -> Vec<Candidate> {
        let candidate = |(address, ms): &(&str, u64)| {
            Candidate::address(address, CandidateKind::Public, Duration::from_millis(*ms))
        };
        list.iter().map(candidate).collect()
    }

    /// A network in which each address answers after a time, or never does.
    async fn answer(candidate: Candidate) -> Result<(), Failed> {
        let Target::Address(address) = candidate.target else {
            let tried = ["punching", "the relay"]
                .map(|who| Attempt::now(who.into(), CandidateKind::Punched, DialError::Refused));
            return Err(Failed::Each(tried.to_vec()));
        };
        let (kind, ms) = address.split_once(' ').unwrap();
        tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await;
        if kind == "good" { Ok(()) } else { Err(DialError::Refused.into()) }
    }

    fn winner(raced: &Raced<()>) -> &str {
        match &raced.won.as_ref().unwrap().0.target {
            Target::Address(address) => address,
            Target::Call => "a call",
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_does_not_hold_up_a_living_one() {
        let started = Instant::now();
        let list = candidates(&[("dead 10000", 0), ("dead 10000", 30), ("good 5", 60)]);
        assert_eq!(winner(&race(list, answer).await), "good 5");
        assert!(started.elapsed() < Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_have_failed_the_next_one_starts_at_once() {
        let started = Instant::now();
        let raced = race(candidates(&[("dead 1", 0), ("good 5", 5000)]), answer).await;
        assert_eq!(winner(&raced), "good 5");
        assert_eq!(raced.failed.len(), 1, "what failed before is told, too");
        assert!(started.elapsed() < Duration::from_millis(50));
    }

    #[tokio::test(start_paused = true)]
    async fn every_failure_is_kept_with_its_address() {
        let mut list = candidates(&[("dead 3", 0), ("dead 1", 0)]);
        list.push(Candidate::call());
        let raced = race(list, answer).await;
        let addresses: Vec<_> = raced.failed.iter().map(|attempt| attempt.address.as_str()).collect();
        assert_eq!(addresses, ["dead 1", "dead 3", "punching", "the relay"]);
        assert!(raced.won.is_none());
        assert!(race(Vec::new(), answer).await.failed.is_empty());
    }
}
