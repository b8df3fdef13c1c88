//! A friend whose part the test itself plays.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{Method, Request, Response, StatusCode};
use kith_identity::tls;
use kith_identity::{
    DeviceId, DialInKey, DialInSecret, Identity, IdentitySeed, InstallationId, PairKey, ReachKey,
};
use kith_wire::{
    Body, Hello, HelloAnswer, HelloVerdict, Installed, Link, LinkLimits, Post, RelayLeg, Report, ServeFuture,
    Side, VersionRange, bytes_body, collect, empty_body, json_body, paths,
};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConnection;
use tokio_util::task::AbortOnDropHandle;

use crate::Computer;

/// What anything must come within.
const PATIENCE: Duration = Duration::from_secs(20);
const MOST_ANSWER: usize = 4 << 20;
/// Messages that were not looked at.
const MOST_POSTS: usize = 64;

/// What a puppet answers to a request that is no message: its method, its path, its body; none says that it was heard.
pub type Answers = Arc<dyn Fn(&Method, &str, &[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// A computer's part, played over one link with a friend of his.
pub struct Puppet {
    identity: Identity,
    friend: SocketAddr,
    link: Link,
    hello: Hello,
    posts: Mutex<mpsc::Receiver<Post>>,
    _driver: AbortOnDropHandle<kith_wire::LinkError>,
    // Last: what runs on it ends first.
    runtime: Runtime,
}

impl Puppet {
    /// Ends the daemon of `computer`, and calls `friend` in its place, with its key and as its installation.
    ///
    /// # Panics
    /// If that does not succeed.
    #[must_use]
    pub fn in_the_place_of(computer: &Computer, friend: &Computer) -> Self {
        Self::who_can(computer, friend, &[], Arc::new(|_, _, _| None))
    }

    /// The same of one who says that he can do more, and answers so.
    ///
    /// # Panics
    /// If that does not succeed.
    #[must_use]
    pub fn who_can(computer: &Computer, friend: &Computer, can: &[&str], answers: Answers) -> Self {
        let at: SocketAddr = friend.address().parse().unwrap();
        let friend_id = friend.device_id();
        computer.stop();
        let seed = std::fs::read(computer.home().join("secrets/identity.key")).unwrap();
        let identity = Identity::from_seed(&IdentitySeed::from_slice(&seed).unwrap()).unwrap();
        let database = rusqlite::Connection::open(computer.home().join("state.db")).unwrap();
        let document = |table: &str, key: &str| -> Value {
            let sql = format!("SELECT document FROM {table} WHERE key = ?1");
            let text: Option<String> = database.query_row(&sql, [key], |row| row.get(0)).ok();
            // What was never set is not there.
            text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
        };
        let key = document("friend", &friend_id)["dial_in"].as_str().and_then(DialInKey::from_hex).unwrap();
        let installed = Installed::new(
            &identity,
            document("value", "incarnation").as_u64().unwrap_or(0),
            serde_json::from_value(document("value", "installation")).unwrap(),
            document("value", "installed-since").as_i64().unwrap_or(0),
        );
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (posted, posts) = mpsc::channel(MOST_POSTS);
        let config = tls::client_config(&identity, friend_id.parse().unwrap());
        let (link, driver, hello) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(at).await.unwrap();
            let stream = TlsConnector::from(config).connect(key.tag().server_name(), stream).await.unwrap();
            let service = move |request: Request<Body>| -> ServeFuture {
                Box::pin(serve(posted.clone(), answers.clone(), request))
            };
            let (link, driver) =
                Link::start(Box::new(stream), Side::Dialer, Arc::new(service), LinkLimits::default());
            let driver = AbortOnDropHandle::new(tokio::spawn(driver));
            let hello = say_hello(&link, installed, computer.name(), can).await;
            (link, driver, hello)
        });
        Self { identity, friend: at, link, hello, posts: Mutex::new(posts), _driver: driver, runtime }
    }

    /// Whether the friend says that he can do this.
    #[must_use]
    pub fn friend_can(&self, capability: &str) -> bool {
        self.hello.capabilities.iter().any(|can| can == capability)
    }

    /// The answer to a message, or the status and the body of a refusal.
    ///
    /// # Errors
    /// If it is refused.
    ///
    /// # Panics
    /// If there is no answer, or another than the message has.
    pub fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        message: &impl serde::Serialize,
    ) -> Result<T, (u16, String)> {
        let request = Request::builder().method(method).uri(path).body(json_body(message).unwrap()).unwrap();
        let exchange = async {
            let answer = self.link.request(request).await.unwrap();
            let status = answer.status();
            (status, collect(answer.into_body(), MOST_ANSWER).await.unwrap())
        };
        let (status, body) =
            self.runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange).await.unwrap() });
        if status == StatusCode::OK {
            Ok(serde_json::from_slice(&body).unwrap())
        } else {
            Err((status.as_u16(), String::from_utf8_lossy(&body).into_owned()))
        }
    }

    /// The next message that the friend hands over.
    ///
    /// # Panics
    /// If none comes.
    #[must_use]
    pub fn posted(&self) -> Post {
        let mut posts = self.posts.lock().unwrap();
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, posts.recv()).await.unwrap().unwrap() })
    }

    /// A connection to the friend's port that brings the name of a leg.
    ///
    /// # Panics
    /// If that does not succeed.
    #[must_use]
    pub fn leg(&self, leg: &RelayLeg) -> TcpStream {
        let config = tls::client_config(&self.identity, self.identity.device_id());
        let mut client = ClientConnection::new(config, leg.tag().unwrap().server_name()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let mut stream = TcpStream::connect(self.friend).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&hello).unwrap();
        stream
    }
}

/// What a computer that is not running has: its identity, and what it and a friend of its know and nobody else.
///
/// # Panics
/// If they are no friends.
#[must_use]
pub fn secrets_of(computer: &Computer, friend: &DeviceId) -> (Identity, PairKey) {
    let secret = |name: &str| std::fs::read(computer.home().join("secrets").join(name)).unwrap();
    let identity = Identity::from_seed(&IdentitySeed::from_slice(&secret("identity.key")).unwrap()).unwrap();
    let database = rusqlite::Connection::open(computer.home().join("state.db")).unwrap();
    let sql = "SELECT document FROM friend WHERE key = ?1";
    let text: String = database.query_row(sql, [friend.to_string()], |row| row.get(0)).unwrap();
    let known: Value = serde_json::from_str(&text).unwrap();
    let theirs = known["reach_key"].as_str().and_then(ReachKey::from_hex).unwrap();
    let ours = DialInSecret::from_slice(&secret("dial-in.key")).unwrap().reach_key(friend);
    let pair = PairKey::of_friends((&identity.device_id(), &ours), (friend, &theirs));
    (identity, pair)
}

async fn say_hello(link: &Link, installed: Installed, name: &str, can: &[&str]) -> Hello {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let hello = Hello {
        wire: VersionRange::OURS,
        program: "a test".into(),
        installation: installed.installation,
        incarnation: installed.incarnation,
        since: installed.since,
        proof: installed.proof,
        run: Some(InstallationId::generate()),
        capabilities: can.iter().map(|can| (*can).to_owned()).collect(),
        you_are: String::new(),
        class: None,
        time: i64::try_from(time).unwrap(),
        report: Report { name: name.into(), ..Report::default() },
    };
    let request = Request::post(paths::HELLO).body(json_body(&hello).unwrap()).unwrap();
    let answer = link.request(request).await.unwrap();
    let answer = collect(answer.into_body(), MOST_ANSWER).await.unwrap();
    let answer: HelloAnswer = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer.verdict, HelloVerdict::Welcome);
    answer.hello
}

/// Takes messages; to all else it says that it has heard.
async fn serve(posted: mpsc::Sender<Post>, answers: Answers, request: Request<Body>) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_message = path == paths::POSTED;
    let Ok(body) = collect(request.into_body(), MOST_ANSWER).await else {
        let mut answer = Response::new(bytes_body("the message broke off"));
        *answer.status_mut() = StatusCode::BAD_REQUEST;
        return answer;
    };
    if is_message {
        posted.try_send(serde_json::from_slice(&body).unwrap()).unwrap();
    } else if let Some(answer) = answers(&method, &path, &body) {
        return Response::new(bytes_body(answer));
    }
    let mut answer = Response::new(empty_body());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}
