//! restic's REST protocol, version 2: from a request to the work and back to a response.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tracing::debug;

use crate::archive::{self, Place};
use crate::body::{BoxError, VaultBody, full, produced};
use crate::incarnation::Incarnation;
use crate::list::{Listing, Version};
use crate::names::{Object, ObjectType, Owner};
use crate::range::{Part, select};
use crate::read::FilePart;
use crate::refusal::{Code, Refusal};
use crate::route::{self, Action, Route};
use crate::vault::Vault;
use crate::view::View;
use crate::{delete, read, undelete, upload};

/// How many refused uploads may be read to their end at the same time, so that their senders see why.
const MAX_DRAINS: usize = 64;

/// How long a refused upload is read on.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// How much of a refused upload is read on.
const DRAIN_BYTES: u64 = 256 << 20;

impl Vault {
    /// Answers one request of restic's REST protocol, version 2, for the archives of `owner`, who has been authenticated.
    ///
    /// Paths are `/{archive}/...`. Every answer other than success carries a [`Code`], see there. At most 16 requests of
    /// an owner work at a time, others wait; a response counts until its body has been sent or dropped. Bodies stream
    /// both ways. If the future is dropped, an unfinished upload leaves nothing behind.
    ///
    /// With the header [`AS_OF_HEADER`](crate::AS_OF_HEADER) reads see the archive as it was; writes with it are refused.
    pub async fn handle<B>(&self, owner: &Owner, request: Request<B>) -> Response<VaultBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.answer_to(owner, None, request).await
    }

    /// Like [`Vault::handle`], for one installation of `owner`: changes are refused with [`Code::Superseded`] if
    /// [`Vault::writer`] was told of a newer one.
    pub async fn handle_from<B>(
        &self,
        owner: &Owner,
        writer: Incarnation,
        request: Request<B>,
    ) -> Response<VaultBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.answer_to(owner, Some(writer), request).await
    }

    async fn answer_to<B>(
        &self,
        owner: &Owner,
        writer: Option<Incarnation>,
        request: Request<B>,
    ) -> Response<VaultBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let mut body = Box::pin(body);
        let answer = match route::parse(&head.method, &head.uri) {
            Ok(route) => self.answer(owner, writer, route, &head.headers, &mut body).await,
            Err(refusal) => Err(refusal),
        };
        // Whoever is still sending would otherwise see a broken connection instead of the answer.
        if !body.is_end_stream() {
            self.inner.drains.drain(body);
        }
        let mut response = answer.unwrap_or_else(|refusal| {
            debug!(%owner, method = %head.method, path = head.uri.path(), code = %refusal.code, "refused: {}", refusal.message);
            refusal.into_response()
        });
        if head.method == Method::HEAD {
            *response.body_mut() = full(Bytes::new());
        }
        response
    }

    async fn answer<B>(
        &self,
        owner: &Owner,
        writer: Option<Incarnation>,
        route: Route,
        headers: &HeaderMap,
        body: &mut Pin<Box<B>>,
    ) -> Result<Response<VaultBody>, Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let Route { archive: name, action } = route;
        let disk = Arc::clone(&self.inner.disk);
        let owner = self.owner(owner);
        let view = View::requested(headers)?;
        let as_of = match view {
            View::AsOf(at) if action == Action::Undelete => at,
            _ if action == Action::Undelete => {
                let message =
                    "undelete needs the header kith-as-of: what was deleted after that time is brought back";
                return Err(Refusal::new(Code::BadRequest, message));
            }
            View::AsOf(_) if !action.reads_only() => {
                let message = "the past can be read, not changed: a request with kith-as-of writes nothing";
                return Err(Refusal::new(Code::BadRequest, message));
            }
            _ => 0,
        };
        if !action.reads_only() && !owner.is_accepting() {
            let message = "this computer keeps nothing more for you at present: what is stored can be read, not changed";
            return Err(Refusal::new(Code::NotAccepted, message));
        }
        let permit = Arc::clone(&owner.permits).acquire_owned().await.map_err(|_| ended())?;
        if action == Action::Create {
            blocking(move || archive::create(&disk, &owner, &name, writer)).await?;
            return Ok(Response::new(full(Bytes::new())));
        }
        let Some(archive) = owner.archive(&name) else {
            return Err(Refusal::new(Code::NotFound, format!("there is no archive {name} here")));
        };
        let place = Place { disk, owner, archive, writer };
        match action {
            Action::Create => Err(ended()),
            Action::Undelete => {
                let undeleted = blocking(move || undelete::undelete(&place, as_of)).await?;
                let mut response = Response::new(full(undeleted.to_json()));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                Ok(response)
            }
            Action::List(kind) => Ok(list(place, kind, view, headers, permit)),
            Action::Head(object) => {
                let length = blocking(move || read::length(&place, &object, view)).await?;
                Ok(with_length(Response::new(full(Bytes::new())), length))
            }
            Action::Get(object) => get(place, object, view, headers, permit).await,
            Action::Store(object) => {
                let length = content_length(headers, body.size_hint().exact())?;
                upload::store(place, object, length, body).await?;
                Ok(Response::new(full(Bytes::new())))
            }
            Action::Delete(object) => {
                blocking(move || delete::delete(&place, &object)).await?;
                Ok(Response::new(full(Bytes::new())))
            }
        }
    }
}

fn list(
    place: Place,
    kind: ObjectType,
    view: View,
    headers: &HeaderMap,
    permit: OwnedSemaphorePermit,
) -> Response<VaultBody> {
    let version = Version::requested(headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()));
    let mut response = Response::new(produced(Listing::new(place, kind, view, version), None, permit));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(version.content_type()));
    response
}

async fn get(
    place: Place,
    object: Object,
    view: View,
    headers: &HeaderMap,
    permit: OwnedSemaphorePermit,
) -> Result<Response<VaultBody>, Refusal> {
    let (file, length) = blocking(move || read::open(&place, &object, view)).await?;
    let part = select(headers.get(header::RANGE).and_then(|value| value.to_str().ok()), length);
    let (status, bytes) = match part {
        Part::Whole => (StatusCode::OK, 0..length),
        Part::Bytes(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
        Part::Unsatisfiable => return Err(Refusal::range(length)),
    };
    let part_length = bytes.end - bytes.start;
    let content_range = format!("bytes {}-{}/{length}", bytes.start, bytes.end.saturating_sub(1));
    let body = produced(FilePart { file, bytes }, Some(part_length), permit);
    let mut response = with_length(Response::new(body), part_length);
    *response.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = HeaderValue::from_str(&content_range)
    {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

fn with_length(mut response: Response<VaultBody>, length: u64) -> Response<VaultBody> {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

/// The length announced: room is set aside for it before the first byte.
fn content_length(headers: &HeaderMap, known: Option<u64>) -> Result<u64, Refusal> {
    let announced = match headers.get(header::CONTENT_LENGTH) {
        Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()),
        None => known,
    };
    announced.ok_or_else(|| Refusal::new(Code::LengthRequired, "an upload must announce its Content-Length"))
}

/// Runs work on a blocking thread. If the caller goes away, work that has begun still ends by itself.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    spawn_blocking(work).await.map_err(|_| ended())?
}

pub(crate) fn ended() -> Refusal {
    Refusal::new(Code::StorageFailed, "the work was cut off because the program there is ending")
}

/// Refused uploads that are being read to their end. Dropped with the vault.
#[derive(Default)]
pub(crate) struct Drains {
    tasks: Mutex<JoinSet<()>>,
}

impl Drains {
    fn drain<B>(&self, body: Pin<Box<B>>)
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        if tasks.len() < MAX_DRAINS {
            tasks.spawn(async move {
                // Beyond the time the connection may break: it was told why.
                drop(timeout(DRAIN_TIME, discard(body)).await);
            });
        }
    }
}

async fn discard<B: Body<Data = Bytes>>(mut body: Pin<Box<B>>) {
    let mut left = DRAIN_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => break,
        }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("path", &self.inner.disk.layout.root()).finish_non_exhaustive()
    }
}
