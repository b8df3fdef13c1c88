//! A router's UPnP side with faults that a test chooses. What it grants takes effect in the packet filter of a real router of
//! the lab, unless it is told to lie.
//!
//! It serves by threads of the test, on sockets that live in the router's namespace.

mod http;
mod script;
mod server;
mod soap;
mod ssdp;
mod state;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::say;

use super::Router;

pub use script::{Description, Effect, ErrorText, Leases, Listing, ReadBack, Script, Ssdp};
use state::State;

/// Where it describes itself.
const HTTP_PORT: u16 = 5000;

/// A UPnP router that does what a [`Script`] says. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeIgd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Something that it was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// When.
    pub at: Instant,
    /// By whom.
    pub from: SocketAddr,
    /// `M-SEARCH`, `GET` or the action.
    pub what: String,
    /// The arguments of the action; of `GET` the path, of `M-SEARCH` what was searched and where it was sent.
    pub arguments: Vec<(String, String)>,
    /// The error that it was answered with.
    pub error: Option<u16>,
}

impl Request {
    /// An argument; empty if there is none of that name.
    #[must_use]
    pub fn argument(&self, name: &str) -> &str {
        self.arguments.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

#[derive(Debug)]
struct Shared {
    router: Router,
    address: Ipv4Addr,
    ended: AtomicBool,
    state: std::sync::Mutex<State>,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn location(&self) -> String {
        let path = format!("http://{}:{HTTP_PORT}/description.xml", self.address);
        match &self.state().script.ssdp {
            Ssdp::LocationAt(other) => other.clone(),
            _ => path,
        }
    }
}

impl FakeIgd {
    /// Serves on a router, in place of its `miniupnpd`.
    ///
    /// # Panics
    /// If it can't listen there.
    #[must_use]
    pub fn start(router: &Router, script: Script) -> Self {
        router.end_daemon();
        let shared = Arc::new(Shared {
            router: router.clone(),
            address: router.lan_address(),
            ended: AtomicBool::new(false),
            state: std::sync::Mutex::new(State::new(script)),
        });
        let (search, answers, listener) = router.inside(|| {
            let search = ssdp::socket(shared.address);
            let answers = std::net::UdpSocket::bind((shared.address, 0)).unwrap();
            // A description may lie at another address of the router.
            let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, HTTP_PORT)).unwrap();
            (search, answers, listener)
        });
        let mut threads = Vec::new();
        let own = Arc::clone(&shared);
        threads.push(std::thread::spawn(move || ssdp::serve(&own, &search, &answers)));
        let own = Arc::clone(&shared);
        threads.push(std::thread::spawn(move || server::serve(&own, &listener)));
        Self { shared, threads }
    }

    /// Behaves differently from now on; what it has mapped stays.
    pub fn set(&self, script: Script) {
        self.shared.state().script = script;
    }

    /// Everything that it was asked until now.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// Everything of one sort that it was asked until now.
    #[must_use]
    pub fn asked(&self, what: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.what == what);
        requests
    }

    /// Where it describes itself.
    #[must_use]
    pub fn description_url(&self) -> String {
        format!("http://{}:{HTTP_PORT}/description.xml", self.shared.address)
    }

    /// Tells the local network that it is there (`ssdp:alive`), or leaves (`ssdp:byebye`).
    ///
    /// # Panics
    /// If it can't be sent.
    pub fn announce(&self, sub_type: &str) {
        self.shared.router.inside(|| ssdp::announce(&self.shared, sub_type));
    }

    /// Loses all its mappings, without a word.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.entries.clear();
        state.apply(&self.shared.router);
    }
}

impl Drop for FakeIgd {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() && !std::thread::panicking() {
                panic!("a thread of the router panicked");
            }
        }
        if std::thread::panicking() {
            for Request { from, what, arguments, error, .. } in self.requests() {
                say(&format!("the router was asked by {from}: {what} {arguments:?} -> {error:?}"));
            }
        }
    }
}
