//! One friend: which role is ours, and the one call that may be under way.

use std::collections::VecDeque;
use std::time::Instant;

use kith_identity::PairTag;
use kith_wire::DeviceId;

use super::callee::Callee;
use super::caller::Caller;
use super::{Command, Input, MOST_LEGS, Terms, Via};
use crate::reach::signal::{CallId, Fresh, Guard, Said, Signal, SignalError};

/// Most former calls that are remembered: a late offer of one of them is no new call.
const MOST_PAST: usize = 8;

/// Random numbers for one call, drawn by the shell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    pub(crate) call: CallId,
    pub(crate) sessions: [PairTag; MOST_LEGS],
}

/// The calls between us and one friend.
#[derive(Debug)]
pub(crate) struct Pair {
    is_caller: bool,
    guard: Guard,
    running: Option<Running>,
    past: VecDeque<CallId>,
}

#[derive(Debug)]
enum Running {
    Caller(Caller),
    Callee(Callee),
}

impl Pair {
    pub(crate) fn new(us: &DeviceId, friend: &DeviceId) -> Self {
        Self { is_caller: us < friend, guard: Guard::default(), running: None, past: VecDeque::new() }
    }

    /// Whether we call and are rung.
    pub(crate) const fn is_caller(&self) -> bool {
        self.is_caller
    }

    pub(crate) const fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// A connection is wanted. Nothing happens while a call is under way.
    pub(crate) fn want(&mut self, terms: Terms, draw: Draw, now: Instant) -> Vec<Command> {
        if self.running.is_some() {
            return Vec::new();
        }
        let (running, commands) = if self.is_caller {
            let (caller, commands) = Caller::start(draw.call, terms, draw.sessions, now);
            (Running::Caller(caller), commands)
        } else {
            let (callee, commands) = Callee::ring(draw.call, terms, now);
            (Running::Callee(callee), commands)
        };
        self.running = Some(running);
        self.settle();
        commands
    }

    /// Gives up the call that is under way.
    pub(crate) fn abandon(&mut self) {
        let call = self.call();
        call.into_iter().for_each(|call| self.remember(call));
        self.running = None;
    }

    /// The friend said something, by a carrier.
    pub(crate) fn hear(
        &mut self,
        (signal, via): (&Signal, Via),
        terms: impl FnOnce() -> Terms,
        draw: Draw,
        (unix, now): (u64, Instant),
    ) -> Result<Vec<Command>, SignalError> {
        let fresh = self.guard.admit(signal, via.id, unix, now)?;
        let is_first = fresh == Fresh::First;
        let Signal { call, said, .. } = signal;
        let is_current = self.call() == Some(*call);
        if self.is_caller {
            if let (Said::Ring { relay }, true) = (said, is_first) {
                // One that was to bring something better than a relayed link is no help to him who has none.
                if *relay && matches!(&self.running, Some(Running::Caller(caller)) if !caller.relays()) {
                    self.abandon();
                }
                if self.running.is_none() {
                    return Ok(self.want(terms(), draw, now));
                }
            }
        } else if matches!(said, Said::Offer { .. }) && is_first && !is_current && !self.past.contains(call) {
            let ringing = self.call();
            ringing.into_iter().for_each(|call| self.remember(call));
            let mut terms = terms();
            // Whoever has brought it reaches the friend.
            terms.carriers.sort_by_key(|carrier| carrier.id != via.id);
            let (mut callee, mut commands) = Callee::answer(*call, terms, now);
            commands.extend(callee.hear(said, via.id, now));
            self.running = Some(Running::Callee(callee));
            self.settle();
            return Ok(commands);
        }
        if !is_current {
            return Ok(Vec::new());
        }
        // By another carrier an offer may be answered by that way as well; everything else counts once.
        let commands = match &mut self.running {
            Some(Running::Caller(caller)) if is_first => caller.hear(said, via, now),
            Some(Running::Callee(callee)) if is_first || is_offer(said) => callee.hear(said, via.id, now),
            _ => Vec::new(),
        };
        self.settle();
        Ok(commands)
    }

    pub(crate) fn handle(&mut self, input: Input, now: Instant) -> Vec<Command> {
        let commands = match &mut self.running {
            Some(Running::Caller(caller)) => caller.handle(input, now),
            Some(Running::Callee(callee)) => callee.handle(input, now),
            None => Vec::new(),
        };
        self.settle();
        commands
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.running.as_ref()? {
            Running::Caller(caller) => caller.poll_timeout(),
            Running::Callee(callee) => callee.poll_timeout(),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Command> {
        let commands = match &mut self.running {
            Some(Running::Caller(caller)) => caller.handle_timeout(now),
            Some(Running::Callee(callee)) => callee.handle_timeout(now),
            None => Vec::new(),
        };
        self.settle();
        commands
    }

    fn call(&self) -> Option<CallId> {
        Some(match self.running.as_ref()? {
            Running::Caller(caller) => caller.call(),
            Running::Callee(callee) => callee.call(),
        })
    }

    fn remember(&mut self, call: CallId) {
        self.past.push_back(call);
        if self.past.len() > MOST_PAST {
            self.past.pop_front();
        }
    }

    fn settle(&mut self) {
        let is_over = match &self.running {
            Some(Running::Caller(caller)) => caller.is_over(),
            Some(Running::Callee(callee)) => callee.is_over(),
            None => false,
        };
        if is_over {
            self.abandon();
        }
    }
}

const fn is_offer(said: &Said) -> bool {
    matches!(said, Said::Offer { .. } | Said::Again { .. })
}
