//! One exchange, at either end of its stream.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, debug};

use super::{LinkError, LinkLimits, Serve};
use crate::body::{Body, BodyError, with_least_progress};
use crate::mux::MuxStream;

/// What one end of an exchange holds of it at most, and so the longest head.
const BUFFER: usize = 64 * 1024;

/// Sends a request and waits for the head of the answer.
pub(super) async fn ask(
    stream: MuxStream,
    permit: OwnedSemaphorePermit,
    mut request: Request<Body>,
    limits: &LinkLimits,
) -> Result<Response<Body>, LinkError> {
    let failed = |error: hyper::Error| LinkError::Exchange(with_source(&error));
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("kith"));
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let task = AbortOnDropHandle::new(tokio::spawn(
        async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                debug!(%error, "an exchange ended early");
            }
        }
        .in_current_span(),
    ));
    let answer = sender.send_request(request).await.map_err(failed)?;
    // The body keeps the exchange alive: dropping it unread ends the stream.
    Ok(answer.map(|body| {
        with_least_progress(Guarded { body, _task: task }, limits.slow_after, limits.least_progress)
    }))
}

/// Serves the one exchange of a stream that the other side opened.
pub(super) async fn answer(stream: MuxStream, service: Arc<dyn Serve>, limits: Arc<LinkLimits>) {
    let (slow_after, least_progress) = (limits.slow_after, limits.least_progress);
    let respond = hyper::service::service_fn(move |request: Request<Incoming>| {
        let request = request.map(|body| with_least_progress(body, slow_after, least_progress));
        let answer = service.serve(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), respond)
        .await;
    if let Err(error) = served {
        debug!(error = %with_source(&error), "serving an exchange ended early");
    }
}

/// A body that keeps its exchange's task alive.
struct Guarded {
    body: Incoming,
    _task: AbortOnDropHandle<()>,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        // Asked for only to leave out an empty body; the end must be polled, so that the exchange finishes.
        false
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// What an error comes from, for people: libraries repeat themselves on the way up.
pub(super) fn with_source(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    match innermost.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(std::io::ErrorKind::UnexpectedEof) => "the other computer broke it off without a goodbye".into(),
        Some(std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe) => {
            "the other computer, or something on the way, reset it".into()
        }
        _ => innermost.to_string(),
    }
}
