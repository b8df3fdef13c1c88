//! Response bodies whose bytes come from blocking work, read one step ahead of the network.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinHandle, spawn_blocking};

/// An error of any kind, as bodies carry it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The body of every response of the vault.
pub type VaultBody = BoxBody<Bytes, BoxError>;

/// A body that is there already.
pub(crate) fn full(text: impl Into<Bytes>) -> VaultBody {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

/// Blocking work that yields a body piece by piece. Pieces are of bounded size, whatever the body's length.
pub(crate) trait Producer: Send + 'static {
    /// The next piece; `None` is the end.
    fn next(&mut self) -> io::Result<Option<Bytes>>;
}

/// A body from a [`Producer`], of a known or unknown length.
///
/// While one piece is on its way to the network the next one is read: at most two are in memory. It holds one of the
/// owner's permits until it has been sent or dropped.
pub(crate) fn produced<P: Producer>(
    producer: P,
    length: Option<u64>,
    permit: OwnedSemaphorePermit,
) -> VaultBody {
    let step = (length != Some(0)).then(|| start(producer));
    Produced { step, remaining: length, _permit: permit }.boxed()
}

type Step<P> = JoinHandle<(P, io::Result<Option<Bytes>>)>;

struct Produced<P> {
    /// The piece being read; `None` after the end.
    step: Option<Step<P>>,
    /// What is still to come, if the length is known.
    remaining: Option<u64>,
    _permit: OwnedSemaphorePermit,
}

fn start<P: Producer>(mut producer: P) -> Step<P> {
    spawn_blocking(move || {
        let piece = producer.next();
        (producer, piece)
    })
}

impl<P: Producer> Body for Produced<P> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(step) = self.step.as_mut() else { return Poll::Ready(None) };
        let finished = ready!(Pin::new(step).poll(context));
        self.step = None;
        let (producer, piece) = match finished {
            Ok((producer, Ok(piece))) => (producer, piece),
            Ok((_, Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        };
        let Some(piece) = piece else {
            return Poll::Ready(match self.remaining {
                None | Some(0) => None,
                Some(_) => Some(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
            });
        };
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(piece.len() as u64));
        if self.remaining != Some(0) {
            self.step = Some(start(producer));
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.step.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
