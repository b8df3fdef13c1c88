//! What runs within the namespace.

use std::process::Command;
use std::time::{Duration, Instant};

use kith_network::{InterfaceKind, Network, News, Snapshot};
use tokio::sync::watch;

/// Every change must be told within this time.
const PATIENCE: Duration = Duration::from_secs(2);
/// Nothing is told for this long after what is no change.
const SILENCE: Duration = Duration::from_millis(700);

/// Runs `ip` with several lines of commands.
fn try_ip(commands: &str) -> Result<(), String> {
    for command in commands.lines().map(str::trim).filter(|command| !command.is_empty()) {
        let output = Command::new("ip").args(command.split(' ')).output().unwrap();
        if !output.status.success() {
            return Err(format!("ip {command}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    Ok(())
}

fn ip(commands: &str) {
    try_ip(commands).unwrap();
}

struct Watched {
    network: Network,
    news: watch::Receiver<News>,
    slowest: Duration,
    /// Whether to wait for what must not be told: once is enough.
    patient: bool,
}

impl Watched {
    fn start(patient: bool) -> Self {
        let network = Network::start();
        let news = network.watch();
        Self { network, news, slowest: Duration::ZERO, patient }
    }

    fn changes(&self) -> u64 {
        self.news.borrow().changes
    }

    /// Waits until a change was told after which the network is as expected.
    async fn told(&mut self, what: &str, commands: &str, expected: impl Fn(&Snapshot) -> bool) {
        let before = self.changes();
        ip(commands);
        let start = Instant::now();
        let wait = self.news.wait_for(|news| news.changes > before && expected(&news.snapshot));
        let in_time = tokio::time::timeout(PATIENCE, wait).await.is_ok_and(|news| news.is_ok());
        assert!(in_time, "{what}: not told, {:#?}", *self.news.borrow());
        self.slowest = self.slowest.max(start.elapsed());
    }

    /// Waits until the kernel is done with what follows a change, such as looking for duplicate addresses.
    async fn settle(&mut self) {
        self.news.mark_unchanged();
        while let Ok(Ok(())) = tokio::time::timeout(SILENCE, self.news.changed()).await {}
    }

    /// Makes sure that no change is told, although the network gets to be as expected.
    async fn not_told(&mut self, what: &str, commands: &str, expected: impl Fn(&Snapshot) -> bool) {
        if self.patient {
            self.settle().await;
        }
        let before = self.changes();
        ip(commands);
        let start = Instant::now();
        while !expected(&self.network.snapshot()) {
            assert!(start.elapsed() < PATIENCE, "{what}: not seen, {:#?}", self.network.snapshot());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if !self.patient {
            return;
        }
        let told =
            tokio::time::timeout(SILENCE, self.news.wait_for(|news| news.changes > before)).await.is_ok();
        assert!(!told, "{what}: told as a change");
    }
}

fn kind(snapshot: &Snapshot, name: &str) -> Option<InterfaceKind> {
    snapshot.interfaces.iter().find(|interface| interface.name == name).map(|interface| interface.kind)
}

fn local(snapshot: &Snapshot) -> Vec<String> {
    snapshot.local_addresses().iter().map(ToString::to_string).collect()
}

fn gateways(snapshot: &Snapshot) -> Vec<String> {
    snapshot.gateways.iter().map(|gateway| format!("{} {}", gateway.interface, gateway.address)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "changes the network: runs only in a namespace that the other tests make"]
async fn the_kernels_news() {
    let Ok(sysfs) = std::env::var(super::SYSFS) else {
        eprintln!("skipped: not in a namespace");
        return;
    };
    // The index of this namespace's first interface must not be one that sysfs shows for another's device.
    ip("link set lo up
        link add index 7001 name eth0 type veth peer name veth-far
        link set veth-far up");
    let mut watched = Watched::start(sysfs == "own");
    assert_eq!(watched.network.snapshot().interfaces, []);
    assert_eq!(watched.changes(), 0);

    link(&mut watched).await;
    if sysfs == "own" {
        addresses(&mut watched).await;
        routes(&mut watched).await;
    } else {
        let routers = "route add default via 192.168.1.1 metric 100
            -6 route add default via fe80::1 dev eth0";
        watched.told("routers", routers, |now| now.gateways.len() == 2).await;
    }
    containers(&mut watched, sysfs == "own").await;
    tunnels(&mut watched).await;

    watched
        .told("a link is pulled", "link set veth-far down", |now| {
            kind(now, "eth0").is_none() && now.gateways.is_empty()
        })
        .await;
    watched
        .told("it is back", "link set veth-far up", |now| kind(now, "eth0") == Some(InterfaceKind::Physical))
        .await;
    watched.told("it is gone", "link del eth0", |now| kind(now, "eth0").is_none()).await;
    eprintln!("note: the slowest change was told after {} ms", watched.slowest.as_millis());

    let Watched { network, mut news, .. } = watched;
    drop(network);
    let ended = tokio::time::timeout(PATIENCE, async { while news.changed().await.is_ok() {} }).await;
    assert!(ended.is_ok(), "the news go on without anybody who watches");
}

async fn link(watched: &mut Watched) {
    // Until its link-local address is known to be nobody else's, which takes some seconds.
    ip("link set eth0 up");
    let ready = |news: &News| {
        let eth0 = news.snapshot.interface(7001);
        eth0.is_some_and(|eth0| eth0.addresses.iter().any(|address| !address.temporary))
    };
    let wait = watched.news.wait_for(ready);
    assert!(
        tokio::time::timeout(4 * PATIENCE, wait).await.is_ok_and(|news| news.is_ok()),
        "the link never comes up"
    );
    assert_eq!(kind(&watched.network.snapshot(), "eth0"), Some(InterfaceKind::Physical));
    watched
        .told("an IPv4 address", "addr add 192.168.1.23/24 dev eth0", |now| local(now) == ["192.168.1.23"])
        .await;
}

async fn addresses(watched: &mut Watched) {
    let both = ["192.168.1.23", "2001:db8::23"];
    watched
        .told("an IPv6 address", "addr add 2001:db8::23/64 dev eth0 nodad", |now| local(now) == both)
        .await;
    let deprecate = "addr change 2001:db8::23/64 dev eth0 preferred_lft 0";
    watched.told("an address is deprecated", deprecate, |now| local(now) == ["192.168.1.23"]).await;
    let again = "addr change 2001:db8::23/64 dev eth0 preferred_lft forever";
    watched.told("it is good again", again, |now| local(now) == both).await;
    let prolong = "addr change 192.168.1.23/24 dev eth0 valid_lft 7200 preferred_lft 7200
        addr change 2001:db8::23/64 dev eth0 valid_lft 7200 preferred_lft 7200";
    watched.not_told("addresses are prolonged", prolong, |now| local(now) == both).await;
    // Duplicate address detection takes a second; until then nobody is told of the address.
    ip("addr add 2001:db8::24/64 dev eth0");
    let wait = watched.news.wait_for(|news| local(&news.snapshot).contains(&"2001:db8::24".to_owned()));
    assert!(tokio::time::timeout(2 * PATIENCE, wait).await.is_ok(), "the address never gets good");
    let all = watched.network.snapshot();
    let eth0 = all.interfaces.iter().find(|interface| interface.name == "eth0").unwrap();
    assert_eq!(eth0.index, 7001);
    assert!(eth0.addresses.iter().any(|address| address.prefix == 24 && address.ip.is_ipv4()));
    assert!(eth0.addresses.iter().any(|address| address.prefix == 64 && address.ip.is_ipv6()));
}

async fn routes(watched: &mut Watched) {
    let v4 = "eth0 192.168.1.1";
    watched
        .told("a router", "route add default via 192.168.1.1 metric 100", |now| gateways(now) == [v4])
        .await;
    assert_eq!(
        (watched.network.snapshot().gateways[0].index, watched.network.snapshot().gateways[0].metric),
        (7001, 100)
    );
    watched
        .told("an IPv6 router", "-6 route add default via fe80::1 dev eth0", |now| {
            gateways(now) == [v4, "eth0 fe80::1"]
        })
        .await;
    watched.settle().await;
    let flap = "route del default via 192.168.1.1 metric 100
        route add default via 192.168.1.1 metric 100";
    watched.told("a route flaps", flap, |now| gateways(now) == [v4, "eth0 fe80::1"]).await;
    let better = "route add default via 192.168.1.2 metric 50";
    watched.told("a better router", better, |now| gateways(now)[0] == "eth0 192.168.1.2").await;
    watched
        .told("it goes", "route del default via 192.168.1.2 metric 50", |now| gateways(now)[0] == v4)
        .await;
    watched.settle().await;
    for rule in ["rule add from 10.9.9.9 lookup 100", "-6 rule add from 2001:db8:9::/48 lookup 100"] {
        // Kernels can be built without.
        if let Err(error) = try_ip(&rule.replace(" add ", " list ").replace(" lookup 100", "")) {
            eprintln!("note: {error}");
        } else {
            watched.told("a rule", rule, |_| true).await;
        }
    }
}

async fn containers(watched: &mut Watched, sysfs: bool) {
    let before = watched.network.snapshot();
    let docker = "link add docker0 type bridge
        addr add 172.17.0.1/16 dev docker0
        link set docker0 up
        link add veth7 type veth peer name inner7
        link set veth7 master docker0
        link set veth7 up";
    // The other end would be in the container's namespace; here it stays down.
    watched.not_told("a bridge without containers", docker, |now| now == &*before).await;
    let machine = "link set docker0 down
        link add veth8 type veth peer name veth9
        link set veth8 master docker0
        link set docker0 up
        link set veth8 up
        link set veth9 up";
    let container = Some(InterfaceKind::Container);
    watched
        .not_told("a container starts", machine, |now| {
            kind(now, "docker0") == container
                && kind(now, "veth8") == container
                && kind(now, "veth9") == container
        })
        .await;
    assert_eq!(watched.network.snapshot().gateways, before.gateways);
    assert_eq!(watched.network.snapshot().local_addresses(), before.local_addresses());
    watched.not_told("a container ends", "link del veth8", |now| kind(now, "veth9").is_none()).await;
    ip("link del veth7");

    let lan = "link add br0 type bridge
        link add lan1 type veth peer name veth-lan
        link set veth-lan up
        link set lan1 master br0
        link set lan1 up
        link set br0 up";
    watched.told("a bridge with a card", lan, |now| kind(now, "br0") == Some(InterfaceKind::Physical)).await;
    watched.told("it is taken down", "link del br0", |now| kind(now, "br0").is_none()).await;
    ip("link del lan1");
    if sysfs {
        let machines = "link add machines type bridge
            link add veth5 type veth peer name veth6
            link set veth5 master machines
            link set veth6 up
            link set veth5 up
            link set machines up";
        watched.not_told("a bridge of machines", machines, |now| kind(now, "machines") == container).await;
        watched.not_told("it goes", "link del machines", |now| kind(now, "machines").is_none()).await;
        ip("link del veth5");
    }
}

async fn tunnels(watched: &mut Watched) {
    let vpn = "link add tun7 type veth peer name veth-vpn
        link set veth-vpn up
        addr add 10.8.0.2/24 dev tun7
        link set tun7 up";
    let tunnel = Some(InterfaceKind::Tunnel);
    watched
        .told("a VPN", vpn, |now| kind(now, "tun7") == tunnel && local(now).contains(&"10.8.0.2".to_owned()))
        .await;
    // As a VPN takes over: everything through the tunnel, its own server through the router.
    let over = "route add 203.0.113.9/32 via 192.168.1.1
        route del default via 192.168.1.1 metric 100
        route add default via 10.8.0.1 dev tun7";
    let expected = ["tun7 10.8.0.1", "eth0 192.168.1.1", "eth0 fe80::1"];
    watched.told("it takes over", over, |now| gateways(now) == expected).await;
    watched
        .told("it ends", "link del tun7", |now| kind(now, "tun7").is_none() && gateways(now) == expected[1..])
        .await;
}
