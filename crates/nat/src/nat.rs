//! The shell: runs the core's commands and tells it what came of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures::future::OptionFuture;
use kith_network::{Network, News, Snapshot};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use crate::clients::Clients;
use crate::core::{AskId, Command, Core, CoreConfig, ProofReport};
use crate::hint::MOST_HINTS;
use crate::{Answer, Hint, Memory, Protocols, Remembered, State, Wanted};

/// Longest wait at the end for routers to take their mappings back. What a router has not answered by then goes with the lease,
/// or is removed at the next start.
const FAREWELL: Duration = Duration::from_millis(1500);
/// Most reports from outside that wait to be looked at.
const MOST_REPORTS: usize = 16;

/// What a [`Nat`] starts with.
pub struct NatConfig {
    /// Which protocols may be used.
    pub protocols: Protocols,
    /// What routers' pages show beside our mappings, the same for as long as this installation lives.
    pub label: String,
    /// Random, and the same for as long as this installation lives: decides which ports are tried and when.
    pub seed: u64,
    /// What [`NatConfig::memory`] was given last.
    pub remembered: Vec<Remembered>,
    /// Keeps what must outlive the process.
    pub memory: Arc<dyn Memory>,
    /// The network as the system sees it.
    pub network: Network,
}

/// Keeps the port mapped. Cheap to clone; ends with [`Nat::shutdown`], or at once, and without removing the mappings, with
/// the last clone.
#[derive(Clone)]
pub struct Nat {
    inner: Arc<Inner>,
}

struct Inner {
    desired: watch::Sender<Desired>,
    reports: mpsc::Sender<Outside>,
    state: watch::Receiver<State>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Desired {
    wanted: Option<Wanted>,
    protocols: Protocols,
    resting: bool,
    stopping: bool,
}

impl Desired {
    fn asks(&self) -> bool {
        self.wanted.is_some() && !self.resting && !self.stopping
    }
}

/// What is told of the mappings from outside of this crate.
enum Outside {
    Proof(ProofReport),
    Seen { ip: IpAddr, local: IpAddr, heard_at: Instant },
    Doubt(String),
    Anew,
}

impl Nat {
    /// Starts without anything to map: see [`Nat::want`].
    #[must_use]
    pub fn start(config: NatConfig) -> Self {
        let NatConfig { protocols, label, seed, remembered, memory, network } = config;
        let config = CoreConfig { protocols, label, seed, remembered };
        let core = Core::new(config.clone(), Instant::now());
        let desired =
            watch::Sender::new(Desired { wanted: None, protocols, resting: false, stopping: false });
        let (reports, outside) = mpsc::channel(MOST_REPORTS);
        let (published, state) = watch::channel(core.state(Instant::now(), SystemTime::now()));
        let shell = Shell {
            config,
            core,
            rest: Rest::Awake,
            clients: Arc::new(Clients::default()),
            asks: JoinSet::new(),
            running: BTreeMap::new(),
            memory,
            state: published,
        };
        let task = tokio::spawn(shell.run(desired.subscribe(), outside, network));
        let task = Mutex::new(Some(AbortOnDropHandle::new(task)));
        Self { inner: Arc::new(Inner { desired, reports, state, task }) }
    }

    /// Where the mappings stand, now and whenever that changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.inner.state.clone()
    }

    /// What shall be reachable from now on; none: nothing, and what is mapped is removed. Ends a [`Nat::rest`].
    pub fn want(&self, wanted: Option<Wanted>) {
        self.change(|desired| {
            desired.wanted = wanted;
            desired.resting = false;
        });
    }

    /// Nothing is sent to routers any more, and nothing heard, until something is wanted again. Only what is mapped at this moment is
    /// removed first, within 1.5 seconds; what a router has not answered by then is removed when something is wanted again.
    pub fn rest(&self) {
        self.change(|desired| {
            desired.wanted = None;
            desired.resting = true;
        });
    }

    /// Which protocols may be used from now on. The mappings of others are removed.
    pub fn allow(&self, protocols: Protocols) {
        self.change(|desired| desired.protocols = protocols);
    }

    fn change(&self, change: impl FnOnce(&mut Desired)) {
        self.inner.desired.send_if_modified(|desired| {
            let before = desired.clone();
            change(desired);
            *desired != before
        });
    }

    /// What came of a friend's dial from outside.
    pub fn proof(&self, report: ProofReport) {
        self.tell(Outside::Proof(report));
    }

    /// A friend elsewhere, whom this computer dialled, sees it come from that address. `local` is this computer's end of the link,
    /// which tells by which router it goes out; `heard_at` is when that was last known to be so.
    pub fn seen_from_outside(&self, ip: IpAddr, local: IpAddr, heard_at: Instant) {
        self.tell(Outside::Seen { ip, local, heard_at });
    }

    /// Something makes the mappings doubtful, as the end of a link: they are looked at soon.
    pub fn doubt(&self, why: &str) {
        self.tell(Outside::Doubt(why.to_owned()));
    }

    /// A person wants every router asked anew: what is held is looked at, and who refused or did not answer is asked again now.
    pub fn ask_anew(&self) {
        self.tell(Outside::Anew);
    }

    fn tell(&self, outside: Outside) {
        if self.inner.reports.try_send(outside).is_err() {
            debug!("a report from outside was dropped: too many are waiting");
        }
    }

    /// Removes the mappings and ends. Takes 1.5 seconds at most.
    pub async fn shutdown(&self) {
        self.change(|desired| desired.stopping = true);
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && tokio::time::timeout(FAREWELL, task).await.is_err()
        {
            debug!("a router did not answer when its mappings were taken back");
        }
    }
}

/// Whether routers are spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// They are.
    Awake,
    /// Only to take back what they map, until this time at most.
    FallingAsleep(Instant),
    /// They are not.
    Asleep,
}

struct Shell {
    /// With what is remembered as of the last change.
    config: CoreConfig,
    core: Core,
    rest: Rest,
    clients: Arc<Clients>,
    asks: JoinSet<Answer>,
    running: BTreeMap<tokio::task::Id, (AskId, AbortHandle)>,
    memory: Arc<dyn Memory>,
    state: watch::Sender<State>,
}

impl Shell {
    async fn run(
        mut self,
        mut desired: watch::Receiver<Desired>,
        mut outside: mpsc::Receiver<Outside>,
        network: Network,
    ) {
        let mut news = network.watch();
        let mut known = news.borrow_and_update().clone();
        let (hints, mut hinted) = mpsc::channel(MOST_HINTS);
        let mut ears = crate::clients::Ears::new(hints);
        self.clients.interfaces(known.snapshot.clone());
        self.core.handle_network(&known.snapshot, Instant::now());
        loop {
            self.execute();
            if self.core.is_stopped() && !self.fall_asleep() {
                return;
            }
            let timer = self.timer().map(|at| tokio::time::sleep_until(at.into()));
            tokio::select! {
                Some(ended) = self.asks.join_next_with_id() => self.note(ended),
                Ok(()) = desired.changed() => {
                    let desired = desired.borrow_and_update().clone();
                    let heard = if desired.asks() { desired.protocols } else { Protocols::NONE };
                    ears.listen(heard, &known.snapshot);
                    self.desire(desired, &known.snapshot);
                }
                Ok(()) = news.changed() => {
                    let now = news.borrow_and_update().clone();
                    ears.interfaces(&now.snapshot);
                    self.clients.interfaces(now.snapshot.clone());
                    if self.rest == Rest::Awake {
                        self.network(&known, &now);
                    }
                    known = now;
                }
                Some(hint) = hinted.recv() => self.hint(hint),
                Some(outside) = outside.recv() => self.outside(outside),
                Some(()) = OptionFuture::from(timer) => self.time_has_come(),
            }
        }
    }

    fn timer(&self) -> Option<Instant> {
        let wants = self.core.poll_timeout().map(|(at, _why)| at);
        match self.rest {
            Rest::Awake => wants,
            Rest::FallingAsleep(last) => Some(wants.map_or(last, |at| at.min(last))),
            Rest::Asleep => None,
        }
    }

    fn time_has_come(&mut self) {
        let now = Instant::now();
        match self.rest {
            Rest::FallingAsleep(last) if now >= last => {
                debug!("a router did not answer when its mappings were taken back");
                self.begin_anew();
            }
            _ => self.core.handle_timeout(now),
        }
    }

    /// After everything was taken back: false if that was the end.
    fn fall_asleep(&mut self) -> bool {
        if self.rest == Rest::Awake {
            return false;
        }
        self.begin_anew();
        true
    }

    /// A core that knows nothing but what is remembered, and is told nothing: it asks nobody.
    fn begin_anew(&mut self) {
        self.asks.abort_all();
        self.running.clear();
        self.rest = Rest::Asleep;
        self.core = Core::new(self.config.clone(), Instant::now());
        self.publish();
    }

    fn execute(&mut self) {
        let mut changed = false;
        while let Some(command) = self.core.poll_command() {
            match command {
                Command::Ask { id, uplink, protocol, request } => {
                    debug!(%uplink, %protocol, ?request, "asking");
                    let clients = self.clients.clone();
                    let ask = self.asks.spawn(async move { clients.ask(&uplink, protocol, request).await });
                    self.running.insert(ask.id(), (id, ask));
                }
                Command::Cancel { id } => {
                    self.running
                        .values()
                        .filter(|(running, _)| *running == id)
                        .for_each(|(_, ask)| ask.abort());
                }
                Command::Remember(mappings) => {
                    self.config.remembered.clone_from(&mappings);
                    self.memory.remember(mappings);
                }
                Command::Changed => changed = true,
            }
        }
        if changed {
            self.publish();
        }
    }

    fn publish(&self) {
        let state = self.core.state(Instant::now(), SystemTime::now());
        self.state.send_if_modified(|published| {
            if *published == state {
                return false;
            }
            if published.sentence != state.sentence {
                info!(state = state.verdict.as_str(), "{}", state.sentence);
            }
            *published = state;
            true
        });
    }

    fn note(&mut self, ended: Result<(tokio::task::Id, Answer), tokio::task::JoinError>) {
        let (task, answer) = match ended {
            Ok((task, answer)) => (task, Some(answer)),
            Err(error) if error.is_cancelled() => (error.id(), None),
            Err(error) => {
                warn!(%error, "a request to a router broke off");
                (error.id(), Some(Answer::Nonsense("the request broke off".into())))
            }
        };
        if let (Some((id, _)), Some(answer)) = (self.running.remove(&task), answer) {
            debug!(?answer, "answered");
            self.core.handle_answer(id, answer, Instant::now());
        }
    }

    fn desire(&mut self, desired: Desired, network: &Snapshot) {
        let now = Instant::now();
        self.config.protocols = desired.protocols;
        if desired.stopping {
            // Whoever rests has taken back everything that can be.
            self.rest = Rest::Awake;
            self.core.stop(now);
            return;
        }
        if desired.resting {
            if self.rest == Rest::Awake {
                self.rest = Rest::FallingAsleep(now + FAREWELL);
                self.core.stop(now);
            }
            return;
        }
        if self.rest != Rest::Awake {
            self.begin_anew();
            self.rest = Rest::Awake;
            self.core.handle_network(network, now);
        }
        self.core.handle_protocols(desired.protocols, now);
        self.core.handle_wanted(desired.wanted, now);
    }

    fn network(&mut self, before: &News, after: &News) {
        let now = Instant::now();
        if after.resumes != before.resumes {
            info!(slept = ?after.slept, "the computer was asleep: mappings are looked at");
            self.core.handle_resume(after.slept, now);
        }
        if after.changes != before.changes || after.snapshot != before.snapshot {
            self.core.handle_network(&after.snapshot, now);
        }
    }

    fn hint(&mut self, hint: Hint) {
        if self.rest != Rest::Awake {
            return;
        }
        debug!(?hint, "something happened at a router, or is said to have");
        self.core.handle_hint(hint, Instant::now());
    }

    fn outside(&mut self, outside: Outside) {
        if self.rest != Rest::Awake {
            return;
        }
        let now = Instant::now();
        match outside {
            Outside::Proof(report) => self.core.handle_proof(report, now),
            Outside::Seen { ip, local, heard_at } => {
                self.core.handle_seen_from_outside(ip, local, heard_at, now);
            }
            Outside::Doubt(why) => self.hint(Hint::Doubt { why }),
            Outside::Anew => self.core.handle_asked_anew(now),
        }
    }
}
