//! A router, and what can happen to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Outcome, run};

use super::kind::{SiteKind, Speaks};
use super::namespace::Namespace;
use super::site::Line;
use super::table::{self, Entry};
use super::{Host, Shared, ip, miniupnpd, proxies, rules, site};

/// A port that no test asks for.
const OWN_PORT: u16 = 59_999;
/// Where `miniupnpd` describes the router.
const HTTP_PORT: u16 = 5000;

/// A router with the interfaces `wan` and `lan`.
#[derive(Clone, Debug)]
pub struct Router {
    shared: Arc<Shared>,
    name: String,
    number: u8,
    namespace: Namespace,
    kind: SiteKind,
    line: Line,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// How often the far address has changed.
    turn: u32,
    http_port: u16,
    daemon: Option<u32>,
    /// Ports of the local network's switch.
    ports: u8,
}

/// How a router restarts. By default: 0.2 s, and everything but the mappings is as before.
#[derive(Clone, Copy, Debug)]
pub struct Reboot {
    /// How long nothing answers.
    pub down: Duration,
    /// The far side has another address afterwards.
    pub new_wan: bool,
    /// UPnP is spoken on another port afterwards.
    pub new_http_port: bool,
    /// The computers see their cables dead meanwhile. Behind a switch of their own they don't.
    pub cables_dead: bool,
}

impl Default for Reboot {
    fn default() -> Self {
        Self { down: Duration::from_millis(200), new_wan: false, new_http_port: false, cables_dead: false }
    }
}

impl Router {
    /// The router of a namespace that is built already.
    pub(super) fn new(shared: &Arc<Shared>, name: String, number: u8, kind: SiteKind, line: Line) -> Self {
        let namespace = shared.namespace(&name);
        let state = State { turn: 0, http_port: HTTP_PORT, daemon: None, ports: 0 };
        Self {
            shared: Arc::clone(shared),
            name,
            number,
            namespace,
            kind,
            line,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Its name in the lab.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn number(&self) -> u8 {
        self.number
    }

    pub(super) const fn kind(&self) -> &SiteKind {
        &self.kind
    }

    pub(super) const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(super) const fn line(&self) -> &Line {
        &self.line
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for another cable to its local network.
    pub(super) fn next_port(&self) -> u8 {
        let mut state = self.state();
        state.ports += 1;
        state.ports - 1
    }

    /// A call of a program on it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        self.namespace.command(program)
    }

    /// Does something on it. Sockets that are made there stay there, whoever uses them later.
    ///
    /// # Panics
    /// If that does.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.namespace.inside(act)
    }

    /// Its address at the far side. Behind a carrier that is the carrier's shared one.
    #[must_use]
    pub fn wan_address(&self) -> Ipv4Addr {
        self.line.address(self.number, self.state().turn)
    }

    /// Its address in the local network.
    #[must_use]
    pub fn lan_address(&self) -> Ipv4Addr {
        self.line.lan_router(self.number)
    }

    /// Where it describes itself.
    #[must_use]
    pub fn description_url(&self) -> String {
        format!("http://{}:{}/rootDesc.xml", self.lan_address(), self.state().http_port)
    }

    /// Everything that its `miniupnpd` has said.
    #[must_use]
    pub fn log(&self) -> String {
        miniupnpd::log(self.shared.directory.path(), &self.name)
    }

    /// Puts up the rules, the addresses and the programs.
    pub(super) fn bring_up(&self) {
        let mut state = self.state();
        ip::nft(&self.namespace, &rules::router(&self.kind));
        site::raise_lines(&self.shared, self, self.line.address(self.number, state.turn));
        if self.kind.speaks.anything() {
            state.daemon = Some(miniupnpd::start(&self.shared, self, state.http_port));
        }
    }

    /// Restarts it: mappings, connections and the clocks of its protocols are gone. Gives back the moment from which on it
    /// answers again.
    ///
    /// # Panics
    /// If it doesn't come back.
    pub fn reboot(&self, options: Reboot) -> Instant {
        self.end_daemon();
        let mut state = self.state();
        let ports = if options.cables_dead { state.ports } else { 0 };
        let cables =
            |way: &str| (0..ports).map(|port| format!("link set h{port} {way}\n")).collect::<String>();
        ip::batch_in(&self.namespace, &format!("link set wan down\nlink set lan down\n{}", cables("down")));
        ip::nft(&self.namespace, "flush ruleset");
        self.flush_connections();
        std::thread::sleep(options.down);
        if options.new_wan {
            self.line.forget(&self.shared, self.number, state.turn);
            state.turn += 1;
        }
        if options.new_http_port {
            state.http_port += 1;
        }
        drop(state);
        if ports != 0 {
            ip::batch_in(&self.namespace, &cables("up"));
        }
        self.bring_up();
        Instant::now()
    }

    /// Gives it another address at the far side, as a line that was cut off and comes back does: its programs go on.
    ///
    /// # Panics
    /// If that fails.
    pub fn change_wan_address(&self) {
        let mut state = self.state();
        self.line.forget(&self.shared, self.number, state.turn);
        state.turn += 1;
        site::raise_lines(&self.shared, self, self.line.address(self.number, state.turn));
        drop(state);
        self.flush_connections();
    }

    /// Loses all mappings and pinholes without a word: nothing is announced, no clock is reset, connections that
    /// exist go on. Asked for them, it says that there are none; asked again, it grants them again.
    ///
    /// # Panics
    /// If that fails, or the site has no IPv4.
    pub fn drop_mappings_silently(&self) {
        self.drop_rules_behind_its_back();
        // miniupnpd reads the packet filter again after a change of its own only, so it gets one: a mapping for the router
        // itself, made and removed.
        let port = OWN_PORT.to_string();
        let near = self.lan_address().to_string();
        assert!(self.kind.families.v4(), "without IPv4 it makes no mapping for itself");
        if self.kind.speaks.upnp.is_some() {
            let url = self.description_url();
            let upnpc =
                |args: &[&str]| run(self.command("upnpc").args(["-u", &url]).args(args)).ok().to_owned();
            upnpc(&["-a", &near, &port, &port, "udp", "60"]);
            upnpc(&["-d", &port, "udp"]);
        } else if self.kind.speaks.anything() {
            let natpmpc = |lifetime| {
                run(self.command("natpmpc").args(["-g", &near, "-a", &port, &port, "udp", lifetime]))
                    .ok()
                    .to_owned()
            };
            natpmpc("60");
            natpmpc("0");
        }
        assert_eq!(self.table(), [], "{} has lost everything", self.name);
    }

    /// Its packet filter loses all mappings and pinholes, and its `miniupnpd` believes that they are there: only who dials
    /// from outside can find that out.
    ///
    /// # Panics
    /// If that fails.
    pub fn drop_rules_behind_its_back(&self) {
        ip::nft(&self.namespace, &rules::without_mappings());
    }

    /// Forgets all connections.
    ///
    /// # Panics
    /// If that fails.
    pub fn flush_connections(&self) {
        run(self.command("conntrack").arg("-F")).ok();
    }

    /// The mappings, as the packet filter has them.
    ///
    /// # Panics
    /// If one of them can't be read.
    #[must_use]
    pub fn table(&self) -> Vec<Entry> {
        table::mappings(&self.namespace)
    }

    /// The IPv6 pinholes, as the packet filter has them.
    ///
    /// # Panics
    /// If they can't be read.
    #[must_use]
    pub fn pinholes(&self) -> Vec<Entry> {
        table::pinholes(&self.namespace)
    }

    /// Calls `upnpc` on a host of the local network, without its search for routers.
    #[track_caller]
    pub fn upnpc(&self, host: &Host, args: &[&str]) -> Outcome {
        run(host.command("upnpc").args(["-u", &self.description_url()]).args(args))
    }

    /// Calls `natpmpc` on a host of the local network.
    #[track_caller]
    pub fn natpmpc(&self, host: &Host, args: &[&str]) -> Outcome {
        run(host.command("natpmpc").args(["-g", &self.lan_address().to_string()]).args(args))
    }

    /// Another program, on this host, takes a port of the router for the same port of its own.
    ///
    /// # Panics
    /// If the router gives it another one, or none.
    #[track_caller]
    pub fn foreign_mapping(&self, host: &Host, port: u16) {
        let text = port.to_string();
        let Speaks { upnp, .. } = self.kind.speaks;
        if upnp.is_some() {
            let address = host.address().to_string();
            self.upnpc(host, &["-e", "another program", "-a", &address, &text, &text, "tcp"]).ok();
        } else {
            self.natpmpc(host, &["-a", &text, &text, "tcp", "86400"]).ok();
        }
        let to = SocketAddr::new(host.address(), port);
        assert!(
            self.table().iter().any(|entry| entry.external_port == port && entry.internal == to),
            "{} did not give {port} to {}: {:?}",
            self.name,
            host.name(),
            self.table()
        );
    }

    /// Forwards a TCP port by hand, as the router's owner does on its page.
    ///
    /// # Panics
    /// If that fails.
    pub fn forward(&self, port: u16, to: SocketAddr) {
        assert!(matches!(to.ip(), IpAddr::V4(_)), "only IPv4 is translated");
        let chain = rules::BY_HAND;
        let rule = format!("add rule inet filter {chain} iifname \"wan\" tcp dport {port} dnat ip to {to}\n");
        ip::nft(&self.namespace, &rule);
    }

    /// Lets a TCP port of its near side stand for an address outside, as application gateways do. Gives back where it is.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn stand_in(&self, port: u16, to: SocketAddr) -> SocketAddr {
        let (chain, here) = (rules::BY_HAND, self.lan_address());
        let rule = format!(
            "add rule inet filter {chain} iifname \"lan\" ip daddr {here} tcp dport {port} dnat ip to {to}\n"
        );
        ip::nft(&self.namespace, &rule);
        SocketAddr::new(here.into(), port)
    }

    /// Starts a SOCKS proxy for those inside. Gives back where it is. Needs `microsocks`.
    ///
    /// # Panics
    /// If it does not listen soon.
    #[must_use]
    pub fn start_socks(&self, login: Option<(&str, &str)>) -> SocketAddr {
        proxies::start_socks(&self.shared, self, login)
    }

    /// Starts an HTTP proxy for those inside. Gives back where it is. Needs `tinyproxy`.
    ///
    /// # Panics
    /// If it does not listen soon.
    #[must_use]
    pub fn start_http_proxy(&self, login: Option<(&str, &str)>) -> SocketAddr {
        proxies::start_http(&self.shared, self, login)
    }

    /// Ends its `miniupnpd`, which leaves its rules behind.
    pub fn end_daemon(&self) {
        let daemon = self.state().daemon.take();
        if let Some(id) = daemon {
            self.shared.processes.end(id);
        }
    }

    /// Starts `miniupnpd` again: its clocks begin at zero, and it knows nothing of the leases of the rules it finds.
    ///
    /// # Panics
    /// If it does not listen soon.
    pub fn start_daemon(&self) {
        self.end_daemon();
        let mut state = self.state();
        state.daemon = Some(miniupnpd::start(&self.shared, self, state.http_port));
    }
}
