//! The port is opened on real routers without anybody's help, and found again after what happens to routers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use e2e::lab::{Entry, Host, Lab, Reboot, SiteKind, Transport};
use e2e::{Computer, need_lab, pair, say, wait_for, wait_until};
use serde_json::Value;

const PORT: u16 = 4242;
/// From the first look for a router until the port is mapped.
const MAPPED: jiff::SignedDuration = jiff::SignedDuration::from_secs(3);
/// From the first answer of a router that restarted until the port can be dialled again: the median.
const DIALLED_AGAIN: Duration = Duration::from_secs(5);
/// The same at the longest, on a loaded machine.
const DIALLED_AT_LAST: Duration = Duration::from_secs(20);
/// From the silent loss of a mapping until it is there again: a router is looked at every 26 s, and a loaded machine needs a while.
const RENEWED: Duration = Duration::from_secs(26 + 15);
/// A friend tries the mapping soon after it is there, and once in a while.
const PROVED: Duration = Duration::from_secs(60);
/// One friend is asked once in 11 s, and where there are two families each is proved by itself.
const BOTH_PROVED: Duration = Duration::from_secs(60);
/// Dead links are noticed within 30 s; a new one takes a moment.
const LINKED_AGAIN: Duration = Duration::from_secs(60);
/// Everything else, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Silence for that long counts as no answer, where none is expected.
const SILENCE: Duration = Duration::from_millis(300);
/// An answer that is expected comes much faster; on a loaded machine a first packet may need to be sent again.
const SOON: Duration = Duration::from_secs(5);
/// Until a router holds nothing any more after it was told so.
const CLEARED: Duration = Duration::from_secs(1);
/// A little less than what passes until UPnP's mapping is read back.
const READ_BACK: jiff::SignedDuration = jiff::SignedDuration::from_secs(9);
/// When a router has not been asked for so long, it is not asked before its next regular look.
const QUIET: jiff::SignedDuration = jiff::SignedDuration::from_secs(3);
/// How a log says that the port is mapped.
const MAPPED_IN_LOG: &str = "state=\"mapped\"";
/// What is logged: also that a router was too slow at the end.
const LOG: (&str, &str) = ("KITH_LOG", "warn,kith=info,kith_nat=debug");
/// Words of the log that say so.
const TOO_SLOW: [&str; 2] =
    ["a router did not answer when its mappings were taken back", "not everything ended in time"];

/// Waits until the mapping is as it should be.
#[track_caller]
fn wait_mapping(computer: &Computer, what: &str, longest: Duration, is: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let begun = Instant::now();
    loop {
        let mapping = computer.status()["mapping"].take();
        if is(&mapping) {
            return mapping;
        }
        last = if mapping == last { last } else { mapping };
        assert!(
            begun.elapsed() < longest,
            "{} waited {longest:?} in vain for {what}; its mapping is {last:#}",
            computer.name()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts the daemon and waits until its port is mapped.
#[track_caller]
fn start_mapped(computer: &Computer) -> Value {
    computer.start_with(&[LOG]);
    wait_mapping(computer, "a mapping", PATIENCE, |mapping| mapping["state"] == "mapped")
}

/// How long that took, from the first look for a router, by the log: how long a start takes, and who asks, is no matter of the router.
#[track_caller]
fn searched(computer: &Computer) -> jiff::SignedDuration {
    let log = computer.log();
    said_at(&log, |line| line.ends_with(MAPPED_IN_LOG))
        .duration_since(said_at(&log, |line| line.ends_with("state=\"searching\"")))
}

/// When that was said in a log, the first time.
#[track_caller]
fn said_at(log: &str, is: impl Fn(&str) -> bool) -> jiff::Timestamp {
    let line = log.lines().find(|line| is(line)).unwrap_or_else(|| panic!("not in this log:\n{log}"));
    time_of(line)
}

fn time_of(line: &str) -> jiff::Timestamp {
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Waits until UPnP's mapping is read back, 10 s after it was made. Then nothing is asked for a while: what a router says of itself at
/// its start has been looked at before.
#[track_caller]
fn wait_read_back(computer: &Computer) {
    wait_until("the mapping to be read back", PATIENCE, || {
        let log = computer.log();
        let mapped = said_at(&log, |line| line.ends_with(MAPPED_IN_LOG));
        let late = |line: &str| time_of(line).duration_since(mapped) >= READ_BACK;
        log.lines().any(|line| line.contains("answer=Entry(Some") && late(line))
    });
}

/// Waits until no router has been asked anything for a while.
#[track_caller]
fn wait_quiet(computer: &Computer) {
    wait_until("nothing to be asked", PATIENCE, || {
        let log = computer.log();
        let last = log.lines().rfind(|line| line.contains("asking") || line.contains("answered"));
        last.is_some_and(|line| jiff::Timestamp::now().duration_since(time_of(line)) >= QUIET)
    });
}

/// Ends the daemon; then its router holds nothing. What a router does not take back within 1.5 s is left to its lease and the next
/// start: where the log says that it was so slow, the end after that is judged.
#[track_caller]
fn stop_leaving_nothing(
    computer: &Computer,
    longest: Duration,
    held: impl Fn() -> Vec<Entry>,
    start_again: impl FnOnce(),
) {
    computer.stop();
    let log = computer.log();
    if TOO_SLOW.iter().any(|words| log.contains(words)) && !held().is_empty() {
        say("the router was too slow: the next end is judged");
        start_again();
        computer.stop();
    }
    wait_until("the router to hold nothing", longest, || held().is_empty());
}

#[track_caller]
fn wait_proved(computer: &Computer) -> Value {
    wait_mapping(computer, "proof from outside", PROVED, |mapping| mapping["proved"] == true)
}

/// The router's entry for the port of a host.
fn entry(host: &Host, external_port: u16) -> Entry {
    Entry { transport: Transport::Tcp, external_port, internal: host.at(PORT) }
}

fn external(mapping: &Value) -> SocketAddr {
    let ip = mapping["external_ip"].as_str().unwrap().parse().unwrap();
    SocketAddr::new(ip, u16::try_from(mapping["external_port"].as_u64().unwrap()).unwrap())
}

/// A home whose router is of this kind, and a friend at a router that makes no mappings: he has to dial.
#[track_caller]
fn a_friend_backs_up_through(kind: SiteKind, protocols: &[&str]) {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("backup");
    let (home, away) = (lab.site(kind), lab.site(SiteKind::plain()));
    let (anna, bert) = (Computer::in_host("anna", home.host()), Computer::in_host("bert", away.host()));
    bert.start();
    let mapping = start_mapped(&anna);
    let took = searched(&anna);
    say(&format!("mapped by {} after {took:#}", mapping["protocol"]));
    assert!(took < MAPPED, "mapped after {took:#} only");
    assert!(protocols.contains(&mapping["protocol"].as_str().unwrap()), "{mapping:#}");
    assert_eq!(external(&mapping), home.outside(PORT));
    assert!(mapping["lease_seconds"].as_u64() > Some(0), "{mapping:#}");
    assert_eq!(home.router().table(), [entry(home.host(), PORT)]);

    pair(&anna, &bert);
    let path = bert.friend("anna")["path"].take();
    assert!(path == "mapped" || path == "public", "{path}");
    let source = bert.folder("source");
    e2e::write_random(&source, 1, 20 << 20, 1 << 20);
    bert.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "anna"]).ok();
    bert.kith(&["backup"]).ok();
    let proved = wait_proved(&anna);
    assert!(proved["sentence"].as_str().unwrap().contains("proved by bert"), "{proved:#}");

    // Nothing is left on the router when Kith ends.
    stop_leaving_nothing(&anna, CLEARED, || home.router().table(), || drop(start_mapped(&anna)));
}

#[test]
fn a_friend_backs_up_through_a_router_with_upnp() {
    a_friend_backs_up_through(SiteKind::upnp(), &["upnp"]);
}

#[test]
fn a_friend_backs_up_through_a_router_with_upnp_of_the_first_version() {
    a_friend_backs_up_through(SiteKind::upnp_v1(), &["upnp"]);
}

#[test]
fn a_friend_backs_up_through_a_router_with_nat_pmp() {
    a_friend_backs_up_through(SiteKind::nat_pmp(), &["nat-pmp"]);
}

#[test]
fn a_friend_backs_up_through_a_router_with_pcp() {
    a_friend_backs_up_through(SiteKind::pcp(), &["pcp"]);
}

#[test]
fn a_friend_backs_up_through_a_router_with_all_protocols() {
    a_friend_backs_up_through(SiteKind::all(), &["pcp", "nat-pmp", "upnp"]);
}

/// Five restarts of a router, each with something else changed: the port can be dialled again soon after the router
/// answers, and the friend is linked again.
#[track_caller]
fn restarts_are_survived(kind: SiteKind) {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("restart");
    let (home, public) = (lab.site(kind), lab.public_host());
    let (anna, bert) = (Computer::in_host("anna", home.host()), Computer::in_host("bert", &public));
    bert.start();
    start_mapped(&anna);
    pair(&anna, &bert);
    wait_proved(&anna);
    let same = Reboot::default();
    let restarts = [
        same,
        Reboot { new_wan: true, ..same },
        Reboot { new_http_port: true, ..same },
        Reboot { cables_dead: true, down: Duration::from_secs(1), ..same },
        Reboot { new_wan: true, new_http_port: true, cables_dead: true, ..same },
    ];
    let mut times = restarts.map(|restart| {
        let answered = home.router().reboot(restart);
        lab.outside().wait_reaches(home.outside(PORT), DIALLED_AT_LAST);
        let took = answered.elapsed();
        let linked = || anna.linked("bert") && bert.linked("anna");
        wait_until("the friends to be linked again", LINKED_AGAIN, linked);
        say(&format!("{restart:?}: dialled after {took:?}, linked after {:?}", answered.elapsed()));
        let mapping = wait_mapping(&anna, "its new address", PATIENCE, |mapping| {
            mapping["state"] == "mapped" && external(mapping) == home.outside(PORT)
        });
        assert_eq!(mapping["external_port"], PORT, "{mapping:#}");
        assert_eq!(home.router().table(), [entry(home.host(), PORT)]);
        took
    });
    times.sort_unstable();
    // Half of them: what else the machine does may disturb one.
    assert!(times[times.len() / 2] < DIALLED_AGAIN, "dialled after {times:?} only");
}

#[test]
fn a_upnp_router_restarts_five_times() {
    restarts_are_survived(SiteKind::upnp());
}

#[test]
fn a_nat_pmp_router_restarts_five_times() {
    restarts_are_survived(SiteKind::nat_pmp());
}

#[test]
fn a_pcp_router_restarts_five_times() {
    restarts_are_survived(SiteKind::pcp());
}

#[test]
fn a_router_with_all_protocols_restarts_five_times() {
    restarts_are_survived(SiteKind::all());
}

#[test]
fn a_mapping_that_a_router_lost_without_a_word_is_made_again() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("silent loss");
    let kinds = [SiteKind::upnp(), SiteKind::nat_pmp(), SiteKind::pcp()];
    let outside = lab.outside();
    std::thread::scope(|scope| {
        for kind in kinds {
            let site = lab.site(kind);
            let computer = Computer::in_host(site.router().name(), site.host());
            let mapping = start_mapped(&computer);
            // It must not be made again while it is looked whether it is gone.
            if mapping["protocol"] == "upnp" {
                wait_read_back(&computer);
            } else {
                wait_quiet(&computer);
            }
            site.router().drop_mappings_silently();
            let lost = Instant::now();
            assert!(!outside.reaches(site.outside(PORT), SILENCE));
            // Each is waited for from its own loss on.
            scope.spawn(move || {
                outside.wait_reaches(site.outside(PORT), RENEWED);
                let (took, name) = (lost.elapsed(), site.router().name());
                say(&format!("{name}: made again {took:?} at most after it was lost"));
                assert!(took < RENEWED, "{name}: made again after {took:?} only");
                drop(computer);
            });
        }
    });
}

#[test]
fn two_kiths_and_another_program_share_a_upnp_router() {
    two_kiths_and_another_program_share(
        SiteKind::upnp(),
        "of the router belonged to 192.168.1.12 (another program)",
    );
}

#[test]
fn two_kiths_and_another_program_share_a_nat_pmp_router() {
    two_kiths_and_another_program_share(SiteKind::nat_pmp(), "of the router was not to be had");
}

/// `why` is said of the port that is not to be had.
#[track_caller]
fn two_kiths_and_another_program_share(kind: SiteKind, why: &str) {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("shared");
    let mut home = lab.site(kind);
    let (second, third) = (home.add_host(), home.add_host());
    home.router().foreign_mapping(&third, PORT);
    let carl = Computer::in_host("carl", &lab.public_host());
    let anna = Computer::in_host("anna", home.host());
    let bert = Computer::in_host("bert", &second);
    carl.start();
    let mut externals = Vec::new();
    for computer in [&anna, &bert] {
        start_mapped(computer);
        pair(&carl, computer);
        let mapping = wait_proved(computer);
        let external = external(&mapping);
        let sentence = mapping["sentence"].as_str().unwrap();
        assert!(sentence.contains(&format!("port {PORT} {why}")), "{sentence}");
        assert!(sentence.contains(&external.port().to_string()), "{sentence}");
        externals.push(external);
    }
    assert_ne!(externals[0], externals[1]);
    assert!(externals.iter().all(|external| external.port() != PORT), "{externals:?}");
    // Nothing of the other program's was touched.
    assert!(home.router().table().contains(&entry(&third, PORT)));
    assert_eq!(home.router().table().len(), 3, "{:?}", home.router().table());
}

/// A pinhole in the firewall of an IPv6 site.
#[track_caller]
fn a_pinhole_is_opened(kind: SiteKind, protocol: &str) {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("pinhole");
    let (home, public) = (lab.site(kind), lab.public_host());
    let (anna, bert) = (Computer::in_host("anna", home.host()), Computer::in_host("bert", &public));
    bert.start();
    start_mapped(&anna);
    let address = SocketAddr::new(home.host().ipv6().unwrap().into(), PORT);
    let pinhole = |computer: &Computer| {
        let status = computer.status();
        let mappings = status["mappings"].as_array().unwrap();
        mappings.iter().find(|mapping| mapping["external_ip"] == address.ip().to_string()).cloned()
    };
    let (mapping, _) = wait_for("the pinhole", PATIENCE, || pinhole(&anna));
    assert_eq!(mapping["protocol"], protocol, "{mapping:#}");
    assert_eq!(external(&mapping), address);
    assert_eq!(
        home.router().pinholes(),
        [Entry { transport: Transport::Tcp, external_port: PORT, internal: address }]
    );
    assert!(lab.outside().reaches(address, SOON));
    pair(&bert, &anna);
    let begun = Instant::now();
    while !pinhole(&anna).is_some_and(|mapping| mapping["proved"] == true) {
        assert!(
            begun.elapsed() < BOTH_PROVED,
            "no proof of {:#}; {:#}",
            pinhole(&anna).unwrap(),
            anna.friend("bert")
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    // miniupnpd 2.3.1 refuses to close a pinhole that PCP has renewed; it is left with the shortest lease there is, 120 s.
    let longest = if protocol == "pcp" { Duration::from_secs(120) + PATIENCE } else { CLEARED };
    let start_again = || {
        start_mapped(&anna);
        wait_for("the pinhole again", PATIENCE, || pinhole(&anna));
    };
    stop_leaving_nothing(&anna, longest, || home.router().pinholes(), start_again);
}

#[test]
fn a_pinhole_is_opened_by_pcp_where_there_is_no_ipv4() {
    a_pinhole_is_opened(SiteKind::pcp().ipv6_only(), "pcp");
}

#[test]
fn a_pinhole_is_opened_by_pcp_beside_a_mapping() {
    a_pinhole_is_opened(SiteKind::all().dual_stack(), "pcp");
}

#[test]
fn a_pinhole_is_opened_by_upnp_where_there_is_no_ipv4() {
    a_pinhole_is_opened(SiteKind::upnp().ipv6_only(), "upnp");
}

#[test]
fn a_pinhole_is_opened_by_upnp_beside_a_mapping() {
    a_pinhole_is_opened(SiteKind::upnp().dual_stack(), "upnp");
}

#[test]
fn the_mapping_follows_the_port_and_leaves_nothing_behind() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("port");
    let home = lab.site(SiteKind::all());
    let anna = Computer::in_host("anna", home.host());
    start_mapped(&anna);
    anna.kith(&["settings", "set", "listener.port", "5252"]).ok();
    let internal = home.host().at(5252);
    let moved = Entry { transport: Transport::Tcp, external_port: 5252, internal };
    wait_until("the mapping of the new port alone", PATIENCE, || home.router().table() == [moved]);
    assert!(lab.outside().reaches(home.outside(5252), SOON));
    wait_mapping(&anna, "the new port", PATIENCE, |mapping| mapping["external_port"] == 5252);

    // Who is killed can't clean up; the next start finds what is its own.
    anna.kill();
    assert_eq!(home.router().table(), [moved]);
    std::fs::write(anna.home().join("kith.toml"), "name = \"anna\"\n").unwrap();
    start_mapped(&anna);
    wait_until("the mapping of the old port alone", PATIENCE, || {
        home.router().table() == [entry(home.host(), PORT)]
    });
    stop_leaving_nothing(&anna, CLEARED, || home.router().table(), || drop(start_mapped(&anna)));
}
