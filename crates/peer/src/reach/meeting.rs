//! Punching until the friend is there.

use std::collections::VecDeque;

use tokio::task::JoinSet;

use super::punch::{PunchOutcome, Punched, Punching};
use super::secure::{Part, SecureError, Secured, secure};

/// Connections of one punch of which it is found out at once whose they are; further ones wait.
pub const MOST_HANDSHAKES: usize = 4;
/// Failures that are kept.
const MOST_FAILURES: usize = 8;

/// Proves of every connection that a punch makes whose it is. Dropping it ends all that was not handed out.
pub struct Meeting {
    punching: Punching,
    part: Part,
    /// Begun so far: each brings the next of our keys.
    turns: usize,
    handshakes: JoinSet<Result<Secured, SecureError>>,
    failures: VecDeque<SecureError>,
    over: bool,
}

impl Meeting {
    /// Nothing is proved before [`Meeting::next`] is called.
    #[must_use]
    pub fn new(punching: Punching, part: Part) -> Self {
        Self { punching, part, turns: 0, handshakes: JoinSet::new(), failures: VecDeque::new(), over: false }
    }

    /// The next connection with the friend; none when the time is over. Two ends that meet at several addresses at once have several: the TLS
    /// client keeps the first one and drops this; the server hands out each, for he can't know which one the other end keeps. Can be
    /// dropped and called again without a loss.
    pub async fn next(&mut self) -> Option<Secured> {
        loop {
            if self.over && self.handshakes.is_empty() {
                return None;
            }
            tokio::select! {
                // What is proved goes before what is only begun.
                biased;
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Ok(secured)) => return Some(secured),
                    Ok(Err(error)) => self.note(error),
                    Err(error) => self.note(SecureError::Broken(error.to_string())),
                },
                found = self.punching.next(), if !self.over && self.handshakes.len() < MOST_HANDSHAKES => {
                    match found {
                        Some(punched) => self.begin(punched),
                        None => self.over = true,
                    }
                }
            }
        }
    }

    /// What was met so far at each address.
    #[must_use]
    pub fn outcomes(&self) -> Vec<PunchOutcome> {
        self.punching.outcomes()
    }

    /// Why connections that stood were not the friend's, the last ones.
    pub fn failures(&self) -> impl Iterator<Item = &SecureError> {
        self.failures.iter()
    }

    fn begin(&mut self, punched: Punched) {
        let Punched { stream, remote, local, by } = punched;
        tracing::debug!(%remote, %local, kind = ?by, "a punched connection stands");
        let (part, turn) = (self.part.clone(), self.turns);
        self.turns += 1;
        self.handshakes.spawn(async move { secure(stream, &part, turn).await });
    }

    fn note(&mut self, error: SecureError) {
        tracing::debug!(%error, "a punched connection is not the friend's");
        if self.failures.len() == MOST_FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back(error);
    }
}
