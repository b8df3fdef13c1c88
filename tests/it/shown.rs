//! What people are shown of hubs and of the ways to friends.

use std::time::Duration;

use e2e::hubs::HubProcess;
use e2e::lab::{Lab, SiteKind};
use e2e::{Computer, need_lab, pair, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Longest wait for a hub to be told, or tried again.
const SEEN: Duration = Duration::from_secs(60);
/// Where a hub of the laboratory listens.
const HUB_PORT: u16 = 4287;

fn hub_of(computer: &Computer) -> Value {
    computer.status()["hubs"][0].clone()
}

#[track_caller]
fn wait_state(computer: &Computer, state: &str) {
    wait_until(&format!("the hub to be {state}"), SEEN, || hub_of(computer)["state"] == state);
}

#[test]
fn a_hub_is_shown_to_those_who_use_it_with_its_refusal_its_moving_and_its_absence() {
    let mut hub = HubProcess::new("registration = \"invite\"\n");
    hub.start();
    let (at, port) = (hub.socket().to_string(), hub.socket().port().to_string());
    let anna = Computer::new("anna", &format!("[network]\nhubs = [\"{}\"]\n", hub.address()));
    anna.start();

    wait_state(&anna, "refused");
    let shown = hub_of(&anna);
    assert_eq!(
        (&shown["role"], &shown["addresses"], &shown["moves"]),
        (&json!("primary"), &json!([at]), &json!(null))
    );
    assert!(shown["why"].as_str().unwrap().contains("kith hub invite"), "{shown:#}");
    anna.kith(&["status"]).says(&["hubs", &at, "does nothing for this computer", "kith hub invite"]).ok();

    hub.set("registration = \"open\"\n");
    hub.signal(Signal::SIGHUP);
    // Who was refused asks again in his time; a person need not wait for it.
    anna.kith(&["ra"]).ok();
    wait_state(&anna, "registered");
    let shown = hub_of(&anna);
    assert_eq!((&shown["why"], shown["connected_since"].is_string()), (&json!(null), true), "{shown:#}");
    let links = |purpose: &str| {
        let ports = anna.kith(&["ports", "--json"]).json();
        let ports = ports.as_array().unwrap().clone();
        let to_hub = |port: &&Value| {
            port["remote"] == at.as_str() && port["purpose"].as_str().unwrap().contains(purpose)
        };
        ports.iter().filter(to_hub).count()
    };
    assert_eq!(links("link to the hub 127.0.0.1"), 1);

    hub.set("registration = \"open\"\nmoving = { to = [\"new.example.org:443\"], at = \"2099-12-24T18:00:00Z\" }\n");
    hub.signal(Signal::SIGHUP);
    wait_until("the notice", SEEN, || hub_of(&anna)["moves"].is_object());
    let moves = hub_of(&anna)["moves"].clone();
    assert_eq!((&moves["to"], &moves["done"]), (&json!(["new.example.org:443"]), &json!(false)), "{moves:#}");
    anna.kith(&["status"])
        .says(&["notice", "moves to new.example.org:443 on 2099-12-24", "network.hubs"])
        .ok();
    anna.kith(&["ports", "--firewall"]).says(&["127.0.0.1", &port, "new.example.org", "443"]).ok();

    hub.kill();
    wait_state(&anna, "connecting");
    wait_until("why it is away", SEEN, || {
        hub_of(&anna)["why"].as_str().is_some_and(|why| why.contains("refused"))
    });
    assert_eq!((links("link to the hub"), links("is dialled")), (0, 1));
}

#[test]
fn a_hub_tells_its_owner_of_its_ports_and_of_the_rules_for_its_firewall() {
    let mut hub = HubProcess::new("");
    let at = hub.socket().to_string();
    hub.kith(&["hub", "ports"]).says(&[&at, "closed", "does not run"]).ok();
    hub.start();
    let ports = hub.kith(&["hub", "ports", "--json"]).json();
    let row = ports.as_array().unwrap().iter().find(|port| port["local"] == at.as_str()).unwrap().clone();
    assert_eq!((&row["state"], &row["direction"]), (&json!("open"), &json!("in")), "{ports:#}");
    let port = hub.socket().port().to_string();
    hub.kith(&["hub", "ports", "--firewall"])
        .says(&["must", &port, "computers connect here", &format!("tcp dport {port} accept")])
        .ok();
}

#[test]
fn what_a_hub_sees_is_an_address_of_this_computer_and_ra_registers_and_searches_anew() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("seen by a hub");
    let host = lab.public_host();
    let hub = Computer::in_host_with("hub", &host, "[hub]\nrelay = false\n");
    hub.start_hub(HUB_PORT);
    let hubs = format!("[network]\nhubs = [\"kith://{}@{}\"]\n", hub.device_id(), host.at(HUB_PORT));
    let site = lab.site(SiteKind::plain());
    let rooms = [(); 2].map(|()| lab.public_host());
    // She takes no calls: that bert is back she can only learn from his record.
    let anna = Computer::in_host_with("anna", site.host(), &format!("{hubs}outbound-only = true\n"));
    let mut bert = Computer::in_host_with("bert", &rooms[0], &hubs);
    let carol = Computer::in_host_with("carol", site.host(), &hubs);

    // Behind a router that opens nothing nobody but the hub has seen the address outside.
    carol.start();
    let outside = format!("{}:4242", site.outside_address());
    wait_until("the address that the hub sees", SEEN, || {
        carol.status()["public"].as_array().unwrap().contains(&json!(outside))
    });
    carol.stop();

    anna.start();
    bert.start();
    pair(&bert, &anna);
    wait_until("both to be linked", SEEN, || anna.linked("bert") && bert.linked("anna"));
    wait_state(&anna, "registered");
    bert.stop();
    // The last address is tried, then he is searched, and found nowhere.
    wait_until("the search", SEEN, || {
        let friend = anna.friend("bert");
        friend["connected"] == false && friend["attempts"].as_array().unwrap().len() > 1
    });
    let since = hub_of(&anna)["connected_since"].clone();
    bert.carry_to(&rooms[1], &hubs);
    bert.start();
    wait_state(&bert, "registered");
    anna.kith(&["ra"]).ok();
    wait_until("the registration to be made anew", Duration::from_secs(15), || {
        let hub = hub_of(&anna);
        hub["state"] == "registered" && hub["connected_since"] != since
    });
    wait_until("bert to be found where he is now", Duration::from_secs(15), || anna.linked("bert"));
    assert!(anna.log().contains("a friend's addresses were found"), "{}", anna.log());
}
