//! From an authenticated stream to a link that is up: the hello in both roles, and the services every link has.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use http::{Method, Request, Response, StatusCode, header};
use kith_wire::{
    Body, DIAL_BACK_LIMIT, DeviceId, DialBackRequest, Hello, HelloAnswer, HelloVerdict, Link, LinkError,
    LinkLimits, MESSAGE_LIMIT, Report, Serve, ServeFuture, Side, Spoken, WIRE_VERSION, WireError, bytes_body,
    collect, empty_body, json_body, paths,
};
use tokio::sync::{oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::dial::{DialError, Dialed};
use crate::dial_back::Presence;
use crate::host::{Caller, Connection, Host, Standing};

/// Longest wait for a hello or its answer.
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A link that is up, with its driver.
pub(crate) struct Session {
    pub(crate) link: Link,
    pub(crate) driver: AbortOnDropHandle<LinkError>,
    pub(crate) connection: Connection,
    pub(crate) hello: Hello,
    pub(crate) standing: Standing,
}

/// Decides at the accepting end whether the new connection is taken, and in which place.
pub(crate) type Admit = Box<dyn FnOnce(&Hello) -> Admitted + Send>;

/// What became of a dialer's hello.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    pub(crate) verdict: HelloVerdict,
    pub(crate) standing: Standing,
    pub(crate) twin: bool,
}

/// The dialer's half: asks for the link over a fresh connection.
pub(crate) async fn greet(
    dialed: Dialed,
    address: String,
    friend: DeviceId,
    host: Arc<dyn Host>,
    presence: Presence,
) -> Result<Session, DialError> {
    let Dialed { stream, remote, local, proxied } = dialed;
    let (caller, known) = watch::channel(None);
    let service =
        Arc::new(FriendService { friend, host: host.clone(), gate: Gate::open(), presence, caller: known });
    let (link, driver) = Link::start(Box::new(stream), Side::Dialer, service, LinkLimits::default());
    let driver = AbortOnDropHandle::new(tokio::spawn(driver));
    let ours = host.hello(&friend, (!proxied).then_some(remote.ip()));
    let hello = match tokio::time::timeout(HELLO_TIMEOUT, say_hello(&link, &ours)).await {
        Ok(answer) => {
            let HelloAnswer { hello, twin, .. } = judge_answer(answer?)?;
            if twin {
                host.twin(&friend);
            }
            hello
        }
        Err(_elapsed) => return Err(DialError::Broken("no answer to our hello".into())),
    };
    let standing = host.standing(&friend, &hello);
    caller.send_replace(Some(caller_of(friend, &hello, standing)));
    let connection = Connection {
        side: Side::Dialer,
        remote,
        local,
        proxied,
        dialled: Some(address),
        since: SystemTime::now(),
        // He sees the proxy.
        seen_as: seen_as(&hello).filter(|_| !proxied),
        capabilities: hello.capabilities.clone(),
    };
    Ok(Session { link, driver, connection, hello, standing })
}

fn caller_of(friend: DeviceId, hello: &Hello, standing: Standing) -> Caller {
    Caller { friend, installation: hello.installation, incarnation: hello.incarnation, standing }
}

/// Sends our hello and reads the answer.
pub(crate) async fn say_hello(link: &Link, hello: &Hello) -> Result<HelloAnswer, DialError> {
    let broken = |error: &dyn std::fmt::Display| DialError::Broken(error.to_string());
    let body = json_body(hello).map_err(|error| broken(&error))?;
    let request = Request::post(paths::HELLO)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|error| broken(&error))?;
    let answer = link.request(request).await.map_err(|error| match error {
        LinkError::Broken(reason) if is_refusal(&reason) => DialError::RefusedUs(
            "it does not know this computer: it was removed there, or never paired".into(),
        ),
        other => broken(&other),
    })?;
    if answer.status() != StatusCode::OK {
        return Err(DialError::RefusedUs(format!("it answered {} to our hello", answer.status())));
    }
    let body = collect(answer.into_body(), MESSAGE_LIMIT).await.map_err(|error| broken(&error))?;
    Spoken::check_answer(&body).map_err(|error| DialError::OtherVersion(error.to_string()))?;
    serde_json::from_slice(&body).map_err(|error| broken(&error))
}

/// What the answer to our hello means.
pub(crate) fn judge_answer(answer: HelloAnswer) -> Result<HelloAnswer, DialError> {
    match answer.verdict {
        HelloVerdict::Duplicate => return Err(DialError::Duplicate),
        HelloVerdict::Welcome | HelloVerdict::Version => {}
    }
    match answer.hello.check() {
        Err(error) => Err(DialError::OtherVersion(error.to_string())),
        Ok(_) if answer.verdict == HelloVerdict::Version => Err(DialError::OtherVersion(format!(
            "the Kith there does not take our hello, of version {WIRE_VERSION} of the protocol: install the newest Kith on both \
             computers"
        ))),
        Ok(_) => Ok(answer),
    }
}

/// A TLS alert about our certificate comes only after our end has finished the handshake.
fn is_refusal(reason: &str) -> bool {
    ["AccessDenied", "CertificateUnknown", "BadCertificate", "UnknownCa", "CertificateRequired"]
        .iter()
        .any(|alert| reason.contains(alert))
}

/// A dialer's hello and the place of its connection, or why it was turned away.
pub(crate) type Heard = Result<(Hello, Standing), WireError>;

/// The acceptor's half: waits for the dialer's hello.
pub(crate) struct Accepting {
    pub(crate) link: Link,
    pub(crate) driver: AbortOnDropHandle<LinkError>,
    hello: oneshot::Receiver<Heard>,
    gate: Gate,
}

impl Accepting {
    pub(crate) fn start(
        stream: Box<dyn kith_wire::ByteStream>,
        friend: DeviceId,
        seen_from: IpAddr,
        host: Arc<dyn Host>,
        admit: Admit,
        presence: Presence,
    ) -> Self {
        let (sender, hello) = oneshot::channel();
        let (known, caller) = watch::channel(None);
        let admitted = Arc::new(OnceLock::new());
        let porch =
            Porch { friend, seen_from, hello: sender, admit, caller: known, link: Arc::clone(&admitted) };
        let gate = Gate::closed(porch);
        let service = Arc::new(FriendService { friend, host, gate: gate.clone(), presence, caller });
        let (link, driver) = Link::start(stream, Side::Acceptor, service, LinkLimits::default());
        // Nothing is served before the driver runs.
        admitted.get_or_init(|| link.clone());
        let driver = AbortOnDropHandle::new(tokio::spawn(driver));
        Self { link, driver, hello, gate }
    }

    /// What the dialer's hello was, if it comes in time and was welcome, or was of another version.
    pub(crate) async fn hello(&mut self) -> Option<Heard> {
        match tokio::time::timeout(HELLO_TIMEOUT, &mut self.hello).await {
            Ok(Ok(hello)) => Some(hello),
            Ok(Err(_broken_off)) => None,
            Err(_elapsed) => self.give_up(),
        }
    }

    /// Waits no more. Returns the hello that has come all the same; one that comes later is not admitted: nobody would release its place.
    pub(crate) fn give_up(&mut self) -> Option<Heard> {
        self.gate.refuse();
        self.hello.try_recv().ok()
    }
}

/// The IP address under which the other side sees us.
pub(crate) fn seen_as(hello: &Hello) -> Option<IpAddr> {
    hello.you_are.parse().ok()
}

/// Holds back everything but hello until hello was welcome.
#[derive(Clone)]
struct Gate(Arc<Mutex<GateState>>);

enum GateState {
    Open,
    Closed(Porch),
    Refused,
}

/// Who waits before a closed gate.
struct Porch {
    friend: DeviceId,
    seen_from: IpAddr,
    hello: oneshot::Sender<Heard>,
    admit: Admit,
    caller: watch::Sender<Option<Caller>>,
    /// To be told that its dialer is welcome.
    link: Arc<OnceLock<Link>>,
}

impl Gate {
    fn open() -> Self {
        Self(Arc::new(Mutex::new(GateState::Open)))
    }

    fn closed(porch: Porch) -> Self {
        Self(Arc::new(Mutex::new(GateState::Closed(porch))))
    }

    /// Admits nobody any more, if nobody was admitted.
    fn refuse(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, GateState::Closed(_)) {
            *state = GateState::Refused;
        }
    }

    fn is_open(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), GateState::Open)
    }

    /// Judges the one hello that a connection may bring.
    fn judge(&self, said: Result<&Hello, WireError>) -> Option<(HelloVerdict, IpAddr, bool)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let GateState::Closed(Porch { friend, seen_from, hello, admit, caller, link }) =
            std::mem::replace(&mut *state, GateState::Refused)
        else {
            return None;
        };
        if hello.is_closed() {
            return None;
        }
        let said = match said.and_then(|said| said.check().map(|_version| said)) {
            Ok(said) => said,
            Err(error) => {
                // If nobody waits for it any more, nobody needs to know.
                drop(hello.send(Err(error)));
                return Some((HelloVerdict::Version, seen_from, false));
            }
        };
        let Admitted { verdict, standing, twin } = admit(said);
        if verdict == HelloVerdict::Welcome && hello.send(Ok((said.clone(), standing))).is_ok() {
            caller.send_replace(Some(caller_of(friend, said, standing)));
            *state = GateState::Open;
            // Before the answer is on its way: what comes after it may be more than a stranger's.
            if let Some(link) = link.get() {
                link.welcome();
            }
        }
        Some((verdict, seen_from, twin))
    }
}

/// Answers a friend's requests.
struct FriendService {
    friend: DeviceId,
    host: Arc<dyn Host>,
    gate: Gate,
    presence: Presence,
    /// Which installation speaks; known once its hello was heard.
    caller: watch::Receiver<Option<Caller>>,
}

impl Serve for FriendService {
    fn serve(&self, request: Request<Body>) -> ServeFuture {
        let path = request.uri().path();
        if path == paths::HELLO {
            return self.hello(request);
        }
        // Asked also over connections that are no link: one from another address than the link's, which proved whose it is by its
        // key.
        if path == paths::DIAL_BACK {
            return self.dial_back(request);
        }
        if !self.gate.is_open() {
            return done(StatusCode::FORBIDDEN, "say hello first");
        }
        match path {
            paths::PING => Box::pin(std::future::ready(empty(StatusCode::NO_CONTENT))),
            paths::REPORT if request.method() == Method::POST => self.report(request),
            _ => self.ask_host(request),
        }
    }
}

impl FriendService {
    /// Whoever was dialled may ask before his answer to our hello has been read.
    fn ask_host(&self, request: Request<Body>) -> ServeFuture {
        let (host, mut caller) = (self.host.clone(), self.caller.clone());
        if let Some(caller) = *caller.borrow() {
            return host.serve(caller, request);
        }
        Box::pin(async move {
            let known = tokio::time::timeout(HELLO_TIMEOUT, caller.wait_for(Option::is_some)).await;
            let known = known.ok().and_then(Result::ok).and_then(|caller| *caller);
            match known {
                Some(caller) => host.serve(caller, request).await,
                None => text(StatusCode::FORBIDDEN, "say hello first"),
            }
        })
    }

    fn hello(&self, request: Request<Body>) -> ServeFuture {
        let (friend, host, gate) = (self.friend, self.host.clone(), self.gate.clone());
        Box::pin(async move {
            if request.method() != Method::POST {
                return empty(StatusCode::METHOD_NOT_ALLOWED);
            }
            let Ok(body) = collect(request.into_body(), MESSAGE_LIMIT).await else {
                return text(StatusCode::BAD_REQUEST, "the hello broke off or is too long");
            };
            let said = match Spoken::check_hello(&body) {
                Err(error) => Err(error),
                Ok(()) => match serde_json::from_slice::<Hello>(&body) {
                    Ok(said) => Ok(said),
                    Err(error) => return text(StatusCode::BAD_REQUEST, &format!("not a hello: {error}")),
                },
            };
            let Some((verdict, seen_from, twin)) = gate.judge(said.as_ref().map_err(Clone::clone)) else {
                return text(StatusCode::CONFLICT, "hello was said already");
            };
            let answer = HelloAnswer { verdict, hello: host.hello(&friend, Some(seen_from)), twin };
            json(&answer)
        })
    }

    fn dial_back(&self, request: Request<Body>) -> ServeFuture {
        let (dial_backs, host) = (self.presence.dial_backs(), self.host.clone());
        Box::pin(async move {
            if request.method() != Method::POST {
                return empty(StatusCode::METHOD_NOT_ALLOWED);
            }
            let Ok(body) = collect(request.into_body(), DIAL_BACK_LIMIT).await else {
                return text(StatusCode::BAD_REQUEST, "the request broke off or is too long");
            };
            match serde_json::from_slice::<DialBackRequest>(&body) {
                Ok(request) => match request.check() {
                    Ok(order) => json(&dial_backs.serve(&order, |ip| host.is_outside(ip)).await),
                    Err(refusal) => text(StatusCode::BAD_REQUEST, &refusal.to_string()),
                },
                Err(error) => text(StatusCode::BAD_REQUEST, &format!("not a dial-back: {error}")),
            }
        })
    }

    fn report(&self, request: Request<Body>) -> ServeFuture {
        let (friend, host) = (self.friend, self.host.clone());
        Box::pin(async move {
            let Ok(body) = collect(request.into_body(), MESSAGE_LIMIT).await else {
                return text(StatusCode::BAD_REQUEST, "the report broke off or is too long");
            };
            match serde_json::from_slice::<Report>(&body) {
                Ok(report) => match report.check() {
                    Ok(()) => {
                        host.reported(&friend, report);
                        empty(StatusCode::NO_CONTENT)
                    }
                    Err(error) => text(StatusCode::BAD_REQUEST, &error.to_string()),
                },
                Err(error) => text(StatusCode::BAD_REQUEST, &format!("not a report: {error}")),
            }
        })
    }
}

fn done(status: StatusCode, reason: &'static str) -> ServeFuture {
    Box::pin(std::future::ready(text(status, reason)))
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty_body());
    *response.status_mut() = status;
    response
}

fn text(status: StatusCode, reason: &str) -> Response<Body> {
    let mut response = Response::new(bytes_body(reason.to_owned()));
    *response.status_mut() = status;
    response
}

fn json<T: serde::Serialize>(value: &T) -> Response<Body> {
    match json_body(value) {
        Ok(body) => Response::new(body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
