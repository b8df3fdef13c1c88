//! From an authenticated stream to a link that is up: the hello in both roles, and the services every link has.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use http::{Request, StatusCode, header};
use kith_wire::{
    DeviceId, Hello, HelloAnswer, HelloVerdict, Link, LinkError, LinkLimits, MESSAGE_LIMIT, Side, Spoken,
    WIRE_VERSION, WireError, collect, json_body, paths,
};
use tokio::sync::{oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::calls::{self, Dialed};
use crate::carriers::CarrierKind;
use crate::dial::DialError;
use crate::dial_back::Presence;
use crate::host::{Caller, Connection, Host, Standing};
use crate::service::FriendService;
use crate::way::{CandidateKind, seen_from};

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

/// Who is at the other end, and what of this computer deals with him.
#[derive(Clone)]
pub(crate) struct Household {
    pub(crate) friend: DeviceId,
    pub(crate) kind: CarrierKind,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) calls: calls::Caller,
}

impl Household {
    fn service(
        &self,
        gate: Gate,
        presence: Presence,
        caller: watch::Receiver<Option<Caller>>,
        from: Option<SocketAddr>,
    ) -> Arc<FriendService> {
        let Self { friend, kind, host, calls } = self.clone();
        Arc::new(FriendService { friend, kind, host, calls, gate, presence, caller, from })
    }
}

/// The dialer's half: asks for the link over a fresh connection. `dialled` is the address that led to it, and what it is.
pub(crate) async fn greet(
    dialed: Dialed,
    dialled: Option<(String, CandidateKind)>,
    household: &Household,
    presence: Presence,
) -> Result<Session, DialError> {
    let Dialed { stream, remote, local, way } = dialed;
    let Household { friend, host, .. } = household;
    let friend = *friend;
    let (caller, known) = watch::channel(None);
    let service = household.service(Gate::open(), presence, known, None);
    let (link, driver) = Link::start(stream, Side::Dialer, service, LinkLimits::default());
    let driver = AbortOnDropHandle::new(tokio::spawn(driver));
    let mut ours = host.hello(&friend, seen_from(way, remote));
    ours.class = Some(way.class().as_str().to_owned());
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
        way: way.refined(remote, &hello.report.internal),
        class: way.class(),
        dialled: dialled.map(|(address, _)| address),
        since: SystemTime::now(),
        // Else he sees the proxy, or who passes it on.
        seen_as: seen_as(&hello).filter(|_| way.shows_friend()),
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
    /// `from` is the other end of the TCP connection, if the friend is seen there and made it.
    pub(crate) fn start(
        stream: Box<dyn kith_wire::ByteStream>,
        from: Option<SocketAddr>,
        household: &Household,
        admit: Admit,
        presence: Presence,
    ) -> Self {
        let (friend, seen_from) = (household.friend, from.map(|from| from.ip()));
        let (sender, hello) = oneshot::channel();
        let (known, caller) = watch::channel(None);
        let admitted = Arc::new(OnceLock::new());
        let porch =
            Porch { friend, seen_from, hello: sender, admit, caller: known, link: Arc::clone(&admitted) };
        let gate = Gate::closed(porch);
        let service = household.service(gate.clone(), presence, caller, from);
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
pub(crate) struct Gate(Arc<Mutex<GateState>>);

enum GateState {
    Open,
    Closed(Porch),
    Refused,
}

/// Who waits before a closed gate.
struct Porch {
    friend: DeviceId,
    /// None if a third one stands in his place.
    seen_from: Option<IpAddr>,
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

    pub(crate) fn is_open(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), GateState::Open)
    }

    /// Judges the one hello that a connection may bring.
    pub(crate) fn judge(
        &self,
        said: Result<&Hello, WireError>,
    ) -> Option<(HelloVerdict, Option<IpAddr>, bool)> {
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
