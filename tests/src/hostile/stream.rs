//! The owner's connection, as the hostile friend sees it: yamux streams, and on each the bytes of one HTTP exchange.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::poll_fn;
use http::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use kith_wire::Body;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use tokio_util::task::AbortOnDropHandle;

/// Most bytes of a request's head, and of its body.
const MOST_HEAD: usize = 64 * 1024;
const MOST_BODY: usize = 64 << 20;
/// Streams that may wait to be opened.
const MOST_OPENS: usize = 32;

/// A request as it came.
pub(super) struct RawRequest {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl RawRequest {
    /// Reads one request; `None` if it makes no sense or breaks off.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let mut bytes = Vec::with_capacity(1024);
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if bytes.len() > MOST_HEAD || stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.parse().ok()?, first.next()?.to_owned());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut request = Self { method, target, headers, body: Bytes::new() };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if length > MOST_BODY {
            return None;
        }
        let mut body = bytes.split_off(end + 4);
        while body.len() < length {
            if stream.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
        body.truncate(length);
        request.body = body.into();
        Some(request)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// The same for the real friend, with this body.
    pub(super) fn forwarded(&self, body: Bytes) -> Option<Request<Body>> {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.target);
        for (name, value) in &self.headers {
            if !matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection" | "host") {
                request = request.header(name, value);
            }
        }
        request.body(kith_wire::bytes_body(body)).ok()
    }
}

type OpenRequest = oneshot::Sender<yamux::Stream>;

/// Opens streams to the owner.
#[derive(Clone)]
pub(super) struct Opener(mpsc::Sender<OpenRequest>);

impl Opener {
    /// Asks the owner something.
    pub(super) async fn request(&self, request: Request<Body>) -> Option<Response<Body>> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(sender).await.ok()?;
        let stream = receiver.await.ok()?;
        let io = TokioIo::new(stream.compat());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
        let driver = AbortOnDropHandle::new(tokio::spawn(connection));
        let answer = sender.send_request(request).await.ok()?;
        let (head, body) = answer.into_parts();
        let body = kith_wire::collect(kith_wire::boxed(body), MOST_BODY).await.ok()?;
        drop(driver);
        Some(Response::from_parts(head, kith_wire::bytes_body(body)))
    }
}

/// The multiplexed connection.
pub(super) struct Connection {
    mux: yamux::Connection<tokio_util::compat::Compat<Box<dyn Bytestream>>>,
    opens: mpsc::Receiver<OpenRequest>,
}

/// What it runs over.
pub(super) trait Bytestream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytestream for T {}

impl Connection {
    pub(super) fn accept(stream: Box<dyn Bytestream>) -> (Self, Opener) {
        let (sender, opens) = mpsc::channel(MOST_OPENS);
        let mut config = yamux::Config::default();
        config.set_split_send_size(64 * 1024);
        let mux = yamux::Connection::new(stream.compat(), config, yamux::Mode::Server);
        (Self { mux, opens }, Opener(sender))
    }

    /// Serves until the connection is over.
    pub(super) async fn serve<F>(mut self, serve: Arc<dyn Fn(yamux::Stream) -> F + Send + Sync>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut exchanges = tokio::task::JoinSet::new();
        while let Some(stream) = poll_fn(|cx| self.poll(cx)).await {
            while exchanges.try_join_next().is_some() {}
            exchanges.spawn(serve(stream));
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<yamux::Stream>> {
        while let Poll::Ready(Some(wanted)) = self.opens.poll_recv(cx) {
            if let Poll::Ready(Ok(stream)) = self.mux.poll_new_outbound(cx) {
                drop(wanted.send(stream));
            }
        }
        self.mux.poll_next_inbound(cx).map(|inbound| inbound.and_then(Result::ok))
    }
}
