//! The callee's side of one call.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kith_identity::PairTag;
use kith_wire::DeviceId;

use super::{
    ANSWER_PATIENCE, ASK_AGAIN, CALL_PATIENCE, CALLEE_PATIENCE, Carrier, Command, Fault, GO_PATIENCE, Input,
    MOST_CARRIERS, MOST_LEGS, OBSERVE_PATIENCE, Outcome, ROUNDS, Terms, blame, choose,
};
use crate::reach::signal::{CallId, Said};

/// How long what is nearly done may take after the caller's last word: his end of a handshake is done before ours.
const LAST_STEPS: Duration = Duration::from_secs(2);

/// The callee's side of one call.
#[derive(Debug)]
pub(super) struct Callee {
    call: CallId,
    terms: Terms,
    /// Carriers that are tried after those of the terms.
    others: Vec<Carrier>,
    /// Those who could not say from where our port is seen.
    deaf: Vec<DeviceId>,
    deadline: Instant,
    /// Without another word, the call is over then.
    quiet: Instant,
    stage: Stage,
    /// None before the first offer.
    round: Option<u8>,
    /// Where the caller is, in this round.
    targets: Vec<SocketAddr>,
    /// From where our port of this round is seen.
    ours: Vec<SocketAddr>,
    /// Offers of this round that wait for their answer: by whom they came, which one, and when.
    waiting: Vec<(DeviceId, u8, Instant)>,
    /// Meetings that the caller named.
    sessions: Vec<PairTag>,
    /// Where they are, by number.
    legs: Vec<DeviceId>,
    relayed: Option<DeviceId>,
    /// The caller said his last word.
    ended: bool,
    faults: Vec<Fault>,
    over: bool,
}

#[derive(Debug)]
enum Stage {
    Ringing {
        at: Vec<Instant>,
        until: Instant,
        asked: Vec<DeviceId>,
    },
    Observing {
        until: Instant,
        via: Vec<DeviceId>,
    },
    /// The answer is out, and the word to begin is awaited.
    Answered {
        go_by: Instant,
    },
    Punching,
    /// Nothing to punch in this round, or it is over.
    Resting,
}

impl Callee {
    /// Wants to be called.
    pub(super) fn ring(call: CallId, terms: Terms, now: Instant) -> (Self, Vec<Command>) {
        let mut callee = Self::new(call, terms, now);
        let mut commands = vec![Command::Begin(call)];
        if callee.terms.carriers.is_empty() {
            callee.fail(Fault::NoCarrier, &mut commands);
            return (callee, commands);
        }
        callee.begin_ringing(now, &mut commands);
        (callee, commands)
    }

    fn begin_ringing(&mut self, now: Instant, commands: &mut Vec<Command>) {
        let asked: Vec<DeviceId> = self.terms.carriers.iter().map(|carrier| carrier.id).collect();
        self.post_ring(commands);
        self.stage = Stage::Ringing { at: vec![now], until: now + ANSWER_PATIENCE, asked };
    }

    /// Is called.
    pub(super) fn answer(call: CallId, terms: Terms, now: Instant) -> (Self, Vec<Command>) {
        (Self::new(call, terms, now), vec![Command::Begin(call)])
    }

    fn new(call: CallId, mut terms: Terms, now: Instant) -> Self {
        let others = choose(&mut terms.carriers, &[]);
        Self {
            call,
            terms,
            others,
            deaf: Vec::new(),
            deadline: now + CALL_PATIENCE,
            quiet: now + CALLEE_PATIENCE,
            stage: Stage::Resting,
            round: None,
            targets: Vec::new(),
            ours: Vec::new(),
            waiting: Vec::new(),
            sessions: Vec::new(),
            legs: Vec::new(),
            relayed: None,
            ended: false,
            faults: Vec::new(),
            over: false,
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    pub(super) const fn call(&self) -> CallId {
        self.call
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let stage = match &self.stage {
            Stage::Ringing { at, until, .. } => next_ring(at).map_or(*until, |next| next.min(*until)),
            Stage::Observing { until, .. } => *until,
            Stage::Answered { go_by } => *go_by,
            Stage::Punching | Stage::Resting => self.quiet,
        };
        Some(stage.min(self.quiet).min(self.deadline))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.over {
            return commands;
        }
        if now >= self.deadline {
            self.fail(Fault::TooLong, &mut commands);
            return commands;
        }
        if now >= self.quiet {
            self.fall_silent(&mut commands);
            return commands;
        }
        match &mut self.stage {
            Stage::Ringing { until, .. } if now >= *until => self.fail(Fault::Silent, &mut commands),
            Stage::Ringing { at, .. } if next_ring(at).is_some_and(|next| now >= next) => {
                at.push(now);
                self.post_ring(&mut commands);
            }
            Stage::Observing { until, via } if now >= *until => {
                self.deaf.append(via);
                blame(&mut self.faults, Fault::Unobserved);
                self.answer_all(now, &mut commands);
            }
            Stage::Answered { go_by } if now >= *go_by => self.punch(&mut commands),
            _ => {}
        }
        commands
    }

    pub(super) fn handle(&mut self, input: Input, now: Instant) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.over {
            return commands;
        }
        match input {
            Input::Observed { round, endpoints } => {
                if Some(round) == self.round
                    && let Stage::Observing { via, .. } = &mut self.stage
                {
                    if endpoints.is_empty() {
                        self.deaf.append(via);
                        blame(&mut self.faults, Fault::Unobserved);
                    }
                    self.ours = endpoints;
                    self.answer_all(now, &mut commands);
                }
            }
            Input::Undelivered { via } => {
                if let Stage::Ringing { asked, .. } = &mut self.stage {
                    asked.retain(|asked| *asked != via);
                    if asked.is_empty() && self.others.is_empty() {
                        self.fail(Fault::Away, &mut commands);
                    } else if asked.is_empty() {
                        self.terms.carriers = std::mem::take(&mut self.others);
                        self.others = choose(&mut self.terms.carriers, &[]);
                        self.begin_ringing(now, &mut commands);
                    }
                }
            }
            Input::Punched { round } => {
                let port = self.terms.port(round);
                self.finish(Outcome::Punched(port), &mut commands);
            }
            Input::PunchFailed { round, why } => {
                if Some(round) == self.round && matches!(self.stage, Stage::Punching) {
                    blame(&mut self.faults, Fault::Punch { round, why });
                    self.stage = Stage::Resting;
                }
            }
            Input::LegUp { attempt } => {
                self.relayed = self.legs.get(attempt).copied().or(self.relayed);
                self.quiet = now + CALLEE_PATIENCE;
            }
            Input::LegFailed { attempt, why } => {
                if let Some(via) = self.legs.get(attempt) {
                    blame(&mut self.faults, Fault::Leg { via: *via, why });
                }
            }
            Input::Linked => self.finish(Outcome::Linked, &mut commands),
            Input::Carriers(carriers) => self.take_carriers(carriers, &mut commands),
        }
        commands
    }

    /// What the friend said in this call, and by whom.
    pub(super) fn hear(&mut self, said: &Said, via: DeviceId, now: Instant) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.over || !self.terms.has(&via) {
            return commands;
        }
        self.quiet = now + CALLEE_PATIENCE;
        match said {
            Said::Offer { ask, endpoints, punch } => {
                self.offered(0, (via, *ask, now), (endpoints, *punch), &mut commands);
            }
            Said::Again { round, ask, endpoints } => {
                self.offered(*round, (via, *ask, now), (endpoints, true), &mut commands);
            }
            Said::Go { round } => {
                if Some(*round) == self.round && matches!(self.stage, Stage::Answered { .. }) {
                    self.punch(&mut commands);
                }
            }
            Said::Relay { session } => {
                if self.sessions.len() < MOST_LEGS && !self.sessions.contains(session) {
                    let attempt = self.legs.len();
                    self.sessions.push(*session);
                    self.legs.push(via);
                    commands.push(Command::Leg { attempt, via, session: *session });
                }
            }
            Said::Over { reason } => {
                blame(&mut self.faults, Fault::Ended(reason.clone()));
                self.ended = true;
                self.quiet = now + LAST_STEPS;
            }
            // Said by callees.
            Said::Ring { .. } | Said::Answer { .. } | Said::Knock { .. } => {}
        }
        commands
    }

    fn offered(
        &mut self,
        round: u8,
        from: (DeviceId, u8, Instant),
        (endpoints, punch): (&[SocketAddr], bool),
        commands: &mut Vec<Command>,
    ) {
        if self.round.is_some_and(|current| round < current) || round >= ROUNDS {
            return;
        }
        let now = from.2;
        if self.round == Some(round) {
            // Another copy of it, or the same once more: our answer was lost, perhaps.
            if self.waiting.len() < 2 * MOST_CARRIERS {
                self.waiting.push(from);
            }
            if !matches!(self.stage, Stage::Observing { .. }) {
                self.post_answers(now, commands);
            }
            return;
        }
        self.round = Some(round);
        self.targets = endpoints.to_vec();
        self.ours.clear();
        self.waiting = vec![from];
        let via = self.terms.observers(&self.deaf);
        if punch && self.terms.punch && !endpoints.is_empty() && !via.is_empty() {
            self.stage = Stage::Observing { until: now + OBSERVE_PATIENCE, via: via.clone() };
            commands.push(Command::Observe { round, port: self.terms.port(round), via });
        } else {
            if !punch || !self.terms.punch {
                blame(&mut self.faults, Fault::NoPunching);
            }
            self.answer_all(now, commands);
        }
    }

    fn answer_all(&mut self, now: Instant, commands: &mut Vec<Command>) {
        let can_punch = !self.ours.is_empty() && !self.targets.is_empty();
        self.stage = if can_punch { Stage::Answered { go_by: now + GO_PATIENCE } } else { Stage::Resting };
        self.post_answers(now, commands);
    }

    fn post_answers(&mut self, now: Instant, commands: &mut Vec<Command>) {
        for (via, ask, heard) in std::mem::take(&mut self.waiting) {
            let took = now.saturating_duration_since(heard).as_millis();
            let said = Said::Answer {
                round: self.round.unwrap_or_default(),
                ask,
                endpoints: self.ours.clone(),
                punch: self.terms.punch,
                relay: self.terms.relays(&via),
                took: u32::try_from(took).unwrap_or(u32::MAX),
            };
            commands.push(Command::Post { via, call: self.call, said });
        }
    }

    fn punch(&mut self, commands: &mut Vec<Command>) {
        self.stage = Stage::Punching;
        commands
            .push(Command::Punch { round: self.round.unwrap_or_default(), targets: self.targets.clone() });
    }

    fn post_ring(&self, commands: &mut Vec<Command>) {
        for carrier in &self.terms.carriers {
            commands.push(Command::Post { via: carrier.id, call: self.call, said: self.said_ring() });
        }
    }

    const fn said_ring(&self) -> Said {
        Said::Ring { relay: self.terms.relay }
    }

    fn take_carriers(&mut self, mut carriers: Vec<Carrier>, commands: &mut Vec<Command>) {
        self.others = choose(&mut carriers, &self.terms.carriers);
        let ring = self.said_ring();
        if let Stage::Ringing { asked, .. } = &mut self.stage {
            for carrier in carriers.iter().filter(|it| !self.terms.has(&it.id)) {
                asked.push(carrier.id);
                commands.push(Command::Post { via: carrier.id, call: self.call, said: ring.clone() });
            }
            asked.retain(|asked| carriers.iter().any(|carrier| carrier.id == *asked));
        }
        self.terms.carriers = carriers;
        if self.relayed.is_some_and(|via| !self.terms.has(&via)) {
            self.relayed = None;
        }
    }

    fn fall_silent(&mut self, commands: &mut Vec<Command>) {
        if !self.ended {
            blame(&mut self.faults, Fault::Silent);
        }
        self.end(commands);
    }

    fn fail(&mut self, fault: Fault, commands: &mut Vec<Command>) {
        blame(&mut self.faults, fault);
        self.end(commands);
    }

    /// Ends with whatever there is.
    fn end(&mut self, commands: &mut Vec<Command>) {
        let outcome = match self.relayed {
            Some(via) => Outcome::Relayed(via),
            None => Outcome::Failed(std::mem::take(&mut self.faults)),
        };
        self.finish(outcome, commands);
    }

    fn finish(&mut self, outcome: Outcome, commands: &mut Vec<Command>) {
        if !self.over {
            self.over = true;
            commands.push(Command::Over(outcome));
        }
    }
}

/// When to ring once more, given when it was done.
fn next_ring(at: &[Instant]) -> Option<Instant> {
    Some(*at.first()? + *ASK_AGAIN.get(at.len().checked_sub(1)?)?)
}
