//! A link whose other end sends whatever it likes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::{Request, Response};
use kith_wire::{Body, Link, LinkError, LinkLimits, ServeFuture, Side, bytes_body, collect, empty_body};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

use crate::outcome::{NOTHING, Outcome, judged};

/// Bytes of a frame's header.
const HEADER: usize = 12;
/// What is answered at most beyond a multiple of what came: a request of ours, a last word.
const SENT_ANYWAY: usize = 1024;
/// A byte that comes may cost so many that go: a frame without a body opens a stream, which is broken off or answered with a refusal.
const SENT_FOR_EACH: usize = 16;

/// The bits of the first byte tell which end we are, whether the other one is welcome, whether we ask for something, in which pieces its
/// bytes come, and whether they are bytes as they come or frames in short.
pub(super) fn link(bytes: &[u8]) -> Outcome {
    let [how, script @ ..] = bytes else { return NOTHING };
    let bit = |bit: u8| how & bit != 0;
    let came = if bit(1) { frames(script) } else { script.to_vec() };
    let length = came.len();
    let side = if bit(2) { Side::Dialer } else { Side::Acceptor };
    let piece = [1, 7, 64, usize::MAX][usize::from(how >> 6)];
    let sent = Arc::new(AtomicUsize::new(0));
    let asked = bit(8);
    let stream = Played { bytes: came, at: 0, piece, waits: asked, sent: Arc::clone(&sent) };
    let answered = Arc::new(AtomicUsize::new(0));
    let (reason, answer) = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (link, driver) = Link::start(
                Box::new(stream),
                side,
                Arc::new(Reads(Arc::clone(&answered))),
                LinkLimits::default(),
            );
            if bit(4) {
                link.welcome();
            }
            let ask = async {
                if !asked {
                    return None;
                }
                let request = Request::get("/x").body(empty_body()).expect("it is a request");
                let answer = link.request(request).await.ok()?;
                let status = answer.status().as_u16();
                Some((status, collect(answer.into_body(), 4096).await.is_ok()))
            };
            tokio::join!(driver, ask)
        })
    });
    match &reason {
        // He said goodbye, or that we broke the rules: his word is all that there is.
        LinkError::ClosedByPeer | LinkError::Accused(_) => {}
        LinkError::Broken(why) => assert!((10..=200).contains(&why.len()), "{why:?}"),
        other => panic!("{other:?} of a connection that ends"),
    }
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent <= SENT_ANYWAY + SENT_FOR_EACH * length, "{sent} bytes in answer to {length}");
    let answered = answered.load(Ordering::Relaxed);
    // A request has a line at least, and a frame around it.
    assert!(answered * (HEADER + 14) <= length, "{answered} requests in {length} bytes");
    let whole = length > 0 && reason == LinkError::ClosedByPeer;
    judged(whole, &(reason, answered, answer))
}

thread_local! {
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_time().build().expect("the system lets a runtime begin");
}

/// Frames that are said in short: kind, flags, stream, length, body. Then the lengths fit, but where they are to lie.
fn frames(script: &[u8]) -> Vec<u8> {
    let (mut frames, mut rest) = (Vec::new(), script);
    while let [kind, flags, stream, length, more @ ..] = rest {
        let is_data = kind & 3 == 0;
        let (body, after) = more.split_at(if is_data { more.len().min(usize::from(*length)) } else { 0 });
        rest = after;
        let said = if kind & 0x80 != 0 {
            u32::from(*length) << (kind >> 2 & 31)
        } else if is_data {
            u32::try_from(body.len()).unwrap_or(0)
        } else {
            u32::from(*length) << (flags >> 4)
        };
        frames.extend([0, kind & 3, 0, flags & 15, 0, 0, 0, *stream]);
        frames.extend(said.to_be_bytes());
        frames.extend(body);
    }
    frames
}

/// Reads what it is sent to its end, and counts.
struct Reads(Arc<AtomicUsize>);

impl kith_wire::Serve for Reads {
    fn serve(&self, request: Request<Body>) -> ServeFuture {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let read = collect(request.into_body(), 4096).await;
            Response::new(bytes_body(if read.is_ok() { "read" } else { "broken off" }))
        })
    }
}

/// A stream that takes everything, and brings its bytes in pieces and ends; if it waits, not before it was written to.
struct Played {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
    waits: bool,
    sent: Arc<AtomicUsize>,
}

impl AsyncRead for Played {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.waits && self.sent.load(Ordering::Relaxed) == 0 {
            // Whoever writes wakes nobody: look again.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = self.piece.min(buffer.remaining()).min(self.bytes.len() - self.at);
        let end = self.at + length;
        buffer.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Played {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.sent.fetch_add(bytes.len(), Ordering::Relaxed);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
