//! Server-sent events: what changed, as it happens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::header::{self, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::answer::Refusal;
use super::shared::Shared;
use crate::backend::Event;

/// A comment this often shows both ends that the other one lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Something that has messages for a stream of events from time to time.
pub(crate) trait Messages: Send + 'static {
    /// The next one, JSON without line breaks; None at the end.
    fn next(&mut self) -> impl Future<Output = Option<String>> + Send;
}

/// Every event as the backend tells it.
pub(super) struct AllEvents {
    events: Receiver<Event>,
    due: VecDeque<Event>,
}

impl AllEvents {
    pub(super) fn new(shared: &Shared) -> Self {
        Self { events: shared.backend.events(), due: VecDeque::new() }
    }
}

impl Messages for AllEvents {
    async fn next(&mut self) -> Option<String> {
        if self.due.is_empty() {
            match self.events.recv().await {
                Ok(event) => self.due.push_back(event),
                // Who was too slow is told to fetch everything anew, in words that he knows already.
                Err(RecvError::Lagged(_)) => self.due.extend([Event::Status, Event::Friends, Event::Sets]),
                Err(RecvError::Closed) => return None,
            }
        }
        let event = self.due.pop_front()?;
        serde_json::to_string(&event).ok()
    }
}

/// A response that goes on as long as there are messages, the server runs, and the reader reads. Nothing is queued here: a
/// slow reader holds up the source, whose queue is bounded.
pub(crate) fn event_stream(shared: &Shared, messages: impl Messages) -> Result<Response, Refusal> {
    let permit = shared.stream_permit()?;
    let stop = shared.stop.clone();
    // The first comment makes the headers arrive at once.
    let opening = stream::iter([Bytes::from_static(b": connected\n\n")]);
    let rest = stream::unfold((messages, stop, permit), async |(mut messages, stop, permit)| {
        let bytes = tokio::select! {
            message = messages.next() => Bytes::from(format!("data: {}\n\n", message?)),
            () = tokio::time::sleep(HEARTBEAT) => Bytes::from_static(b": alive\n\n"),
            () = stop.cancelled() => return None,
        };
        Some((bytes, (messages, stop, permit)))
    });
    let frames = opening.chain(rest).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}
