//! A link: the one live, authenticated connection to a friend.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument;

use crate::body::Body;
use crate::link::draining::{Draining, Moved};
use crate::metered::Meter;
use crate::mux::{ByteStream, End, Happening, Mux, MuxStream, OpenRequest, Shared};

/// How long a failed exchange waits for the reason, if it was the whole connection that broke.
const LAST_WORD: Duration = Duration::from_millis(100);
/// How often it is looked whether anybody is too slow.
const SWEEP: Duration = Duration::from_secs(5);

/// Which end dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We dialled.
    Dialer,
    /// We were dialled.
    Acceptor,
}

/// The bounds of a link.
#[derive(Clone, Debug)]
pub struct LinkLimits {
    /// Streams this end opens at once; further requests wait. Half as many again are served, because a stream that one
    /// end has ended may still be open for the other.
    pub open_streams: usize,
    /// Bytes that may be received but not yet read, over all streams. Each stream has 256 KiB of them; what is left goes to
    /// those that need more, because the line is long.
    pub receive_window: usize,
    /// Bytes of a data frame.
    pub frame_bytes: usize,
    /// Silence after which a ping is sent.
    pub ping_after: Duration,
    /// Silence after which the other end is taken for dead.
    pub dead_after: Duration,
    /// Longest time in which less than [`Self::least_progress`] bytes pass of what one end waits for: a body that is read, an
    /// answer that the other side must take, or the connection itself.
    pub slow_after: Duration,
    /// See [`Self::slow_after`].
    pub least_progress: u64,
    /// Longest time to the end of the headers of a request.
    pub headers: Duration,
}

impl LinkLimits {
    /// Streams of the other side that are served at once.
    pub(crate) const fn streams_served(&self) -> usize {
        self.open_streams + self.open_streams / 2
    }
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            open_streams: 32,
            receive_window: 32 * 1024 * 1024,
            // With its header four full records of TLS.
            frame_bytes: 64 * 1024 - 12,
            ping_after: Duration::from_secs(15),
            dead_after: Duration::from_secs(30),
            slow_after: Duration::from_secs(60),
            least_progress: 16 * 1024,
            headers: Duration::from_secs(30),
        }
    }
}

/// A future of an answer.
pub type ServeFuture = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Answers the requests of the other end.
pub trait Serve: Send + Sync + 'static {
    /// Answers one request.
    fn serve(&self, request: Request<Body>) -> ServeFuture;
}

impl<F> Serve for F
where
    F: Fn(Request<Body>) -> ServeFuture + Send + Sync + 'static,
{
    fn serve(&self, request: Request<Body>) -> ServeFuture {
        self(request)
    }
}

/// Why a link ended or an exchange failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The other end closed the connection.
    #[error("the other computer closed the connection")]
    ClosedByPeer,
    /// This end closed it.
    #[error("the connection was closed here: {0}")]
    ClosedHere(String),
    /// Nothing was heard for too long.
    #[error("nothing was heard from the other computer for {} s", .0.as_secs())]
    Dead(Duration),
    /// The other side takes next to nothing of what waits for it.
    #[error("the other computer took next to nothing of what was sent to it for {} s", .0.as_secs())]
    Slow(Duration),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The other side ended the connection because of what this end sent.
    #[error(
        "the other computer ended the connection: it says that what was sent to it breaks the rules (reason {0})"
    )]
    Accused(u32),
    /// One exchange failed while the connection may live on.
    #[error("the exchange failed: {0}")]
    Exchange(String),
}

/// How much has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// A handle to a running link. The link ends when [`Link::close`] is called, or by itself; dropping handles does
/// not end it, dropping the driver's task does.
#[derive(Clone)]
pub struct Link {
    opens: mpsc::Sender<OpenRequest>,
    streams: Arc<Semaphore>,
    close: mpsc::Sender<String>,
    ended: watch::Receiver<Option<LinkError>>,
    meter: Arc<Meter>,
    limits: Arc<LinkLimits>,
    mux: Shared,
    /// To where the work of this link has moved, once it has.
    moved: Arc<watch::Sender<Option<Moved>>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("ended", &*self.ended.borrow()).finish_non_exhaustive()
    }
}

impl Link {
    /// Starts a link over an authenticated stream. The returned future drives it and must be spawned; it ends with
    /// the link.
    pub fn start(
        stream: Box<dyn ByteStream>,
        side: Side,
        service: Arc<dyn Serve>,
        limits: LinkLimits,
    ) -> (Self, impl Future<Output = LinkError> + Send + 'static) {
        let meter = Meter::start();
        let (opens, open_requests) = mpsc::channel(limits.open_streams);
        let (close, close_requests) = mpsc::channel(1);
        let (ended_sender, ended) = watch::channel(None);
        let mux = Mux::new(stream, meter.clone(), side, &limits, open_requests);
        let link = Self {
            opens,
            streams: Arc::new(Semaphore::new(limits.open_streams)),
            close,
            ended,
            meter,
            limits: Arc::new(limits),
            mux: mux.shared(),
            moved: Arc::default(),
        };
        let driver = drive(link.clone(), mux, service, close_requests, ended_sender);
        (link, driver)
    }

    /// The other side is welcome. Until this is said, one who dialled us may open few streams, send small frames, and have
    /// windows that don't grow.
    pub fn welcome(&self) {
        self.mux.lock().greet();
    }

    /// Sends a request and waits for the head of the answer; its body streams. To drop it unread breaks the stream off: that may be
    /// done 128 times in one go and 16 times a second; then further requests wait.
    ///
    /// On a link that [drains](Self::drain) it is not begun any more, and one that still waits for its turn is not begun either:
    /// both are sent by the link that goes on.
    ///
    /// # Errors
    /// If the link is over or the exchange fails.
    pub async fn request(&self, request: Request<Body>) -> Result<Response<Body>, LinkError> {
        let mut link = self.clone();
        let (permit, stream) = loop {
            match link.begin().await {
                Ok(begun) => break begun,
                Err(error) => link = link.successor().ok_or(error)?,
            }
        };
        link.carry(permit, stream, request).await
    }

    /// Waits for a turn, and opens a stream.
    async fn begin(&self) -> Result<(OwnedSemaphorePermit, MuxStream), LinkError> {
        let mut moved = self.moved.subscribe();
        let opening = async {
            let permit = self.streams.clone().acquire_owned().await.map_err(|_closed| self.why_over())?;
            Ok((permit, self.open().await?))
        };
        tokio::select! {
            biased;
            reason = draining::why_moved(&mut moved) => Err(LinkError::ClosedHere(reason)),
            opened = opening => opened,
        }
    }

    async fn carry(
        &self,
        permit: OwnedSemaphorePermit,
        stream: MuxStream,
        request: Request<Body>,
    ) -> Result<Response<Body>, LinkError> {
        let mut ended = self.ended.clone();
        let exchange = exchange::ask(stream, permit, request, &self.limits);
        let error = tokio::select! {
            answer = exchange => match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            },
            _ = ended.wait_for(Option::is_some) => return Err(self.why_over()),
        };
        // The streams of a broken connection hear of its end a moment before the driver says why it broke.
        match tokio::time::timeout(LAST_WORD, ended.wait_for(Option::is_some)).await {
            Ok(_over) => Err(self.why_over()),
            Err(_lives_on) => Err(error),
        }
    }

    async fn open(&self) -> Result<MuxStream, LinkError> {
        let (sender, receiver) = oneshot::channel();
        self.opens.send(sender).await.map_err(|_over| self.why_over())?;
        receiver.await.map_err(|_driver_gone| self.why_over())
    }

    /// Ends the link; the other side sees an orderly close, also in the middle of long transfers.
    pub fn close(&self, reason: &str) {
        // A full queue means that a close is under way already.
        drop(self.close.try_send(reason.to_owned()));
    }

    /// Ends the link without breaking anything off: no new streams are opened on it, what is under way in both directions goes on
    /// (for ten minutes at most), and then it is closed as [`close`](Self::close) does. What is still to be asked is asked over
    /// `to`, whoever holds a handle to this link.
    pub fn drain(&self, reason: &str, to: Option<Self>) {
        self.moved.send_if_modified(|moved| {
            let is_first = moved.is_none();
            if is_first {
                *moved = Some(Moved { reason: reason.to_owned(), to });
            }
            is_first
        });
    }

    /// The link that took this one's place; none while there is none.
    fn successor(&self) -> Option<Self> {
        self.moved.borrow().as_ref().and_then(|moved| moved.to.clone())
    }

    /// Asks the other side for a sign of life, and by that [how long it takes](Self::round_trip).
    pub fn measure(&self) {
        self.mux.lock().send_ping(Instant::now());
    }

    /// How long the other side takes to answer, smoothed; none before the first answer to a ping.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.mux.lock().round_trip()
    }

    /// Waits for the end of the link and says why it ended.
    pub async fn ended(&self) -> LinkError {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(LinkError::ClosedByPeer),
            Err(_driver_dropped) => LinkError::ClosedHere("the program ends".into()),
        }
    }

    /// Whether the link is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended.borrow().is_some() || self.opens.is_closed()
    }

    /// How much has passed so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic { received: self.meter.received(), sent: self.meter.sent() }
    }

    /// For how long nothing was heard.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        self.meter.silent_for()
    }

    fn why_over(&self) -> LinkError {
        self.ended.borrow().clone().unwrap_or_else(|| LinkError::ClosedHere("the program ends".into()))
    }
}

/// Runs a link to its end.
async fn drive(
    link: Link,
    mut mux: Mux,
    service: Arc<dyn Serve>,
    mut close_requests: mpsc::Receiver<String>,
    ended: watch::Sender<Option<LinkError>>,
) -> LinkError {
    let limits = Arc::clone(&link.limits);
    let mut exchanges = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut moved = link.moved.subscribe();
    let mut draining = None;
    let mut look = tokio::time::interval(draining::LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // When the silence that began with the last byte is to be looked at again.
    let silence = tokio::time::sleep(limits.ping_after);
    tokio::pin!(silence);
    let reason = loop {
        tokio::select! {
            happening = poll_fn(|cx| mux.poll(cx)) => match happening {
                // Streams that were broken off may still be answered: those count too. What is dropped here is broken off.
                Happening::Inbound(stream) => {
                    while exchanges.try_join_next().is_some() {}
                    if exchanges.len() < limits.streams_served() {
                        exchanges.spawn(exchange::answer(stream, service.clone(), limits.clone()).in_current_span());
                    }
                }
                Happening::Over(End::Closed) => break LinkError::ClosedByPeer,
                Happening::Over(End::Broken(error)) => break LinkError::Broken(exchange::with_source(&error)),
                Happening::Over(End::Breach(breach)) => break LinkError::Broken(breach.to_string()),
                Happening::Over(End::Accused(reason)) => break LinkError::Accused(reason),
            },
            Some(_done) = exchanges.join_next() => {}
            () = &mut silence => {
                let silent = link.silent_for();
                if silent >= limits.dead_after {
                    break LinkError::Dead(limits.dead_after);
                }
                let next = if silent >= limits.ping_after {
                    mux.ping();
                    limits.dead_after
                } else {
                    limits.ping_after
                };
                silence.as_mut().reset(Instant::now() + next.saturating_sub(silent));
            }
            now = sweep.tick() => if mux.sweep(now, &limits) {
                break LinkError::Slow(limits.slow_after);
            },
            reason = draining::why_moved(&mut moved), if draining.is_none() => {
                mux.drain();
                draining = Some((Draining::start(Instant::now()), reason));
            }
            now = look.tick(), if draining.is_some() => {
                let idle_after = mux.idle_after().filter(|_| exchanges.is_empty());
                if let Some((state, reason)) = &mut draining
                    && state.is_over(now, idle_after)
                {
                    let reason = std::mem::take(reason);
                    say_goodbye(&mut mux).await;
                    break LinkError::ClosedHere(reason);
                }
            }
            Some(reason) = close_requests.recv() => {
                say_goodbye(&mut mux).await;
                break LinkError::ClosedHere(reason);
            }
        }
    };
    link.streams.close();
    ended.send_replace(Some(reason.clone()));
    reason
}

async fn say_goodbye(mux: &mut Mux) {
    drop(tokio::time::timeout(Duration::from_secs(2), mux.close()).await);
}

mod draining;
mod exchange;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
