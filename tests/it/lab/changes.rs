//! What happens to networks every day: nothing of it needs a restart.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Duration;

use e2e::lab::{Host, Lab, SiteKind};
use e2e::{Computer, need, need_lab, pair, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

/// From the end of a disturbance until the link is there.
const BACK: Duration = Duration::from_secs(20);
/// From a router's new state until its mapping is known.
const MAPPED: Duration = Duration::from_secs(30);
/// How long the cable is out.
const OUT: Duration = Duration::from_secs(8);
/// A computer that says nothing for so long counts as gone.
const ASLEEP: Duration = Duration::from_secs(40);

/// What stays the same as long as a daemon runs.
fn runs(computers: &[&Computer]) -> Vec<(u32, Value)> {
    computers.iter().map(|computer| (computer.pid(), computer.status()["started"].clone())).collect()
}

#[track_caller]
fn wait_linked(one: &Computer, other: &Computer) {
    let linked = || one.linked(other.name()) && other.linked(one.name());
    wait_until(&format!("the link between {} and {}", one.name(), other.name()), BACK, linked);
}

/// What is stored after the change arrives.
#[track_caller]
fn assert_works(one: &Computer, other: &Computer) {
    let source = one.folder("source");
    let known = one.kith(&["set", "list", "--json"]).json().as_array().unwrap().len();
    std::fs::write(source.join(format!("file-{known}")), vec![7; 100_000]).unwrap();
    if known == 0 {
        one.kith(&["set", "add", "all", source.to_str().unwrap(), "--to", other.name()]).ok();
    }
    one.kith(&["backup"]).ok();
}

fn another_address(host: &Host) -> Ipv4Addr {
    let [a, b, c, last] = host.ipv4().unwrap().octets();
    Ipv4Addr::new(a, b, c, last + 100)
}

#[test]
fn a_pulled_cable_and_a_sleep_are_over_when_they_are_over() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("cable");
    let (home, server) = (lab.site(SiteKind::plain()), lab.public_host());
    let (anna, bert) = (Computer::in_host("anna", home.host()), Computer::in_host("bert", &server));
    anna.start();
    bert.start();
    pair(&bert, &anna);
    let before = runs(&[&anna, &bert]);
    home.host().unplug();
    sleep(OUT);
    home.host().plug();
    wait_linked(&anna, &bert);
    assert_works(&anna, &bert);

    anna.signal(Signal::SIGSTOP);
    wait_until("bert to miss anna", ASLEEP, || !bert.linked("anna"));
    anna.signal(Signal::SIGCONT);
    wait_linked(&anna, &bert);
    assert_works(&anna, &bert);
    assert_eq!(runs(&[&anna, &bert]), before);
}

#[test]
fn other_addresses_inside_and_outside_at_once_bring_a_new_link_and_a_new_mapping() {
    if !need_lab() || !need("miniupnpd") {
        return;
    }
    let lab = Lab::new("readdress");
    let (home, server) = (lab.site(SiteKind::pcp()), lab.public_host());
    let (anna, bert) = (Computer::in_host("anna", home.host()), Computer::in_host("bert", &server));
    anna.start();
    bert.start();
    wait_until("the mapping", MAPPED, || anna.status()["mapping"]["state"] == "mapped");
    pair(&bert, &anna);
    let before = runs(&[&anna, &bert]);
    let was = anna.friend("bert")["connected_since"].clone();
    home.host().readdress(another_address(home.host()));
    home.router().change_wan_address();
    let inside = format!("{}:4242", another_address(home.host()));
    wait_until("the mapping to the new address", MAPPED, || {
        let mapping = &anna.status()["mapping"];
        mapping["internal"] == inside.as_str()
            && mapping["external_ip"] == home.router().wan_address().to_string().as_str()
    });
    wait_until("a new link", BACK, || {
        let friend = anna.friend("bert");
        friend["connected"] == true && friend["connected_since"] != was
    });
    wait_linked(&anna, &bert);
    assert_works(&anna, &bert);
    // Bert is told where anna is to be called now.
    wait_until("anna's new addresses at bert's", BACK, || {
        let known = bert.friend("anna");
        let has = |list: &str, wanted: &str| {
            known[list].as_array().unwrap().iter().any(|a| a.as_str().unwrap().starts_with(wanted))
        };
        has("internal", &inside) && has("public", &format!("{}:", home.router().wan_address()))
    });
    assert_eq!(runs(&[&anna, &bert]), before);
}

#[test]
fn another_network_card_takes_over_and_gives_back() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("wifi");
    let (home, mut telephone) = (lab.site(SiteKind::plain()), lab.site(SiteKind::plain()));
    let server = lab.public_host();
    let (anna, bert) = (Computer::in_host("anna", home.host()), Computer::in_host("bert", &server));
    anna.start();
    bert.start();
    pair(&bert, &anna);
    let before = runs(&[&anna, &bert]);
    let seen_from = |computer: &Computer| {
        let address = computer.friend("anna")["address"].as_str().unwrap_or_default().to_owned();
        address.rsplit_once(':').map(|(ip, _port)| ip.to_owned()).unwrap_or_default()
    };
    assert_eq!(seen_from(&bert), home.outside_address().to_string());

    // The cable goes while the computer has just joined the network of a telephone.
    telephone.lend_line(home.host(), "wlan0");
    home.host().unplug();
    wait_until("a link by the other way", BACK, || {
        seen_from(&bert) == telephone.outside_address().to_string()
    });
    wait_linked(&anna, &bert);
    assert_works(&anna, &bert);

    home.host().plug();
    let down = home.host().command("ip").args(["link", "set", "wlan0", "down"]).status().unwrap();
    assert!(down.success());
    wait_until("a link by the cable", BACK, || seen_from(&bert) == home.outside_address().to_string());
    wait_linked(&anna, &bert);
    assert_works(&anna, &bert);
    assert_eq!(runs(&[&anna, &bert]), before);
}
