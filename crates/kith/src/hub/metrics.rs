//! The hub in numbers, for Prometheus: one page of text, by default on this computer only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kith_wire::Body;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::answer::{empty, text};
use super::core::Hub;

/// Readers at once; one more is closed.
const MOST_READERS: usize = 8;
/// Longest time for one.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Pause after the system refused a connection.
const PAUSE: Duration = Duration::from_millis(200);
/// The form of the text.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Opens the address.
///
/// # Errors
/// Those of the system.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers readers.
pub(super) async fn serve(hub: Arc<Hub>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MOST_READERS));
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            Some(_done) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Ok(place) = places.clone().try_acquire_owned() {
                    let hub = hub.clone();
                    tasks.spawn(async move {
                        drop(timeout(READ_WITHIN, converse(hub, stream)).await);
                        drop(place);
                    });
                }
            }
            Err(error) => {
                warn!(%error, "a reader of the numbers can't be taken in");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(hub: Arc<Hub>, stream: TcpStream) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&hub, request.method(), request.uri().path());
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_WITHIN)
        .keep_alive(false)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "a reader of the numbers went away");
    }
}

fn answer(hub: &Hub, method: &Method, path: &str) -> Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    if path != "/metrics" {
        return empty(StatusCode::NOT_FOUND);
    }
    let mut answer = text(StatusCode::OK, page(hub));
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(CONTENT_TYPE));
    answer
}

/// The page under construction. Nothing that somebody else chose stands in it but device ids.
struct Page(String);

impl Page {
    fn number(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(name, "", value);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.0.push_str(&format!("# HELP kith_hub_{name} {help}\n# TYPE kith_hub_{name} {kind}\n"));
    }

    fn line(&mut self, name: &str, labels: &str, value: u64) {
        self.0.push_str(&format!("kith_hub_{name}{labels} {value}\n"));
    }
}

fn page(hub: &Hub) -> String {
    let mut page = Page(String::new());
    let (computers, porch) = hub.count();
    let status = hub.rendezvous().status();
    let counted = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let settings = hub.settings();
    let number = |n: usize| n as u64;
    page.number("computers", "gauge", "Computers that are connected.", number(computers));
    page.number(
        "computers_most",
        "gauge",
        "Most computers at once, by the settings.",
        number(settings.most_computers.get()),
    );
    page.number(
        "computers_let_in",
        "gauge",
        "Computers that were let in by a token.",
        number(hub.admitted().count()),
    );
    page.number("greeting", "gauge", "Connections that have not said hello.", number(porch));
    page.number(
        "connections_total",
        "counter",
        "Connections whose handshake was done.",
        counted(&hub.counters.connections),
    );
    page.number(
        "hellos_total",
        "counter",
        "Connections that have said hello.",
        counted(&hub.counters.hellos),
    );
    page.number(
        "replaced_total",
        "counter",
        "Connections that made place for another one.",
        counted(&hub.counters.replaced),
    );
    page.number(
        "full_total",
        "counter",
        "Computers that found no place.",
        counted(&hub.counters.refused_full),
    );
    page.number("records", "gauge", "Address records that are kept.", number(status.records));
    page.number("record_bytes", "gauge", "What they take.", number(status.record_bytes));
    page.number("watched_tags", "gauge", "Tags under which messages are awaited.", number(status.watched));
    page.number("posts_total", "counter", "Messages that were handed over.", status.handed_over);
    page.number("refused_total", "counter", "Requests that were refused.", status.refused);
    page.number("relay_sessions", "gauge", "Sessions of the relay.", number(status.relay.sessions));
    page.number("relay_bytes_total", "counter", "Bytes that were relayed.", status.relay.bytes);
    page.number(
        "relay_gave_way_total",
        "counter",
        "Sessions that ended for those of a network that had fewer.",
        status.relay.gave_way,
    );
    page.number(
        "relay_accounts_dropped_total",
        "counter",
        "Volumes of the day that were forgotten because there were too many.",
        status.relay.accounts_dropped,
    );
    if let Some(bytes) = resident_bytes() {
        page.number("resident_bytes", "gauge", "Memory of this program.", bytes);
    }
    if let Some(moves) = hub.moves() {
        page.number(
            "moving_at_seconds",
            "gauge",
            "When the hub will be at another address, Unix time.",
            moves.at,
        );
    }
    let peers = hub.peers().map(super::peers::Peers::status).unwrap_or_default();
    if !peers.is_empty() {
        page.head("peer_reachable", "gauge", "Whether there is a connection to another hub.");
        for peer in &peers {
            page.line("peer_reachable", &format!("{{peer=\"{}\"}}", peer.id), u64::from(peer.reachable));
        }
        page.head("peer_alive", "gauge", "Whether computers are sent to another hub.");
        for peer in &peers {
            page.line("peer_alive", &format!("{{peer=\"{}\"}}", peer.id), u64::from(peer.alive));
        }
        page.head("peer_computers", "gauge", "Computers at another hub, in its own words.");
        for peer in &peers {
            page.line("peer_computers", &format!("{{peer=\"{}\"}}", peer.id), peer.computers);
        }
    }
    page.0
}

/// What this program has in memory, where the system says so.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
