//! Whether anything is moved.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use kith_wire::Body;
use tokio::time::Instant;

/// Fewer bytes than this are no progress: a friend who sends one byte now and then sends nothing.
const LEAST: u64 = 8 * 1024;
/// Bytes of an upload that are handed over at once.
const PIECE: usize = 64 * 1024;

/// When there was progress last.
pub(super) struct Moved {
    started: Instant,
    at_ms: AtomicU64,
    /// Since then.
    bytes: AtomicU64,
    /// What counts for all requests together.
    all: Option<Arc<Self>>,
}

impl Default for Moved {
    fn default() -> Self {
        Self { started: Instant::now(), at_ms: AtomicU64::new(0), bytes: AtomicU64::new(0), all: None }
    }
}

impl Moved {
    /// For one request: what it moves counts for all of them, too.
    pub(super) fn beside(all: &Arc<Self>) -> Self {
        Self { all: Some(all.clone()), ..Self::default() }
    }

    /// Something happened that counts, however few its bytes are.
    pub(super) fn restart(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at_ms.store(now, Relaxed);
        self.bytes.store(0, Relaxed);
    }

    fn note(&self, bytes: u64) {
        if self.bytes.fetch_add(bytes, Relaxed) + bytes >= LEAST {
            self.restart();
            if let Some(all) = &self.all {
                all.restart();
            }
        }
    }

    /// When there was progress last.
    pub(super) fn quiet_since(&self) -> Instant {
        self.started + Duration::from_millis(self.at_ms.load(Relaxed))
    }

    /// Ends when nothing was moved for so long.
    pub(super) async fn stalled(&self, limit: Duration) {
        loop {
            let moved = self.quiet_since();
            if moved.elapsed() >= limit {
                return;
            }
            tokio::time::sleep_until(moved + limit).await;
        }
    }
}

/// An upload in pieces, so that its progress can be seen.
pub(super) struct Pieces {
    data: Bytes,
    moved: Arc<Moved>,
}

impl Pieces {
    pub(super) fn body(data: Bytes, moved: Arc<Moved>) -> Body {
        kith_wire::boxed(Self { data, moved })
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.data.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.data.len().min(PIECE);
        let piece = self.data.split_to(piece);
        self.moved.note(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}

/// A download whose progress is noted.
pub(super) struct Noting {
    pub(super) body: Body,
    pub(super) moved: Arc<Moved>,
}

impl http_body::Body for Noting {
    type Data = Bytes;
    type Error = kith_wire::BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.moved.note(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
