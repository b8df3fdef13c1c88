//! Connections that both ends make at the same time, so that each one's router takes the other's for an answer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::port::PunchPort;
use crate::outbound::{FixedPortRefusal, Outbound, SocketPurpose, SocketUse};

/// Addresses at which a friend is tried at once.
pub const MOST_TARGETS: usize = 4;
/// Connections of one target that are shown to not be the friend's, before it is given up.
const MOST_CANDIDATES: u32 = 3;
/// Connections that were accepted at a port of our own, over all targets.
const MOST_ACCEPTED: usize = 8;
/// Connections that stand and wait to be taken.
const MOST_WAITING: usize = 4;
/// Sockets of all punches of this process that are waiting for an answer.
const MOST_SOCKETS: usize = 64;
/// Ports below are the system's services: no translated port of a home, and nothing that a friend may have us knock at.
const LEAST_PORT: u16 = 1024;

/// How long one socket waits for an answer: three SYN on most systems.
const HOLD: Duration = Duration::from_secs(4);
/// A router that refuses has not seen the other end's packet yet: the pause before the next try is twice the time that the refusal took,
/// within these bounds, and up to as much again by chance. Two routers that refuse let through only what meets on the way, which is a short one
/// where the refusal came soon; and with a fixed pause two ends that missed each other once would do so every time.
const SHORTEST_AFTER_RESET: Duration = Duration::from_millis(20);
/// See [`SHORTEST_AFTER_RESET`].
const LONGEST_AFTER_RESET: Duration = Duration::from_millis(150);
/// The two ends are connected already, as the listener has accepted what the other one sent, or were a moment ago.
const AFTER_COLLISION: Duration = Duration::from_millis(200);
/// There is no way at the moment.
const AFTER_UNREACHABLE: Duration = Duration::from_millis(500);
/// Who is there was not the friend: the next connection to the same place.
const AFTER_CANDIDATE: Duration = Duration::from_secs(1);
/// Longest time for one punch: nobody keeps a socket at somebody's address for longer.
const LONGEST: Duration = Duration::from_secs(30);

static SOCKETS: Semaphore = Semaphore::const_new(MOST_SOCKETS);

/// To where, and when. Both ends have agreed on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PunchPlan {
    /// Where the friend may be: as he is seen from outside, in our network, at his router. At most [`MOST_TARGETS`] are tried, the first ones.
    pub targets: Vec<SocketAddr>,
    /// When the first packet leaves.
    pub begin: Instant,
    /// When nothing is tried any more; at most 30 s later.
    pub until: Instant,
}

/// Where connections are handed out that the listener accepted, with the address that they come from.
pub type PunchSender = mpsc::Sender<(TcpStream, SocketAddr)>;

/// Where the listener hands out connections that are a friend's half of a punch.
pub trait PunchTable: Send + Sync {
    /// From now on, whoever connects to the listener from this address is handed over here, unread, instead of being served; and so is
    /// who comes from the same IP address by another port and keeps silent, as one does who was translated otherwise than expected and waits for
    /// our ClientHello. Until the guard is dropped; none if there is no place.
    fn await_punch(&self, from: SocketAddr, to: PunchSender) -> Option<Box<dyn Send + Sync>>;
}

/// Nothing can be tried.
#[derive(Debug, thiserror::Error)]
pub enum PunchError {
    /// There is no address at which the friend may be tried.
    #[error("nothing to punch to: no address of the other computer is one that may be tried from {local}")]
    NoTarget {
        /// Our own end.
        local: SocketAddr,
    },
    /// The settings forbid it.
    #[error("no punching: {0}")]
    Refused(#[from] FixedPortRefusal),
    /// The local port can't be used.
    #[error("no punching: the local port {local} can't be used")]
    Port {
        /// Which.
        local: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// A connection that stands. Whose it is must be proved; if it is dropped before that, it is reset, and leaves nothing behind.
#[derive(Debug)]
pub struct Punched {
    /// Nothing was read from it or written to it.
    pub stream: TcpStream,
    /// The other end.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// How it came about.
    pub by: CameBy,
}

/// How a connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameBy {
    /// We connected; the other end did, too, or it accepted.
    Connect,
    /// We accepted.
    Accept,
}

/// What was met at one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PunchOutcome {
    /// Where.
    pub target: SocketAddr,
    /// So many connections were begun.
    pub tries: u32,
    /// What the last one met; none if none is over.
    pub last: Option<Met>,
}

/// What one try met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Met {
    /// A connection.
    #[error("somebody is there, and it was not proved to be the friend")]
    Somebody,
    /// A reset: a router refuses, or nobody listens.
    #[error("refused: a router let nothing in, or nothing listens there")]
    Reset,
    /// Nothing.
    #[error("no response: a router or firewall drops what comes")]
    Silence,
    /// There is a connection of these two ends already.
    #[error("this port has a connection to there already")]
    Collision,
    /// It was our own end.
    #[error("this address leads back to this computer")]
    Myself,
    /// The network, or the system, says no.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The settings don't allow it.
    #[error("not tried: {0}")]
    Refused(FixedPortRefusal),
}

/// A punch that is under way: it goes on by itself until its time is over or this is dropped, which closes all its sockets.
#[derive(Debug)]
pub struct Punching {
    found: mpsc::Receiver<Punched>,
    outcomes: Outcomes,
    _guards: Guards,
    _tasks: JoinSet<()>,
}

impl Punching {
    /// The next connection that stands; none when the time is over. Whoever finds that it is not the friend's asks for another one. Can be
    /// dropped and called again without a loss.
    pub async fn next(&mut self) -> Option<Punched> {
        self.found.recv().await
    }

    /// What was met so far.
    #[must_use]
    pub fn outcomes(&self) -> Vec<PunchOutcome> {
        self.outcomes.lock().clone()
    }
}

/// Begins to punch from a port. `accepted` is where the listener hands out its half: to be given by the end that is the TLS client; what the TLS
/// server's listener accepts is served there as any call. Must be called within a tokio runtime.
///
/// # Errors
/// If nothing can be tried; see [`PunchError`].
pub fn punch(
    outbound: &Outbound,
    port: &PunchPort,
    plan: &PunchPlan,
    accepted: Option<&dyn PunchTable>,
) -> Result<Punching, PunchError> {
    let local = port.address();
    let mut targets: Vec<SocketAddr> = Vec::new();
    for target in plan.targets.iter().map(|target| SocketAddr::new(target.ip().to_canonical(), target.port()))
    {
        if may_be_tried(outbound, local, target) && !targets.contains(&target) && targets.len() < MOST_TARGETS
        {
            targets.push(target);
        }
    }
    let refusal = |target: &SocketAddr| outbound.allows_from_port(local.port(), *target).err();
    match targets.iter().map(refusal).reduce(|all, next| all.and(next)) {
        None => return Err(PunchError::NoTarget { local }),
        Some(Some(refusal)) => return Err(refusal.into()),
        Some(None) => {}
    }
    // Now, rather than once for each target.
    drop(outbound.socket_at(local).map_err(|source| PunchError::Port { local, source })?);

    let (sender, found) = mpsc::channel(MOST_WAITING);
    let until = plan.until.min(plan.begin.max(Instant::now()) + LONGEST);
    let outcomes = Outcomes::of(&targets);
    let mut tasks = JoinSet::new();
    let mut guards = Vec::new();
    if let Some(own) = port.own() {
        let from: Vec<IpAddr> = targets.iter().map(SocketAddr::ip).collect();
        let told = outbound.hold(SocketUse { local, remote: None, purpose: SocketPurpose::Punch });
        let accepting = accept(own, from, sender.clone());
        tasks.spawn(until_over(until, async move {
            accepting.await;
            drop(told);
        }));
    } else if let Some(table) = accepted {
        let (handed_out, arriving) = mpsc::channel(MOST_WAITING);
        guards.extend(targets.iter().filter_map(|target| table.await_punch(*target, handed_out.clone())));
        tasks.spawn(until_over(until, hand_on(arriving, sender.clone())));
    }
    for (index, target) in targets.into_iter().enumerate() {
        let lane = Lane { outbound: outbound.clone(), local, target, index, outcomes: outcomes.clone() };
        let begin = plan.begin;
        let sender = sender.clone();
        tasks.spawn(until_over(until, async move {
            sleep_until(begin).await;
            let used = SocketUse { local, remote: Some(target), purpose: SocketPurpose::Punch };
            let _told = lane.outbound.hold(used);
            lane.run(until, sender).await;
        }));
    }
    Ok(Punching { found, outcomes, _guards: Guards(guards), _tasks: tasks })
}

/// Whether connections may be tried from a local address to one of which a friend told. Nothing on this computer may be: not what listens
/// at loopback, nor at an address of one of its interfaces. Who is at loopback himself may try others there.
fn may_be_tried(outbound: &Outbound, local: SocketAddr, target: SocketAddr) -> bool {
    let ip = target.ip();
    let is_somebodys = match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    is_somebodys
        && ip.is_ipv4() == local.is_ipv4()
        && target.port() >= LEAST_PORT
        && target != local
        && (!outbound.is_here(ip) || (ip.is_loopback() && local.ip().is_loopback()))
}

async fn until_over(until: Instant, task: impl Future<Output = ()>) {
    // That the time is over is no error.
    timeout_at(until, task).await.ok();
}

/// What holds the places at the listener's table.
struct Guards(Vec<Box<dyn Send + Sync>>);

impl std::fmt::Debug for Guards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} guards", self.0.len())
    }
}

/// What was met, shared with those who meet it.
#[derive(Clone, Debug)]
struct Outcomes(Arc<Mutex<Vec<PunchOutcome>>>);

impl Outcomes {
    fn of(targets: &[SocketAddr]) -> Self {
        let untried = |target: &SocketAddr| PunchOutcome { target: *target, tries: 0, last: None };
        Self(Arc::new(Mutex::new(targets.iter().map(untried).collect())))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PunchOutcome>> {
        // No code that holds the lock can leave the list half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, index: usize, change: impl FnOnce(&mut PunchOutcome)) {
        if let Some(outcome) = self.lock().get_mut(index) {
            change(outcome);
        }
    }
}

/// The tries at one target, one after the other.
struct Lane {
    outbound: Outbound,
    local: SocketAddr,
    target: SocketAddr,
    index: usize,
    outcomes: Outcomes,
}

impl Lane {
    async fn run(&self, until: Instant, found: mpsc::Sender<Punched>) {
        let mut candidates = 0;
        loop {
            let begun = Instant::now();
            let met = match self.try_once(until).await {
                Ok(punched) => {
                    candidates += 1;
                    // Nobody wants it any more when the punch was given up.
                    if found.send(punched).await.is_err() {
                        return;
                    }
                    Met::Somebody
                }
                Err(met) => met,
            };
            let next = pause(&met, begun.elapsed(), candidates, fraction());
            tracing::trace!(local = %self.local, remote = %self.target, outcome = ?met, pause = ?next, "one try of a punch is over");
            // A last try that the end cut short says nothing against what was met before.
            let is_cut = met == Met::Silence && begun.elapsed() < HOLD;
            self.outcomes.note(self.index, |outcome| {
                if !is_cut || outcome.last.is_none() {
                    outcome.last = Some(met);
                }
            });
            match next {
                Some(pause) if Instant::now() + pause < until => sleep(pause).await,
                _ => return,
            }
        }
    }

    async fn try_once(&self, until: Instant) -> Result<Punched, Met> {
        let _place = SOCKETS.acquire().await;
        self.outbound.allows_from_port(self.local.port(), self.target).map_err(Met::Refused)?;
        let socket =
            self.outbound.socket_at(self.local).map_err(|error| Met::Unreachable(error.to_string()))?;
        self.outcomes.note(self.index, |outcome| outcome.tries += 1);
        let hold = until.min(Instant::now() + HOLD);
        let stream = match timeout_at(hold, socket.connect(self.target)).await {
            Err(_elapsed) => return Err(Met::Silence),
            Ok(connected) => connected.map_err(|error| what_was_met(&error))?,
        };
        let local = stream.local_addr().map_err(|error| Met::Unreachable(error.to_string()))?;
        // TCP's simultaneous open with oneself.
        if local == self.target {
            return Err(Met::Myself);
        }
        Ok(Punched { stream, remote: self.target, local, by: CameBy::Connect })
    }
}

/// What an error of connecting says.
fn what_was_met(error: &io::Error) -> Met {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Met::Reset,
        io::ErrorKind::TimedOut => Met::Silence,
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Met::Collision,
        _ => Met::Unreachable(error.to_string()),
    }
}

/// How long to wait before the next try at a target, when this was met after so long, and so many connections were not the friend's; none: it
/// is given up. `fraction` is a random number of 256 parts.
fn pause(met: &Met, took: Duration, candidates: u32, fraction: u8) -> Option<Duration> {
    match met {
        Met::Somebody if candidates >= MOST_CANDIDATES => None,
        Met::Somebody => Some(AFTER_CANDIDATE),
        Met::Reset => {
            let pause = (took * 2).clamp(SHORTEST_AFTER_RESET, LONGEST_AFTER_RESET);
            Some(pause + pause * u32::from(fraction) / 256)
        }
        // The socket was held for long already.
        Met::Silence => Some(Duration::ZERO),
        Met::Collision => Some(AFTER_COLLISION),
        Met::Unreachable(_) => Some(AFTER_UNREACHABLE),
        Met::Myself | Met::Refused(_) => None,
    }
}

fn fraction() -> u8 {
    let mut random = [0];
    // Without random numbers all pauses are alike.
    getrandom::fill(&mut random).unwrap_or_default();
    random[0]
}

/// Takes what comes to a port of our own from the addresses that are tried.
async fn accept(own: Arc<TcpListener>, from: Vec<IpAddr>, found: mpsc::Sender<Punched>) {
    let mut accepted = 0;
    while accepted < MOST_ACCEPTED {
        match own.accept().await {
            Ok((stream, remote)) => {
                let Some(punched) = of_accepted(stream, remote) else { continue };
                if from.contains(&remote.ip().to_canonical()) {
                    accepted += 1;
                    if found.send(punched).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%error, "accepting at a punching port fails");
                sleep(AFTER_COLLISION).await;
            }
        }
    }
}

/// Passes on what the listener hands out.
async fn hand_on(mut arriving: mpsc::Receiver<(TcpStream, SocketAddr)>, found: mpsc::Sender<Punched>) {
    while let Some((stream, remote)) = arriving.recv().await {
        if let Some(punched) = of_accepted(stream, remote)
            && found.send(punched).await.is_err()
        {
            return;
        }
    }
}

/// None if it is gone already.
fn of_accepted(stream: TcpStream, remote: SocketAddr) -> Option<Punched> {
    // Until it is proved whose it is, its end must leave nothing behind that keeps the two ends from meeting again.
    stream.set_zero_linger().ok()?;
    let local = stream.local_addr().ok()?;
    Some(Punched { stream, remote, local, by: CameBy::Accept })
}

#[cfg(test)]
mod tests;
