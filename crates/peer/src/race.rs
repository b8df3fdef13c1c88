//! Races the candidates of a friend: staggered starts, the first proved one wins, the rest is dropped.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use crate::book::Candidate;
use crate::dial::DialError;

/// An address that did not lead to the friend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// `host:port`.
    pub address: String,
    /// Why not.
    pub error: DialError,
}

/// Runs `dial` for the candidates at their times until one succeeds. When nothing is under way any more, the next
/// one starts at once.
pub(crate) async fn race<T, F, Fut>(candidates: Vec<Candidate>, dial: F) -> Result<(String, T), Vec<Attempt>>
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<T, DialError>>,
{
    let start = Instant::now();
    let mut waiting = candidates.into_iter().peekable();
    let mut running = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        let next_start = match waiting.peek() {
            Some(candidate) => start + candidate.delay,
            None if running.is_empty() => return Err(failed),
            None => start + Duration::from_secs(24 * 3600),
        };
        let idle = running.is_empty();
        tokio::select! {
            biased;
            Some((address, outcome)) = running.next() => match outcome {
                Ok(won) => return Ok((address, won)),
                Err(error) => failed.push(Attempt { address, error }),
            },
            () = async {
                if !idle {
                    sleep_until(next_start).await;
                }
            } => if let Some(Candidate { address, .. }) = waiting.next() {
                let dialing = dial(address.clone());
                running.push(async move { (address, dialing.await) });
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(list: &[(&str, u64)]) -> Vec<Candidate> {
        list.iter()
            .map(|(address, ms)| Candidate { address: (*address).into(), delay: Duration::from_millis(*ms) })
            .collect()
    }

    /// A network in which each address answers after a time, or never does.
    async fn answer(address: String) -> Result<(), DialError> {
        let (kind, ms) = address.split_once(' ').unwrap();
        tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await;
        if kind == "good" { Ok(()) } else { Err(DialError::Refused) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_does_not_hold_up_a_living_one() {
        let started = Instant::now();
        let list = candidates(&[("dead 10000", 0), ("dead 10000", 30), ("good 5", 60)]);
        let (winner, ()) = race(list, answer).await.unwrap();
        assert_eq!(winner, "good 5");
        assert!(started.elapsed() < Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_have_failed_the_next_one_starts_at_once() {
        let started = Instant::now();
        let (winner, ()) = race(candidates(&[("dead 1", 0), ("good 5", 5000)]), answer).await.unwrap();
        assert_eq!(winner, "good 5");
        assert!(started.elapsed() < Duration::from_millis(50));
    }

    #[tokio::test(start_paused = true)]
    async fn every_failure_is_kept_with_its_address() {
        let failed = race(candidates(&[("dead 3", 0), ("dead 1", 0)]), answer).await.unwrap_err();
        let addresses: Vec<_> = failed.iter().map(|attempt| attempt.address.as_str()).collect();
        assert_eq!(addresses, ["dead 1", "dead 3"]);
        assert!(race(Vec::new(), answer).await.unwrap_err().is_empty());
    }
}
