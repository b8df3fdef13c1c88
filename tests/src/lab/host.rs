//! A computer in the lab.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::capture::Capture;
use super::namespace::Namespace;
use super::processes::Process;
use super::ufw::Ufw;
use super::{Shared, ip, rules};

/// What answers for names.
const NAME_SERVER: &str = include_str!("name_server.py");
/// Longest time for it to start.
const NAME_SERVER_STARTS: Duration = Duration::from_secs(10);

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
    ufw: Option<Ufw>,
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

/// Bytes that have gone through the interface of a host since it was made, headers of the network included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// To it.
    pub received: u64,
    /// From it.
    pub sent: u64,
}

impl Host {
    pub(super) fn new(
        shared: &Arc<Shared>,
        name: String,
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
    ) -> Self {
        let namespace = shared.namespace(&name);
        Self { shared: Arc::clone(shared), name, namespace, v4, v6, ufw: None }
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
        match &self.ufw {
            Some(ufw) => ufw.command(&self.namespace, program.as_ref()),
            None => self.namespace.command(program),
        }
    }

    /// The same host, on which ufw is installed for what is started from now on.
    #[must_use]
    pub fn with_ufw(&self, ufw: &Ufw) -> Self {
        Self { ufw: Some(ufw.clone()), ..self.clone() }
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
        let file = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
        let log = self.shared.directory.path().join(format!("{}.{file}.log", self.name));
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

    /// Whether it can connect to an address from this port of its own, where filters tell ports apart.
    #[must_use]
    pub fn reaches_from(&self, port: u16, address: SocketAddr, longest: Duration) -> bool {
        self.inside(|| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&self.at(port).into()).unwrap();
            socket.connect_timeout(&address.into(), longest).is_ok()
        })
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

    /// Records what passes at its interface from now on. Needs `python3`.
    ///
    /// # Panics
    /// If that can't be begun.
    #[must_use]
    pub fn capture(&self) -> Capture {
        Capture::start(&self.shared, &self.namespace, &self.name)
    }

    /// Answers for these names at its [address](Self::address), by TCP only, until the value is dropped. Needs `python3`.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn serve_names(&self, known: &[(&str, IpAddr)]) -> Process {
        let mut command = self.command("python3");
        command.args(["-S", "-c", NAME_SERVER, &self.address().to_string()]);
        command.args(known.iter().map(|(name, address)| format!("{name}={address}")));
        let log = self.shared.directory.path().join(format!("{}.names.log", self.name));
        let process = Process::start(&self.shared, command, &log);
        self.wait_reaches(self.at(53), NAME_SERVER_STARTS);
        process
    }

    /// Its programs ask this one for names.
    ///
    /// # Panics
    /// If that can't be written down.
    pub fn asks_for_names(&self, server: IpAddr) {
        self.namespace
            .set_file("resolv.conf", &format!("nameserver {server}\noptions timeout:2 attempts:1\n"));
    }

    /// Pulls the cable: the computer sees it at once, and all that it knew of that network is gone.
    ///
    /// # Panics
    /// If that fails.
    pub fn unplug(&self) {
        ip::batch_in(&self.namespace, "link set eth0 down\n");
    }

    /// Puts the cable back, into the network that it came from.
    ///
    /// # Panics
    /// If that fails, or it has no IPv4 address.
    pub fn plug(&self) {
        let [a, b, c, _] = self.v4.expect("a host with IPv4").octets();
        ip::batch_in(
            &self.namespace,
            &format!("link set eth0 up\nroute replace default via {a}.{b}.{c}.1\n"),
        );
    }

    /// Gives it another address in its network instead of the one it has, as a router may do after a while. [`Host::address`] goes on
    /// to say the first one.
    ///
    /// # Panics
    /// If it has no IPv4 address.
    pub fn readdress(&self, to: Ipv4Addr) {
        let from = self.v4.expect("a host with IPv4");
        let [a, b, c, _] = from.octets();
        ip::batch_in(
            &self.namespace,
            &format!(
                "addr flush dev eth0 scope global\naddr add {to}/24 dev eth0\nroute replace default via {a}.{b}.{c}.1\n"
            ),
        );
    }

    /// Puts up a firewall instead of the one there is.
    ///
    /// # Panics
    /// If that fails.
    pub fn firewall(&self, firewall: Firewall) {
        ip::nft(&self.namespace, &rules::host(firewall));
    }

    /// Leads what comes to a TCP port of it to another one of its own.
    ///
    /// # Panics
    /// If that fails.
    pub fn redirect(&self, from: u16, to: u16) {
        ip::nft(&self.namespace, &rules::redirect(from, to));
    }

    /// What has gone through its interface.
    ///
    /// # Panics
    /// If the kernel doesn't say.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let table = self.inside(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap());
        let line = table.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).unwrap();
        let fields: Vec<u64> = line.split_ascii_whitespace().map(|field| field.parse().unwrap()).collect();
        // proc_pid_net(5): eight fields of what came, eight of what went; bytes are the first of each.
        Traffic { received: fields[0], sent: fields[8] }
    }
}
