//! The other end of the API, for the command line and other programs of this computer.

mod calls;
mod error;
mod events;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::AbortOnDropHandle;

use crate::backend::{Body, BodyError, Failure, FailureKind};
use crate::server::{NOT_ADMITTED, reachable_path};

pub use error::ClientError;
pub use events::EventStream;

/// The largest JSON answer that is read: `find` over a long history is the longest.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// How long a connection to this very computer may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Speaks with a running daemon. Every exchange has a connection of its own: on one computer that costs next to nothing, and no
/// exchange can hold up another.
#[derive(Clone)]
pub struct Client {
    target: Target,
}

#[derive(Clone)]
enum Target {
    Socket(PathBuf),
    Port { port: u16, authorization: Arc<str> },
}

impl Client {
    /// Speaks through the daemon's Unix socket, where the kernel says who we are. Fails at once if no daemon runs.
    ///
    /// # Errors
    /// [`ClientError::DaemonNotRunning`] or [`ClientError::NotAllowed`].
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let client = Self { target: Target::Socket(socket.to_owned()) };
        dial_socket(socket).await?;
        Ok(client)
    }

    /// Speaks through the API's port with the token from the daemon's home. The socket-only calls are refused there.
    ///
    /// # Errors
    /// [`ClientError::PortUnreachable`], which names the port that a firewall must let through.
    pub async fn tcp(port: u16, token: &str) -> Result<Self, ClientError> {
        let authorization = format!("Bearer {}", token.trim()).into();
        let client = Self { target: Target::Port { port, authorization } };
        dial_port(port).await?;
        Ok(client)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.exchange(empty_request(Method::GET, path)?).await?;
        read(answer).await
    }

    async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.exchange(empty_request(Method::DELETE, path)?).await?;
        read(answer).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, ClientError> {
        let text = serde_json::to_vec(body).map_err(|error| ClientError::Protocol(error.to_string()))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync())
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        read(self.exchange(request).await?).await
    }

    /// One request, one answer, over a connection of its own that lives as long as the answer's body.
    async fn exchange(&self, mut request: Request<Body>) -> Result<Response<AnswerBody>, ClientError> {
        let headers = request.headers_mut();
        match &self.target {
            Target::Socket(path) => {
                headers.insert(header::HOST, HeaderValue::from_static("localhost"));
                let stream = dial_socket(path).await?;
                self.over(stream, request).await
            }
            Target::Port { port, authorization } => {
                let host = HeaderValue::try_from(format!("127.0.0.1:{port}")).map_err(protocol)?;
                headers.insert(header::HOST, host);
                let mut authorization = HeaderValue::try_from(&**authorization).map_err(protocol)?;
                authorization.set_sensitive(true);
                headers.insert(header::AUTHORIZATION, authorization);
                let stream = dial_port(*port).await?;
                self.over(stream, request).await
            }
        }
    }

    async fn over<S>(&self, stream: S, request: Request<Body>) -> Result<Response<AnswerBody>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(protocol)?;
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "the connection to the daemon broke off");
            }
        }));
        let answer = sender.send_request(request).await.map_err(|error| self.broken(error))?;
        if answer.headers().get(header::SERVER).is_none_or(|name| name != "kith") {
            return Err(self.other_program());
        }
        Ok(answer.map(|incoming| AnswerBody { incoming, _driver: driver }))
    }

    fn broken(&self, error: hyper::Error) -> ClientError {
        // A garbled answer comes from another program; everything else is a daemon that went away meanwhile.
        if error.is_parse() { self.other_program() } else { ClientError::Interrupted(error.into()) }
    }

    fn other_program(&self) -> ClientError {
        match &self.target {
            Target::Port { port, .. } => ClientError::OtherProgram { port: *port },
            Target::Socket(path) => ClientError::Protocol(format!("{} is not Kith's socket", path.display())),
        }
    }
}

async fn dial_socket(path: &Path) -> Result<UnixStream, ClientError> {
    let refused = |source: io::Error| error::socket(path, source);
    let (short, _directory) = reachable_path(path).map_err(refused)?;
    match tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(short)).await {
        Ok(connected) => connected.map_err(refused),
        Err(_) => Err(refused(io::ErrorKind::TimedOut.into())),
    }
}

async fn dial_port(port: u16) -> Result<TcpStream, ClientError> {
    let dialling = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port));
    match tokio::time::timeout(CONNECT_TIMEOUT, dialling).await {
        Ok(connected) => connected.map_err(|source| ClientError::PortUnreachable { port, source }),
        Err(_) => Err(ClientError::PortUnreachable { port, source: io::ErrorKind::TimedOut.into() }),
    }
}

fn empty_request(method: Method, path: &str) -> Result<Request<Body>, ClientError> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::builder().method(method).uri(path).body(body).map_err(protocol)
}

fn protocol(error: impl std::fmt::Display) -> ClientError {
    ClientError::Protocol(error.to_string())
}

async fn read<T: DeserializeOwned>(answer: Response<AnswerBody>) -> Result<T, ClientError> {
    let (parts, body) = refuse_failures(answer).await?.into_parts();
    if parts.status == StatusCode::NO_CONTENT {
        return serde_json::from_slice(b"null").map_err(protocol);
    }
    serde_json::from_slice(&collect(body).await?).map_err(protocol)
}

/// Turns an answer that says no into the error it tells.
async fn refuse_failures(answer: Response<AnswerBody>) -> Result<Response<AnswerBody>, ClientError> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let (parts, body) = answer.into_parts();
    let bytes = collect(body).await?;
    let failure = serde_json::from_slice::<Failure>(&bytes).unwrap_or_else(|_| {
        Failure::new(FailureKind::Failed, format!("the daemon answered {}", parts.status))
    });
    if parts.headers.contains_key(NOT_ADMITTED) {
        return Err(ClientError::NotAllowed(failure.message));
    }
    Err(ClientError::Failure(failure))
}

async fn collect(body: AnswerBody) -> Result<Bytes, ClientError> {
    match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(ClientError::Interrupted(error)),
    }
}

/// The body of an answer, and the connection it comes from.
struct AnswerBody {
    incoming: Incoming,
    _driver: AbortOnDropHandle<()>,
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.incoming).poll_frame(context).map_err(BodyError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
