//! An archive at a friend, seen as the [`Store`] that the archive crate works on: restic's REST protocol over whatever
//! carries a request to the friend.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use kith_archive::{FileId, FileKind, Store, StoreError, StoredFile};
use kith_wire::{Body, collect, empty_body};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

/// Largest object that is read: restic's packs are up to 128 MiB.
const MOST_OBJECT_BYTES: usize = 256 * 1024 * 1024;
/// Largest list: some 80 bytes for each of a million packs.
const MOST_LIST_BYTES: usize = 128 * 1024 * 1024;
/// Largest answer that is only a sentence: to a write, or the refusal of a small range.
const MOST_WORDS_BYTES: usize = 64 * 1024;
/// A request that moves no byte for this long is given up and tried again.
const STALLED: Duration = Duration::from_secs(60);
/// Bytes of an upload that are handed over at once.
const PIECE: usize = 64 * 1024;
/// Media type of a list with sizes, protocol version 2.
const LIST_V2: &str = "application/vnd.x.restic.rest.v2";
/// The header in which a vault names the reason of a refusal.
const CODE: &str = "kith-code";

/// Why a request did not come back with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarrierError {
    /// The friend is away; trying again makes sense at any time.
    #[error("{0}")]
    Away(String),
    /// It makes no sense to try again.
    #[error("{0}")]
    Final(String),
}

/// Carries requests to the friend who keeps the archive.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// Sends a request; the path is `/{archive}/...`.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, CarrierError>;

    /// Waits until the friend may be there again, at most this long.
    async fn wait(&self, patience: Duration);
}

/// How long a store waits for a friend who is away before it gives up.
#[derive(Clone, Copy, Debug)]
pub struct Patience(pub Duration);

/// An archive behind a [`Carrier`].
pub struct RemoteStore<C> {
    carrier: C,
    archive: String,
    patience: Patience,
    waiting: watch::Sender<bool>,
}

impl<C: Carrier> RemoteStore<C> {
    /// The archive with this id.
    pub fn new(carrier: C, archive: impl Into<String>, patience: Patience) -> Self {
        Self { carrier, archive: archive.into(), patience, waiting: watch::Sender::new(false) }
    }

    /// Whether the store waits for the friend at the moment.
    pub fn waiting(&self) -> watch::Receiver<bool> {
        self.waiting.subscribe()
    }

    fn path(&self, kind: FileKind, id: Option<&FileId>) -> String {
        match (kind, id) {
            (FileKind::Config, _) => format!("/{}/config", self.archive),
            (kind, Some(id)) => format!("/{}/{}/{id}", self.archive, kind.dir_name()),
            (kind, None) => format!("/{}/{}/", self.archive, kind.dir_name()),
        }
    }

    /// Tries until there is an answer, the friend stays away for too long, or it makes no sense.
    async fn exchange(
        &self,
        what: &Operation<'_>,
    ) -> Result<(StatusCode, Option<String>, Bytes), StoreError> {
        let mut away_since: Option<Instant> = None;
        let mut pause = Duration::from_millis(100);
        loop {
            let reason = match self.attempt(what).await {
                Ok((status, code, body)) if !is_passing(status, code.as_deref()) => {
                    self.waiting.send_if_modified(|waiting| std::mem::replace(waiting, false));
                    return Ok((status, code, body));
                }
                Ok((status, _, body)) => {
                    format!("it answered {status}: {}", String::from_utf8_lossy(&body[..body.len().min(200)]))
                }
                Err(CarrierError::Away(reason)) => reason,
                Err(CarrierError::Final(reason)) => return Err(StoreError::Unavailable(reason)),
            };
            let since = *away_since.get_or_insert_with(Instant::now);
            let left = self.patience.0.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(StoreError::Unavailable(reason));
            }
            self.waiting.send_if_modified(|waiting| !std::mem::replace(waiting, true));
            tracing::debug!(%reason, operation = %what.path, "waiting for the friend");
            self.carrier.wait(left).await;
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    async fn attempt(
        &self,
        what: &Operation<'_>,
    ) -> Result<(StatusCode, Option<String>, Bytes), CarrierError> {
        let moved = Arc::new(Progress::default());
        let mut request = Request::builder().method(what.method.clone()).uri(&what.path);
        if let Some(range) = &what.range {
            request = request.header(header::RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        if what.list {
            request = request.header(header::ACCEPT, LIST_V2);
        }
        let body = what.data.map_or_else(empty_body, |data| Pieces::body(data.clone(), moved.clone()));
        let request = request.body(body).map_err(|error| CarrierError::Final(error.to_string()))?;
        let exchange = async {
            let answer = self.carrier.send(request).await?;
            moved.note();
            let status = answer.status();
            let code = answer.headers().get(CODE).and_then(|code| code.to_str().ok()).map(str::to_owned);
            let body = kith_wire::boxed(Noting { body: answer.into_body(), moved: moved.clone() });
            let bytes = collect(body, what.most_bytes())
                .await
                .map_err(|error| CarrierError::Away(format!("the answer broke off: {error}")))?;
            Ok((status, code, bytes))
        };
        tokio::select! {
            outcome = exchange => outcome,
            () = moved.stalled() => {
                Err(CarrierError::Away(format!("no byte was moved for {} s", STALLED.as_secs())))
            }
        }
    }
}

/// Answers after which the same request may well succeed.
fn is_passing(status: StatusCode, code: Option<&str>) -> bool {
    code.is_none()
        && matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        )
}

struct Operation<'a> {
    method: Method,
    path: String,
    range: Option<Range<u64>>,
    data: Option<&'a Bytes>,
    list: bool,
}

impl Operation<'_> {
    const fn new(method: Method, path: String) -> Self {
        Self { method, path, range: None, data: None, list: false }
    }

    fn most_bytes(&self) -> usize {
        match &self.range {
            Some(range) => usize::try_from(range.end - range.start)
                .unwrap_or(MOST_OBJECT_BYTES)
                .clamp(MOST_WORDS_BYTES, MOST_OBJECT_BYTES),
            None if self.list => MOST_LIST_BYTES,
            None if self.method != Method::GET => MOST_WORDS_BYTES,
            None => MOST_OBJECT_BYTES,
        }
    }
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    size: u64,
}

#[derive(Deserialize)]
struct Refused {
    message: String,
}

/// What a refusal means.
fn refusal(kind: FileKind, id: &FileId, status: StatusCode, code: Option<&str>, body: &[u8]) -> StoreError {
    let message = serde_json::from_slice::<Refused>(body).map_or_else(
        |_| format!("it answered {status}: {}", String::from_utf8_lossy(&body[..body.len().min(200)])),
        |refused| refused.message,
    );
    match code {
        Some("not-found") => StoreError::NotFound { kind, id: *id },
        Some("quota-exceeded") => StoreError::QuotaExceeded { message },
        Some("disk-full") => StoreError::Full,
        Some("hash-mismatch") => StoreError::Corrupt { kind, id: *id, reason: message },
        None if status == StatusCode::NOT_FOUND => StoreError::NotFound { kind, id: *id },
        _ => StoreError::Refused { what: format!("{kind} {}", id.short()), reason: message },
    }
}

#[async_trait]
impl<C: Carrier> Store for RemoteStore<C> {
    async fn list(&self, kind: FileKind) -> Result<Vec<StoredFile>, StoreError> {
        let mut operation = Operation::new(Method::GET, self.path(kind, None));
        if kind == FileKind::Config {
            operation.method = Method::HEAD;
            let (status, code, body) = self.exchange(&operation).await?;
            return match status {
                StatusCode::OK => Ok(vec![StoredFile { id: FileId::ZERO, size: 0 }]),
                StatusCode::NOT_FOUND => Ok(Vec::new()),
                _ => Err(refusal(kind, &FileId::ZERO, status, code.as_deref(), &body)),
            };
        }
        operation.list = true;
        let (status, code, body) = self.exchange(&operation).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        if status != StatusCode::OK {
            return Err(refusal(kind, &FileId::ZERO, status, code.as_deref(), &body));
        }
        let listed: Vec<Listed> = serde_json::from_slice(&body).map_err(|error| StoreError::Corrupt {
            kind,
            id: FileId::ZERO,
            reason: format!("the list makes no sense: {error}"),
        })?;
        // Names that are no hashes belong to another tool: they are none of our objects.
        let known = listed
            .into_iter()
            .filter_map(|file| file.name.parse().ok().map(|id| StoredFile { id, size: file.size }));
        Ok(known.collect())
    }

    async fn load(
        &self,
        kind: FileKind,
        id: &FileId,
        range: Option<Range<u64>>,
    ) -> Result<Bytes, StoreError> {
        if range.as_ref().is_some_and(|range| range.end <= range.start) {
            return Ok(Bytes::new());
        }
        let mut operation = Operation::new(Method::GET, self.path(kind, Some(id)));
        operation.range = range.clone();
        let (status, code, body) = self.exchange(&operation).await?;
        let expected = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if status != expected {
            return Err(refusal(kind, id, status, code.as_deref(), &body));
        }
        if let Some(range) = range
            && body.len() as u64 != range.end - range.start
        {
            return Err(StoreError::Corrupt {
                kind,
                id: *id,
                reason: format!("{} bytes came instead of {}", body.len(), range.end - range.start),
            });
        }
        Ok(body)
    }

    async fn save(&self, kind: FileKind, id: &FileId, data: Bytes) -> Result<(), StoreError> {
        if kind == FileKind::Config {
            // An archive has to be asked for before its first file. Asking for one that is there changes nothing.
            let make = Operation::new(Method::POST, format!("/{}/?create=true", self.archive));
            let (status, code, body) = self.exchange(&make).await?;
            if !status.is_success() {
                return Err(refusal(kind, id, status, code.as_deref(), &body));
            }
        }
        let mut operation = Operation::new(Method::POST, self.path(kind, Some(id)));
        operation.data = Some(&data);
        let (status, code, body) = self.exchange(&operation).await?;
        if status.is_success() { Ok(()) } else { Err(refusal(kind, id, status, code.as_deref(), &body)) }
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<(), StoreError> {
        let operation = Operation::new(Method::DELETE, self.path(kind, Some(id)));
        let (status, code, body) = self.exchange(&operation).await?;
        if status.is_success() { Ok(()) } else { Err(refusal(kind, id, status, code.as_deref(), &body)) }
    }
}

/// When bytes were moved last.
struct Progress {
    started: Instant,
    moved_at_ms: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { started: Instant::now(), moved_at_ms: AtomicU64::new(0) }
    }
}

impl Progress {
    fn note(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_at_ms.store(now, Ordering::Relaxed);
    }

    /// Ends when nothing was moved for [`STALLED`].
    async fn stalled(&self) {
        loop {
            let moved = self.started + Duration::from_millis(self.moved_at_ms.load(Ordering::Relaxed));
            if moved.elapsed() >= STALLED {
                return;
            }
            tokio::time::sleep_until(moved + STALLED).await;
        }
    }
}

/// An upload in pieces, so that its progress can be seen.
struct Pieces {
    data: Bytes,
    moved: Arc<Progress>,
}

impl Pieces {
    fn body(data: Bytes, moved: Arc<Progress>) -> Body {
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
        self.moved.note();
        if self.data.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.data.len().min(PIECE);
        let piece = self.data.split_to(piece);
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
struct Noting {
    body: Body,
    moved: Arc<Progress>,
}

impl http_body::Body for Noting {
    type Data = Bytes;
    type Error = kith_wire::BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            self.moved.note();
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

#[cfg(test)]
mod tests;
