//! Two computers behind routers, the carriers between them, and everything that goes wrong, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kith_identity::{PairKey, PairTag, Sealed};
use kith_wire::DeviceId;

use crate::chance::Chance;
use crate::reach::core::{
    Carrier, Command, Draw, Input, LEG_PATIENCE, MOST_LEGS, Outcome, PUNCH_HOLD, Pair, Port, Terms, Via,
    Worked,
};
use crate::reach::signal::{CallId, Said, Signal, SignalError, SignalId};

/// Most steps of one seed: more is a livelock.
const MOST_STEPS: u32 = 20_000;
/// Most events that wait at once.
const MOST_WAITING: usize = 400;
/// When the Unix clocks begin.
const EPOCH: i64 = 1_800_000_000;

/// What stands between a computer and the Internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nat {
    /// Nothing.
    Open,
    /// A router that keeps the source port and drops what it does not expect.
    Keeps,
    /// The same, but it answers what it does not expect with a RST.
    Rejects,
    /// Another source port for each destination.
    Symmetric,
}

impl Nat {
    /// Whether punching between the two comes to a connection.
    pub(super) fn meets(self, other: Self) -> bool {
        self == Self::Open || other == Self::Open || (self != Self::Symmetric && other != Self::Symmetric)
    }
}

/// A friend of the one, of the other, or of both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Helper {
    pub(super) id: DeviceId,
    pub(super) knows: [bool; 2],
    pub(super) relays: bool,
    pub(super) observes: bool,
    /// One way, milliseconds.
    pub(super) delay: u64,
    pub(super) alive: bool,
}

impl Helper {
    pub(super) const fn is_common(&self) -> bool {
        self.knows[0] && self.knows[1]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Relayed(usize),
    Direct,
}

struct Punching {
    start: u64,
    until: u64,
    round: u8,
    from: SocketAddr,
    targets: Vec<SocketAddr>,
}

/// One of the two computers.
pub(super) struct Side {
    id: DeviceId,
    pair: Pair,
    clock: i64,
    pub(super) nat: Nat,
    pub(super) punches: bool,
    pub(super) worked: Option<Worked>,
    pub(super) link: Option<Link>,
    /// Grows with each call: what an older one did is dropped.
    serial: u64,
    punching: Option<Punching>,
    ports: u16,
    endpoints: BTreeMap<u8, SocketAddr>,
    pause: u64,
    /// What was said to the other.
    signalled: BTreeSet<SocketAddr>,
    pub(super) refused: BTreeMap<&'static str, u32>,
}

#[derive(Debug)]
enum Event {
    Arrive { to: usize, by: usize, sealed: Sealed },
    Undelivered { to: usize, by: usize, serial: u64 },
    Observed { to: usize, serial: u64, round: u8, endpoint: Option<SocketAddr> },
    Held { to: usize, serial: u64, round: u8 },
    Met { serials: [u64; 2], rounds: [u8; 2] },
    AtRelay { to: usize, by: usize, serial: u64, attempt: usize, session: PairTag },
    Joined { by: usize, serials: [u64; 2], attempts: [usize; 2] },
    LegOver { to: usize, serial: u64, attempt: usize },
    Want { to: usize },
    Dies { by: usize },
    Back { by: usize },
    Noticed { to: usize },
    Clock { to: usize, by: i64 },
    Forged,
}

pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) now: u64,
    base: Instant,
    waiting: BTreeMap<(u64, u64), Event>,
    order: u64,
    pub(super) sides: [Side; 2],
    pub(super) helpers: Vec<Helper>,
    key: PairKey,
    /// Percent of the posts that are lost.
    loss: u64,
    /// Sealed signals that went through carriers.
    recorded: Vec<Sealed>,
    at_relays: BTreeMap<(usize, PairTag), (usize, u64, usize)>,
    pub(super) log: Vec<String>,
    pub(super) calls: u32,
    commands: u32,
    /// A router chose another port because a packet came too early: this round fails.
    bad_rounds: u64,
}

pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) nats: [Nat; 2],
    pub(super) punches: [bool; 2],
    pub(super) helpers: Vec<Helper>,
    pub(super) loss: u64,
    pub(super) bad_rounds: u64,
}

fn device(byte: u8) -> DeviceId {
    DeviceId::from_bytes([byte; 32])
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let chance = Chance::new(plan.seed);
        let ids = [device(1), device(2)];
        let side = |n: usize| Side {
            id: ids[n],
            pair: Pair::new(&ids[n], &ids[1 - n]),
            clock: 0,
            nat: plan.nats[n],
            punches: plan.punches[n],
            worked: None,
            link: None,
            serial: 0,
            punching: None,
            ports: 20_000,
            endpoints: BTreeMap::new(),
            pause: 1000,
            signalled: BTreeSet::new(),
            refused: BTreeMap::new(),
        };
        let mut world = Self {
            chance,
            now: 0,
            base: Instant::now(),
            waiting: BTreeMap::new(),
            order: 0,
            sides: [side(0), side(1)],
            helpers: plan.helpers,
            key: PairKey::from_bytes([9; 32]),
            loss: plan.loss,
            recorded: Vec::new(),
            at_relays: BTreeMap::new(),
            log: Vec::new(),
            calls: 0,
            commands: 0,
            bad_rounds: plan.bad_rounds,
        };
        for to in 0..2 {
            let at = world.chance.below(3000);
            world.at(at, Event::Want { to });
        }
        world
    }

    pub(super) fn disturb(&mut self, until: u64) {
        for by in 0..self.helpers.len() {
            if self.chance.percent(30) {
                let dies = self.chance.below(until);
                let back = dies + 2000 + self.chance.below(until);
                self.at(dies, Event::Dies { by });
                // Others are gone for good.
                if back < until {
                    self.at(back, Event::Back { by });
                }
            }
        }
        for to in 0..2 {
            if self.chance.percent(40) {
                let at = self.chance.below(until);
                let by = i64::try_from(self.chance.below(500)).unwrap() - 250;
                self.at(at, Event::Clock { to, by });
            }
        }
        for _ in 0..self.chance.below(12) {
            let at = self.chance.below(2 * until);
            self.at(at, Event::Forged);
        }
    }

    /// A friend connected with both, who has not died for good.
    pub(super) fn common(&self, fits: impl Fn(&Helper) -> bool) -> bool {
        self.helpers.iter().any(|helper| helper.is_common() && helper.alive && fits(helper))
    }

    pub(super) fn run(&mut self, until: u64) {
        let mut steps = 0;
        loop {
            let timer =
                (0..2).filter_map(|n| Some((self.millis(self.sides[n].pair.poll_timeout()?), n))).min();
            let event = self.waiting.keys().next().map(|(at, _)| *at);
            let next = [timer.map(|(at, _)| at), event].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= until) else { break };
            steps += 1;
            assert!(steps < MOST_STEPS, "a livelock");
            assert!(self.waiting.len() < MOST_WAITING, "{} events wait", self.waiting.len());
            self.now = self.now.max(next);
            if event == Some(next)
                && let Some((_, event)) = self.waiting.pop_first()
            {
                self.happen(event);
            } else if let Some((_, n)) = timer {
                let before = self.sides[n].pair.poll_timeout();
                let commands = self.sides[n].pair.handle_timeout(self.instant());
                assert!(
                    !commands.is_empty() || self.sides[n].pair.poll_timeout() != before,
                    "a timer that does nothing"
                );
                self.obey(n, commands);
            }
        }
        self.now = self.now.max(until);
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.now)
    }

    fn millis(&self, at: Instant) -> u64 {
        // Rounded up: a timer is never early.
        u64::try_from(at.saturating_duration_since(self.base).as_micros().div_ceil(1000)).unwrap()
    }

    fn unix(&self, n: usize) -> u64 {
        let seconds = i64::try_from(self.now / 1000).unwrap();
        u64::try_from(EPOCH + seconds + self.sides[n].clock).unwrap()
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.waiting.insert((at, self.order), event);
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    fn say(&mut self, n: usize, what: impl std::fmt::Display) {
        let line = format!("{:>7} {n} {what}", self.now);
        self.log.push(line);
    }

    fn carriers(&self, n: usize) -> Vec<Carrier> {
        let known = self.helpers.iter().filter(|helper| helper.alive && helper.knows[n]);
        known
            .map(|helper| Carrier {
                id: helper.id,
                relays: helper.relays,
                observes: helper.observes,
                is_sure: true,
                is_spent: false,
            })
            .collect()
    }

    fn terms(&self, n: usize) -> Terms {
        let side = &self.sides[n];
        Terms {
            carriers: self.carriers(n),
            punch: side.punches,
            relay: side.link.is_none(),
            worked: side.worked,
        }
    }

    fn draw(&mut self) -> Draw {
        Draw { call: CallId(self.chance.tag()), sessions: [(); MOST_LEGS].map(|()| self.chance.tag()) }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Want { to } => self.want(to),
            Event::Arrive { to, by, sealed } => self.arrive(to, by, &sealed),
            Event::Undelivered { to, by, serial } => {
                let via = self.helpers[by].id;
                self.tell(to, serial, Input::Undelivered { via });
            }
            Event::Observed { to, serial, round, endpoint } => {
                let endpoints = endpoint.into_iter().collect();
                self.tell(to, serial, Input::Observed { round, endpoints });
            }
            Event::Held { to, serial, round } => {
                if self.sides[to].serial == serial
                    && self.sides[to].punching.as_ref().is_some_and(|punching| punching.round == round)
                {
                    self.sides[to].punching = None;
                    self.tell(to, serial, Input::PunchFailed { round, why: "no response".into() });
                }
            }
            Event::Met { serials, rounds } => {
                let still = |n: usize| {
                    let side = &self.sides[n];
                    side.serial == serials[n]
                        && side.punching.as_ref().is_some_and(|punching| punching.round == rounds[n])
                };
                if still(0) && still(1) {
                    for n in 0..2 {
                        self.sides[n].punching = None;
                        self.link(n, Link::Direct);
                        self.tell(n, serials[n], Input::Punched { round: rounds[n] });
                    }
                }
            }
            Event::AtRelay { to, by, serial, attempt, session } => {
                self.at_relay(to, by, serial, attempt, session);
            }
            Event::Joined { by, serials, attempts } => {
                if self.helpers[by].alive && (0..2).all(|n| self.sides[n].serial == serials[n]) {
                    for n in 0..2 {
                        self.link(n, Link::Relayed(by));
                        self.tell(n, serials[n], Input::LegUp { attempt: attempts[n] });
                    }
                }
            }
            Event::LegOver { to, serial, attempt } => {
                if self.sides[to].link.is_none() {
                    self.tell(to, serial, Input::LegFailed { attempt, why: "it took too long".into() });
                }
            }
            Event::Dies { by } => {
                self.helpers[by].alive = false;
                self.at_relays.retain(|(at, _), _| *at != by);
                for n in 0..2 {
                    self.say(n, format_args!("carrier {by} dies"));
                    let after = self.chance.below(5000);
                    self.after(after, Event::Noticed { to: n });
                    if self.sides[n].link == Some(Link::Relayed(by)) {
                        self.sides[n].link = None;
                        self.sides[n].pause = 1000;
                        let pause = 300 + self.chance.below(300);
                        self.after(pause, Event::Want { to: n });
                    }
                }
            }
            Event::Back { by } => {
                self.helpers[by].alive = true;
                for n in 0..2 {
                    self.say(n, format_args!("carrier {by} is back"));
                    let after = self.chance.below(3000);
                    self.after(after, Event::Noticed { to: n });
                }
            }
            Event::Noticed { to } => {
                let carriers = self.carriers(to);
                let serial = self.sides[to].serial;
                self.tell(to, serial, Input::Carriers(carriers));
            }
            Event::Clock { to, by } => {
                self.sides[to].clock += by;
                self.say(to, format_args!("the clock steps by {by} s"));
            }
            Event::Forged => self.forge(),
        }
    }

    fn want(&mut self, n: usize) {
        if self.sides[n].link == Some(Link::Direct) {
            return;
        }
        let pause = match self.sides[n].link {
            Some(_) => 60_000,
            None => {
                let pause = self.sides[n].pause;
                self.sides[n].pause = (2 * pause).min(60_000);
                pause / 2 + self.chance.below(pause / 2 + 1)
            }
        };
        if !self.sides[n].pair.is_busy() {
            let (terms, draw) = (self.terms(n), self.draw());
            let commands = self.sides[n].pair.want(terms, draw, self.instant());
            self.obey(n, commands);
        }
        self.after(pause, Event::Want { to: n });
    }

    fn link(&mut self, n: usize, link: Link) {
        if self.sides[n].link != Some(Link::Direct) {
            self.sides[n].link = Some(link);
            self.say(n, format_args!("linked: {link:?}"));
        }
    }

    fn tell(&mut self, n: usize, serial: u64, input: Input) {
        if self.sides[n].serial == serial {
            self.say(n, format_args!("{input:?}"));
            let now = self.instant();
            let commands = self.sides[n].pair.handle(input, now);
            self.obey(n, commands);
        }
    }

    fn arrive(&mut self, n: usize, by: usize, sealed: &Sealed) {
        let helper = self.helpers[by];
        if !helper.alive || !helper.knows[n] {
            return;
        }
        let from = self.sides[1 - n].id;
        let heard = Signal::open(&self.key, &from, sealed).and_then(|signal| {
            let (terms, draw) = (self.terms(n), self.draw());
            let (unix, now) = (self.unix(n), self.instant());
            let via = Via { id: helper.id, is_beyond: false };
            self.sides[n].pair.hear((&signal, via), || terms, draw, (unix, now))
        });
        match heard {
            Ok(commands) => self.obey(n, commands),
            Err(error) => {
                let kind = match error {
                    SignalError::Sealed => "sealed",
                    SignalError::Replayed => "replayed",
                    SignalError::Time { .. } => "time",
                    _ => "other",
                };
                *self.sides[n].refused.entry(kind).or_default() += 1;
                self.say(n, format_args!("refused: {kind}"));
            }
        }
    }

    fn obey(&mut self, n: usize, commands: Vec<Command>) {
        // The same word by several carriers is one signal.
        let mut last: Option<(Said, Sealed)> = None;
        for command in commands {
            self.commands += 1;
            self.say(n, format_args!("{command:?}"));
            let serial = self.sides[n].serial;
            match command {
                Command::Begin(_) => {
                    self.calls += 1;
                    let side = &mut self.sides[n];
                    side.serial += 1;
                    side.punching = None;
                    side.endpoints.clear();
                }
                Command::Observe { round, port, via } => self.observe(n, round, port, &via),
                Command::Post { via, call, said } => self.post(n, via, (call, said), &mut last),
                Command::Punch { round, targets } => self.punch(n, round, targets),
                Command::Leg { attempt, via, session } => {
                    let Some(by) = self.helper(&via) else { continue };
                    let delay = self.helpers[by].delay;
                    self.after(2 * delay, Event::AtRelay { to: n, by, serial, attempt, session });
                    let patience = u64::try_from(LEG_PATIENCE.as_millis()).unwrap();
                    self.after(patience, Event::LegOver { to: n, serial, attempt });
                }
                Command::DropLeg { .. } => self.at_relays.retain(|_, (side, _, _)| *side != n),
                Command::Over(outcome) => {
                    self.sides[n].punching = None;
                    match outcome {
                        Outcome::Punched(port) => self.sides[n].worked = Some(Worked::Punch(port)),
                        Outcome::Relayed(by) => self.sides[n].worked = Some(Worked::Relay(by)),
                        Outcome::Linked => {}
                        Outcome::Failed(faults) => assert!(!faults.is_empty(), "a failure without a reason"),
                    }
                }
            }
        }
    }

    fn helper(&self, id: &DeviceId) -> Option<usize> {
        self.helpers.iter().position(|helper| helper.id == *id)
    }

    fn observe(&mut self, n: usize, round: u8, port: Port, via: &[DeviceId]) {
        assert!(!via.is_empty());
        let (serial, side) = (self.sides[n].serial, &mut self.sides[n]);
        let local = match port {
            Port::Listen => 4242,
            Port::Fresh => {
                side.ports += 1;
                side.ports
            }
        };
        let ip = [11, 0, 0, u8::try_from(n).unwrap() + 1];
        let seen = if side.nat == Nat::Symmetric { local + 7 } else { local };
        let endpoint = SocketAddr::from((ip, seen));
        let by = via.iter().filter_map(|id| self.helper(id)).find(|by| self.helpers[*by].alive);
        let is_seen = by.is_some() && !self.chance.percent(self.loss / 2);
        let delay = by.map_or(1500, |by| 4 * self.helpers[by].delay);
        self.sides[n].endpoints.insert(round, endpoint);
        let endpoint = is_seen.then_some(endpoint);
        self.after(delay, Event::Observed { to: n, serial, round, endpoint });
    }

    fn post(
        &mut self,
        n: usize,
        via: DeviceId,
        (call, said): (CallId, Said),
        last: &mut Option<(Said, Sealed)>,
    ) {
        if let Said::Offer { endpoints, .. }
        | Said::Again { endpoints, .. }
        | Said::Answer { endpoints, .. } = &said
        {
            self.sides[n].signalled.extend(endpoints);
        }
        let by = self.helper(&via).expect("signals go through carriers");
        let helper = self.helpers[by];
        assert!(helper.knows[n], "through a carrier of ours");
        let sealed = match last.take() {
            Some((same, sealed)) if same == said => sealed,
            _ => {
                let id = SignalId(self.chance.tag());
                let signal = Signal { id, time: self.unix(n), call, said: said.clone() };
                signal.seal(&self.key, &self.sides[n].id).unwrap()
            }
        };
        *last = Some((said, sealed.clone()));
        if !helper.alive {
            return;
        }
        if !helper.is_common() {
            let serial = self.sides[n].serial;
            self.after(2 * helper.delay, Event::Undelivered { to: n, by, serial });
            return;
        }
        if self.recorded.len() < 200 {
            self.recorded.push(sealed.clone());
        }
        if self.chance.percent(self.loss) {
            return;
        }
        // Later ones overtake it.
        let late = if self.chance.percent(10) { self.chance.below(1500) } else { 0 };
        let delay = 2 * helper.delay + late;
        if self.chance.percent(5) {
            let after = delay + self.chance.below(2000);
            self.after(after, Event::Arrive { to: 1 - n, by, sealed: sealed.clone() });
        }
        self.after(delay, Event::Arrive { to: 1 - n, by, sealed });
    }

    fn punch(&mut self, n: usize, round: u8, targets: Vec<SocketAddr>) {
        assert!(!targets.is_empty());
        for target in &targets {
            assert!(self.sides[1 - n].signalled.contains(target), "{target} was never named by the friend");
        }
        let from = self.sides[n].endpoints[&round];
        let hold = u64::try_from(PUNCH_HOLD.as_millis()).unwrap();
        let (start, until) = (self.now, self.now + hold);
        self.sides[n].punching = Some(Punching { start, until, round, from, targets });
        let serial = self.sides[n].serial;
        self.after(hold, Event::Held { to: n, serial, round });
        self.try_to_meet();
    }

    fn try_to_meet(&mut self) {
        let [one, other] = &self.sides;
        let (Some(a), Some(b)) = (&one.punching, &other.punching) else { return };
        let names = |targets: &[SocketAddr], from: &SocketAddr| targets.contains(from);
        let meets = one.nat.meets(other.nat) && names(&a.targets, &b.from) && names(&b.targets, &a.from);
        let both_reject = one.nat == Nat::Rejects && other.nat == Nat::Rejects;
        let at = a.start.max(b.start) + 40;
        let until = a.until.min(b.until);
        let rounds = [a.round, b.round];
        let serials = [one.serial, other.serial];
        let is_bad = self.chance.percent(self.bad_rounds) || (both_reject && self.chance.percent(50));
        if meets && at < until && !is_bad {
            self.at(at, Event::Met { serials, rounds });
        }
    }

    fn at_relay(&mut self, n: usize, by: usize, serial: u64, attempt: usize, session: PairTag) {
        let helper = self.helpers[by];
        if self.sides[n].serial != serial || !helper.alive {
            return;
        }
        if !helper.relays || !helper.knows[n] {
            self.tell(n, serial, Input::LegFailed { attempt, why: "it does not relay".into() });
            return;
        }
        if self.chance.percent(self.loss / 2) {
            return;
        }
        match self.at_relays.remove(&(by, session)) {
            Some((first, first_serial, first_attempt)) if first != n => {
                let mut serials = [serial; 2];
                let mut attempts = [attempt; 2];
                serials[first] = first_serial;
                attempts[first] = first_attempt;
                self.after(3 * helper.delay, Event::Joined { by, serials, attempts });
            }
            _ => {
                self.at_relays.insert((by, session), (n, serial, attempt));
            }
        }
        assert!(self.at_relays.len() < 20, "meetings pile up");
    }

    /// A carrier sends what it has recorded, or makes something up.
    fn forge(&mut self) {
        if self.helpers.is_empty() {
            return;
        }
        let by = usize::try_from(self.chance.below(self.helpers.len() as u64)).unwrap();
        let to = usize::try_from(self.chance.below(2)).unwrap();
        let sealed = match (self.chance.below(3), self.recorded.is_empty()) {
            (0, false) => {
                let at = self.chance.below(self.recorded.len() as u64);
                self.recorded[usize::try_from(at).unwrap()].clone()
            }
            (1, false) => {
                let mut bytes = self.recorded[0].as_bytes().to_vec();
                let at = usize::try_from(self.chance.below(bytes.len() as u64)).unwrap();
                bytes[at] ^= 1;
                Sealed::from_bytes(bytes)
            }
            _ => {
                let stranger = PairKey::from_bytes([1; 32]);
                let said =
                    Said::Offer { ask: 0, endpoints: vec!["11.9.9.9:9999".parse().unwrap()], punch: true };
                let (id, call) = (SignalId(self.chance.tag()), CallId(self.chance.tag()));
                let signal = Signal { id, time: self.unix(to), call, said };
                signal.seal(&stranger, &self.sides[1 - to].id).unwrap()
            }
        };
        self.arrive(to, by, &sealed);
    }

    /// What a call and its signals cost is bounded.
    pub(super) fn check_costs(&self) {
        assert!(self.commands <= 40 + 250 * self.calls, "{} commands, {} calls", self.commands, self.calls);
    }
}
