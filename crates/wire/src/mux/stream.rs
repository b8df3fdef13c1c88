//! One stream, as those see it who use it here.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::session::Session;

/// The state of the connection, shared by its driver and its streams.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Session>>);

impl Shared {
    pub(crate) fn new(session: Session) -> Self {
        Self(Arc::new(Mutex::new(session)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream. Dropped without having been shut down, it is broken off.
#[derive(Debug)]
pub(crate) struct MuxStream {
    shared: Shared,
    id: u32,
}

impl MuxStream {
    pub(crate) const fn new(shared: Shared, id: u32) -> Self {
        Self { shared, id }
    }
}

impl Drop for MuxStream {
    fn drop(&mut self) {
        self.shared.lock().abandon(self.id);
    }
}

impl AsyncRead for MuxStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            // What is there is given out at once; only an empty hand waits.
            let now = Instant::now();
            let polled = self.shared.lock().poll_read(self.id, buf.remaining(), now, cx);
            match polled {
                Poll::Ready(Ok(part)) if part.is_empty() => break,
                Poll::Ready(Ok(part)) => buf.put_slice(&part),
                _ if buf.filled().len() > before => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MuxStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let room = ready!(self.shared.lock().poll_room(self.id, cx))?;
        let part = &buf[..buf.len().min(room)];
        if !part.is_empty() {
            // Copied while nobody is kept waiting for the lock; there is one writer, so the room is still there.
            let piece = Bytes::copy_from_slice(part);
            self.shared.lock().write(self.id, piece);
        }
        Poll::Ready(Ok(part.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut room = ready!(self.shared.lock().poll_room(self.id, cx))?;
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut piece = BytesMut::with_capacity(length.min(room));
        for buf in bufs {
            let part = &buf[..buf.len().min(room)];
            piece.extend_from_slice(part);
            room -= part.len();
        }
        let written = piece.len();
        if written > 0 {
            self.shared.lock().write(self.id, piece.freeze());
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was written is on its way as soon as the line takes it.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.lock().finish(self.id);
        Poll::Ready(Ok(()))
    }
}
