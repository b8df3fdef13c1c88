//! What all connections share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::secret::{Codes, ExchangeLimit, Sessions, Token};
use super::{Bound, ControlError};
use crate::backend::{Failure, FailureKind, SharedBackend};

/// Event streams at a time, over all doors.
const MAX_STREAMS: usize = 64;

/// Changes at a time, over all doors.
const MAX_CHANGES: usize = 64;

/// How long running changes may go on once the daemon ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

pub(crate) struct Shared {
    pub(crate) backend: SharedBackend,
    pub(crate) bound: Bound,
    pub(super) token: Token,
    pub(crate) sessions: Sessions,
    pub(crate) codes: Codes,
    pub(crate) exchange_limit: ExchangeLimit,
    /// Cancelled when the first request may be answered.
    pub(super) open: CancellationToken,
    /// Cancelled when no new work is taken any more.
    pub(crate) stop: CancellationToken,
    streams: Arc<Semaphore>,
    /// Changes that run, also those whose caller has gone.
    pub(super) changes: TaskTracker,
    changes_room: Arc<Semaphore>,
}

impl Shared {
    pub(super) fn new(
        backend: SharedBackend,
        bound: Bound,
        stop: CancellationToken,
    ) -> Result<Self, ControlError> {
        Ok(Self {
            backend,
            bound,
            token: Token::random()?,
            sessions: Sessions::default(),
            codes: Codes::default(),
            exchange_limit: ExchangeLimit::default(),
            open: CancellationToken::new(),
            stop,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            changes: TaskTracker::new(),
            changes_room: Arc::new(Semaphore::new(MAX_CHANGES)),
        })
    }

    /// A place for one more event stream.
    pub(super) fn stream_permit(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            Failure::new(FailureKind::Offline, format!("{MAX_STREAMS} event streams are open already"))
                .with_hint("close other windows of the app and try again")
        })
    }

    /// Runs work that must not be cut off half-way because the caller has gone away (a closed browser tab): pairing, changes
    /// of settings. It is ended with the daemon.
    pub(super) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let room = Arc::clone(&self.changes_room).try_acquire_owned().map_err(|_| {
            Failure::new(FailureKind::Offline, format!("{MAX_CHANGES} requests are being worked on already"))
                .with_hint("try again in a moment")
        })?;
        let stop = self.stop.clone();
        let task = self.changes.spawn(async move {
            let _room = room;
            tokio::pin!(work);
            tokio::select! {
                done = &mut work => return done,
                () = stop.cancelled() => {}
            }
            // `restart` itself is such work: it answers while the doors close.
            tokio::time::timeout(LAST_WORDS, work).await.unwrap_or_else(|_| {
                Err(Failure::new(FailureKind::Offline, "the daemon is ending")
                    .with_hint("try again in a moment"))
            })
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a local request broke down");
            Err(Failure::new(FailureKind::Failed, "the request broke down inside the daemon")
                .with_hint("its log says more"))
        })
    }
}
