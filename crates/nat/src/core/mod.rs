//! The decisions: a state machine without clock, sockets or randomness.

mod command;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use kith_network::Snapshot;

pub use command::{AskId, Command, CoreConfig, Counts, ProofOutcome, ProofReport, Tally};

use crate::{Answer, Hint, Protocols, State, Wanted};

/// The reconciler.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    commands: VecDeque<Command>,
    stopped: bool,
}

impl Core {
    /// Nothing is wanted yet, and no network is known.
    #[must_use]
    pub fn new(config: CoreConfig, _now: Instant) -> Self {
        Self { config, commands: VecDeque::new(), stopped: false }
    }

    /// The network as it is. To be called also when something may have changed without a visible difference.
    pub fn handle_network(&mut self, _snapshot: &Snapshot, _now: Instant) {}

    /// The computer slept: monotonic time stood still for that long.
    pub fn handle_resume(&mut self, _slept: Duration, _now: Instant) {}

    /// What shall be reachable; `None`: nothing.
    pub fn handle_wanted(&mut self, _wanted: Option<Wanted>, _now: Instant) {}

    /// Which protocols may be used.
    pub fn handle_protocols(&mut self, protocols: Protocols, _now: Instant) {
        self.config.protocols = protocols;
    }

    /// The answer to a [`Command::Ask`].
    pub fn handle_answer(&mut self, _id: AskId, _answer: Answer, _now: Instant) {}

    /// Something that makes a look worth while.
    pub fn handle_hint(&mut self, _hint: Hint, _now: Instant) {}

    /// A friend dialled an external address.
    pub fn handle_proof(&mut self, _report: ProofReport, _now: Instant) {}

    /// A friend elsewhere sees this computer come from an address.
    pub fn handle_seen_from_outside(&mut self, _ip: IpAddr, _now: Instant) {}

    /// The time of [`Core::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When to call [`Core::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// What to do next; to be called until there is nothing more after every call of the others.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Removes everything that is held.
    pub fn stop(&mut self, _now: Instant) {
        self.stopped = true;
    }

    /// Whether everything is removed, or has been given up, after [`Core::stop`].
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// What others may see.
    #[must_use]
    pub fn state(&self, _now: Instant, _wall: SystemTime) -> State {
        State::default()
    }

    /// How much was asked.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally::default()
    }
}
