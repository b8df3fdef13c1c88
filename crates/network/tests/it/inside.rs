//! What runs within the namespace.

use std::process::Command;
use std::time::{Duration, Instant};

use kith_network::{ByFamily, InterfaceKind, Network, News, Snapshot};
use tokio::sync::watch;

/// Every change must be told within this time, as [`Patience`] counts it.
const PATIENCE: Duration = Duration::from_secs(2);
/// As often the test looks at the network itself while it waits.
const STEP: Duration = Duration::from_millis(50);
/// Nothing is told for this long after what is no change.
const SILENCE: Duration = Duration::from_millis(1500);

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

/// Counts time in looks of its own at the network: one in each [`STEP`], however long it took. On a computer that has nothing
/// else to do that is the time that passes. On a busy one, or while others hold the lock that the kernel has for all network
/// namespaces together, a look takes long here as it does for what is tested.
struct Patience {
    left: u32,
}

impl Patience {
    fn new(time: Duration) -> Self {
        Self { left: u32::try_from(time.as_millis() / STEP.as_millis()).unwrap() }
    }

    /// Waits until the news are as expected; false if that takes too long.
    async fn wait(mut self, news: &mut watch::Receiver<News>, expected: impl Fn(&News) -> bool) -> bool {
        while self.left > 0 {
            if tokio::time::timeout(STEP, news.wait_for(&expected)).await.is_ok_and(|news| news.is_ok()) {
                return true;
            }
            tokio::task::spawn_blocking(Snapshot::take).await.unwrap();
            self.left -= 1;
        }
        false
    }
}

struct Watched {
    network: Network,
    news: watch::Receiver<News>,
    slowest: Duration,
    /// Whether to wait for what must not be told: once is enough.
    patient: bool,
}

impl Watched {
    async fn start(patient: bool) -> Self {
        let network = tokio::task::spawn_blocking(Network::start).await.unwrap();
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
        let told = |news: &News| news.changes > before && expected(&news.snapshot);
        let in_time = Patience::new(PATIENCE).wait(&mut self.news, told).await;
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
        // What is no news is seen only by looking again and again.
        let mut left = PATIENCE.as_millis() / STEP.as_millis();
        while !expected(&self.network.snapshot()) {
            assert!(left > 0, "{what}: not seen, {:#?}", self.network.snapshot());
            tokio::time::sleep(STEP).await;
            tokio::task::spawn_blocking(Snapshot::take).await.unwrap();
            left -= 1;
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

/// The names of the interfaces by which IPv4 and IPv6 leave.
fn leaves_by(snapshot: &Snapshot) -> [&str; 2] {
    let ByFamily { v4, v6 } = snapshot.leaves_by;
    [v4, v6].map(|index| {
        let interface = index.and_then(|index| snapshot.interface(index));
        interface.map_or("", |interface| interface.name.as_str())
    })
}

/// The names of the interfaces with default routes of IPv4 and of IPv6 that name no gateway.
fn direct(snapshot: &Snapshot) -> [Vec<&str>; 2] {
    let ByFamily { v4, v6 } = &snapshot.direct;
    [v4, v6]
        .map(|direct| direct.iter().map(|index| snapshot.interface(*index).unwrap().name.as_str()).collect())
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
    let mut watched = Watched::start(sysfs == "own").await;
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
    tunnels(&mut watched, sysfs == "own").await;
    if sysfs == "own" {
        churn(&mut watched).await;
    }

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
    let ended = tokio::time::timeout(5 * PATIENCE, async { while news.changed().await.is_ok() {} }).await;
    assert!(ended.is_ok(), "the news go on without anybody who watches");
}

async fn link(watched: &mut Watched) {
    // Until its link-local address is known to be nobody else's, which takes some seconds.
    ip("link set eth0 up");
    let ready = |news: &News| {
        let eth0 = news.snapshot.interface(7001);
        eth0.is_some_and(|eth0| eth0.addresses.iter().any(|address| !address.temporary))
    };
    let in_time = Patience::new(4 * PATIENCE).wait(&mut watched.news, ready).await;
    assert!(in_time, "the link never comes up");
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
    // Duplicate address detection takes seconds; until then nobody is told of the address.
    ip("addr add 2001:db8::24/64 dev eth0");
    let good = |news: &News| local(&news.snapshot).contains(&"2001:db8::24".to_owned());
    let in_time = Patience::new(4 * PATIENCE).wait(&mut watched.news, good).await;
    assert!(in_time, "the address never gets good");
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

async fn tunnels(watched: &mut Watched, whole: bool) {
    let vpn = "link add tun7 type veth peer name veth-vpn
        link set veth-vpn up
        addr add 10.8.0.2/24 dev tun7
        link set tun7 up";
    let tunnel = Some(InterfaceKind::Tunnel);
    watched
        .told("a VPN", vpn, |now| kind(now, "tun7") == tunnel && local(now).contains(&"10.8.0.2".to_owned()))
        .await;
    let router = ["eth0 192.168.1.1", "eth0 fe80::1"];
    let v6 = leaves_by(&watched.network.snapshot())[1].to_owned();
    assert_eq!(leaves_by(&watched.network.snapshot()), ["eth0", &v6]);
    if whole {
        takeovers(watched, &v6).await;
    }
    // Everything through the tunnel, its own server through the router, and no other route.
    let over = "route add 203.0.113.9/32 via 192.168.1.1
        route del default via 192.168.1.1 metric 100
        route add default via 10.8.0.1 dev tun7";
    let expected = ["tun7 10.8.0.1", "eth0 192.168.1.1", "eth0 fe80::1"];
    watched
        .told("it takes over", over, |now| gateways(now) == expected && leaves_by(now) == ["tun7", &v6])
        .await;
    watched
        .told("it ends", "link del tun7", |now| {
            kind(now, "tun7").is_none() && gateways(now) == router && leaves_by(now) == ["", &v6]
        })
        .await;
}

/// The ways in which VPNs take over without touching the router's default route. `v6` is the name of the interface by which
/// IPv6 leaves all the while.
async fn takeovers(watched: &mut Watched, v6: &str) {
    let router = ["eth0 192.168.1.1", "eth0 fe80::1"];
    let none = Vec::<&str>::new;
    // As wg-quick does it: a table of its own, and a rule for whatever is not WireGuard's own.
    if let Err(error) = try_ip("rule list") {
        // Kernels can be built without.
        eprintln!("note: {error}");
    } else {
        let over = "route add default dev tun7 table 51820
            rule add not fwmark 51820 lookup 51820";
        watched
            .told("a table takes over", over, |now| {
                leaves_by(now) == ["tun7", v6] && gateways(now) == router && direct(now)[0].is_empty()
            })
            .await;
        let back = "rule del not fwmark 51820 lookup 51820";
        watched.told("its rule goes", back, |now| leaves_by(now) == ["eth0", v6]).await;
        ip("route del default dev tun7 table 51820");
    }
    watched
        .told("a better route takes over", "route add default dev tun7 metric 50", |now| {
            leaves_by(now) == ["tun7", v6] && direct(now) == [vec!["tun7"], none()] && gateways(now) == router
        })
        .await;
    watched
        .told("it goes", "route del default dev tun7 metric 50", |now| {
            leaves_by(now) == ["eth0", v6] && direct(now) == [none(), none()]
        })
        .await;
    // As OpenVPN does it (redirect-gateway def1).
    let halves = "route add 203.0.113.9/32 via 192.168.1.1
        route add 0.0.0.0/1 via 10.8.0.1 dev tun7
        route add 128.0.0.0/1 via 10.8.0.1 dev tun7";
    watched
        .told("two halves take over", halves, |now| {
            leaves_by(now) == ["tun7", v6] && gateways(now) == router && direct(now) == [none(), none()]
        })
        .await;
    let back = "route del 0.0.0.0/1
        route del 128.0.0.0/1
        route del 203.0.113.9/32";
    watched.told("they go", back, |now| leaves_by(now) == ["eth0", v6]).await;
    let only_v6 = "-6 addr add fd08::2/64 dev tun7 nodad
        -6 route add default dev tun7 metric 1";
    watched
        .told("a VPN for IPv6 alone", only_v6, |now| {
            leaves_by(now) == ["eth0", "tun7"] && direct(now) == [none(), vec!["tun7"]]
        })
        .await;
    watched
        .told("it goes", "-6 route del default dev tun7 metric 1", |now| leaves_by(now) == ["eth0", v6])
        .await;
}

/// Routes that come and go without end are told about, but not each.
async fn churn(watched: &mut Watched) {
    let before = watched.changes();
    let start = Instant::now();
    let changes = tokio::task::spawn_blocking(move || {
        let mut changes = 0;
        while start.elapsed() < 2 * PATIENCE {
            ip("route add 198.51.100.0/24 via 192.168.1.1
                route del 198.51.100.0/24 via 192.168.1.1");
            changes += 1;
            // Each a burst of its own.
            std::thread::sleep(Duration::from_millis(100));
        }
        changes
    });
    let changes: u64 = changes.await.unwrap();
    let told = watched.changes() - before;
    let most = start.elapsed().as_secs() + 1;
    assert!((1..=most).contains(&told), "{told} told of {changes}, and at most {most} expected");
    watched.settle().await;
}
