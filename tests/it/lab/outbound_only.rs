//! A computer that only makes calls: what leaves it, and what answers.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::thread::sleep;
use std::time::Duration;

use e2e::lab::{Capture, Firewall, Host, Lab, Passed, SiteKind};
use e2e::{Computer, assert_same, need, need_lab, pair, wait_until, write_random};

const ONLY_CALLS: &str = "[network]\noutbound-only = true\n";
/// Where a hub listens.
const HUB_PORT: u16 = 4287;
/// From a change until its effect is seen.
const SEEN: Duration = Duration::from_secs(30);
/// How long it is listened for packets that may not be there.
const QUIET: Duration = Duration::from_secs(6);
/// The type of the messages by which neighbours find each other (RFC 4861), and tell routers which groups they are in (RFC 3810):
/// the kernel's own business with the cable.
const NEIGHBOURS: [&str; 6] = ["133", "134", "135", "136", "137", "143"];

/// What left besides calls by TCP, the kernel's own business apart, and what answered somebody else's call.
fn besides_calls(packets: &BTreeSet<Passed>) -> Vec<&Passed> {
    let kernels = |packet: &Passed| {
        packet.protocol == "arp" || (packet.protocol == "icmp6" && NEIGHBOURS.contains(&packet.more.as_str()))
    };
    let allowed = |packet: &Passed| kernels(packet) || (packet.protocol == "tcp" && packet.more != "SA");
    packets.iter().filter(|packet| packet.out && !allowed(packet)).collect()
}

#[track_caller]
fn assert_calls_only(capture: &Capture) {
    let packets = capture.all();
    assert!(packets.iter().any(|packet| packet.out && packet.protocol == "tcp"), "{packets:#?}");
    assert_eq!(besides_calls(&packets), Vec::<&Passed>::new());
}

fn another_address(host: &Host) -> Ipv4Addr {
    let [a, b, c, last] = host.ipv4().unwrap().octets();
    Ipv4Addr::new(a, b, c, last + 100)
}

/// Whether a call from a computer beside it is turned away.
fn refuses(address: IpAddr, from: &Host) -> bool {
    let dialled = from.dial((address, 4242).into(), Duration::from_secs(5));
    dialled.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[test]
fn nothing_but_its_own_calls_leaves_a_computer_that_is_outbound_only() {
    if !need_lab() || !need("python3") {
        return;
    }
    let lab = Lab::new("outbound-only");
    let (mut home, server, names) = (lab.site(SiteKind::all()), lab.public_host(), lab.public_host());
    let _name_server = names.serve_names(&[("bert.example", server.address())]);
    let host = home.host().clone();
    let neighbour = home.add_host();
    host.asks_for_names(names.address());
    let capture = host.capture();
    // Whatever is said of a way in is not used.
    let settings = format!("[listener]\nadvertise = [\"11.0.113.77:4242\"]\n{ONLY_CALLS}");
    let anna = Computer::in_host_with("anna", &host, &settings);
    let bert = Computer::in_host_with("bert", &server, "[listener]\nadvertise = [\"bert.example:4242\"]\n");
    bert.start();
    anna.start();
    pair(&bert, &anna);
    assert_eq!(anna.status()["listener"]["state"], "off");
    // Nobody is told an address at which nobody answers.
    let seen = bert.friend("anna");
    assert_eq!((&seen["internal"], &seen["public"]), (&serde_json::json!([]), &serde_json::json!([])));
    anna.kith(&["probe", "bert.example"]).ok();
    let (source, target) = (anna.folder("source"), anna.folder("restored"));
    write_random(&source, 1, 3 << 20, 1 << 20);
    anna.kith(&["set", "add", "all", source.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup", "all"]).ok();
    assert!(refuses(host.address(), &neighbour));

    let since = anna.friend("bert")["connected_since"].clone();
    let elsewhere = another_address(&host);
    host.readdress(elsewhere);
    wait_until("the link from the new address", SEEN, || {
        let friend = anna.friend("bert");
        friend["connected"] == true && friend["connected_since"] != since
    });
    anna.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    assert_same(&source, &target.join(source.strip_prefix("/").unwrap()));
    assert!(refuses(elsewhere.into(), &neighbour));
    anna.stop();
    assert_calls_only(&capture);
    let asked = |packet: &Passed| packet.out && packet.to == Some(names.address()) && packet.to_port == 53;
    assert!(capture.all().iter().any(asked), "the name was looked up: {:#?}", capture.all());
}

#[test]
fn who_only_makes_calls_can_invite_all_the_same() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("outbound-only invite");
    let (home, server) = (lab.site(SiteKind::plain()), lab.public_host());
    let anna = Computer::in_host_with("anna", home.host(), ONLY_CALLS);
    let bert = Computer::in_host("bert", &server);
    anna.start();
    bert.start();
    let invited = anna.kith(&["invite"]);
    let invite = invited.says(&["takes no calls", "reply line"]).ok().to_owned();
    let joined = bert.kith_with(&["join"], &invite);
    joined.ended(1);
    anna.kith_with(&["join"], joined.stdout.trim()).says(&["paired with bert"]).ok();
    wait_until("the link", SEEN, || anna.linked("bert") && bert.linked("anna"));
    assert_eq!(bert.friend("anna")["condition"]["outbound_only"], true);
    bert.kith(&["friends"]).says(&["takes none, and only makes them"]).ok();
}

/// A hub on a public address, and what a computer that only makes calls has in its settings to use it.
fn hub_of(lab: &Lab, settings: &str) -> (Computer, IpAddr, String) {
    let host = lab.public_host();
    let hub = Computer::in_host_with("hub", &host, settings);
    hub.start_hub(HUB_PORT);
    let address = host.ipv4().unwrap();
    let line = format!("hubs = [\"kith://{}@{address}:{HUB_PORT}\"]\n", hub.device_id());
    (hub, address.into(), line)
}

/// Packets that neither go to the hub nor come from it, the kernel's own business apart.
fn besides_the_hub(packets: &BTreeSet<Passed>, hub: IpAddr) -> Vec<&Passed> {
    let with_hub = |packet: &Passed| {
        let (other, port) =
            if packet.out { (packet.to, packet.to_port) } else { (packet.from, packet.from_port) };
        packet.protocol == "tcp" && other == Some(hub) && port == HUB_PORT
    };
    let tcp = packets.iter().filter(|packet| packet.protocol == "tcp");
    tcp.filter(|packet| !with_hub(packet)).collect()
}

#[test]
fn two_who_only_make_calls_become_friends_and_back_up_by_a_hub_and_nobody_listens() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("two outbound-only by a hub");
    let (hub, at, hubs) = hub_of(&lab, "");
    let homes = [(); 2].map(|()| lab.site(SiteKind::plain()));
    let captures = homes.each_ref().map(|home| home.host().capture());
    // Bert knows of no hub but that of the invite.
    let anna = Computer::in_host_with("anna", homes[0].host(), &format!("{ONLY_CALLS}{hubs}"));
    let bert = Computer::in_host_with("bert", homes[1].host(), ONLY_CALLS);
    anna.start();
    bert.start();
    let invite = anna.kith(&["invite"]);
    assert!(!invite.stderr.contains("reply line"), "{invite:?}");
    let invite = invite.ok().trim().to_owned();
    assert!(invite.len() < 300, "{} characters", invite.len());
    bert.kith_with(&["join"], &invite).says(&["paired with anna"]).ok();
    for (one, other) in [(&anna, "bert"), (&bert, "anna")] {
        wait_until("the link by the relay", SEEN, || one.friend(other)["path"] == "relayed");
        assert_eq!(one.status()["listener"]["state"], "off");
    }
    assert_eq!(anna.friend("bert")["safety_words"], bert.friend("anna")["safety_words"]);
    for (one, other) in [(&anna, "bert"), (&bert, "anna")] {
        let (source, target) = (one.folder("source"), one.folder("restored"));
        write_random(&source, 1, 3 << 20, 1 << 20);
        one.kith(&["set", "add", "all", source.to_str().unwrap(), "--to", other]).ok();
        one.kith(&["backup", "all"]).ok();
        one.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
        assert_same(&source, &target.join(source.strip_prefix("/").unwrap()));
    }
    // He finds her again after a restart: he knows her hub by now.
    bert.stop();
    bert.start();
    wait_until("the link again", SEEN, || bert.linked("anna") && anna.linked("bert"));
    let used = bert.kith_with(&["join"], &invite);
    used.ok();
    anna.stop();
    bert.stop();
    for capture in &captures {
        assert_calls_only(capture);
        assert_eq!(besides_the_hub(&capture.all(), at), Vec::<&Passed>::new());
    }
    assert!(!hub.log().contains("study") && !hub.log().contains(&invite), "{}", hub.log());
}

#[test]
fn who_was_invited_by_somebody_whom_a_hub_let_in_comes_by_it_as_a_guest_and_no_stranger_does() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("invited by a closed hub");
    let (hub, at, _) = hub_of(&lab, "[hub]\nregistration = \"invite\"\n");
    let line = hub.kith(&["hub", "invite"]).ok().trim().to_owned();
    let homes = [(); 2].map(|()| lab.site(SiteKind::plain()));
    let anna = Computer::in_host_with("anna", homes[0].host(), &format!("{ONLY_CALLS}hubs = [\"{line}\"]\n"));
    let bert = Computer::in_host_with("bert", homes[1].host(), ONLY_CALLS);
    anna.start();
    bert.start();
    let invite = anna.kith(&["invite"]).ok().trim().to_owned();
    bert.kith_with(&["join"], &invite).says(&["paired with anna"]).ok();
    assert_eq!(anna.friend("bert")["safety_words"], bert.friend("anna")["safety_words"]);
    // To be carried for as her friend he needs a line of his own.
    let own = hub.kith(&["hub", "invite"]).ok().trim().to_owned();
    bert.kith(&["settings", "set", "network.hubs", &format!("[\"{own}\"]")]).ok();
    wait_until("the link by the relay", SEEN, || bert.linked("anna") && anna.linked("bert"));
    assert!(at.is_ipv4());

    // An invite that has expired opens nothing.
    let short = anna.kith(&["invite", "--expires", "3s"]).ok().trim().to_owned();
    sleep(Duration::from_secs(4));
    bert.kith_with(&["join"], &short).says(&["expired"]).ended(2);
}

#[test]
fn switching_outbound_only_on_and_off_takes_effect_at_once() {
    if !need_lab() || !need("python3") || !need("miniupnpd") {
        return;
    }
    let lab = Lab::new("outbound-only switch");
    let (mut home, server) = (lab.site(SiteKind::all()), lab.public_host());
    let host = home.host().clone();
    let neighbour = home.add_host();
    let (anna, bert) = (Computer::in_host("anna", &host), Computer::in_host("bert", &server));
    bert.start();
    let before = host.capture();
    anna.start();
    pair(&bert, &anna);
    wait_until("the mapping", SEEN, || anna.status()["mapping"]["state"] == "mapped");
    // Or the capture would see nothing in any case.
    assert!(!besides_calls(&before.all()).is_empty());
    assert!(neighbour.reaches(host.at(4242), Duration::from_secs(5)));
    drop(before);

    anna.kith(&["settings", "set", "network.outbound-only", "true"]).ok();
    wait_until("the mapping to be taken back", SEEN, || home.router().table().is_empty());
    let status = anna.status();
    assert_eq!((&status["listener"]["state"], &status["mapping"]["state"]), (&"off".into(), &"off".into()));
    // The last word to the router may take that long.
    sleep(Duration::from_secs(2));
    let quiet = host.capture();
    host.readdress(another_address(&host));
    wait_until("the link from the new address", SEEN, || anna.linked("bert"));
    anna.kith(&["ra"]).ok();
    wait_until("the link anew", SEEN, || anna.linked("bert"));
    sleep(QUIET);
    assert_calls_only(&quiet);
    assert!(refuses(another_address(&host).into(), &neighbour));
    drop(quiet);

    anna.kith(&["settings", "set", "network.outbound-only", "false"]).ok();
    wait_until("the mapping again", SEEN, || anna.status()["mapping"]["state"] == "mapped");
    assert!(neighbour.reaches((another_address(&host), 4242).into(), Duration::from_secs(5)));
    wait_until("anna's addresses at bert's", SEEN, || {
        bert.friend("anna")["internal"].as_array().is_some_and(|told| !told.is_empty())
    });
}

#[test]
fn plain_addresses_lead_to_a_friend_where_name_servers_are_dead() {
    if !need_lab() || !need("python3") {
        return;
    }
    for settings in ["", ONLY_CALLS] {
        let lab = Lab::new("dead names");
        let (home, server, nobody) = (lab.site(SiteKind::plain()), lab.public_host(), lab.public_host());
        let host = home.host();
        nobody.firewall(Firewall::DropInbound);
        host.asks_for_names(nobody.address());
        let anna = Computer::in_host_with("anna", host, settings);
        // The name comes first.
        let bert =
            Computer::in_host_with("bert", &server, "[listener]\nadvertise = [\"bert.example:4242\"]\n");
        bert.start();
        anna.start();
        pair(&bert, &anna);
        anna.kith(&["ra"]).ok();
        wait_until("the link again", SEEN, || anna.linked("bert"));
        let probed = anna.kith(&["probe", "bert.example", "--json"]);
        assert!(probed.code == 1 && probed.stdout.contains("\"name-not-found\""), "{probed:?}");
    }
}
