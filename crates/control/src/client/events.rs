//! The stream of events, read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use http_body::Body as _;

use super::{AnswerBody, ClientError};
use crate::backend::Event;

/// A longer message than this is not one of ours.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// What changes at the daemon, as it changes. Ends with the daemon.
pub struct EventStream {
    body: AnswerBody,
    parser: Parser,
}

impl EventStream {
    pub(super) fn new(body: AnswerBody) -> Self {
        Self { body, parser: Parser::default() }
    }

    /// The next event; None when the daemon has ended the stream.
    ///
    /// # Errors
    /// If the connection breaks off or something else than events comes out of it.
    pub async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for EventStream {
    type Item = Result<Event, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.parser.due.pop_front() {
                return Poll::Ready(Some(event));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(ClientError::Interrupted(error)))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.parser.push(&data);
                    }
                }
            }
        }
    }
}

/// Lines of `text/event-stream`, as far as our server uses them.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    due: VecDeque<Result<Event, ClientError>>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() > MAX_MESSAGE_BYTES {
                self.line.clear();
                self.due.push_back(Err(ClientError::Protocol("an event is too long".to_owned())));
                continue;
            }
            self.line.extend_from_slice(part);
            if let Some(line) = self.line.strip_suffix(b"\n") {
                if let Some(event) = parse(line) {
                    self.due.push_back(event);
                }
                self.line.clear();
            }
        }
    }
}

/// Comments, blank lines and fields that we don't use mean nothing.
fn parse(line: &[u8]) -> Option<Result<Event, ClientError>> {
    let data = line.strip_prefix(b"data:")?;
    Some(serde_json::from_slice(data).map_err(|error| ClientError::Protocol(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let text = b": connected\n\ndata: {\"type\":\"status\"}\n\n: alive\n\ndata: {\"type\":\"sets\"}\n\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            text.chunks(size).for_each(|chunk| parser.push(chunk));
            let found: Vec<_> = parser.due.into_iter().map(Result::unwrap).collect();
            assert!(matches!(found[..], [Event::Status, Event::Sets]), "cut into {size}");
        }
    }

    #[test]
    fn something_else_than_an_event_is_an_error_and_not_a_loop() {
        let mut parser = Parser::default();
        parser.push(b"data: <html>\n\n");
        assert!(matches!(parser.due.front(), Some(Err(ClientError::Protocol(_)))));
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let mut parser = Parser::default();
        (0..5).for_each(|_| parser.push(&vec![b'x'; 1024 * 1024]));
        assert!(parser.line.len() <= MAX_MESSAGE_BYTES);
        assert!(parser.due.iter().any(Result::is_err));
    }
}
