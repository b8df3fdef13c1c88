//! The caller's side of one call.

use std::net::SocketAddr;
use std::time::Instant;

use kith_identity::PairTag;
use kith_wire::DeviceId;

use super::{
    ANSWER_PATIENCE, ASK_AGAIN, CALL_PATIENCE, Carrier, Command, Fault, Input, LEG_PATIENCE, MOST_CARRIERS,
    MOST_HALF_TRIP, MOST_LEGS, OBSERVE_PATIENCE, Outcome, PUNCH_HOLD, RELAY_AFTER, RELAY_AGAIN, RELAY_GRACE,
    ROUNDS, Terms, Via, Worked, blame, choose,
};
use crate::reach::signal::{CallId, Said, reason};

/// How long after its end a round of punching is taken for failed although nobody has said so.
const PUNCH_SLACK: std::time::Duration = std::time::Duration::from_secs(2);

/// The caller's side of one call.
#[derive(Debug)]
pub(super) struct Caller {
    call: CallId,
    terms: Terms,
    /// Carriers that are tried after those of the terms.
    others: Vec<Carrier>,
    /// Those who could not say from where our port is seen.
    deaf: Vec<DeviceId>,
    sessions: [PairTag; MOST_LEGS],
    deadline: Instant,
    round: u8,
    punching: Punching,
    relaying: Relaying,
    /// Who brought an answer, in the order of arrival.
    answered: Vec<Answered>,
    /// Carriers that the offer was given to and that did not say that the friend is away.
    asked: Vec<DeviceId>,
    legs: usize,
    faults: Vec<Fault>,
    over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    via: DeviceId,
    /// He relays for both.
    relays: bool,
    /// How often meeting there was tried.
    tried: usize,
}

#[derive(Debug)]
enum Punching {
    Observing { until: Instant, via: Vec<DeviceId> },
    Asking { endpoints: Vec<SocketAddr>, at: Vec<Instant>, until: Instant },
    Waiting { at: Instant, targets: Vec<SocketAddr> },
    Under { until: Instant },
    Ended,
}

#[derive(Debug)]
enum Relaying {
    /// Not wanted.
    No,
    /// No answer has come.
    NotYet,
    /// From then on, with whoever relays; if nobody has until `until`, it is given up.
    Due {
        at: Instant,
        until: Instant,
    },
    Under {
        attempt: usize,
        via: DeviceId,
        again: Option<Instant>,
        until: Instant,
    },
    Up {
        via: DeviceId,
    },
    Ended,
}

impl Caller {
    pub(super) fn start(
        call: CallId,
        mut terms: Terms,
        sessions: [PairTag; MOST_LEGS],
        now: Instant,
    ) -> (Self, Vec<Command>) {
        let others = choose(&mut terms.carriers, &[]);
        let relaying = if terms.relay { Relaying::NotYet } else { Relaying::No };
        let mut caller = Self {
            call,
            terms,
            others,
            deaf: Vec::new(),
            sessions,
            deadline: now + CALL_PATIENCE,
            round: 0,
            punching: Punching::Ended,
            relaying,
            answered: Vec::new(),
            asked: Vec::new(),
            legs: 0,
            faults: Vec::new(),
            over: false,
        };
        let mut commands = vec![Command::Begin(call)];
        if caller.terms.carriers.is_empty() {
            blame(&mut caller.faults, Fault::NoCarrier);
            caller.finish(None, &mut commands);
        } else {
            caller.begin_round(now, &mut commands);
        }
        (caller, commands)
    }

    /// Whether a relayed connection will do.
    pub(super) const fn relays(&self) -> bool {
        self.terms.relay
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
        let punching = match &self.punching {
            Punching::Observing { until, .. } | Punching::Under { until } => Some(*until),
            Punching::Asking { at, until, .. } => Some(next_ask(at).map_or(*until, |next| next.min(*until))),
            Punching::Waiting { at, .. } => Some(*at),
            Punching::Ended => None,
        };
        let relaying = match &self.relaying {
            Relaying::Due { at, until } => Some(if self.meeting_place().is_some() { *at } else { *until }),
            Relaying::Under { again, until, .. } => Some(again.map_or(*until, |again| again.min(*until))),
            Relaying::No | Relaying::NotYet | Relaying::Up { .. } | Relaying::Ended => None,
        };
        [Some(self.deadline), punching, relaying].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.over {
            return commands;
        }
        if now >= self.deadline {
            blame(&mut self.faults, Fault::TooLong);
            self.finish(None, &mut commands);
            return commands;
        }
        match &mut self.punching {
            Punching::Observing { until, via } if now >= *until => {
                self.deaf.append(via);
                blame(&mut self.faults, Fault::Unobserved);
                self.ask(Vec::new(), now, &mut commands);
            }
            // A friend who has answered once and no more may be met at a relay all the same.
            Punching::Asking { until, .. } if now >= *until => {
                blame(&mut self.faults, Fault::Silent);
                self.punching = Punching::Ended;
            }
            Punching::Asking { at, endpoints, .. } if next_ask(at).is_some_and(|next| now >= next) => {
                at.push(now);
                let (ask, endpoints) = (at.len() - 1, endpoints.clone());
                self.post_offer(ask, &endpoints, &mut commands);
            }
            Punching::Waiting { at, targets } if now >= *at => {
                let targets = std::mem::take(targets);
                self.punching = Punching::Under { until: now + PUNCH_HOLD + PUNCH_SLACK };
                commands.push(Command::Punch { round: self.round, targets });
            }
            Punching::Under { until } if now >= *until => {
                let fault = Fault::Punch { round: self.round, why: "nothing was heard of it".into() };
                self.round_failed(fault, now, &mut commands);
            }
            _ => {}
        }
        match &mut self.relaying {
            Relaying::Under { attempt, via, until, .. } if now >= *until => {
                let (attempt, via) = (*attempt, *via);
                commands.push(Command::DropLeg { attempt });
                let why = format!("the two did not meet there within {} s", LEG_PATIENCE.as_secs());
                self.leg_failed(via, why, now);
            }
            Relaying::Under { attempt, via, again, .. } if again.is_some_and(|again| now >= again) => {
                let (via, session) = (*via, self.sessions[*attempt]);
                *again = None;
                commands.push(self.post(via, Said::Relay { session }));
            }
            _ => {}
        }
        self.go_on(now, &mut commands);
        commands
    }

    pub(super) fn handle(&mut self, input: Input, now: Instant) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.over {
            return commands;
        }
        match input {
            Input::Observed { round, endpoints } => {
                if round == self.round
                    && let Punching::Observing { via, .. } = &mut self.punching
                {
                    if endpoints.is_empty() {
                        self.deaf.append(via);
                        blame(&mut self.faults, Fault::Unobserved);
                    }
                    self.ask(endpoints, now, &mut commands);
                }
            }
            Input::Undelivered { via } => {
                self.asked.retain(|asked| *asked != via);
                if let Punching::Asking { endpoints, .. } = &self.punching
                    && self.round == 0
                    && self.asked.is_empty()
                    && self.answered.is_empty()
                {
                    if self.others.is_empty() {
                        blame(&mut self.faults, Fault::Away);
                        self.finish(None, &mut commands);
                    } else {
                        let endpoints = endpoints.clone();
                        self.terms.carriers = std::mem::take(&mut self.others);
                        self.others = choose(&mut self.terms.carriers, &[]);
                        self.ask(endpoints, now, &mut commands);
                    }
                }
            }
            Input::Punched { round } => {
                let port = self.terms.port(round);
                self.finish(Some(Outcome::Punched(port)), &mut commands);
            }
            Input::PunchFailed { round, why } => {
                if round == self.round && matches!(self.punching, Punching::Under { .. }) {
                    self.round_failed(Fault::Punch { round, why }, now, &mut commands);
                }
            }
            Input::LegUp { attempt } => {
                if let Relaying::Under { attempt: current, via, .. } = self.relaying
                    && current == attempt
                {
                    self.relaying = Relaying::Up { via };
                }
            }
            Input::LegFailed { attempt, why } => {
                if let Relaying::Under { attempt: current, via, .. } = self.relaying
                    && current == attempt
                {
                    self.leg_failed(via, why, now);
                }
            }
            Input::Linked => self.finish(Some(Outcome::Linked), &mut commands),
            Input::Carriers(carriers) => self.take_carriers(carriers, now, &mut commands),
        }
        self.go_on(now, &mut commands);
        commands
    }

    /// What the friend said, and by whom.
    pub(super) fn hear(
        &mut self,
        said: &Said,
        Via { id: via, is_beyond }: Via,
        now: Instant,
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.over || !self.terms.has(&via) {
            return commands;
        }
        match said {
            Said::Answer { round, ask, endpoints, punch, relay, took } => {
                let relays = *relay && (is_beyond || self.terms.relays(&via));
                let has_room = self.answered.len() < MOST_CARRIERS;
                match self.answered.iter_mut().find(|answered| answered.via == via) {
                    Some(known) => known.relays = relays,
                    None if has_room => self.answered.push(Answered { via, relays, tried: 0 }),
                    None => {}
                }
                if *round == self.round
                    && let Punching::Asking { endpoints: ours, at, .. } = &self.punching
                {
                    let can_punch = *punch && !ours.is_empty() && !endpoints.is_empty();
                    let asked = at.get(usize::from(*ask)).or_else(|| at.last()).copied();
                    let trip = asked.map_or(MOST_HALF_TRIP, |asked| now.saturating_duration_since(asked));
                    let took = std::time::Duration::from_millis(u64::from(*took));
                    let half = (trip.saturating_sub(took) / 2).min(MOST_HALF_TRIP);
                    if can_punch {
                        commands.push(self.post(via, Said::Go { round: self.round }));
                        self.punching = Punching::Waiting { at: now + half, targets: endpoints.clone() };
                    } else if *punch && self.terms.punch {
                        // One of the two did not learn in time from where it is seen.
                        self.round_failed(Fault::Unobserved, now, &mut commands);
                    } else {
                        blame(&mut self.faults, Fault::NoPunching);
                        self.punching = Punching::Ended;
                    }
                    if matches!(self.relaying, Relaying::NotYet) {
                        let at_once = !can_punch || matches!(self.terms.worked, Some(Worked::Relay(_)));
                        let at = if at_once { now } else { now + RELAY_AFTER };
                        self.relaying = Relaying::Due { at, until: now + RELAY_GRACE };
                    }
                }
            }
            Said::Over { reason } => {
                blame(&mut self.faults, Fault::Ended(reason.clone()));
                self.finish(None, &mut commands);
            }
            // Said by callers, or before the call began.
            Said::Ring { .. }
            | Said::Offer { .. }
            | Said::Again { .. }
            | Said::Go { .. }
            | Said::Relay { .. }
            // Said by nobody who is a friend already.
            | Said::Knock { .. } => {}
        }
        self.go_on(now, &mut commands);
        commands
    }

    fn post(&self, via: DeviceId, said: Said) -> Command {
        Command::Post { via, call: self.call, said }
    }

    fn begin_round(&mut self, now: Instant, commands: &mut Vec<Command>) {
        let via = self.terms.observers(&self.deaf);
        if !self.terms.punch || via.is_empty() {
            let fault = if self.terms.punch { Fault::Unobserved } else { Fault::NoPunching };
            blame(&mut self.faults, fault);
            if self.round == 0 {
                self.ask(Vec::new(), now, commands);
            } else {
                self.punching = Punching::Ended;
            }
            return;
        }
        self.punching = Punching::Observing { until: now + OBSERVE_PATIENCE, via: via.clone() };
        commands.push(Command::Observe { round: self.round, port: self.terms.port(self.round), via });
    }

    /// Asks the friend to take part in this round. Without endpoints only the first is worth a word: a carrier may join the two.
    fn ask(&mut self, endpoints: Vec<SocketAddr>, now: Instant, commands: &mut Vec<Command>) {
        if self.round > 0 && endpoints.is_empty() {
            self.punching = Punching::Ended;
            return;
        }
        self.asked = self.ways();
        self.post_offer(0, &endpoints, commands);
        self.punching = Punching::Asking { endpoints, at: vec![now], until: now + ANSWER_PATIENCE };
    }

    /// The carriers that bring an offer: all at first, and later those that have brought an answer.
    fn ways(&self) -> Vec<DeviceId> {
        if self.answered.is_empty() {
            self.terms.carriers.iter().map(|carrier| carrier.id).collect()
        } else {
            self.answered.iter().map(|answered| answered.via).collect()
        }
    }

    fn post_offer(&self, ask: usize, endpoints: &[SocketAddr], commands: &mut Vec<Command>) {
        for via in self.ways() {
            commands.push(self.post(via, self.offer(ask, endpoints)));
        }
    }

    fn offer(&self, ask: usize, endpoints: &[SocketAddr]) -> Said {
        let ask = u8::try_from(ask).unwrap_or(u8::MAX);
        let endpoints = endpoints.to_vec();
        match self.round {
            0 => Said::Offer { ask, punch: self.terms.punch, endpoints },
            round => Said::Again { round, ask, endpoints },
        }
    }

    fn round_failed(&mut self, fault: Fault, now: Instant, commands: &mut Vec<Command>) {
        blame(&mut self.faults, fault);
        if self.round + 1 < ROUNDS && !self.answered.is_empty() {
            self.round += 1;
            self.begin_round(now, commands);
        } else {
            self.punching = Punching::Ended;
        }
    }

    fn leg_failed(&mut self, via: DeviceId, why: String, now: Instant) {
        blame(&mut self.faults, Fault::Leg { via, why });
        self.relaying = Relaying::Due { at: now, until: now };
    }

    /// Where to meet next: who worked before, then who is surely reached, then who answered first; nobody twice before all others
    /// once, and who had nothing left as the last.
    fn meeting_place(&self) -> Option<DeviceId> {
        if self.legs >= MOST_LEGS {
            return None;
        }
        let candidates = self.answered.iter().filter(|answered| answered.relays && answered.tried < 2);
        let best = candidates.min_by_key(|it| {
            let carrier = self.terms.carriers.iter().find(|carrier| carrier.id == it.via);
            let is_spent = carrier.is_some_and(|carrier| carrier.is_spent);
            let is_sure = carrier.is_some_and(|carrier| carrier.is_sure);
            (it.tried, is_spent, self.terms.worked != Some(Worked::Relay(it.via)), !is_sure)
        });
        best.map(|answered| answered.via)
    }

    fn take_carriers(&mut self, mut carriers: Vec<Carrier>, now: Instant, commands: &mut Vec<Command>) {
        self.others = choose(&mut carriers, &self.terms.carriers);
        let new: Vec<DeviceId> =
            carriers.iter().map(|carrier| carrier.id).filter(|id| !self.terms.has(id)).collect();
        self.terms.carriers = carriers;
        self.answered.retain(|answered| self.terms.carriers.iter().any(|it| it.id == answered.via));
        let terms = &self.terms;
        self.asked.retain(|asked| terms.has(asked));
        if self.round == 0
            && let Punching::Asking { endpoints, at, .. } = &self.punching
        {
            let offer = self.offer(at.len() - 1, endpoints);
            for via in new {
                commands.push(self.post(via, offer.clone()));
                self.asked.push(via);
            }
        }
        match self.relaying {
            Relaying::Under { attempt, via, .. } if !self.terms.has(&via) => {
                commands.push(Command::DropLeg { attempt });
                self.leg_failed(via, "it is not connected any more".into(), now);
            }
            Relaying::Up { via } if !self.terms.has(&via) => {
                self.relaying = Relaying::Due { at: now, until: now };
            }
            _ => {}
        }
    }

    /// Goes to a meeting place if it is time, and ends the call if nothing is left to hope for.
    fn go_on(&mut self, now: Instant, commands: &mut Vec<Command>) {
        if self.over {
            return;
        }
        if let Relaying::Due { at, until } = self.relaying {
            match self.meeting_place() {
                Some(via) if now >= at => self.meet(via, now, commands),
                None if now >= until => {
                    if self.answered.iter().all(|answered| !answered.relays) {
                        blame(&mut self.faults, Fault::NoRelay);
                    }
                    self.relaying = Relaying::Ended;
                }
                _ => {}
            }
        }
        let has_punched_out = matches!(self.punching, Punching::Ended);
        match self.relaying {
            Relaying::Up { via } if has_punched_out => {
                self.finish(Some(Outcome::Relayed(via)), commands);
            }
            // `NotYet` with an end of punching: nobody answered.
            Relaying::No | Relaying::NotYet | Relaying::Ended if has_punched_out => {
                self.finish(None, commands);
            }
            _ => {}
        }
    }

    fn meet(&mut self, via: DeviceId, now: Instant, commands: &mut Vec<Command>) {
        let attempt = self.legs;
        self.legs += 1;
        if let Some(answered) = self.answered.iter_mut().find(|answered| answered.via == via) {
            answered.tried += 1;
        }
        let session = self.sessions[attempt];
        commands.push(self.post(via, Said::Relay { session }));
        commands.push(Command::Leg { attempt, via, session });
        let (again, until) = (Some(now + RELAY_AGAIN), now + LEG_PATIENCE);
        self.relaying = Relaying::Under { attempt, via, again, until };
    }

    /// Without an outcome: with whatever there is.
    fn finish(&mut self, outcome: Option<Outcome>, commands: &mut Vec<Command>) {
        if self.over {
            return;
        }
        self.over = true;
        let outcome = outcome.unwrap_or_else(|| match self.relaying {
            Relaying::Up { via } => Outcome::Relayed(via),
            _ => Outcome::Failed(std::mem::take(&mut self.faults)),
        });
        if let Relaying::Under { attempt, .. } = self.relaying {
            commands.push(Command::DropLeg { attempt });
        }
        let why = match &outcome {
            Outcome::Failed(faults) => super::sentence(faults),
            Outcome::Punched(_) | Outcome::Relayed(_) | Outcome::Linked => "connected".to_owned(),
        };
        // Who has heard nothing needs no end.
        if let Some(answered) = self.answered.first() {
            commands.push(self.post(answered.via, Said::Over { reason: reason(why) }));
        }
        commands.push(Command::Over(outcome));
    }
}

/// When the offer is sent once more, given when it was.
fn next_ask(at: &[Instant]) -> Option<Instant> {
    Some(*at.first()? + *ASK_AGAIN.get(at.len().checked_sub(1)?)?)
}
