//! Accepting connections and serving them, all within bounds.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::answer::{self, Refusal};
use super::guard::{self, Proof};
use super::shared::Shared;
use super::socket::Admission;
use crate::backend::FailureKind;

/// Connections per door. More wait in the system's queue.
const MAX_CONNECTIONS: usize = 256;

/// Callers of the socket that are told off at a time; more are just dropped.
const MAX_REFUSED: usize = 8;

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection lives that never proved anything.
const UNPROVED_LIFETIME: Duration = Duration::from_secs(30);

/// How long after a failed accept the next one is tried.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const MAX_HEADERS: usize = 64;

/// Where a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The Unix socket: callers are known to the kernel.
    Socket,
    /// The API's port.
    Api,
    /// The app's port.
    App,
}

/// Serves one door.
#[derive(Clone)]
pub(super) struct Acceptor {
    shared: Arc<Shared>,
    door: Door,
    router: Router,
    room: Arc<Semaphore>,
    refused_room: Arc<Semaphore>,
}

impl Acceptor {
    pub(super) fn new(shared: Arc<Shared>, door: Door, router: Router) -> Self {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let refused_room = Arc::new(Semaphore::new(MAX_REFUSED));
        Self { shared, door, router, room, refused_room }
    }

    /// Accepts from the time when the server is open until it stops, then waits for what still runs. Dropping it cuts everything
    /// off.
    pub(super) async fn tcp(self, listener: TcpListener) {
        self.opened().await;
        let mut connections = JoinSet::new();
        while let Some(room) = self.next_room(&mut connections).await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.shared.stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    // An answer is small and wanted at once; an error here only makes it slower.
                    stream.set_nodelay(true).unwrap_or_default();
                    let serving = serve(Arc::clone(&self.shared), self.door, self.router.clone(), stream);
                    connections.spawn(async move {
                        serving.await;
                        drop(room);
                    });
                }
                Err(error) => pause(&error).await,
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    /// The same for the socket, after asking who calls.
    pub(super) async fn unix(self, listener: UnixListener, admission: Admission) {
        self.opened().await;
        let admission = Arc::new(admission);
        let mut connections = JoinSet::new();
        while let Some(room) = self.next_room(&mut connections).await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.shared.stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (this, admission) = (self.clone(), Arc::clone(&admission));
                    connections.spawn(async move {
                        this.greet(stream, &admission).await;
                        drop(room);
                    });
                }
                Err(error) => pause(&error).await,
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    async fn greet(self, stream: UnixStream, admission: &Admission) {
        if admission.admits(&stream).await {
            return serve(self.shared, self.door, self.router, stream).await;
        }
        // Say why, to a few at a time, and serve nothing else.
        if let Ok(_room) = self.refused_room.try_acquire() {
            let told_off = refuse_all(admission.refusal(), stream);
            tokio::time::timeout(HEAD_TIMEOUT, told_off).await.unwrap_or_default();
        }
    }

    /// Whoever connects before that waits in the kernel's queue.
    async fn opened(&self) {
        tokio::select! {
            () = self.shared.open.cancelled() => {}
            () = self.shared.stop.cancelled() => {}
        }
    }

    /// Waits for a free place; None when the server stops.
    async fn next_room(&self, connections: &mut JoinSet<()>) -> Option<tokio::sync::OwnedSemaphorePermit> {
        while connections.try_join_next().is_some() {}
        tokio::select! {
            room = Arc::clone(&self.room).acquire_owned() => room.ok(),
            () = self.shared.stop.cancelled() => None,
        }
    }
}

/// Accepting goes on whatever happens: out of descriptors now does not mean out of descriptors forever.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a local connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn http() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(MAX_HEADERS);
    builder
}

async fn serve<S>(shared: Arc<Shared>, door: Door, router: Router, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let proved = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let (shared, proved) = (Arc::clone(&shared), Arc::clone(&proved));
        move |request| {
            let (shared, proved, router) = (Arc::clone(&shared), Arc::clone(&proved), router.clone());
            async move { Ok::<_, Infallible>(respond(&shared, door, router, &proved, request).await) }
        }
    });
    let connection = http().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let unproved = tokio::time::sleep(UNPROVED_LIFETIME);
    tokio::pin!(unproved);
    let (mut stopping, mut waiting) = (false, true);
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::trace!(%error, "a local connection broke off");
                }
                return;
            }
            // Who doesn't read the answers or never asks properly, doesn't keep a place for long.
            () = &mut unproved, if waiting => {
                waiting = false;
                if !proved.load(Ordering::Relaxed) {
                    return;
                }
            }
            () = shared.stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn respond(
    shared: &Shared,
    door: Door,
    router: Router,
    proved: &AtomicBool,
    request: Request<Incoming>,
) -> Response<Body> {
    let mut response = match guard::admit(shared, door, &request) {
        Ok(proof) => {
            if proof == Proof::Person {
                proved.store(true, Ordering::Relaxed);
            }
            let Ok(response) = router.oneshot(request.map(Body::new)).await;
            response
        }
        Err(refusal) => {
            let mut response = refusal.into_response();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
    };
    answer::protect(response.headers_mut());
    response
}

/// Answers the first request of a caller that may not be here.
async fn refuse_all(message: String, stream: UnixStream) {
    let service = service_fn(move |_: Request<Incoming>| {
        let refusal = Refusal::new(StatusCode::FORBIDDEN, FailureKind::Refused, message.clone());
        async move {
            let mut response = refusal.into_response();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response.headers_mut().insert(NOT_ADMITTED, HeaderValue::from_static("user"));
            answer::protect(response.headers_mut());
            Ok::<_, Infallible>(response)
        }
    });
    if let Err(error) = http().serve_connection(TokioIo::new(stream), service).await {
        tracing::trace!(%error, "a refused caller went away");
    }
}

/// Tells our client that the refusal is about the user who calls, not about what was asked.
pub(crate) const NOT_ADMITTED: &str = "kith-not-admitted";
