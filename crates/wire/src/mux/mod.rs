//! Many streams over one: yamux, and the one task that drives it.

mod allowance;
mod flow;
pub(crate) mod frame;
mod session;
#[cfg(test)]
mod stock;
mod stream;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use crate::link::{LinkLimits, Side};
use crate::metered::{Meter, Metered};
use frame::{Farewell, HEADER_BYTES, Header};
pub(crate) use session::Breach;
use session::{Next, Outbox, Session};
pub(crate) use stream::{MuxStream, Shared};

/// What a link runs over: a stream whose other end has been authenticated.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

type Io = Metered<Box<dyn ByteStream>>;

/// Asks the driver for a new stream.
pub(crate) type OpenRequest = oneshot::Sender<MuxStream>;

/// Frames are handed on in portions of this size: what TLS takes in one go.
const PORTION: usize = 64 * 1024;
/// Buffers that are handed on at once.
const SLICES: usize = 32;
/// Bytes read at once: no more is ever allocated because a header announces it.
const READ_BYTES: usize = 16 * 1024;
/// Frames that are read and written before other tasks have their turn.
const TURNS: usize = 64;

/// What the driver met.
pub(crate) enum Happening {
    /// The other side opened a stream.
    Inbound(MuxStream),
    /// The connection is over.
    Over(End),
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The other side closed it.
    Closed,
    /// It broke.
    Broken(io::Error),
    /// The other side broke the rules.
    Breach(Breach),
    /// The other side says that we did, with its reason as a number.
    Accused(u32),
}

pub(crate) struct Mux {
    io: Io,
    meter: Arc<Meter>,
    shared: Shared,
    opens: mpsc::Receiver<OpenRequest>,
    /// Requests that wait until another stream is over.
    waiting: VecDeque<OpenRequest>,
    reading: Reading,
    /// The body of a frame on its way to its stream.
    piece: BytesMut,
    outbox: Outbox,
    /// Something was written that may still lie in front of the line.
    unflushed: bool,
    /// Since when, and since how many bytes, what is to go out gets on too slowly.
    slow_since: Option<(Instant, u64)>,
}

/// Where in a frame the reader is.
enum Reading {
    Header { bytes: [u8; HEADER_BYTES], have: usize },
    Body { stream: u32, left: usize, last: bool },
}

impl Reading {
    const NEXT: Self = Self::Header { bytes: [0; HEADER_BYTES], have: 0 };
}

impl Mux {
    pub(crate) fn new(
        stream: Box<dyn ByteStream>,
        meter: Arc<Meter>,
        side: Side,
        limits: &LinkLimits,
        opens: mpsc::Receiver<OpenRequest>,
    ) -> Self {
        Self {
            io: Metered::new(stream, Arc::clone(&meter)),
            meter,
            shared: Shared::new(Session::new(side, limits)),
            opens,
            waiting: VecDeque::new(),
            reading: Reading::NEXT,
            piece: BytesMut::new(),
            outbox: Outbox::default(),
            unflushed: false,
            slow_since: None,
        }
    }

    pub(crate) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Drives everything until something happens that the link must act on.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        let turned = self.turn(cx);
        self.shared.lock().wake_readers();
        match turned {
            Poll::Ready(Ok(stream)) => Poll::Ready(Happening::Inbound(stream)),
            Poll::Ready(Err(end)) => {
                if matches!(end, End::Breach(_)) {
                    self.say_why(cx);
                }
                self.shared.lock().end();
                Poll::Ready(Happening::Over(end))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<MuxStream, End>> {
        for _ in 0..TURNS {
            self.shared.lock().set_driver(cx.waker());
            self.open_streams(cx);
            let wrote = match self.poll_write(cx) {
                Poll::Ready(Ok(wrote)) => wrote,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Broken(error))),
                Poll::Pending => false,
            };
            // Whatever waits to go out: if both ends stopped reading until they can write, neither ever could.
            let read = match self.poll_read(cx) {
                Poll::Ready(Ok(true)) => true,
                Poll::Ready(Ok(false)) => return Poll::Ready(Err(End::Closed)),
                Poll::Ready(Err(end)) => return Poll::Ready(Err(end)),
                Poll::Pending => false,
            };
            let accepted = self.shared.lock().accept();
            if let Some(id) = accepted {
                return Poll::Ready(Ok(MuxStream::new(self.shared.clone(), id)));
            }
            if !wrote && !read {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn open_streams(&mut self, cx: &mut Context<'_>) {
        if self.shared.lock().is_draining() {
            // Who asked goes on elsewhere.
            self.waiting.clear();
            while let Poll::Ready(Some(_too_late)) = self.opens.poll_recv(cx) {}
            return;
        }
        loop {
            if self.waiting.is_empty() {
                match self.opens.poll_recv(cx) {
                    Poll::Ready(Some(request)) => self.waiting.push_back(request),
                    Poll::Ready(None) | Poll::Pending => return,
                }
            }
            let Some(id) = self.shared.lock().open() else { return };
            if let Some(request) = self.waiting.pop_front() {
                // Who asked may be gone: the stream is dropped, and was never told of.
                drop(request.send(MuxStream::new(self.shared.clone(), id)));
            }
        }
    }

    /// Writes one portion; says whether there was any.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.outbox.bytes < PORTION {
            self.shared.lock().fill(&mut self.outbox, PORTION);
        }
        if self.outbox.bytes == 0 {
            if self.unflushed {
                ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                self.unflushed = false;
            }
            return Poll::Ready(Ok(false));
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = self.outbox.pieces.len().min(SLICES);
        for (slice, piece) in slices.iter_mut().zip(&self.outbox.pieces) {
            *slice = IoSlice::new(piece);
        }
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.unflushed = true;
        self.outbox.advance(written);
        Poll::Ready(Ok(true))
    }

    /// Reads a header or a part of a body; says whether there will be more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, End>> {
        match &mut self.reading {
            Reading::Header { bytes, have } => {
                let mut rest = &mut bytes[*have..];
                let read =
                    ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut rest)).map_err(End::Broken)?;
                if read == 0 {
                    let end = if *have == 0 { Ok(false) } else { Err(End::Broken(cut_off())) };
                    return Poll::Ready(end);
                }
                *have += read;
                if *have < HEADER_BYTES {
                    return Poll::Ready(Ok(true));
                }
                let header = Header::decode(bytes).map_err(|error| End::Breach(error.into()))?;
                let next = self.shared.lock().receive(header, Instant::now()).map_err(End::Breach)?;
                self.reading = match next {
                    Next::Header => Reading::NEXT,
                    Next::Body { stream, length, last } => {
                        Reading::Body { stream, left: length as usize, last }
                    }
                    Next::End(0) => return Poll::Ready(Ok(false)),
                    Next::End(reason) => return Poll::Ready(Err(End::Accused(reason))),
                };
            }
            Reading::Body { stream, left, last } => {
                let (stream, wanted) = (*stream, (*left).min(READ_BYTES));
                if self.piece.capacity() < wanted {
                    self.piece = BytesMut::with_capacity(wanted);
                }
                let mut bounded = (&mut self.piece).limit(wanted);
                let read =
                    ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut bounded)).map_err(End::Broken)?;
                if read == 0 {
                    return Poll::Ready(Err(End::Broken(cut_off())));
                }
                *left -= read;
                let mut session = self.shared.lock();
                session.receive_body(stream, &mut self.piece);
                if *left == 0 {
                    if *last {
                        session.finished_by_them(stream);
                    }
                    self.reading = Reading::NEXT;
                }
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Asks for a sign of life.
    pub(crate) fn ping(&mut self) {
        self.shared.lock().send_ping(Instant::now());
    }

    /// Opens no more streams; what is open goes on.
    pub(crate) fn drain(&self) {
        self.shared.lock().drain();
    }

    /// If nothing is under way in either direction, and nothing waits to go out: how many streams the other side has opened so far.
    pub(crate) fn idle_after(&self) -> Option<u64> {
        let idle_after = self.shared.lock().idle_after();
        idle_after.filter(|_| self.outbox.bytes == 0 && !self.unflushed)
    }

    /// Looks after what takes too long. True if the other side takes next to nothing of what waits to go out.
    pub(crate) fn sweep(&mut self, now: Instant, limits: &LinkLimits) -> bool {
        self.shared.lock().sweep(now);
        if self.outbox.bytes == 0 && !self.unflushed {
            self.slow_since = None;
            // Most links do nothing for most of the time, and a hub has thousands of them.
            if self.shared.lock().rest() {
                self.piece = BytesMut::new();
                self.outbox.pieces = VecDeque::new();
            }
            return false;
        }
        let sent = self.meter.sent();
        let (since, from) = *self.slow_since.get_or_insert((now, sent));
        if sent - from >= limits.least_progress {
            self.slow_since = Some((now, sent));
        }
        sent - from < limits.least_progress && now.saturating_duration_since(since) >= limits.slow_after
    }

    /// Says goodbye: short messages that wait are sent, then the connection is closed. What is long is broken off.
    pub(crate) async fn close(&mut self) {
        self.shared.lock().send_farewell(Farewell::Normal);
        let closed = std::future::poll_fn(|cx| {
            self.shared.lock().set_driver(cx.waker());
            while ready!(self.poll_write(cx))? {}
            Pin::new(&mut self.io).poll_shutdown(cx)
        });
        drop(closed.await);
        self.shared.lock().end();
    }

    /// A last word to one who broke the rules, if the line takes it.
    fn say_why(&mut self, cx: &mut Context<'_>) {
        self.shared.lock().send_farewell(Farewell::Protocol);
        for _ in 0..TURNS {
            if !matches!(self.poll_write(cx), Poll::Ready(Ok(true))) {
                break;
            }
        }
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.shared.lock().end();
    }
}

impl Outbox {
    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.pieces.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.pieces.pop_front();
        }
    }
}

fn cut_off() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}
