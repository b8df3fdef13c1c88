//! The three doors of the daemon and what happens behind them.

mod answer;
mod bind;
mod connection;
mod events;
mod extract;
mod guard;
mod handlers;
mod openapi;
mod routes;
mod secret;
mod shared;
mod socket;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backend::SharedBackend;
use connection::{Acceptor, Door};

pub(crate) use answer::Refusal;
pub(crate) use connection::NOT_ADMITTED;
pub(crate) use events::{Messages, event_stream};
pub(crate) use extract::{JsonBody, Query, Segment};
pub(crate) use handlers::{FROM_STORE, examined};
pub(crate) use secret::CODE_LIFETIME;
pub use secret::Token;
pub(crate) use shared::Shared;
pub(crate) use socket::{owners, reachable_path, user_name};

/// Where the server listens.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// The API's port, 4243 by default; 0 = any.
    pub port: u16,
    /// The app's port, 4244 by default; 0 = any.
    pub app_port: u16,
    /// The Unix socket of the command line.
    pub socket: PathBuf,
    /// The group of this computer whose members may use the socket as well; `kith` by default. Using the socket means
    /// being able to read every backed-up file.
    pub group: Option<String>,
}

impl ControlConfig {
    /// The given ports and socket, and the group `kith`.
    #[must_use]
    pub fn new(port: u16, app_port: u16, socket: PathBuf) -> Self {
        Self { port, app_port, socket, group: Some("kith".to_owned()) }
    }
}

/// Where the server really listens: to be logged, and written where other programs look for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The API's port.
    pub api_port: u16,
    /// The app's port.
    pub app_port: u16,
    /// The API's port as it was asked for; another program holds it when it is neither 0 nor `api_port`.
    pub wanted_api_port: u16,
    /// The app's port as it was asked for; likewise.
    pub wanted_app_port: u16,
    /// Whether `[::1]` is bound too.
    pub ipv6: bool,
}

impl Bound {
    /// Whether another port than the wanted one had to be taken, of either.
    #[must_use]
    pub const fn moved(&self) -> bool {
        (self.wanted_api_port != 0 && self.wanted_api_port != self.api_port)
            || (self.wanted_app_port != 0 && self.wanted_app_port != self.app_port)
    }
}

/// Why the local side could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Neither the wanted port nor any other could be bound.
    #[error("cannot listen on port {port} of this computer's loopback address")]
    Port {
        /// The wanted port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// Another daemon answers on the socket.
    #[error("another daemon already answers on {}", path.display())]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// The socket could not be made.
    #[error("cannot make the socket {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("cannot get random numbers from the system: {0}")]
    Random(String),
}

/// The running local side. Dropping it closes everything at once; [`ControlServer::shutdown`] does it gently.
pub struct ControlServer {
    shared: Arc<Shared>,
    socket: socket::Place,
    acceptors: JoinSet<()>,
    /// Cancelled on drop or when the deadline of a shutdown passes: ends what still runs.
    abort: CancellationToken,
}

impl ControlServer {
    /// Binds both ports and the socket, and serves from now on: [`ControlServer::bind`] and [`ControlServer::open`] in one.
    ///
    /// # Errors
    /// If no port, or the socket, can be bound.
    pub async fn start(config: ControlConfig, backend: SharedBackend) -> Result<Self, ControlError> {
        let server = Self::bind(config, backend).await?;
        server.open();
        Ok(server)
    }

    /// Answers from now on.
    pub fn open(&self) {
        self.shared.open.cancel();
    }

    /// Binds both ports and the socket. A port that is in use is replaced by a free one, told by [`ControlServer::bound`]. Nobody is
    /// answered before [`ControlServer::open`], so that what the backend must know of this comes first.
    ///
    /// # Errors
    /// If no port, or the socket, can be bound.
    pub async fn bind(config: ControlConfig, backend: SharedBackend) -> Result<Self, ControlError> {
        let (socket, place) = socket::bind(&config.socket, config.group.as_deref()).await?;
        let api = bind::loopback(config.port).await?;
        let app = bind::loopback(config.app_port).await?;
        let bound = Bound {
            api_port: api.port,
            app_port: app.port,
            wanted_api_port: config.port,
            wanted_app_port: config.app_port,
            ipv6: api.v6.is_some() && app.v6.is_some(),
        };

        let abort = CancellationToken::new();
        let shared = Arc::new(Shared::new(backend, bound, abort.child_token())?);
        let mut acceptors = JoinSet::new();
        let mut serve_tcp = |door: Door, pair: bind::LoopbackPair, router: Router| {
            let acceptor = Acceptor::new(Arc::clone(&shared), door, router);
            for listener in std::iter::once(pair.v4).chain(pair.v6) {
                acceptors.spawn(acceptor.clone().tcp(listener));
            }
        };
        serve_tcp(Door::Api, api, routes::router(Door::Api, &shared));
        let app_router = routes::router(Door::App, &shared).merge(crate::app::router(&shared));
        serve_tcp(Door::App, app, app_router);
        let router = routes::router(Door::Socket, &shared);
        let acceptor = Acceptor::new(Arc::clone(&shared), Door::Socket, router);
        acceptors.spawn(acceptor.unix(socket, socket::Admission::new(config.group)));
        Ok(Self { shared, socket: place, acceptors, abort })
    }

    /// Where the server listens.
    #[must_use]
    pub fn bound(&self) -> Bound {
        self.shared.bound
    }

    /// What a program shows on the API's port. It dies with this server; to be written to a file of mode 0600.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.shared.token
    }

    /// Takes no more connections, lets running requests end until `deadline` has passed, then cuts them off, and removes the
    /// socket.
    pub async fn shutdown(mut self, deadline: Duration) {
        self.shared.stop.cancel();
        self.shared.changes.close();
        let ended = async {
            while self.acceptors.join_next().await.is_some() {}
            self.shared.changes.wait().await;
        };
        if tokio::time::timeout(deadline, ended).await.is_err() {
            tracing::debug!("local requests still run after the deadline: cut off");
        }
        // What is left goes with `self`.
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.abort.cancel();
        self.acceptors.abort_all();
        self.socket.remove();
    }
}
