//! An archive at a friend, seen as the [`Store`] that the archive crate works on: restic's REST protocol over whatever
//! carries a request to the friend.
//!
//! A friend who is away is waited for, as long as the caller's patience goes. One who is there and does nothing is not:
//! a read that stalls is asked once more, on another stream, and when nothing was moved for `MOST_QUIET`, or
//! `MOST_GIVEN_UP` objects did not come, the caller is told. So nobody looks for long at work that does not go on.
//!
//! An exchange that breaks off is made again, however long it had taken: its line may have died, and then the next try
//! shows that the friend is away.

mod moved;
mod operation;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use kith_archive::store::Buffers;
use kith_archive::{FileId, FileKind, Store, StoreError, StoredFile};
use kith_wire::{Body, announced, collect_into, empty_body};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use moved::{Moved, Noting, Pieces};
use operation::Operation;

/// Largest answer that is only a sentence: to a write, or the refusal of a small range.
const MOST_WORDS_BYTES: usize = 64 * 1024;
/// When a friend who can be reached has done nothing for this long, the work has failed.
const MOST_QUIET: Duration = Duration::from_secs(50);
/// So long a read is waited for in any case, when most of that time is gone.
const LEAST_STALLED: Duration = Duration::from_secs(5);
/// So many objects that stall may be missing in the end. More of them are a friend who stalls.
const MOST_GIVEN_UP: usize = 3;
/// No file is larger, whatever a list says: a million of them can be added up.
const LARGEST_SIZE: u64 = 1 << 40;
/// An exchange that breaks off so often while the friend stays there is not tried again.
const MOST_BREAKS: usize = 2;
/// Before an exchange that broke off is tried again.
const SHORT_PAUSE: Duration = Duration::from_millis(50);
/// Of what a friend says in a refusal, so much is repeated.
const MOST_QUOTED: usize = 200;
/// Media type of a list with sizes, protocol version 2.
const LIST_V2: &str = "application/vnd.x.restic.rest.v2";
/// The header in which a vault names the reason of a refusal.
const CODE: &str = "kith-code";
/// The header that asks for an archive as it was.
const AS_OF: &str = "kith-as-of";
/// The header that says since when another installation writes.
const SUPERSEDED_SINCE: &str = "kith-superseded-since";

/// Why a request did not come back with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarrierError {
    /// The friend is away; trying again makes sense at any time.
    #[error("{0}")]
    Away(String),
    /// The friend is there, but this exchange with him broke off or made no sense.
    #[error("{0}")]
    Broken(String),
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
    as_of: Option<u64>,
    waiting: watch::Sender<bool>,
    /// When a request came to its end.
    ended: Arc<Moved>,
    /// When anything was moved, by whichever request.
    moved: Arc<Moved>,
    /// Objects that stalled until they were given up.
    given_up: AtomicUsize,
    buffers: Buffers,
}

/// Why an attempt brought no answer.
enum Failed {
    Carrier(CarrierError),
    /// Nothing was moved for so long.
    Stalled(Duration),
}

impl<C: Carrier> RemoteStore<C> {
    /// The archive with this id.
    pub fn new(carrier: C, archive: impl Into<String>, patience: Patience) -> Self {
        let waiting = watch::Sender::new(false);
        Self {
            carrier,
            archive: archive.into(),
            patience,
            as_of: None,
            waiting,
            ended: Arc::default(),
            moved: Arc::default(),
            given_up: AtomicUsize::new(0),
            buffers: Buffers::default(),
        }
    }

    /// The archive as it was at a time by its holder's clock, Unix milliseconds. It can only be read.
    #[must_use]
    pub fn as_of(self, as_of: Option<u64>) -> Self {
        Self { as_of, ..self }
    }

    /// Brings back everything that was deleted after a time by the holder's clock, Unix milliseconds.
    ///
    /// # Errors
    /// The holder refuses, or can't be reached.
    pub async fn undelete(&self, as_of: u64) -> Result<Undeleted, StoreError> {
        let path = format!("/{}/?undelete", self.archive);
        let operation = Operation::new(FileKind::Config, FileId::ZERO, Method::POST, path);
        let operation = Operation { undelete: Some(as_of), ..operation };
        let answer = self.exchange(&operation).await?;
        if !answer.status.is_success() {
            return Err(refusal(&operation, &answer));
        }
        serde_json::from_slice(&answer.body).map_err(|error| StoreError::Refused {
            what: operation.what(),
            reason: format!("the answer makes no sense: {error}"),
        })
    }

    /// Forgets which objects stalled: what comes now is other work, which is judged by itself.
    pub fn forgive(&self) {
        self.given_up.store(0, Relaxed);
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
    async fn exchange(&self, what: &Operation<'_>) -> Result<Answer, StoreError> {
        // Since then the friend is there.
        let mut there_since = Instant::now();
        let mut away_since: Option<Instant> = None;
        let mut later_since: Option<Instant> = None;
        let (mut stalls, mut breaks) = (0, 0);
        let mut pause = 2 * SHORT_PAUSE;
        loop {
            let quiet = |last: &Moved| last.quiet_since().max(there_since).elapsed();
            let stalled_after = if what.is_read() {
                let left = (MOST_QUIET + LEAST_STALLED).saturating_sub(quiet(&self.moved));
                what.stalled_after().min(left).max(LEAST_STALLED)
            } else {
                what.stalled_after()
            };
            let (reason, is_there) = match self.attempt(what, stalled_after).await {
                Ok(answer) if !is_passing(answer.status, answer.code.as_deref()) => {
                    self.waiting.send_if_modified(|waiting| std::mem::replace(waiting, false));
                    return Ok(answer);
                }
                Ok(Answer { status, body, .. }) => {
                    later_since.get_or_insert_with(Instant::now);
                    (format!("it answered {status}: {}", quoted(&body)), true)
                }
                Err(Failed::Stalled(time)) => {
                    stalls += 1;
                    (format!("no byte was moved for {} s", time.as_secs()), true)
                }
                Err(Failed::Carrier(CarrierError::Broken(reason))) => {
                    breaks += 1;
                    (reason, true)
                }
                Err(Failed::Carrier(CarrierError::Away(reason))) => {
                    (stalls, breaks, later_since) = (0, 0, None);
                    (reason, false)
                }
                Err(Failed::Carrier(CarrierError::Final(reason))) => {
                    return Err(what.unavailable(&reason));
                }
            };
            let left = if is_there {
                let about_anything = quiet(&self.ended) >= MOST_QUIET;
                let most_stalls = if self.given_up.load(Relaxed) > 0 { 1 } else { what.most_stalls() };
                if stalls >= most_stalls {
                    let many = self.given_up.fetch_add(1, Relaxed) >= MOST_GIVEN_UP;
                    return Err(what.stalled(reason, many || about_anything));
                }
                if breaks >= MOST_BREAKS || later_since.is_some_and(|since| since.elapsed() >= MOST_QUIET) {
                    return Err(what.stalled(reason, about_anything));
                }
                self.patience.0.min(MOST_QUIET)
            } else {
                let since = *away_since.get_or_insert_with(Instant::now);
                self.patience.0.saturating_sub(since.elapsed())
            };
            if left.is_zero() {
                return Err(what.unavailable(&reason));
            }
            self.waiting.send_if_modified(|waiting| !std::mem::replace(waiting, true));
            tracing::debug!(%reason, operation = %what.path, "waiting for the friend");
            self.carrier.wait(left).await;
            tokio::time::sleep(if breaks > 0 { SHORT_PAUSE } else { pause.min(left) }).await;
            if !is_there {
                there_since = Instant::now();
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    async fn attempt(&self, what: &Operation<'_>, stalled: Duration) -> Result<Answer, Failed> {
        let moved = Arc::new(Moved::beside(&self.moved));
        let last = |reason: String| Failed::Carrier(CarrierError::Final(reason));
        let mut request = Request::builder().method(what.method.clone()).uri(&what.path);
        if let Some(range) = &what.range {
            request = request.header(header::RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        if what.list {
            request = request.header(header::ACCEPT, LIST_V2);
        }
        // A list or an object of another time than the rest would make no sense: all reads of a store have the same view.
        if let Some(as_of) = what.undelete.or(self.as_of) {
            request = request.header(AS_OF, as_of);
        }
        let body = what.data.map_or_else(empty_body, |data| Pieces::body(data.clone(), moved.clone()));
        let request = request.body(body).map_err(|error| last(error.to_string()))?;
        let exchange = async {
            let answer = self.carrier.send(request).await.map_err(Failed::Carrier)?;
            moved.restart();
            let status = answer.status();
            let code = text(&answer, CODE).map(str::to_owned);
            let since_ms = text(&answer, SUPERSEDED_SINCE).and_then(|since| since.parse().ok());
            let body = kith_wire::boxed(Noting { body: answer.into_body(), moved: moved.clone() });
            let most = what.most_bytes(status);
            let mut received = self.buffers.take(announced(&body).min(most));
            collect_into(body, most, &mut received).await.map_err(|error| {
                Failed::Carrier(CarrierError::Broken(format!("the answer broke off: {error}")))
            })?;
            if !is_passing(status, code.as_deref()) {
                self.ended.restart();
            }
            Ok(Answer { status, code, since_ms, body: received.into() })
        };
        tokio::select! {
            outcome = exchange => outcome,
            () = moved.stalled(stalled) => Err(Failed::Stalled(stalled)),
        }
    }
}

/// What came back.
struct Answer {
    status: StatusCode,
    code: Option<String>,
    /// Since when another installation writes, if that is the reason.
    since_ms: Option<u64>,
    body: Bytes,
}

fn text<'a>(answer: &'a Response<Body>, header: &str) -> Option<&'a str> {
    answer.headers().get(header).and_then(|value| value.to_str().ok())
}

/// Answers after which the same request may well succeed.
fn is_passing(status: StatusCode, code: Option<&str>) -> bool {
    code.is_none()
        && matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        )
}

/// The beginning of what a friend said.
fn quoted(words: &[u8]) -> String {
    String::from_utf8_lossy(&words[..words.len().min(MOST_QUOTED)]).into_owned()
}

/// What was brought back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Undeleted {
    /// Packs.
    pub data: u64,
    /// Index files.
    pub index: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Deleted after the time, and there again already.
    pub present: u64,
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
fn refusal(what: &Operation<'_>, answer: &Answer) -> StoreError {
    let (kind, id) = (what.kind, what.id);
    let Answer { status, code, since_ms, body } = answer;
    let status = *status;
    let message = match serde_json::from_slice::<Refused>(body) {
        Ok(refused) => quoted(refused.message.as_bytes()),
        // What came in the place of words is none.
        Err(_) if status.is_success() => format!("it answered {status}, which was not asked for"),
        Err(_) => format!("it answered {status}: {}", quoted(body)),
    };
    match code.as_deref() {
        Some("superseded") => StoreError::Superseded { since_ms: *since_ms },
        Some("not-found") => StoreError::NotFound { kind, id },
        Some("quota-exceeded") => StoreError::QuotaExceeded { message },
        Some("disk-full") => StoreError::Full,
        Some("hash-mismatch") => StoreError::Corrupt { kind, id, reason: message },
        None if status == StatusCode::NOT_FOUND => StoreError::NotFound { kind, id },
        // Whoever has no rights has none to anything; everything else may be about this one object.
        _ if what.is_one_of_many() && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            StoreError::Withheld { kind, id, reason: message }
        }
        _ => StoreError::Refused { what: what.what(), reason: message },
    }
}

#[async_trait]
impl<C: Carrier> Store for RemoteStore<C> {
    async fn list(&self, kind: FileKind) -> Result<Vec<StoredFile>, StoreError> {
        let mut operation = Operation::new(kind, FileId::ZERO, Method::GET, self.path(kind, None));
        if kind == FileKind::Config {
            operation.method = Method::HEAD;
            let answer = self.exchange(&operation).await?;
            return match answer.status {
                StatusCode::OK => Ok(vec![StoredFile { id: FileId::ZERO, size: 0 }]),
                StatusCode::NOT_FOUND => Ok(Vec::new()),
                _ => Err(refusal(&operation, &answer)),
            };
        }
        operation.list = true;
        let answer = self.exchange(&operation).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        if answer.status != StatusCode::OK {
            return Err(refusal(&operation, &answer));
        }
        let listed: Vec<Listed> = serde_json::from_slice(&answer.body).map_err(|error| {
            StoreError::Corrupt { kind, id: FileId::ZERO, reason: format!("it makes no sense: {error}") }
        })?;
        // Names that are no hashes belong to another tool: they are none of our objects.
        let known = listed.into_iter().filter_map(|file| {
            Some(StoredFile { id: file.name.parse().ok()?, size: file.size.min(LARGEST_SIZE) })
        });
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
        let mut operation = Operation::new(kind, *id, Method::GET, self.path(kind, Some(id)));
        operation.range = range.clone();
        let answer = self.exchange(&operation).await?;
        let expected = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if answer.status != expected {
            return Err(refusal(&operation, &answer));
        }
        if let Some(range) = range
            && answer.body.len() as u64 != range.end - range.start
        {
            return Err(StoreError::Corrupt {
                kind,
                id: *id,
                reason: format!("{} bytes came instead of {}", answer.body.len(), range.end - range.start),
            });
        }
        Ok(answer.body)
    }

    async fn save(&self, kind: FileKind, id: &FileId, data: Bytes) -> Result<(), StoreError> {
        if kind == FileKind::Config {
            // An archive has to be asked for before its first file. Asking for one that is there changes nothing.
            let make = Operation::new(kind, *id, Method::POST, format!("/{}/?create=true", self.archive));
            let answer = self.exchange(&make).await?;
            if !answer.status.is_success() {
                return Err(refusal(&make, &answer));
            }
        }
        let mut operation = Operation::new(kind, *id, Method::POST, self.path(kind, Some(id)));
        operation.data = Some(&data);
        let answer = self.exchange(&operation).await?;
        if answer.status.is_success() { Ok(()) } else { Err(refusal(&operation, &answer)) }
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<(), StoreError> {
        let operation = Operation::new(kind, *id, Method::DELETE, self.path(kind, Some(id)));
        let answer = self.exchange(&operation).await?;
        if answer.status.is_success() { Ok(()) } else { Err(refusal(&operation, &answer)) }
    }
}

#[cfg(test)]
mod tests;
