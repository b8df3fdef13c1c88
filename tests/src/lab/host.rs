//! A computer in the lab.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::namespace::Namespace;
use super::processes::Process;
use super::{Shared, ip, rules};

/// Longest wait for one answer while waiting for the first; then the next connection is tried. A lost SYN would be
/// repeated by the kernel after 1 s only, which would blur what is measured.
const ONE_TRY: Duration = Duration::from_millis(200);
/// Between two tries that were refused.
const PAUSE: Duration = Duration::from_millis(10);

/// A computer in the lab: one interface `eth0`, and `lo`.
#[derive(Clone, Debug)]
pub struct Host {
    shared: Arc<Shared>,
    name: String,
    namespace: Namespace,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// A firewall on a computer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firewall {
    /// None.
    Off,
    /// What comes to this TCP port disappears.
    DropPort(u16),
    /// What comes to this TCP port is refused.
    RejectPort(u16),
    /// Whatever is no answer disappears.
    DropInbound,
}

impl Host {
    pub(super) fn new(
        shared: &Arc<Shared>,
        name: String,
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
    ) -> Self {
        let namespace = shared.namespace(&name);
        Self { shared: Arc::clone(shared), name, namespace, v4, v6 }
    }

    pub(super) const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its name in the lab.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address: IPv4, if it has one.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.v4.map(IpAddr::from).or_else(|| self.v6.map(IpAddr::from)).expect("a host has an address")
    }

    /// Its IPv4 address.
    #[must_use]
    pub const fn ipv4(&self) -> Option<Ipv4Addr> {
        self.v4
    }

    /// Its global IPv6 address.
    #[must_use]
    pub const fn ipv6(&self) -> Option<Ipv6Addr> {
        self.v6
    }

    /// A port at its [address](Self::address).
    #[must_use]
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(), port)
    }

    /// A call of a program on it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        self.namespace.command(program)
    }

    /// Starts a program on it that runs until the value is dropped. What it says goes to `NAME.PROGRAM.log` in the directory
    /// of the lab.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn start(&self, program: &str, args: &[&str]) -> Process {
        let mut command = self.command(program);
        command.args(args);
        let log = self.shared.directory.path().join(format!("{}.{program}.log", self.name));
        Process::start(&self.shared, command, &log)
    }

    /// Does something on it. Sockets that are made there stay there, whoever uses them later.
    ///
    /// # Panics
    /// If that does.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.namespace.inside(act)
    }

    /// Listens on a TCP port of its [address](Self::address).
    ///
    /// # Panics
    /// If somebody does already.
    #[must_use]
    pub fn listen(&self, port: u16) -> TcpListener {
        self.inside(|| TcpListener::bind(self.at(port)).unwrap())
    }

    /// Connects to an address.
    ///
    /// # Errors
    /// If nobody answers in time, or somebody refuses.
    pub fn dial(&self, address: SocketAddr, longest: Duration) -> io::Result<TcpStream> {
        self.inside(|| TcpStream::connect_timeout(&address, longest))
    }

    /// Whether it can connect to an address.
    #[must_use]
    pub fn reaches(&self, address: SocketAddr, longest: Duration) -> bool {
        self.dial(address, longest).is_ok()
    }

    /// Tries again and again until a connection comes about, and says how long that took.
    ///
    /// # Panics
    /// If it takes longer than `longest`.
    #[track_caller]
    pub fn wait_reaches(&self, address: SocketAddr, longest: Duration) -> Duration {
        let start = Instant::now();
        let took = self.inside(|| {
            loop {
                let begun = Instant::now();
                match TcpStream::connect_timeout(&address, ONE_TRY) {
                    Ok(_) => break Some(start.elapsed()),
                    Err(_) if start.elapsed() > longest => break None,
                    Err(_) => std::thread::sleep(PAUSE.saturating_sub(begun.elapsed())),
                }
            }
        });
        took.unwrap_or_else(|| panic!("{} could not reach {address} within {longest:?}", self.name))
    }

    /// Puts up a firewall instead of the one there is.
    ///
    /// # Panics
    /// If that fails.
    pub fn firewall(&self, firewall: Firewall) {
        ip::nft(&self.namespace, &rules::host(firewall));
    }
}
