//! The handle: start, move to another port, stop.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use kith_identity::{DialBackNonce, DialInTag};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;

use crate::accept::accept_loop;
use crate::awaited::{AwaitError, AwaitedPunch, PunchSender};
use crate::bind::{BindError, BindFailure, Sharing, bind_all};
use crate::config::ListenerConfig;
use crate::door::{Door, Incoming};
use crate::expected::{ExpectError, Expected};
use crate::faces::Faces;

/// How long a shutdown waits for connections that are being refused.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Whether, and where, connections are taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerState {
    /// They are.
    Listening {
        /// The addresses bound.
        addresses: Vec<SocketAddr>,
        /// Their common port.
        port: u16,
    },
    /// They are not: it was shut down.
    Off,
    /// They should be, but the system lets none in. It is tried again all the time.
    Error {
        /// Why.
        message: String,
    },
}

/// A running listener. Cheap to clone; when the last clone is dropped it stops, and links that were handed over live on.
#[derive(Clone)]
pub struct Listener(Arc<Inner>);

struct Inner {
    door: Arc<Door>,
    state: Arc<StateCell>,
    sockets: Mutex<Sockets>,
}

struct Sockets {
    bound: Vec<Bound>,
    closed: bool,
}

impl Listener {
    /// Binds the port and takes in connections; those that are admitted go to `incoming`. Must be called within a tokio
    /// runtime. On failure it looks for a sentence that helps, which may take some milliseconds.
    ///
    /// # Errors
    /// If the port can't be taken; see [`BindError`].
    pub fn start(
        config: &ListenerConfig,
        faces: Faces,
        incoming: mpsc::Sender<Incoming>,
    ) -> Result<Self, BindError> {
        let addresses = config.addresses()?;
        let sockets = bind_all(&addresses, Sharing::Exclusive).map_err(BindFailure::explain)?;
        let door = Door::new(faces, incoming, config, draw);
        let state = Arc::new(StateCell::new());
        let bound = spawn_all(sockets, &door, &state)?;
        state.listening(&bound);
        Ok(Self(Arc::new(Inner { door, state, sockets: Mutex::new(Sockets { bound, closed: false }) })))
    }

    /// Moves to another port, or other addresses, or switches the greeting. The new ones are bound first, then the old ones
    /// closed; on failure the old ones stay. Links and handshakes live on.
    ///
    /// # Errors
    /// If the new port can't be taken; see [`BindError`].
    pub async fn rebind(&self, config: &ListenerConfig) -> Result<(), BindError> {
        let mut sockets = self.0.sockets.lock().await;
        if sockets.closed {
            return Err(BindError::Closed);
        }
        let wanted = config.addresses()?;
        let held: Vec<SocketAddr> = sockets.bound.iter().map(|bound| bound.address).collect();
        let missing: Vec<SocketAddr> =
            wanted.iter().copied().filter(|address| !held.contains(address)).collect();
        let sharing = if overlaps(&held, &missing) { Sharing::WithOurselves } else { Sharing::Exclusive };
        let added = match missing.as_slice() {
            [] => Vec::new(),
            missing => match bind_all(missing, sharing) {
                Ok(added) => spawn_all(added, &self.0.door, &self.0.state)?,
                Err(failure) => return Err(explain(failure).await),
            },
        };

        let (kept, dropped): (Vec<Bound>, Vec<Bound>) =
            std::mem::take(&mut sockets.bound).into_iter().partition(|bound| wanted.contains(&bound.address));
        sockets.bound = kept;
        sockets.bound.extend(added);
        self.0.door.set_greeting(config.greeting);
        self.0.state.listening(&sockets.bound);
        for bound in dropped {
            bound.close().await;
        }
        Ok(())
    }

    /// Waits for a ClientHello that carries this nonce: proof that the port can be reached from where it was sent. Whoever brings it gets no
    /// answer, and is no stranger. The nonce is withdrawn when the guard is dropped.
    ///
    /// # Errors
    /// If too many are waited for; see [`ExpectError`].
    pub fn expect(&self, nonce: DialBackNonce) -> Result<Expected, ExpectError> {
        self.0.door.expected.expect(nonce)
    }

    /// From now on, whoever connects from this address is handed out there, unread, instead of being served: it is the half of a punch of
    /// which ours begins TLS. So is who comes from the same IP address by another port and keeps silent: its router translated it otherwise than
    /// it was thought. Whoever speaks first is served as ever. The address is forgotten when the guard is dropped.
    ///
    /// # Errors
    /// If too many are waited for.
    pub fn await_punch(&self, from: SocketAddr, to: PunchSender) -> Result<AwaitedPunch, AwaitError> {
        self.0.door.awaited.wait_for(from, to)
    }

    /// Whether somebody is recognised by this tag, for the first and only time: for who serves a connection that came by another way. A
    /// tag that was seen there opens nothing here, nor the other way round.
    #[must_use]
    pub fn recognises(&self, tag: &DialInTag) -> bool {
        self.0.door.recognises(tag)
    }

    /// Whether, and where, connections are taken in; changes are announced.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ListenerState> {
        self.0.state.announced.subscribe()
    }

    /// Takes in nobody any more, closes the port, and ends handshakes that are under way. Links that were handed over are not
    /// touched.
    pub async fn shutdown(&self) {
        let mut sockets = self.0.sockets.lock().await;
        sockets.closed = true;
        for bound in std::mem::take(&mut sockets.bound) {
            bound.close().await;
        }
        self.0.door.close();
        if tokio::time::timeout(SHUTDOWN, self.0.door.emptied()).await.is_err() {
            tracing::debug!("connections that were not handed over take long to end");
        }
        self.0.state.set(ListenerState::Off);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.door.close();
    }
}

/// The state as it is announced, and what it is as long as nothing fails.
pub(crate) struct StateCell {
    announced: watch::Sender<ListenerState>,
    healthy: StdMutex<ListenerState>,
}

impl StateCell {
    fn new() -> Self {
        Self { announced: watch::Sender::new(ListenerState::Off), healthy: StdMutex::new(ListenerState::Off) }
    }

    /// The accept loop can't take in anybody at the moment.
    pub(crate) fn failed(&self, message: String) {
        self.announced.send_if_modified(|state| {
            let error = ListenerState::Error { message };
            let is_new = *state != error;
            *state = error;
            is_new
        });
    }

    /// It can again.
    pub(crate) fn recovered(&self) {
        let healthy = self.healthy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.announced.send_if_modified(|state| {
            let is_new = *state != healthy;
            *state = healthy;
            is_new
        });
    }

    fn listening(&self, bound: &[Bound]) {
        let addresses: Vec<SocketAddr> = bound.iter().map(|bound| bound.address).collect();
        let port = addresses.first().map_or(0, SocketAddr::port);
        tracing::info!(?addresses, "listening for friends");
        self.set(ListenerState::Listening { addresses, port });
    }

    fn set(&self, state: ListenerState) {
        *self.healthy.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.recovered();
    }
}

/// A bound address with its accept loop; the loop owns the socket.
struct Bound {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Bound {
    /// Ends the loop, and with it the socket: when this returns the port is free.
    async fn close(mut self) {
        self.task.abort();
        // An aborted task always ends in an error that says so.
        (&mut self.task).await.ok();
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn spawn_all(
    sockets: Vec<StdListener>,
    door: &Arc<Door>,
    state: &Arc<StateCell>,
) -> Result<Vec<Bound>, BindError> {
    let mut listeners = Vec::new();
    for socket in sockets {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = socket.local_addr().map_err(|source| BindError::Other { address: unknown, source })?;
        let listener =
            TcpListener::from_std(socket).map_err(|source| BindError::Other { address, source })?;
        listeners.push((address, listener));
    }
    let spawn = |(address, listener)| Bound {
        address,
        task: tokio::spawn(accept_loop(listener, door.clone(), state.clone())),
    };
    Ok(listeners.into_iter().map(spawn).collect())
}

/// A random number below 100.
fn draw() -> u8 {
    let mut byte = [0];
    // Without randomness everybody has the same luck, and the bounds hold all the same.
    getrandom::fill(&mut byte).map_or(0, |()| byte[0] % 100)
}

async fn explain(failure: BindFailure) -> BindError {
    let address = failure.address();
    tokio::task::spawn_blocking(move || failure.explain())
        .await
        .unwrap_or_else(|error| BindError::Other { address, source: std::io::Error::other(error) })
}

/// Whether a new address collides with one that this listener holds itself: same port, and one of the two stands for all
/// addresses of the family.
fn overlaps(held: &[SocketAddr], wanted: &[SocketAddr]) -> bool {
    wanted.iter().any(|new| {
        held.iter().any(|old| {
            old.port() == new.port()
                && old.is_ipv4() == new.is_ipv4()
                && (old.ip().is_unspecified() || new.ip().is_unspecified())
        })
    })
}
