//! Breaking things, and seeing that they are broken.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::lab::{Firewall, Host, Reboot};
use crate::{Computer, run, run_with, wait_until, write_random};

use super::fault::Fault;
use super::place::Side;
use super::servers::{Says, Server};
use super::stage::{LOGIN, NAME, PORT, Stage};

/// How long something that must not come is waited for.
const QUIET: Duration = Duration::from_millis(500);
/// From a change until it has its effect.
const SEEN: Duration = Duration::from_secs(10);
/// A port at which nothing is.
const NOBODY: u16 = 4299;
/// A port at which everything passes that gets so far.
const OPEN: u16 = 4250;
/// What leads all to itself.
const PORTAL: u16 = 8080;

/// Breaks it.
///
/// # Panics
/// If it is not broken then.
pub(super) fn inject(stage: &mut Stage, fault: Fault, side: Side) {
    let other = side.other();
    match fault {
        Fault::FirewallInDrop => {
            stage.host(side).firewall(Firewall::DropPort(PORT));
            stage.assert_deaf(side);
        }
        Fault::FirewallInReject => {
            stage.host(side).firewall(Firewall::RejectPort(PORT));
            stage.assert_refuses(side);
        }
        Fault::FirewallOutDrop => {
            let rule = format!("ip daddr {} tcp dport {PORT} drop", stage.target(other).ip());
            filter(|| stage.host(side).command("nft"), "output", &rule);
            stage.assert_deaf(other);
        }
        Fault::FirewallOutReject => {
            filter(|| stage.host(side).command("nft"), "output", &format!("tcp dport {PORT} reject"));
            assert!(!stage.host(side).reaches(stage.target(other), SEEN));
        }
        Fault::ServiceStopped => {
            stage.computer(side).stop();
        }
        Fault::ServiceKilled => {
            stage.computer(side).kill();
            stage.assert_refuses(side);
        }
        Fault::ComputerOff | Fault::NoNetwork => {
            stage.host(side).unplug();
            assert!(!stage.host(side).reaches(stage.lab.outside().at(OPEN), QUIET));
        }
        Fault::ForwardedElsewhere => {
            stage.forward_anew(side, SocketAddr::new(stage.host(side).address(), NOBODY));
            stage.assert_refuses(side);
        }
        Fault::ForwardedToOther => {
            let site = stage.ends[side.index()].site.as_mut().expect("a place with a router");
            let host = site.add_host();
            let stranger = Computer::in_host("dora", &host);
            stranger.start();
            stage.forward_anew(side, host.at(PORT));
            stage.hold(stranger);
            assert!(stage.lab.outside().reaches(stage.target(side), SEEN));
        }
        Fault::Moved => {
            let computer = stage.computer(side);
            computer.stop();
            computer.start_with(&[("KITH_LISTENER__PORT", "4300")]);
            stage.assert_refuses(side);
        }
        Fault::MappingOff => {
            stage.router(side).end_daemon();
            stage.lose_mappings(side);
        }
        Fault::MappingLost => stage.lose_mappings(side),
        Fault::RouterReset => {
            let router = stage.router(side);
            router.reboot(Reboot::default());
            router.end_daemon();
            stage.lose_mappings(side);
        }
        Fault::MappingBlocked => {
            let rule = format!("iifname \"wan\" tcp dport {PORT} drop");
            filter(|| stage.router(side).command("nft"), "forward", &rule);
            stage.assert_deaf(side);
        }
        Fault::RouterLies | Fault::CarrierNat | Fault::DoubleNat => stage.assert_deaf(side),
        Fault::BothSymmetric | Fault::BothOnlyCall => {}
        Fault::NamesDead => {
            let names = stage.names.clone().expect("a name server");
            names.firewall(Firewall::DropInbound);
            assert!(!stage.host(side).reaches(names.at(53), QUIET));
            stage.renumber(other);
        }
        Fault::NameUnknown => {
            let names = stage.names.clone().expect("a name server");
            stage.held.clear();
            let known = names.serve_names(&[("other.example", names.address())]);
            stage.hold(known);
            let probed = stage.computer(side).kith(&["probe", NAME, "--json"]);
            assert!(probed.stdout.contains("\"name-not-found\""), "{probed}");
            stage.renumber(other);
        }
        Fault::ProxyRefuses => {
            let router = stage.router(side);
            let at = SocketAddr::new(router.lan_address().into(), 3129);
            let server = router.inside(|| Server::start(TcpListener::bind(at).unwrap(), Says::Forbidden));
            set(stage.computer(side), "network.proxy", &format!("http://{}", server.at()));
            stage.hold(server);
        }
        Fault::ProxyDead => {
            let at = SocketAddr::new(stage.router(side).lan_address().into(), NOBODY);
            assert!(!stage.host(side).reaches(at, QUIET));
            set(stage.computer(side), "network.proxy", &format!("http://{at}"));
        }
        Fault::ProxyPassword => {
            let (user, _) = LOGIN;
            let at = stage.router(side).lan_address();
            set(stage.computer(side), "network.proxy", &format!("socks5://{user}:wr0ng@{at}:1080"));
        }
        Fault::ClockAhead => {
            let computer = stage.computer(side);
            computer.stop();
            let library = fake_time().expect("libfaketime");
            let library = ("LD_PRELOAD", library.to_str().unwrap());
            computer.start_with(&[library, ("FAKETIME", "+1d"), ("DONT_FAKE_MONOTONIC", "1")]);
            stage.assert_clock_ahead(side);
            stage.wait_link_again(side);
        }
        Fault::LongPacketsLost => stage.lose_long_packets(side),
        Fault::OtherKith => {
            stage.computer(side).stop();
            let stranger = Computer::in_host("dora", stage.host(side));
            stranger.start();
            stage.hold(stranger);
        }
        Fault::Removed => {
            stage.computer(side).kith(&["friend", "remove", stage.computer(other).name()]).ok();
        }
        Fault::Recreated => {
            stage.computer(side).stop();
            let anew = Computer::in_host(stage.computer(side).name(), stage.host(side));
            anew.start();
            stage.hold(anew);
        }
        Fault::WebServer | Fault::OtherService => {
            stage.computer(side).stop();
            let says = if fault == Fault::WebServer { Says::Page } else { Says::Greeting };
            stage.occupy(side, says);
        }
        Fault::PortClash => {
            stage.computer(side).stop();
            stage.occupy(side, Says::Greeting);
            stage.computer(side).start();
            assert_eq!(stage.computer(side).status()["listener"]["state"], "error");
        }
        Fault::Portal | Fault::TlsPortal => stage.intercept(side, fault == Fault::TlsPortal),
        Fault::Only443 => {
            if let Some((_, carol)) = &stage.carol {
                let at = carol.at(443).to_string();
                stage.computer(side).kith(&["friend", "address", "carol", &at]).ok();
            }
            stage.forbid(side, "iifname \"lan\" tcp dport != 443 drop");
        }
        Fault::NothingOut => stage.forbid(side, "iifname \"lan\" drop"),
        Fault::LineDead => {
            filter(|| stage.router(side).command("nft"), "output", "oifname \"wan\" drop");
            stage.forbid(side, "drop");
        }
        Fault::QuotaFull => {
            stage.set_to_back_up(other, 4 << 20);
            stage.computer(other).kith(&["backup", "all"]).ok();
            stage.computer(side).kith(&["friend", "quota", stage.computer(other).name(), "1MB"]).ok();
            stage.back_up_in_vain(other, "no more room");
        }
        Fault::DiskFull => {
            let computer = stage.computer(side);
            computer.stop();
            computer.start_with(&[("KITH_VAULT__KEEP_FREE", "900TB")]);
            stage.wait_link_again(side);
            stage.back_up_in_vain(other, "is full");
        }
        Fault::Paused => {
            stage.computer(side).kith(&["friend", "pause", stage.computer(other).name()]).ok();
            stage.assert_nothing_offered(side);
        }
        Fault::AcceptOff => {
            set(stage.computer(side), "vault.accept", "off");
            stage.assert_nothing_offered(side);
        }
        Fault::RouterDead => {
            run(stage.router(side).command("ip").args(["link", "set", "lan", "down"])).ok();
            let router = SocketAddr::new(stage.router(side).lan_address().into(), PORT);
            let dialled = stage.host(side).dial(router, QUIET);
            assert!(dialled.is_err_and(|error| error.kind() != ErrorKind::ConnectionRefused));
        }
        Fault::NotAllowed => {
            let (_, carol) = stage.carol.as_ref().expect("a helper");
            set(stage.computer(side), "network.allowed-destinations", &carol.at(PORT).to_string());
        }
        Fault::HubDead => stage.hub.as_ref().expect("a hub").kill(),
        Fault::Ipv6Broken => {
            filter(|| stage.router(side).command("nft"), "forward", "meta nfproto ipv6 drop");
            let six = stage.host(other).ipv6().expect("a host with IPv6");
            assert!(!stage.host(side).reaches(SocketAddr::new(six.into(), PORT), QUIET));
        }
    }
}

/// Where libfaketime is, for programs that may have threads.
fn fake_time() -> Option<PathBuf> {
    let directories = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let mut libraries = directories.map(|directory| directory.join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.is_file())
}

/// One rule in a chain of its own, before all others.
fn filter(nft: impl Fn() -> Command, hook: &str, rule: &str) {
    let script = format!(
        "table inet broken_{hook} {{
  chain {hook} {{
    type filter hook {hook} priority -10; policy accept;
    {rule}
  }}
}}
"
    );
    run_with(nft().args(["-f", "-"]), script.as_bytes()).ok();
}

fn set(computer: &Computer, name: &str, value: &str) {
    computer.kith(&["settings", "set", name, value]).ok();
}

impl Stage {
    /// From where somebody is called from outside: not from his own side.
    fn caller(&self, side: Side) -> &Host {
        self.host(side.other())
    }

    fn assert_deaf(&self, side: Side) {
        let dialled = self.caller(side).dial(self.target(side), QUIET);
        assert!(dialled.is_err_and(|error| error.kind() != ErrorKind::ConnectionRefused), "{side:?} hears");
    }

    fn assert_refuses(&self, side: Side) {
        let dialled = self.caller(side).dial(self.target(side), SEEN);
        assert!(dialled.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused), "{side:?}");
    }

    fn forward_anew(&self, side: Side, to: SocketAddr) {
        let router = self.router(side);
        run(router.command("nft").args(["flush", "chain", "inet", "filter", "by_hand"])).ok();
        router.forward(PORT, to);
        router.flush_connections();
    }

    fn lose_mappings(&self, side: Side) {
        let router = self.router(side);
        router.drop_rules_behind_its_back();
        router.flush_connections();
        self.assert_deaf(side);
    }

    /// His line gets another address: who knows only the old one, or a name that can't be looked up, doesn't find him.
    fn renumber(&self, side: Side) {
        self.router(side).change_wan_address();
    }

    fn forbid(&self, side: Side, rule: &str) {
        filter(|| self.router(side).command("nft"), "forward", rule);
        self.router(side).flush_connections();
        assert!(!self.host(side).reaches(self.target(side.other()), QUIET));
    }

    fn occupy(&mut self, side: Side, says: Says) {
        let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT);
        let server = self.host(side).inside(|| Server::start(TcpListener::bind(everywhere).unwrap(), says));
        self.hold(server);
        assert!(self.caller(side).reaches(self.target(side), SEEN));
    }

    fn intercept(&mut self, side: Side, tls: bool) {
        let router = self.router(side).clone();
        let at = SocketAddr::new(router.lan_address().into(), PORTAL);
        if tls {
            let [key, certificate] = ["portal.key", "portal.crt"].map(|name| self.lab.directory().join(name));
            let mut openssl = Command::new(crate::need::program("openssl"));
            openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
            openssl.args(["-nodes", "-days", "30", "-subj", "/CN=portal.example", "-keyout"]);
            run(openssl.arg(&key).arg("-out").arg(&certificate)).ok();
            let mut server = crate::lab::tied_to_us(router.command("openssl").args([
                "s_server",
                "-quiet",
                "-www",
                "-accept",
                &at.to_string(),
                "-key",
                key.to_str().unwrap(),
                "-cert",
                certificate.to_str().unwrap(),
            ]));
            server.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
            server.stderr(std::process::Stdio::null());
            self.hold(Ended(crate::lab::spawn(server).unwrap()));
        } else {
            let server = router.inside(|| Server::start(TcpListener::bind(at).unwrap(), Says::Page));
            self.hold(server);
        }
        wait_until("the portal to answer", SEEN, || self.host(side).reaches(at, QUIET));
        let script = format!(
            "table inet broken {{
  chain prerouting {{
    type nat hook prerouting priority -110; policy accept;
    iifname \"lan\" meta l4proto tcp redirect to :{PORTAL}
  }}
}}
"
        );
        run_with(router.command("nft").args(["-f", "-"]), script.as_bytes()).ok();
        router.flush_connections();
        let nobody = SocketAddr::new(self.target(side.other()).ip(), NOBODY);
        assert!(self.host(side).reaches(nobody, SEEN), "the portal does not answer for others");
    }

    fn lose_long_packets(&self, side: Side) {
        let router = self.router(side);
        let listener = self.lab.outside().listen(OPEN);
        run(router.command("ip").args(["link", "set", "wan", "mtu", "1300"])).ok();
        filter(|| router.command("nft"), "output", "icmp type destination-unreachable drop");
        // Between two ends of one machine segments pass in one piece, longer than any line: what is longer goes here.
        filter(|| router.command("nft"), "forward", "meta length > 1300 drop");
        let mut stream = self.host(side).dial(self.lab.outside().at(OPEN), SEEN).unwrap();
        let (mut end, _) = listener.accept().unwrap();
        end.set_read_timeout(Some(QUIET)).unwrap();
        stream.write_all(&[1; 500]).unwrap();
        end.read_exact(&mut [0; 500]).unwrap();
        stream.write_all(&[1; 4000]).unwrap();
        assert!(end.read_exact(&mut [0; 4000]).is_err(), "long packets get through");
    }

    fn assert_clock_ahead(&self, side: Side) {
        // The log has the time of the daemon.
        let log = self.computer(side).log();
        let last = log
            .lines()
            .rev()
            .find_map(|line| line.split_whitespace().next()?.parse::<jiff::Timestamp>().ok());
        let ahead = last.expect("a line with a time").duration_since(jiff::Timestamp::now());
        assert!(ahead.as_hours() >= 23, "{ahead:?}");
    }

    fn wait_link_again(&self, restarted: Side) {
        let (one, other) = (self.computer(restarted.other()), self.computer(restarted));
        one.kith(&["ra"]).ok();
        let both = || one.linked(other.name()) && other.linked(one.name());
        wait_until("the link again", SEEN, both);
    }

    fn assert_nothing_offered(&self, keeper: Side) {
        let (owner, keeper) = (self.computer(keeper.other()), self.computer(keeper).name());
        wait_until("nothing to be offered", SEEN, || !owner.friend(keeper)["offered_bytes"].is_u64());
    }

    fn set_to_back_up(&self, owner: Side, bytes: u64) {
        let (computer, keeper) = (self.computer(owner), self.computer(owner.other()).name());
        let source = computer.folder("source");
        write_random(&source, bytes, bytes, 1 << 20);
        // It may be there.
        computer.kith(&["set", "add", "all", source.to_str().unwrap(), "--to", keeper]);
    }

    fn back_up_in_vain(&self, owner: Side, says: &str) {
        self.set_to_back_up(owner, 8 << 20);
        let computer = self.computer(owner);
        computer.kith(&["backup", "all"]).ended(1).says(&[says]);
    }
}

/// A program that ends with this value.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
