//! The hostile friend: his key, his port, and behind them the real one.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use kith_identity::tls::{self, Admission};
use kith_identity::{DeviceId, Identity, IdentitySeed};
use kith_wire::{Body, Link, LinkLimits, ServeFuture, Side, bytes_body, collect, paths};
use serde_json::Value;
use tokio::io::AsyncWrite;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::compat::FuturesAsyncReadCompatExt;
use tokio_util::task::AbortOnDropHandle;

use super::answer::Answer;
use super::asked::{Asked, Place};
use super::stream::{Connection, Opener, RawRequest};
use crate::{Computer, wait_until};

/// Most bytes of one answer of the real friend.
const MOST_ANSWER: usize = 256 << 20;
/// Fewer bytes of an answer are no progress.
const PROGRESS: usize = 8 << 10;

/// What to do about a request.
pub enum Deed {
    /// What an honest friend does.
    Honest,
    /// The honest answer, changed.
    Change(Box<dyn FnOnce(Answer) -> Answer + Send>),
    /// The request's body is changed on its way, and the honest answer to that on its way back.
    Both(Box<dyn FnOnce(Bytes) -> Bytes + Send>, Box<dyn FnOnce(Answer) -> Answer + Send>),
    /// This instead; the real friend hears nothing of the request.
    Instead(Answer),
    /// Something else is asked of the real friend: the path below the archive, and the range.
    Ask(String, Option<(u64, u64)>),
    /// No answer, ever.
    Silence,
    /// The connection is broken.
    CutLink,
}

/// Decides what is done about each request.
pub trait Mischief: Send + Sync {
    /// What to do about this one. The same question asked again has another number.
    fn deed(&self, asked: &Asked) -> Deed;
}

impl<F: Fn(&Asked) -> Deed + Send + Sync> Mischief for F {
    fn deed(&self, asked: &Asked) -> Deed {
        self(asked)
    }
}

/// No mischief.
#[derive(Clone, Copy, Debug)]
pub struct Honest;

impl Mischief for Honest {
    fn deed(&self, _: &Asked) -> Deed {
        Deed::Honest
    }
}

/// A friend who lies.
pub struct HostileFriend {
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
    // Last: what runs on it ends first.
    _runtime: Runtime,
}

struct Shared {
    friend: Identity,
    owner: Identity,
    real: SocketAddr,
    state: Mutex<State>,
    /// Breaks all connections.
    cut: Notify,
}

struct State {
    mischief: Arc<dyn Mischief>,
    asked: HashMap<Asked, u64>,
    log: Vec<Asked>,
    /// When the store's answers and uploads moved on.
    progress: Vec<Instant>,
    packs: HashMap<String, Bytes>,
}

/// Whoever has the owner's certificate and key.
struct Anyone;

impl Admission for Anyone {
    fn friend(&self, _: &DeviceId) -> bool {
        true
    }

    fn invite(&self, _: &DeviceId) -> bool {
        false
    }
}

fn identity(of: &Computer) -> Identity {
    let seed = std::fs::read(of.home().join("secrets/identity.key")).unwrap();
    Identity::from_seed(&IdentitySeed::from_slice(&seed).unwrap()).unwrap()
}

impl HostileFriend {
    /// Takes the place of `friend`, with whom `owner` is paired. Both daemons run before and after, the friend's at another
    /// port, of which the owner learns nothing. It is honest until it is told otherwise.
    ///
    /// # Panics
    /// If that does not succeed.
    #[must_use]
    pub fn in_the_place_of(friend: &mut Computer, owner: &mut Computer) -> Self {
        let place: SocketAddr = friend.address().parse().unwrap();
        friend.stop();
        owner.stop();
        // The friend can't find the owner either: all there is between them goes through here.
        let kept = [friend.move_to_another_port(), owner.move_to_another_port()];
        let shared = Arc::new(Shared {
            friend: identity(friend),
            owner: identity(owner),
            real: friend.address().parse().unwrap(),
            state: Mutex::new(State {
                mischief: Arc::new(Honest),
                asked: HashMap::new(),
                log: Vec::new(),
                progress: Vec::new(),
                packs: HashMap::new(),
            }),
            cut: Notify::new(),
        });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(place)).unwrap();
        let accepting = AbortOnDropHandle::new(runtime.spawn(accept(listener, shared.clone(), kept)));
        friend.start();
        owner.start();
        let hostile = Self { shared, _accepting: accepting, _runtime: runtime };
        hostile.wait_linked(owner, friend);
        hostile
    }

    /// Waits for the link through the hostile friend.
    ///
    /// # Panics
    /// If it does not come.
    #[track_caller]
    pub fn wait_linked(&self, owner: &Computer, friend: &Computer) {
        wait_until("the hostile friend to be linked", Duration::from_secs(20), || {
            owner.linked(friend.name()) && friend.linked(owner.name())
        });
    }

    /// From now on this is done.
    pub fn does(&self, mischief: impl Mischief + 'static) {
        let mut state = self.shared.state();
        state.mischief = Arc::new(mischief);
        state.asked.clear();
        state.log.clear();
        state.progress.clear();
    }

    /// From now on it is honest.
    pub fn behaves(&self) {
        self.does(Honest);
    }

    /// What was asked of the store since the last change of mischief, in no particular order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state().log.clone()
    }

    /// The longest time between these two in which nothing moved: no answer of the store, or upload to it, came to its end or
    /// went on by 8 KiB. Fewer bytes are no progress; that is how little a friend may send. Counted since the last change of
    /// mischief.
    #[must_use]
    pub fn longest_without_progress(&self, begin: Instant, end: Instant) -> Duration {
        let mut longest = Duration::ZERO;
        let mut last = begin;
        for moment in self.shared.state().progress.iter().copied().filter(|moment| *moment < end).chain([end])
        {
            longest = longest.max(moment.saturating_duration_since(last));
            last = last.max(moment);
        }
        longest
    }

    /// Forgets the packs that it has read at the real friend.
    pub fn forget(&self) {
        self.shared.state().packs.clear();
    }

    /// Breaks the connection.
    pub fn cut(&self) {
        self.shared.cut.notify_waiters();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_progress(&self) {
        self.state().progress.push(Instant::now());
    }

    /// Counts a request and says what is to be done about it.
    fn deed(&self, mut asked: Asked) -> Deed {
        let mischief = {
            let mut state = self.state();
            let times = state.asked.entry(asked.clone()).or_default();
            asked.times = *times;
            *times += 1;
            if asked.is_store() {
                state.log.push(asked.clone());
            }
            state.mischief.clone()
        };
        mischief.deed(&asked)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, _kept: [crate::Port; 2]) {
    let acceptor = TlsAcceptor::from(tls::server_config(&shared.friend, Arc::new(Anyone)));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        connections.spawn(async move {
            let cut = shared.cut.notified();
            tokio::select! {
                _over = connection(stream, acceptor, shared.clone()) => {}
                () = cut => {}
            }
        });
    }
}

/// One connection of the owner, with one of its own to the real friend behind it.
async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) -> Option<()> {
    let owner = acceptor.accept(stream).await.ok()?;
    let config = tls::client_config(&shared.owner, shared.friend.device_id());
    let friend = TcpStream::connect(shared.real).await.ok()?;
    // The tag that the owner made for this friend opens his door for us, too.
    let tag = owner.get_ref().1.server_name().map(str::to_owned);
    let name = tag.and_then(|tag| ServerName::try_from(tag).ok()).unwrap_or_else(tls::placeholder_name);
    let friend = TlsConnector::from(config).connect(name, friend).await.ok()?;
    let (mux, opener) = Connection::accept(Box::new(owner));
    let back = move |request: Request<Body>| -> ServeFuture { Box::pin(to_owner(opener.clone(), request)) };
    let (link, driver) = Link::start(Box::new(friend), Side::Dialer, Arc::new(back), LinkLimits::default());
    let driver = AbortOnDropHandle::new(tokio::spawn(driver));
    let cut = Arc::new(Notify::new());
    let exchange = {
        let cut = cut.clone();
        move |stream| {
            let (link, shared, cut) = (link.clone(), shared.clone(), cut.clone());
            async move {
                if let Some(true) = exchange(stream, &link, &shared).await {
                    cut.notify_one();
                }
            }
        }
    };
    tokio::select! {
        () = mux.serve(Arc::new(exchange)) => {}
        () = cut.notified() => {}
        _ = driver => {}
    }
    Some(())
}

/// The real friend asks the owner.
async fn to_owner(opener: Opener, request: Request<Body>) -> Response<Body> {
    let failed = || {
        let mut response = Response::new(bytes_body("the owner did not answer"));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    };
    let (head, body) = request.into_parts();
    let Ok(mut body) = collect(body, MOST_ANSWER).await else { return failed() };
    if head.uri.path() == paths::REPORT {
        body = without_addresses(&body);
    }
    let mut request = Request::from_parts(head, bytes_body(body));
    request.headers_mut().remove(header::CONTENT_LENGTH);
    opener.request(request).await.unwrap_or_else(failed)
}

/// The owner asks the friend. Gives back whether the connection is to be broken.
async fn exchange(stream: yamux::Stream, link: &Link, shared: &Shared) -> Option<bool> {
    let mut stream = stream.compat();
    let request = RawRequest::read(&mut stream).await?;
    let asked = Asked::new(&request.method, &request.target, request.header("range"));
    if asked.is_store() && !request.body.is_empty() {
        shared.note_progress();
    }
    let answer = match shared.deed(asked.clone()) {
        Deed::Honest => honest(&request, &asked, link, shared).await?,
        Deed::Change(change) => change(honest(&request, &asked, link, shared).await?),
        Deed::Both(there, back) => {
            let body = there(request.body.clone());
            back(honest(&RawRequest { body, ..request }, &asked, link, shared).await?)
        }
        Deed::Instead(answer) => answer,
        Deed::Ask(path, range) => {
            let archive = request.target.strip_prefix(paths::STORE)?.split('/').nth(1)?;
            let target = format!("{}/{archive}/{path}", paths::STORE);
            let range = range.map(|(start, end)| format!("bytes={start}-{}", end - 1));
            let mut other = RawRequest { target, headers: Vec::new(), body: Bytes::new(), ..request };
            let asked = Asked::new(&other.method, &other.target, range.as_deref());
            other.headers.extend(range.map(|range| ("range".to_owned(), range)));
            honest(&other, &asked, link, shared).await?
        }
        Deed::Silence => return std::future::pending().await,
        Deed::CutLink => return Some(true),
    };
    if !asked.is_store() {
        return answer.send(&mut stream).await.ok();
    }
    let sent = answer.send(&mut Watched { stream, shared, since: 0 }).await.ok();
    shared.note_progress();
    sent
}

/// A stream of which it is noted how it goes on.
struct Watched<'a, S> {
    stream: S,
    shared: &'a Shared,
    /// Bytes since it was noted last.
    since: usize,
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.since += written;
        if self.since >= PROGRESS {
            self.since = 0;
            self.shared.note_progress();
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What the real friend answers. Packs never change: they are read once.
async fn honest(request: &RawRequest, asked: &Asked, link: &Link, shared: &Shared) -> Option<Answer> {
    let is_pack = asked.reads("data");
    if is_pack && !shared.state().packs.contains_key(&request.target) {
        let whole = RawRequest {
            method: Method::GET,
            target: request.target.clone(),
            headers: Vec::new(),
            body: Bytes::new(),
        };
        let answer = pass_on(&whole, link).await?;
        if answer.status != StatusCode::OK {
            return Some(answer);
        }
        shared.state().packs.insert(request.target.clone(), answer.body);
    }
    if is_pack && let Some(pack) = shared.state().packs.get(&request.target) {
        return Some(part(pack, asked.range));
    }
    let mut answer = pass_on(request, link).await?;
    if let Place::Other(path) = &asked.place
        && [paths::HELLO, paths::REPORT].contains(&path.as_str())
    {
        answer.body = without_addresses(&answer.body);
    }
    Some(answer)
}

fn part(pack: &Bytes, range: Option<(u64, u64)>) -> Answer {
    let length = pack.len() as u64;
    match range {
        None => Answer::new(StatusCode::OK, pack.clone()),
        Some((start, end)) if start < end.min(length) => {
            let end = end.min(length);
            let body = pack.slice(usize::try_from(start).unwrap()..usize::try_from(end).unwrap());
            Answer::new(StatusCode::PARTIAL_CONTENT, body)
                .with_header("content-range", &format!("bytes {start}-{}/{length}", end - 1))
        }
        Some(_) => Answer::new(StatusCode::RANGE_NOT_SATISFIABLE, ""),
    }
}

async fn pass_on(request: &RawRequest, link: &Link) -> Option<Answer> {
    let about_us =
        request.method == Method::POST && [paths::HELLO, paths::REPORT].contains(&request.target.as_str());
    let body = if about_us { without_addresses(&request.body) } else { request.body.clone() };
    let answer = link.request(request.forwarded(body)?).await.ok()?;
    let (head, body) = answer.into_parts();
    let mut answer = Answer::new(head.status, collect(body, MOST_ANSWER).await.ok()?);
    for (name, value) in &head.headers {
        if !matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection")
            && let Ok(value) = value.to_str()
        {
            answer = answer.with_header(name.as_str(), value);
        }
    }
    Some(answer)
}

/// A hello or report that does not say where its sender is: nobody finds a way around the hostile friend.
fn without_addresses(message: &Bytes) -> Bytes {
    let Ok(mut value) = serde_json::from_slice::<Value>(message) else { return message.clone() };
    let place = ["/hello/report", "/report", ""]
        .into_iter()
        .find(|place| value.pointer(place).is_some_and(Value::is_object));
    if let Some(report) = place.and_then(|place| value.pointer_mut(place)).and_then(Value::as_object_mut) {
        for list in ["internal", "public"] {
            if let Some(list) = report.get_mut(list) {
                *list = Value::Array(Vec::new());
            }
        }
        if let Some(port) = report.get_mut("public_port") {
            *port = Value::Null;
        }
    }
    serde_json::to_vec(&value).map_or_else(|_| message.clone(), Into::into)
}
