//! Calls: signals out and in, and what the machines command.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use kith_identity::{PairTag, Sealed, TagUse};
use kith_wire::{Class, DeviceId, HubAddress, Post};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info, warn};

use super::actor::{Actor, Asked, MOST_ASKED, unix};
use super::asking;
use super::meeting::{Half, Helper, Seen, endpoints};
use crate::calls::Dialed;
use crate::dial::DialError;
use crate::peers::{Peers, WeakPeers};
use crate::race::Attempt;
use crate::reach::core::{Command, Draw, Fault, Input, MOST_LEGS, Outcome, Pair, Port, Terms, Via, Worked};
use crate::reach::host::Sought;
use crate::reach::signal::{CallId, Said, Signal, SignalId};
use crate::way::{CandidateKind, Way};

/// Who waits for the same call; one more gets nothing.
const MOST_WAITERS: usize = 4;
/// Between two warnings about signals of the same friend.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// A friend who rings although a direct link is no older than this rang before it was there. Who lost it rings again.
const CROSSED: Duration = Duration::from_secs(3);

/// What came of what a call does.
pub(super) enum Happened {
    Observed { round: u8, seen: Vec<Seen> },
    Connected { dialed: Dialed, input: Option<Input> },
    Said(Input),
}

type Answer = oneshot::Sender<Result<Dialed, Vec<Attempt>>>;

/// The calls with one friend.
pub(super) struct Friend {
    pub(super) pair: Pair,
    /// Grows with each call: what an older one tells is not for this one.
    call: u64,
    begun: SystemTime,
    /// When this call brought a connection; it may go on to look for a better one.
    brought: Option<Instant>,
    /// Whether that was seen to be the link.
    was_linked: bool,
    wants_relay: bool,
    /// With the worst class that is of use to each.
    waiters: Vec<(Class, Answer)>,
    /// The call was begun in another network.
    pub(super) is_stale: bool,
    doing: JoinSet<()>,
    legs: BTreeMap<usize, AbortHandle>,
    seen: BTreeMap<u8, Vec<Seen>>,
    targets: Vec<SocketAddr>,
    /// The friend's hubs, by the carriers of ours to which they hand his messages.
    beyond: BTreeMap<DeviceId, HubAddress>,
    round: u8,
    warned: Option<Instant>,
}

impl Friend {
    pub(super) fn new(pair: Pair) -> Self {
        Self {
            pair,
            call: 0,
            begun: SystemTime::now(),
            brought: None,
            was_linked: false,
            wants_relay: false,
            waiters: Vec::new(),
            is_stale: false,
            doing: JoinSet::new(),
            legs: BTreeMap::new(),
            seen: BTreeMap::new(),
            targets: Vec::new(),
            beyond: BTreeMap::new(),
            round: 0,
            warned: None,
        }
    }

    fn begin(&mut self) {
        self.call += 1;
        self.begun = SystemTime::now();
        (self.brought, self.was_linked) = (None, false);
        self.is_stale = false;
        self.end();
        self.beyond.clear();
        self.round = 0;
    }

    /// Whether this call brought a connection some time ago, beside which the friend would not ring.
    fn brought_long_ago(&self, now: Instant) -> bool {
        self.brought.is_some_and(|at| now.saturating_duration_since(at) >= CROSSED)
    }

    fn end(&mut self) {
        self.doing = JoinSet::new();
        self.legs.clear();
        self.seen.clear();
    }
}

impl Actor {
    /// The peers want a connection with a friend.
    pub(super) fn call(&mut self, id: DeviceId, worst: Class, answer: Answer) {
        let Some(peers) = self.peers.upgrade() else { return };
        let now = Instant::now();
        if !self.friends.contains_key(&id) {
            self.refuse(answer, Vec::new());
            return;
        }
        let wants_relay = worst >= Class::Relayed;
        if wants_relay {
            self.searches.want(id);
        } else {
            // His record may know a better way than he did when he was found.
            self.searches.want_better(id, now);
        }
        let terms = self.terms(&peers, &id, wants_relay);
        if !terms.punch && !wants_relay {
            self.refuse(answer, Vec::new());
            return;
        }
        let draw = draw();
        self.with_friend(id, |friend| {
            friend.waiters.retain(|(_, waiter)| !waiter.is_closed());
            if friend.waiters.len() < MOST_WAITERS {
                friend.waiters.push((worst, answer));
            }
            // One that was to bring something better than a link is no help when that is gone, and one of another network none at all.
            // The callee's half is begun anew by the caller alone.
            let is_stale = friend.is_stale && friend.pair.is_caller();
            let is_no_help = wants_relay && (!friend.wants_relay || friend.brought.is_some());
            if friend.pair.is_busy() && (is_stale || is_no_help) {
                friend.pair.abandon();
            }
            if friend.pair.is_busy() {
                return Vec::new();
            }
            friend.wants_relay = wants_relay;
            friend.pair.want(terms, draw, now)
        });
    }

    fn refuse(&self, answer: Answer, attempts: Vec<Attempt>) {
        // Whoever gave up waiting needs no answer.
        drop(answer.send(Err(attempts)));
    }

    fn terms(&mut self, peers: &Peers, friend: &DeviceId, relay: bool) -> Terms {
        if relay {
            // Their answers come to the call while it goes on.
            self.registrar.handle_relay_wanted(Instant::now());
        }
        let ports = self.host.punch_ports();
        let worked = self.memory.friends.get(friend).and_then(|known| known.worked).map(Worked::from);
        let mut carriers = self.carriers_to(peers, friend);
        // Who worked before is among the few that a call goes through.
        if let Some(Worked::Relay(by)) = worked {
            carriers.sort_by_key(|carrier| carrier.id != by);
        }
        Terms { carriers, punch: !ports.listen.is_empty() || !ports.ranges.is_empty(), relay, worked }
    }

    /// A carrier handed over a message.
    pub(super) fn hear(
        &mut self,
        (carrier, handed_by): (DeviceId, Option<HubAddress>),
        id: DeviceId,
        post: &Post,
    ) {
        let Some(peers) = self.peers.upgrade() else { return };
        let Some(pair) = self.pair_key(&id) else { return };
        let now = Instant::now();
        let signal = Signal::open(pair, &id, &post.message);
        // A friend who rings knows best whether there is a link: ours may be dead, and we don't know it yet.
        let relay = match &signal {
            Ok(Signal { said: Said::Ring { relay: true }, .. }) => true,
            _ => Self::link_of(&peers, &id).is_none(),
        };
        let terms = self.terms(&peers, &id, relay);
        // ...unless it came about after he rang: the two met on the way.
        let crossed = matches!(&signal, Ok(Signal { said: Said::Ring { .. }, .. }))
            && Self::link_of(&peers, &id).is_some_and(|(class, since, _)| {
                class < Class::Relayed && since.elapsed().is_ok_and(|age| age < CROSSED)
            });
        if crossed {
            debug!(friend = %id.short(), "a friend rang who is linked by now");
            return;
        }
        // What comes of the call is offered to the peers, and has its place only if ours is dead indeed.
        if matches!(&signal, Ok(Signal { said: Said::Ring { relay: true }, .. })) {
            peers.doubt(&id);
        }
        let Some(friend) = self.friends.get_mut(&id) else { return };
        let heard = signal.and_then(|signal| {
            debug!(friend = %id.short(), carrier = %carrier.short(), said = ?signal.said, "a signal");
            let via = Via { id: carrier, is_beyond: handed_by.is_some() };
            let was_busy = friend.pair.is_busy();
            let mut heard = friend.pair.hear((&signal, via), || terms.clone(), draw(), (unix(), now));
            // What our call has brought is lost, and he is the first to know: it can't bring it back.
            let is_lost = was_busy
                && friend.pair.is_caller()
                && matches!(signal.said, Said::Ring { relay: true })
                && friend.brought_long_ago(now);
            if is_lost && matches!(&heard, Ok(commands) if !begins(commands)) {
                friend.pair.abandon();
                heard = Ok(friend.pair.want(terms, draw(), now));
            }
            if matches!(&heard, Ok(commands) if begins(commands)) {
                friend.wants_relay = relay;
            }
            if let Some(hub) = handed_by.filter(|_| heard.is_ok()) {
                friend.beyond.insert(carrier, hub);
            }
            heard
        });
        match heard {
            Ok(commands) => {
                self.host.sought(&id, Sought::Heard);
                self.obey(id, commands);
            }
            Err(error) => {
                let is_first =
                    friend.warned.is_none_or(|at| now.saturating_duration_since(at) >= BETWEEN_WARNINGS);
                if is_first {
                    friend.warned = Some(now);
                    warn!(%error, friend = %id.short(), carrier = %carrier.short(), "a signal was refused");
                } else {
                    debug!(%error, friend = %id.short(), carrier = %carrier.short(), "a signal was refused");
                }
            }
        }
    }

    /// Does something with a friend's calls, and then what follows.
    pub(super) fn with_friend(&mut self, id: DeviceId, act: impl FnOnce(&mut Friend) -> Vec<Command>) {
        if let Some(friend) = self.friends.get_mut(&id) {
            let commands = act(friend);
            self.obey(id, commands);
        }
    }

    pub(super) fn tell_call(&mut self, id: DeviceId, call: u64, input: Input) {
        let now = Instant::now();
        self.with_friend(
            id,
            |friend| {
                if friend.call == call { friend.pair.handle(input, now) } else { Vec::new() }
            },
        );
    }

    /// What carriers do for us has changed.
    pub(super) fn tell_calls_of_carriers(&mut self) {
        let Some(peers) = self.peers.upgrade() else { return };
        let now = Instant::now();
        let busy: Vec<DeviceId> =
            self.friends.iter().filter(|(_, friend)| friend.pair.is_busy()).map(|(id, _)| *id).collect();
        for id in busy {
            let carriers = self.carriers_to(&peers, &id);
            self.with_friend(id, |friend| friend.pair.handle(Input::Carriers(carriers), now));
        }
    }

    /// Whether a call has lost its point by a link that came about since, or went.
    pub(super) fn look_at_link(&mut self, peers: &Peers, id: DeviceId) {
        let now = Instant::now();
        let link = Self::link_of(peers, &id);
        self.with_friend(id, |friend| {
            let Some((class, since, way)) = link else {
                // Another one takes all that is needed for a link, and not what was left to look for beside it.
                if friend.was_linked {
                    friend.pair.abandon();
                    friend.end();
                    friend.waiters.clear();
                }
                return Vec::new();
            };
            if since < friend.begun {
                return Vec::new();
            }
            if class >= Class::Relayed {
                friend.was_linked = true;
                return Vec::new();
            }
            let input =
                if way == Way::Punched { Input::Punched { round: friend.round } } else { Input::Linked };
            friend.pair.handle(input, now)
        });
    }

    pub(super) fn take_happened(&mut self, id: DeviceId, call: u64, happened: Happened) {
        match happened {
            Happened::Observed { round, seen } => {
                let endpoints = endpoints(&seen, &self.host.whereabouts());
                let Some(friend) = self.friends.get_mut(&id).filter(|friend| friend.call == call) else {
                    return;
                };
                friend.seen.insert(round, seen);
                self.tell_call(id, call, Input::Observed { round, endpoints });
            }
            Happened::Connected { dialed, input } => {
                self.hand_over(id, dialed);
                if let Some(input) = input {
                    self.tell_call(id, call, input);
                }
            }
            Happened::Said(input) => self.tell_call(id, call, input),
        }
    }

    /// A proved connection goes to whoever waits for one, or to the peers.
    fn hand_over(&mut self, id: DeviceId, dialed: Dialed) {
        let Some(peers) = self.peers.upgrade() else { return };
        let Some(friend) = self.friends.get_mut(&id) else { return };
        friend.brought = Some(Instant::now());
        info!(friend = %id.short(), way = ?dialed.way, remote = %dialed.remote, "a connection came about by the help of others");
        if !friend.pair.is_caller() {
            let Dialed { stream, remote, local, way } = dialed;
            peers.arrive(&id, stream, remote, local, way);
            return;
        }
        let mut left = dialed;
        let class = left.way.class();
        let (of_use, waiting) =
            std::mem::take(&mut friend.waiters).into_iter().partition(|(worst, _)| class <= *worst);
        friend.waiters = waiting;
        let of_use: Vec<(Class, Answer)> = of_use;
        for (_, waiter) in of_use {
            match waiter.send(Ok(left)) {
                Ok(()) => return,
                Err(Ok(dialed)) => left = dialed,
                Err(Err(_attempts)) => return,
            }
        }
        peers.offer(&id, left);
    }

    fn obey(&mut self, id: DeviceId, commands: Vec<Command>) {
        // The same word by several carriers is one signal.
        let mut last: Option<(Said, Sealed)> = None;
        for command in commands {
            debug!(friend = %id.short(), ?command, "a call goes on");
            match command {
                Command::Begin(_) => {
                    if let Some(friend) = self.friends.get_mut(&id) {
                        friend.begin();
                    }
                }
                Command::Post { via, call, said } => self.post(id, via, (call, said), &mut last),
                Command::Observe { round, port, via } => self.observe(id, round, port, &via),
                Command::Punch { round, targets } => self.punch(id, round, targets),
                Command::Leg { attempt, via, session } => self.meet(id, attempt, via, session),
                Command::DropLeg { attempt } => {
                    let leg = self.friends.get_mut(&id).and_then(|friend| friend.legs.remove(&attempt));
                    if let Some(leg) = leg {
                        leg.abort();
                    }
                }
                Command::Over(outcome) => self.end(id, outcome),
            }
        }
    }

    fn half(&self, friend: DeviceId) -> Half {
        Half {
            identity: self.identity.clone(),
            host: self.host.clone(),
            outbound: self.outbound.clone(),
            friend,
            is_caller: self.us < friend,
            listen_seen: self.listen_seen.clone(),
        }
    }

    fn post(
        &mut self,
        id: DeviceId,
        via: DeviceId,
        (call, said): (CallId, Said),
        last: &mut Option<(Said, Sealed)>,
    ) {
        let Some(pair) = self.pair_key(&id) else { return };
        let (Some(peers), Some(friend)) = (self.peers.upgrade(), self.friends.get(&id)) else { return };
        if self.asked.len() >= MOST_ASKED {
            debug!(friend = %id.short(), "a signal is not sent: too many questions are under way");
            return;
        }
        let message = match last.take() {
            Some((same, sealed)) if same == said => sealed,
            _ => {
                let signal = Signal { id: SignalId(random_tag()), time: unix(), call, said: said.clone() };
                match signal.seal(pair, &self.us) {
                    Ok(sealed) => sealed,
                    Err(error) => {
                        debug!(%error, "a signal can't be sent");
                        return;
                    }
                }
            }
        };
        *last = Some((said, message.clone()));
        let post = Post { tag: pair.tag(TagUse::Post, &id, unix()), message };
        let link = peers.carriers().into_iter().find(|carrier| carrier.id == via).map(|carrier| carrier.link);
        let call = friend.call;
        self.asked.spawn(async move {
            let handed_over = match link {
                Some(link) => asking::post(&link, &post).await,
                None => Ok(0),
            };
            let is_handed_over = match handed_over {
                Ok(to) => to > 0,
                Err(error) => {
                    debug!(%error, carrier = %via.short(), "a signal was not passed on");
                    false
                }
            };
            Asked::Posted { friend: id, call, carrier: via, is_handed_over }
        });
    }

    fn observe(&mut self, id: DeviceId, round: u8, port: Port, via: &[DeviceId]) {
        let Some(peers) = self.peers.upgrade() else { return };
        let helpers: Vec<_> = via.iter().filter_map(|via| Self::helper(&peers, via)).collect();
        let half = self.half(id);
        self.spawn(id, async move { Happened::Observed { round, seen: half.observe(port, &helpers).await } });
    }

    fn punch(&mut self, id: DeviceId, round: u8, targets: Vec<SocketAddr>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.expect(id, &targets);
        }
        let (half, happening) = (self.half(id), self.happening.clone());
        let Some(friend) = self.friends.get_mut(&id) else { return };
        let (call, is_caller) = (friend.call, half.is_caller);
        friend.round = round;
        friend.targets.clone_from(&targets);
        let ports = friend.seen.get(&round).into_iter().flatten().map(|(port, _)| port.clone()).collect();
        friend.doing.spawn(async move {
            let (found, mut finding) = mpsc::channel(1);
            let punching = half.punch(ports, targets, found);
            let telling = happening.clone();
            let passing_on = async {
                while let Some(dialed) = finding.recv().await {
                    let input = Some(Input::Punched { round });
                    // The task that is told outlives its calls.
                    drop(telling.send((id, call, Happened::Connected { dialed, input })).await);
                    if is_caller {
                        return;
                    }
                }
            };
            let (punched, ()) = futures::join!(punching, passing_on);
            if let Err(why) = punched {
                let input = Input::PunchFailed { round, why };
                drop(happening.send((id, call, Happened::Said(input))).await);
            }
        });
    }

    fn meet(&mut self, id: DeviceId, attempt: usize, via: DeviceId, session: PairTag) {
        let half = self.half(id);
        // The two have different hubs: they meet at the friend's, which is connected for that.
        let beyond = self.friends.get(&id).and_then(|friend| friend.beyond.get(&via)).cloned();
        let at = match beyond.filter(|_| half.is_caller) {
            Some(hub) => {
                self.hubs.borrow(hub.clone(), Instant::now());
                hub.id
            }
            None => via,
        };
        let peers = self.peers.clone();
        let leg = self.spawn(id, async move {
            let Some(helper) = connected(&peers, &at).await else {
                let why = "its address is not known".to_owned();
                return Happened::Said(Input::LegFailed { attempt, why });
            };
            match half.meet(&helper, session, attempt).await {
                Ok(dialed) => Happened::Connected { dialed, input: Some(Input::LegUp { attempt }) },
                Err(why) => Happened::Said(Input::LegFailed { attempt, why }),
            }
        });
        if let (Some(leg), Some(friend)) = (leg, self.friends.get_mut(&id)) {
            friend.legs.insert(attempt, leg);
        }
    }

    /// Begins something that belongs to the call that is under way.
    fn spawn(
        &mut self,
        id: DeviceId,
        doing: impl Future<Output = Happened> + Send + 'static,
    ) -> Option<AbortHandle> {
        let happening = self.happening.clone();
        let friend = self.friends.get_mut(&id)?;
        let call = friend.call;
        Some(friend.doing.spawn(async move {
            let happened = doing.await;
            // The task that is told outlives its calls.
            drop(happening.send((id, call, happened)).await);
        }))
    }

    fn end(&mut self, id: DeviceId, outcome: Outcome) {
        let worked = match &outcome {
            Outcome::Punched(port) => Some(Worked::Punch(*port)),
            Outcome::Relayed(by) => Some(Worked::Relay(*by)),
            Outcome::Linked | Outcome::Failed(_) => None,
        };
        if let Some(worked) = worked {
            let known = self.memory.friends.entry(id).or_default();
            if known.worked != Some(worked.into()) {
                known.worked = Some(worked.into());
                self.host.remember(self.memory.clone());
            }
        }
        let mut attempts = Vec::new();
        if let Outcome::Failed(faults) = &outcome {
            debug!(friend = %id.short(), why = %crate::reach::core::sentence(faults), "a call failed");
            let is_out_of_reach = |fault: &Fault| {
                matches!(fault, Fault::NoCarrier | Fault::Away | Fault::Silent | Fault::NoRelay)
            };
            if faults.iter().any(is_out_of_reach) {
                self.borrow_hubs(&id);
            }
            if faults.iter().any(|fault| matches!(fault, Fault::Away | Fault::Silent)) {
                self.host.sought(&id, Sought::Silent);
            }
            let targets = self.friends.get(&id).map(|friend| friend.targets.clone()).unwrap_or_default();
            let called = |carrier: &DeviceId| self.host.called(carrier);
            attempts = faults.iter().map(|fault| attempt(fault, &targets, called)).collect();
        }
        let Some(friend) = self.friends.get_mut(&id) else { return };
        for (_, waiter) in std::mem::take(&mut friend.waiters) {
            // Whoever gave up waiting needs no answer.
            drop(waiter.send(Err(attempts.clone())));
        }
        // The callee can't know which of several connections the caller keeps: what is under way goes on until its time is over.
        if friend.pair.is_caller() || matches!(outcome, Outcome::Failed(_)) {
            friend.end();
        }
    }
}

/// Whether a call begins.
fn begins(commands: &[Command]) -> bool {
    commands.iter().any(|command| matches!(command, Command::Begin(_)))
}

/// A reason as it is told beside the addresses that were dialled in vain.
fn attempt(fault: &Fault, targets: &[SocketAddr], called: impl Fn(&DeviceId) -> String) -> Attempt {
    let told = |address, kind, why| Attempt::now(address, kind, DialError::Helped(why));
    match fault {
        Fault::Punch { why, .. } => {
            let at: Vec<String> = targets.iter().map(ToString::to_string).collect();
            told(at.join(", "), CandidateKind::Punched, why.clone())
        }
        Fault::Leg { via, why } => told(called(via), CandidateKind::Relayed, why.clone()),
        Fault::Unobserved | Fault::NoPunching => {
            told(String::new(), CandidateKind::Punched, fault.to_string())
        }
        _ => told(String::new(), CandidateKind::Relayed, fault.to_string()),
    }
}

/// A carrier, as soon as there is a link to it.
pub(super) async fn connected(peers: &WeakPeers, id: &DeviceId) -> Option<Helper> {
    let mut changes = peers.upgrade()?.carriers_changed();
    loop {
        if let Some(helper) = Actor::helper(&peers.upgrade()?, id) {
            return Some(helper);
        }
        // The call gives up when it takes too long.
        changes.changed().await.ok()?;
    }
}

fn draw() -> Draw {
    Draw { call: CallId(random_tag()), sessions: [(); MOST_LEGS].map(|()| random_tag()) }
}

pub(super) fn random_tag() -> PairTag {
    let mut bytes = [0; 16];
    // Without random numbers nothing that was sealed or connected could be trusted either; a tag that is used twice is refused.
    getrandom::fill(&mut bytes).unwrap_or_default();
    PairTag::from_bytes(bytes)
}
