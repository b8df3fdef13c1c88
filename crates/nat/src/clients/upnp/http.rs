//! HTTP as devices of the local network need it: one request per connection, from the address that is to be mapped, no
//! redirects, and nothing a device does takes more time or memory than said here.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::endpoint::Endpoint;
use crate::clients::sockets::{keep_to, scoped};
use crate::{Answer, Uplink};

/// Longest wait for a connection: one repetition of the SYN.
const CONNECT: Duration = Duration::from_millis(2500);
/// Longest time for one request with its response.
const EXCHANGE: Duration = Duration::from_secs(4);
/// Most bytes of a head.
const LARGEST_HEAD: usize = 16 * 1024;
/// Most fields of a head.
const MOST_FIELDS: usize = 64;

/// A device as it is dialled within one task.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    /// Our address there: routers make mappings only for who asks.
    local: SocketAddr,
    /// Name of the interface to keep to.
    interface: Arc<str>,
    /// When the task must be at its end.
    deadline: Instant,
}

/// What a device answered.
#[derive(Debug)]
pub(super) struct Response {
    /// The status.
    pub(super) status: StatusCode,
    /// The whole body.
    pub(super) body: Bytes,
}

/// Why there is no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing came, or not all of it in time.
    Silent,
    /// Nobody listens there, or the connection was broken off.
    Closed,
    /// Somebody listens, and does not know what is asked for (404).
    Missing,
    /// What came can't be understood.
    Nonsense(String),
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Silent => Self::Silent,
            Failure::Closed | Failure::Missing => Self::Closed,
            Failure::Nonsense(why) => Self::Nonsense(why),
        }
    }
}

impl Transport {
    /// For a task that may take that long.
    pub(super) fn new(uplink: &Uplink, most: Duration) -> Self {
        Self {
            local: scoped(uplink.local, 0, uplink.index),
            interface: uplink.interface.as_str().into(),
            deadline: Instant::now() + most,
        }
    }

    /// Our address.
    pub(super) const fn local(&self) -> IpAddr {
        self.local.ip()
    }

    /// When the task must be at its end.
    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Fetches a document of at most `largest` bytes.
    pub(super) async fn get(&self, from: &Endpoint, largest: usize) -> Result<Response, Failure> {
        self.exchange(from, request(Method::GET, from, Bytes::new())?, largest).await
    }

    /// Sends a SOAP request; `action` is the value of the field SOAPAction.
    pub(super) async fn post(
        &self,
        to: &Endpoint,
        action: &str,
        body: String,
        largest: usize,
    ) -> Result<Response, Failure> {
        let mut request = request(Method::POST, to, body.into())?;
        let action = HeaderValue::from_str(action).map_err(|_| nonsense("an action can't be named"))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=\"utf-8\""));
        headers.insert(HeaderName::from_static("soapaction"), action);
        self.exchange(to, request, largest).await
    }

    async fn exchange(
        &self,
        to: &Endpoint,
        request: Request<Full<Bytes>>,
        largest: usize,
    ) -> Result<Response, Failure> {
        let until = self.deadline.min(Instant::now() + EXCHANGE);
        let whole = Box::pin(async {
            let stream = timeout(CONNECT, self.connect(to.address)).await.map_err(|_| Failure::Silent)??;
            over(stream, request, largest).await
        });
        timeout_at(until, whole).await.unwrap_or(Err(Failure::Silent))
    }

    async fn connect(&self, to: SocketAddr) -> Result<TcpStream, Failure> {
        let socket = self.socket(to).map_err(|error| broken(&error))?;
        socket.connect(to).await.map_err(|error| broken(&error))
    }

    pub(super) fn socket(&self, to: SocketAddr) -> io::Result<TcpSocket> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        keep_to(&SockRef::from(&socket), &self.interface);
        socket.bind(self.local)?;
        Ok(socket)
    }
}

/// One exchange over a stream that is there.
pub(super) async fn over<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    largest: usize,
) -> Result<Response, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Whatever it is that comes without an end, chunks of one byte or "100 Continue", ends here.
    let (reading, writing) = tokio::io::split(stream);
    let most = u64::try_from(4 * (largest + LARGEST_HEAD)).unwrap_or(u64::MAX);
    let stream = tokio::io::join(reading.take(most), writing);
    // One write for head and body: some routers look only at the first segment.
    let (mut sender, connection) = http1::Builder::new()
        .writev(false)
        .title_case_headers(true)
        .max_headers(MOST_FIELDS)
        .max_buf_size(LARGEST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failure(&error))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(request).await.map_err(|error| failure(&error))?;
    let status = response.status();
    let body = read(response.into_body(), largest).await?;
    drop(connection);
    Ok(Response { status, body })
}

pub(super) fn request(method: Method, to: &Endpoint, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
    let uri = to.path.parse::<Uri>().map_err(|_| nonsense("its URL is none"))?;
    let host = HeaderValue::from_str(&to.host()).map_err(|_| nonsense("its address is none"))?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static("Kith UPnP/1.1"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

/// The whole body, and no byte more than allowed in memory.
async fn read(mut body: Incoming, largest: usize) -> Result<Bytes, Failure> {
    let too_large = || nonsense("its answer is too large");
    if body.size_hint().lower() > u64::try_from(largest).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| nonsense(&format!("its answer breaks off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > largest {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

pub(super) fn nonsense(why: &str) -> Failure {
    Failure::Nonsense(why.to_owned())
}

fn failure(error: &hyper::Error) -> Failure {
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match cause {
        Some(cause) => broken(cause),
        None if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => Failure::Closed,
        None => nonsense(&format!("its answer is not HTTP: {error}")),
    }
}

fn broken(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Failure::Closed,
        _ => {
            tracing::debug!(%error, "a device can't be reached");
            Failure::Silent
        }
    }
}
