//! A computer that uses hubs: its identity, a link, and what hubs tell it.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use kith_identity::{
    DeviceId, DialInKey, DialInTag, Identity, IdentitySeed, InstallationId, PairTag, Sealed, tls,
};
use kith_wire::{
    Body, Delivered, Found, Hello, HelloAnswer, HelloVerdict, HubAddress, HubAdmission, Link, LinkError,
    LinkLimits, MESSAGE_LIMIT, Observed, Post, Registered, Registration, RelayLeg, RelayRequest, Report,
    Search, ServeFuture, Side, VersionRange, collect, empty_body, json_body, paths,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConnection;
use tokio_util::task::AbortOnDropHandle;

/// Longest wait for anything that a hub does.
const WITHIN: Duration = Duration::from_secs(20);
/// News that nobody has read.
const MOST_NEWS: usize = 64;

/// What a hub tells by itself.
#[derive(Clone, Debug)]
pub enum News {
    /// A message, and the hub from which it came to this one.
    Posted(Post, Option<HubAddress>),
    /// What is different from now on.
    Registered(Registered),
}

/// What a hub refuses, or how a link to it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubError {
    /// No connection, or no handshake.
    Unreachable(String),
    /// The link broke.
    Link(LinkError),
    /// It answered this, with this body.
    Refused(StatusCode, String),
    /// Nothing in time.
    Slow,
}

/// A computer that is linked with a hub.
#[derive(Debug)]
pub struct Client {
    who: DeviceId,
    link: Link,
    _driver: AbortOnDropHandle<LinkError>,
    news: Mutex<mpsc::Receiver<News>>,
    hello: Option<HelloAnswer>,
}

/// The identity of a computer with this number.
///
/// # Panics
/// If no certificate can be made.
#[must_use]
pub fn identity(number: u64) -> Identity {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    Identity::from_seed(&IdentitySeed::from_bytes(seed)).unwrap()
}

impl Client {
    /// Dials a hub and says hello.
    ///
    /// # Errors
    /// See [`HubError`].
    pub async fn connect(number: u64, hub: &HubAddress) -> Result<Self, HubError> {
        Self::connect_as(&identity(number), hub).await
    }

    /// The same with an identity that is kept elsewhere.
    ///
    /// # Errors
    /// See [`HubError`].
    pub async fn connect_as(identity: &Identity, hub: &HubAddress) -> Result<Self, HubError> {
        let mut client = Self::silent(identity, hub).await?;
        let hello = Hello {
            wire: VersionRange::OURS,
            program: "a test".into(),
            installation: InstallationId::from_bytes([1; 16]),
            incarnation: 1,
            since: 0,
            proof: String::new(),
            run: None,
            class: None,
            capabilities: Vec::new(),
            you_are: String::new(),
            time: 0,
            report: Report::default(),
        };
        let answer: HelloAnswer = client.ask("POST", paths::HELLO, &hello).await?;
        if answer.verdict != HelloVerdict::Welcome {
            return Err(HubError::Refused(StatusCode::OK, format!("{:?}", answer.verdict)));
        }
        client.hello = Some(answer);
        Ok(client)
    }

    /// Dials a hub and says nothing.
    ///
    /// # Errors
    /// See [`HubError`].
    pub async fn silent(identity: &Identity, hub: &HubAddress) -> Result<Self, HubError> {
        let dialing = async {
            let stream = TcpStream::connect(&hub.at).await?;
            stream.set_nodelay(true)?;
            let connector = TlsConnector::from(tls::client_config(identity, hub.id));
            connector.connect(DialInKey::of_hub(&hub.id).tag().server_name(), stream).await
        };
        let dialed = tokio::time::timeout(WITHIN, Box::pin(dialing)).await.map_err(|_| HubError::Slow)?;
        let stream = dialed.map_err(|error: std::io::Error| HubError::Unreachable(error.to_string()))?;
        let (sender, news) = mpsc::channel(MOST_NEWS);
        let service = Arc::new(move |request: Request<Body>| -> ServeFuture {
            let sender = sender.clone();
            Box::pin(async move { hear(request, &sender).await })
        });
        let (link, driver) = Link::start(Box::new(stream), Side::Dialer, service, LinkLimits::default());
        let driver = AbortOnDropHandle::new(tokio::spawn(driver));
        Ok(Self { who: identity.device_id(), link, _driver: driver, news: Mutex::new(news), hello: None })
    }

    /// Its device id.
    #[must_use]
    pub const fn who(&self) -> DeviceId {
        self.who
    }

    /// Its link.
    #[must_use]
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// What the hub answered to hello.
    ///
    /// # Panics
    /// If none was said.
    #[must_use]
    pub fn hello(&self) -> &HelloAnswer {
        self.hello.as_ref().unwrap()
    }

    /// Asks with a JSON body, and reads a JSON answer.
    ///
    /// # Errors
    /// See [`HubError`].
    ///
    /// # Panics
    /// If the answer is not what the service promises.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        question: &impl Serialize,
    ) -> Result<T, HubError> {
        let bytes = self.send(method, path, json_body(question).unwrap()).await?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    /// Sends a body, and reads the answer's.
    ///
    /// # Errors
    /// See [`HubError`].
    ///
    /// # Panics
    /// If method or path are none.
    pub async fn send(&self, method: &str, path: &str, body: Body) -> Result<Vec<u8>, HubError> {
        let request = Request::builder().method(method).uri(path).body(body).unwrap();
        let asking = async {
            let answer = self.link.request(request).await.map_err(HubError::Link)?;
            let status = answer.status();
            let body = collect(answer.into_body(), 4 << 20).await.unwrap_or_default();
            if status.is_success() {
                Ok(body.to_vec())
            } else {
                Err(HubError::Refused(status, String::from_utf8_lossy(&body).into_owned()))
            }
        };
        tokio::time::timeout(WITHIN, asking).await.map_err(|_| HubError::Slow)?
    }

    /// Registers.
    ///
    /// # Errors
    /// See [`HubError`].
    pub async fn register(&self, registration: &Registration) -> Result<Registered, HubError> {
        self.ask("PUT", paths::RENDEZVOUS, registration).await
    }

    /// Awaits messages under a tag.
    ///
    /// # Errors
    /// See [`HubError`].
    pub async fn watch(&self, tag: [u8; 16]) -> Result<Registered, HubError> {
        let watch = vec![PairTag::from_bytes(tag)];
        self.register(&Registration { watch, ..Registration::default() }).await
    }

    /// Leaves word under a tag; to how many it got.
    ///
    /// # Errors
    /// See [`HubError`].
    pub async fn post(&self, tag: [u8; 16], message: &[u8]) -> Result<u32, HubError> {
        let post = Post { tag: PairTag::from_bytes(tag), message: Sealed::from_bytes(message.to_vec()) };
        Ok(self.ask::<Delivered>("POST", paths::POST, &post).await?.to)
    }

    /// Searches records.
    ///
    /// # Errors
    /// See [`HubError`].
    pub async fn search(&self, prefix: &str) -> Result<Found, HubError> {
        self.ask("POST", paths::RECORDS, &Search { prefixes: vec![prefix.to_owned()] }).await
    }

    /// Shows a token.
    ///
    /// # Errors
    /// See [`HubError`].
    pub async fn show_token(&self, token: &str) -> Result<(), HubError> {
        let body = json_body(&HubAdmission { token: token.to_owned() }).unwrap();
        self.send("PUT", paths::ADMISSION, body).await.map(drop)
    }

    /// From where the hub sees this computer.
    ///
    /// # Errors
    /// See [`HubError`].
    ///
    /// # Panics
    /// If the answer is none.
    pub async fn observed(&self) -> Result<Observed, HubError> {
        let bytes = self.send("GET", paths::OBSERVED, empty_body()).await?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    /// Asks for a place in a session of the relay, and opens the connection for it.
    ///
    /// # Errors
    /// See [`HubError`].
    ///
    /// # Panics
    /// If the hub gives a name that is none.
    pub async fn leg(&self, session: [u8; 16], at: &str) -> Result<TcpStream, HubError> {
        let request = RelayRequest { session: PairTag::from_bytes(session) };
        let leg: RelayLeg = self.ask("POST", paths::RELAY, &request).await?;
        let hello = client_hello(leg.tag().unwrap());
        let failed = |error: std::io::Error| HubError::Unreachable(error.to_string());
        let mut stream = TcpStream::connect(at).await.map_err(failed)?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &hello).await.map_err(failed)?;
        Ok(stream)
    }

    /// What the hub tells next.
    ///
    /// # Panics
    /// If it tells nothing.
    pub async fn news(&self) -> News {
        let mut news = self.news.lock().await;
        tokio::time::timeout(WITHIN, news.recv())
            .await
            .expect("the hub tells nothing")
            .expect("the link is over")
    }

    /// Nothing has been told that was not read.
    pub async fn heard_nothing(&self) -> bool {
        self.news.lock().await.try_recv().is_err()
    }
}

/// The ClientHello that carries a tag.
fn client_hello(tag: DialInTag) -> Vec<u8> {
    let config = tls::probe_client_config(&identity(u64::MAX));
    let mut connection = ClientConnection::new(config, tag.server_name()).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

async fn hear(request: Request<Body>, news: &mpsc::Sender<News>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let by = request.headers().get(paths::HANDED_BY_HEADER).and_then(|by| by.to_str().ok()?.parse().ok());
    let body = collect(request.into_body(), MESSAGE_LIMIT).await.unwrap_or_default();
    let heard = match path.as_str() {
        paths::POSTED => serde_json::from_slice(&body).ok().map(|post| News::Posted(post, by)),
        paths::REGISTERED => serde_json::from_slice(&body).ok().map(News::Registered),
        _ => None,
    };
    let mut answer = Response::new(empty_body());
    let taken = heard.is_some_and(|heard| news.try_send(heard).is_ok());
    *answer.status_mut() = if taken { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND };
    answer
}
