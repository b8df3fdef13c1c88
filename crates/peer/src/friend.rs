//! One friend: the task that keeps a link to him, and what it shares with the rest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures::future::OptionFuture;
use kith_identity::{Identity, tls};
use kith_wire::{DeviceId, Hello, HelloVerdict, Link, Side};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::book::AddressBook;
use crate::dial::{DialError, Dialing, dial};
use crate::dial_back::DialBacks;
use crate::dialer::{Dialer, Jitter};
use crate::guests::Guests;
use crate::host::{Connection, Host, PeerState, Standing};
use crate::outbound::Outbound;
use crate::prefer::{Existing, Keep, prefer};
use crate::race::{Attempt, race};
use crate::runs::Runs;
use crate::session::{Accepting, Admitted, Session, greet, seen_as};

/// Connections of one friend that wait for their hello at once; one more, and the one that has waited for longest goes.
const MOST_ARRIVALS: usize = 8;
/// How long an old link may take to prove itself alive after a network change.
const PROOF_OF_LIFE: Duration = Duration::from_secs(6);

/// What the friend's task shares.
pub(crate) struct Shared {
    pub(crate) friend: DeviceId,
    us: DeviceId,
    identity: Arc<Identity>,
    host: Arc<dyn Host>,
    outbound: Outbound,
    book: Mutex<AddressBook>,
    state: Mutex<PeerState>,
    link: watch::Sender<Option<Link>>,
    current: Mutex<Option<Current>>,
    /// Which runs of his program had the link.
    runs: Mutex<Runs>,
    /// Why his last hello was turned away, until there is a link: he dials, and can't be dialled perhaps.
    turned_away: Mutex<Option<String>>,
    /// Older installations of his, and visitors.
    guests: Mutex<Guests>,
    /// Something changed that makes a dial promising.
    promising: Notify,
    /// What he asks to be called at, and from where he is connected.
    dial_backs: Arc<DialBacks>,
    /// The network changed: links must prove themselves.
    network: Notify,
}

/// The connection that holds the place of the link, from the moment it is admitted.
#[derive(Clone, Copy)]
struct Current {
    side: Side,
    since: Instant,
    serial: u64,
}

/// A connection that the listener handed over.
pub(crate) struct Arrival {
    pub(crate) stream: Box<dyn kith_wire::ByteStream>,
    pub(crate) remote: std::net::SocketAddr,
    pub(crate) local: std::net::SocketAddr,
}

/// The handle to a friend's task; dropping it ends the task and its link.
pub(crate) struct Friend {
    pub(crate) shared: Arc<Shared>,
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    _task: AbortOnDropHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Friend {
    pub(crate) fn start(
        friend: DeviceId,
        book: AddressBook,
        identity: Arc<Identity>,
        host: Arc<dyn Host>,
        outbound: Outbound,
        dialer: Dialer,
    ) -> Self {
        let shared = Arc::new(Shared {
            friend,
            us: identity.device_id(),
            identity,
            host,
            book: Mutex::new(book),
            state: Mutex::default(),
            link: watch::Sender::new(None),
            current: Mutex::new(None),
            runs: Mutex::default(),
            turned_away: Mutex::default(),
            guests: Mutex::default(),
            promising: Notify::new(),
            dial_backs: Arc::new(DialBacks::new(outbound.clone())),
            outbound,
            network: Notify::new(),
        });
        let (arrivals, arriving) = mpsc::channel(MOST_ARRIVALS);
        let span = info_span!("friend", id = %friend.short());
        let task = tokio::spawn(run(shared.clone(), arriving, dialer).instrument(span));
        Self { shared, arrivals, _task: AbortOnDropHandle::new(task) }
    }
}

impl Shared {
    pub(crate) fn state(&self) -> PeerState {
        lock(&self.state).clone()
    }

    pub(crate) fn link(&self) -> watch::Receiver<Option<Link>> {
        self.link.subscribe()
    }

    /// Replaces what is known of the addresses; a real change starts a dial.
    pub(crate) fn set_book(&self, book: AddressBook) {
        let mut known = lock(&self.book);
        if *known != book {
            *known = book;
            drop(known);
            self.promising.notify_one();
        }
    }

    pub(crate) fn dial_now(&self) {
        self.promising.notify_one();
    }

    pub(crate) fn network_changed(&self) {
        self.promising.notify_one();
        self.network.notify_one();
    }

    /// Claims the place of the link for a connection, if it is to be kept.
    fn claim(&self, side: Side, serial: u64) -> Keep {
        let mut current = lock(&self.current);
        let existing = current.map(|c| Existing { side: c.side, age: c.since.elapsed() });
        let keep = prefer(existing, side, &self.us, &self.friend);
        if keep == Keep::New {
            *current = Some(Current { side, since: Instant::now(), serial });
        }
        keep
    }

    /// Decides what becomes of a connection whose hello was just heard.
    fn admit(&self, hello: &Hello, serial: u64) -> Admitted {
        let twin = lock(&self.runs).is_twin(hello.installation, hello.run);
        let standing = if twin { Standing::Guest } else { self.host.standing(&self.friend, hello) };
        let has_link = lock(&self.current).is_some();
        let beside = match standing {
            Standing::Guest | Standing::Visitor => true,
            Standing::LinkIfNone => has_link,
            Standing::Link => false,
        };
        if beside {
            return Admitted { verdict: HelloVerdict::Welcome, standing: guest(standing), twin };
        }
        let verdict = match self.claim(Side::Acceptor, serial) {
            Keep::New => HelloVerdict::Welcome,
            Keep::Existing => HelloVerdict::Duplicate,
        };
        Admitted { verdict, standing: Standing::Link, twin }
    }

    fn holds_place(&self, serial: u64) -> bool {
        lock(&self.current).is_some_and(|current| current.serial == serial)
    }

    fn release(&self, serial: u64) {
        let mut current = lock(&self.current);
        if current.is_some_and(|current| current.serial == serial) {
            *current = None;
        }
    }

    async fn dial_all(self: Arc<Self>, serial: u64) -> Result<Session, Vec<Attempt>> {
        let candidates = lock(&self.book).candidates();
        let dialing = Dialing {
            outbound: self.outbound.clone(),
            friend: Some(self.friend),
            config: tls::client_config(&self.identity, self.friend),
            us: self.us,
            keys: self.host.dial_in_keys(&self.friend),
        };
        // One hello at a time: the first proved connection asks for the link, the others wait for the outcome.
        let turn = AsyncMutex::new(());
        let (shared, turn, dialing) = (&self, &turn, &dialing);
        race(candidates, |address| {
            async move {
                let dialed = dial(&address, dialing).await?;
                let _turn = turn.lock().await;
                // Claimed before hello is said: of two hellos that cross on the way, both ends then keep the same one.
                if shared.claim(Side::Dialer, serial) == Keep::Existing {
                    return Err(DialError::Duplicate);
                }
                let presence = shared.dial_backs.connected((!dialed.proxied).then_some(dialed.remote.ip()));
                let greeted = greet(dialed, address, shared.friend, shared.host.clone(), presence).await;
                match greeted {
                    Ok(session) if matches!(session.standing, Standing::Guest | Standing::Visitor) => {
                        shared.release(serial);
                        // He may want to read, and perhaps he can't dial us.
                        let visits = session.standing == Standing::Visitor;
                        let mut guests = lock(&shared.guests);
                        if guests.any(visits) {
                            session.link.close("this computer was recovered elsewhere");
                            session.driver.detach();
                        } else {
                            guests.serve(session, visits);
                        }
                        Err(DialError::OlderInstallation)
                    }
                    Ok(session) => Ok(session),
                    Err(error) => {
                        shared.release(serial);
                        Err(error)
                    }
                }
            }
        })
        .await
        .map(|(_address, session)| session)
    }

    /// Waits for the hello of a connection that came in, until `given_up`.
    async fn accept(
        self: Arc<Self>,
        arrival: Arrival,
        serial: u64,
        mut given_up: oneshot::Receiver<()>,
    ) -> Option<Session> {
        let Arrival { stream, remote, local } = arrival;
        let claimant = self.clone();
        let admit = Box::new(move |hello: &Hello| claimant.admit(hello, serial));
        let presence = self.dial_backs.connected(Some(remote.ip()));
        let mut accepting =
            Accepting::start(stream, self.friend, remote.ip(), self.host.clone(), admit, presence);
        let mut makes_room = false;
        let heard = tokio::select! {
            heard = accepting.hello() => heard,
            _ = &mut given_up => {
                makes_room = true;
                accepting.give_up()
            }
        };
        let Some(Ok((hello, standing))) = heard else {
            if let Some(Err(error)) = heard {
                self.turn_away(error.to_string());
            }
            // Leaves the answer time to reach the other side before the connection is dropped.
            let parting = tokio::time::timeout(Duration::from_secs(2), accepting.link.ended());
            tokio::select! {
                _ = parting, if !makes_room => {}
                _ = &mut given_up, if !makes_room => {}
                else => {}
            }
            self.release(serial);
            return None;
        };
        let connection = Connection {
            side: Side::Acceptor,
            remote,
            local,
            proxied: false,
            dialled: None,
            since: SystemTime::now(),
            seen_as: seen_as(&hello),
            capabilities: hello.capabilities.clone(),
        };
        Some(Session { link: accepting.link, driver: accepting.driver, connection, hello, standing })
    }

    fn put_up(&self, session: &Session) {
        {
            let mut state = lock(&self.state);
            state.connection = Some(session.connection.clone());
            state.attempts.clear();
            state.last_error = None;
        }
        *lock(&self.turned_away) = None;
        self.link.send_replace(Some(session.link.clone()));
        lock(&self.runs).note(session.hello.installation, session.hello.run);
        info!(remote = %session.connection.remote, dialled = session.connection.dialled.is_some(), "linked");
        self.host.linked(&self.friend, &session.hello, &session.connection);
        self.host.changed(&self.friend);
    }

    fn put_down(&self, reason: &str) {
        self.link.send_replace(None);
        {
            let mut state = lock(&self.state);
            state.connection = None;
            state.last_error = Some(format!("the link ended: {reason}"));
        }
        info!(reason, "link ended");
        self.host.unlinked(&self.friend, reason);
        self.host.changed(&self.friend);
    }

    /// A hello of his could not be accepted.
    fn turn_away(&self, error: String) {
        let is_news = lock(&self.turned_away).replace(error.clone()).as_ref() != Some(&error);
        if is_news {
            warn!(%error, "the friend's hello was refused");
        }
        let mut state = lock(&self.state);
        // Beside a link it is somebody else's concern, as of a copy of his home.
        if state.connection.is_none() {
            state.last_error = Some(error);
            drop(state);
            self.host.changed(&self.friend);
        }
    }

    fn note_failures(&self, attempts: Vec<Attempt>) {
        let spoke = attempts.iter().any(|attempt| matches!(attempt.error, DialError::OtherVersion(_)));
        let turned_away = lock(&self.turned_away).clone().filter(|_| !spoke);
        let error = turned_away.unwrap_or_else(|| sentence(&attempts));
        let mut state = lock(&self.state);
        let news = state.last_error.as_ref() != Some(&error);
        state.last_error = Some(error);
        state.attempts = attempts;
        drop(state);
        if news {
            self.host.changed(&self.friend);
        }
    }
}

/// The most telling of the failures in one sentence.
fn sentence(attempts: &[Attempt]) -> String {
    const fn weight(error: &DialError) -> u8 {
        match error {
            DialError::RefusedUs(_) | DialError::OtherVersion(_) => 0,
            DialError::NotRecognised | DialError::OtherDevice { .. } | DialError::OlderInstallation => 1,
            DialError::Broken(_) | DialError::BrokenOff | DialError::Tls(_) => 2,
            DialError::NotKith(_) | DialError::Proxy(_) => 3,
            DialError::Refused | DialError::NotAllowed(_) => 4,
            DialError::NoResponse(_) => 5,
            DialError::NameNotFound(_) | DialError::Unreachable(_) => 6,
            DialError::Myself | DialError::BadAddress(_) | DialError::Duplicate => 7,
        }
    }
    match attempts.iter().min_by_key(|attempt| weight(&attempt.error)) {
        None => "no address of this computer is known: add one, or wait until it connects by itself".into(),
        Some(Attempt { address, error }) => {
            let others = attempts.len() - 1;
            let tail = match others {
                0 => String::new(),
                1 => " (and 1 other address failed)".into(),
                n => format!(" (and {n} other addresses failed)"),
            };
            format!("{address}: {error}{tail}")
        }
    }
}

/// Keeps the link to one friend until the handle is dropped.
async fn run(shared: Arc<Shared>, mut arriving: mpsc::Receiver<Arrival>, mut dialer: Dialer) {
    let mut serial = 0;
    let mut up: Option<(u64, Session)> = None;
    let mut dialing = std::pin::pin!(OptionFuture::from(None));
    let mut accepting = tokio::task::JoinSet::new();
    let mut arrived: VecDeque<oneshot::Sender<()>> = VecDeque::new();
    loop {
        let timer = dialer.poll_timeout().map(|at| tokio::time::sleep_until(at.into()));
        let link_end = up.as_ref().map(|(_, session)| {
            let link = session.link.clone();
            async move { link.ended().await }
        });
        tokio::select! {
            Some(()) = OptionFuture::from(timer) => {
                if dialer.handle_timeout(Instant::now()) {
                    serial += 1;
                    let (shared, serial) = (shared.clone(), serial);
                    dialing.set(OptionFuture::from(Some(Box::pin(async move {
                        (serial, shared.dial_all(serial).await)
                    }))));
                }
            }
            Some((serial, outcome)) = &mut dialing => {
                dialing.set(OptionFuture::from(None));
                match outcome {
                    Ok(session) if shared.holds_place(serial) => {
                        replace(&shared, &mut up, serial, session);
                        dialer.handle_linked();
                    }
                    Ok(session) => {
                        session.link.close("another connection to the same computer is kept");
                        dialer.handle_duplicate(Instant::now());
                    }
                    Err(attempts) => {
                        debug!(failures = attempts.len(), "no address led to the friend");
                        if attempts.iter().any(|attempt| attempt.error == DialError::Duplicate) {
                            dialer.handle_duplicate(Instant::now());
                        } else {
                            dialer.handle_failed(Instant::now(), draw());
                            if up.is_none() {
                                shared.note_failures(attempts);
                            }
                        }
                    }
                }
            }
            Some(arrival) = arriving.recv() => {
                arrived.retain(|waiting| !waiting.is_closed());
                if arrived.len() >= MOST_ARRIVALS
                    && let Some(oldest) = arrived.pop_front()
                {
                    debug!("a connection that says no hello makes room for another");
                    // One that is done by now doesn't hear it, and need not.
                    oldest.send(()).ok();
                }
                let (give_up, given_up) = oneshot::channel();
                arrived.push_back(give_up);
                serial += 1;
                let (shared, serial) = (shared.clone(), serial);
                accepting.spawn(async move { (serial, shared.accept(arrival, serial, given_up).await) });
            }
            Some(accepted) = accepting.join_next() => {
                if let Ok((serial, Some(session))) = accepted {
                    if session.standing != Standing::Link {
                        let visits = session.standing == Standing::Visitor;
                        lock(&shared.guests).serve(session, visits);
                    } else if shared.holds_place(serial) {
                        replace(&shared, &mut up, serial, session);
                        dialer.handle_linked();
                        dialing.set(OptionFuture::from(None));
                    } else {
                        session.link.close("another connection to the same computer is kept");
                    }
                }
            }
            Some(reason) = OptionFuture::from(link_end) => {
                if let Some((serial, _)) = up.take() {
                    shared.release(serial);
                    shared.put_down(&reason.to_string());
                    dialer.handle_link_over(Instant::now(), draw());
                }
            }
            () = shared.promising.notified() => dialer.handle_promising(Instant::now()),
            () = shared.network.notified() => {
                if let Some((_, session)) = &up {
                    prove_life(session.link.clone());
                }
            }
        }
    }
}

/// The place of one who is not the link.
const fn guest(standing: Standing) -> Standing {
    match standing {
        Standing::Visitor => Standing::Visitor,
        _ => Standing::Guest,
    }
}

/// Puts a new session in the place of the old one.
fn replace(shared: &Shared, up: &mut Option<(u64, Session)>, serial: u64, session: Session) {
    if let Some((_, old)) = up.take() {
        old.link.close("replaced by a newer connection");
        // The driver must live on for a moment to say goodbye; it ends by itself.
        old.driver.detach();
    }
    shared.put_up(&session);
    *up = Some((serial, session));
}

/// Closes a link that does not answer soon after a network change.
fn prove_life(link: Link) {
    tokio::spawn(async move {
        let mut ping = http::Request::new(kith_wire::empty_body());
        *ping.uri_mut() = http::Uri::from_static(kith_wire::paths::PING);
        let pinged = tokio::time::timeout(PROOF_OF_LIFE, link.request(ping)).await;
        // A pong may queue behind bulk data: whatever was read in the meantime proves life as well.
        if pinged.is_err() && link.silent_for() >= PROOF_OF_LIFE {
            link.close("it did not answer after the network changed");
        }
    });
}

fn draw() -> Jitter {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Jitter(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)),
        // Without randomness the pauses lose their jitter, nothing else.
        Err(_unavailable) => Jitter(1.0),
    }
}
