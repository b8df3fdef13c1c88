//! Networks that let connections out only by a proxy, by a port that stands for what is outside, or to named places.

use std::time::Duration;

use e2e::lab::{Host, Lab, Site, SiteKind};
use e2e::{Computer, assert_same, need, need_lab, pair, wait_until, write_random};
use serde_json::Value;

/// From a change of the settings until its effect is seen.
const SEEN: Duration = Duration::from_secs(30);
/// The user and password of proxies that want one.
const LOGIN: (&str, &str) = ("anna", "p4ss");

/// A home with this kind of router, and a friend on a public address who runs already.
fn home_and_friend(lab: &Lab, kind: SiteKind) -> (Site, Host, Computer) {
    let (home, server) = (lab.site(kind), lab.public_host());
    let bert = Computer::in_host("bert", &server);
    bert.start();
    (home, server, bert)
}

/// Backs up to the friend and gets everything back.
#[track_caller]
fn back_up_and_restore(anna: &Computer) {
    let (source, target) = (anna.folder("source"), anna.folder("restored"));
    write_random(&source, 1, 5 << 20, 1 << 20);
    anna.kith(&["set", "add", "all", source.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup", "all"]).ok();
    anna.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    assert_same(&source, &target.join(source.strip_prefix("/").unwrap()));
}

/// The whole way from a home that has no other way out.
#[track_caller]
fn check_proxied(anna: &Computer, bert: &Computer) {
    anna.start();
    pair(bert, anna);
    assert_eq!(anna.friend("bert")["path"], "proxied");
    back_up_and_restore(anna);
    // Nobody takes the address of what is between for anna's.
    let seen = bert.friend("anna");
    let between = seen["address"].as_str().unwrap().rsplit_once(':').unwrap().0;
    let told = seen["public"].as_array().unwrap();
    assert!(!told.iter().any(|address| address.as_str().unwrap().starts_with(between)), "{seen:#}");
}

/// What is said of an invite that leads nowhere.
#[track_caller]
fn refused_join(anna: &Computer, bert: &Computer) -> String {
    let invite = bert.kith(&["invite"]).ok().to_owned();
    let joined = anna.kith_with(&["join"], &invite);
    assert_eq!(joined.code, 1, "{joined:?}");
    format!("{}{}", joined.stdout, joined.stderr)
}

#[track_caller]
fn wait_last_error(anna: &Computer, expected: &str) {
    wait_until(expected, SEEN, || {
        anna.friend("bert")["last_error"].as_str().is_some_and(|error| error.contains(expected))
    });
}

#[test]
fn friends_link_through_a_socks_proxy() {
    if !need_lab() || !need("microsocks") {
        return;
    }
    let lab = Lab::new("socks");
    let (home, _server, bert) = home_and_friend(&lab, SiteKind::plain().closed());
    let settings = format!("[network]\nproxy = \"socks5://{}\"\n", home.router().start_socks(None));
    check_proxied(&Computer::in_host_with("anna", home.host(), &settings), &bert);
}

#[test]
fn a_socks_proxy_is_told_the_password_and_nobody_else_is() {
    if !need_lab() || !need("microsocks") {
        return;
    }
    let lab = Lab::new("socks password");
    let (home, _server, bert) = home_and_friend(&lab, SiteKind::plain().closed());
    let (proxy, (user, password)) = (home.router().start_socks(Some(LOGIN)), LOGIN);
    let settings = format!("[network]\nproxy = \"socks5://{user}:{password}@{proxy}\"\n");
    let anna = Computer::in_host_with("anna", home.host(), &settings);
    check_proxied(&anna, &bert);
    anna.kith(&["settings", "set", "network.proxy", &format!("socks5://{user}:wr0ng@{proxy}")]).ok();
    wait_last_error(&anna, "refused the user name and password");
    assert!(![password, "wr0ng"].iter().any(|secret| anna.log().contains(secret)), "{}", anna.log());
}

#[test]
fn friends_link_through_an_http_proxy() {
    if !need_lab() || !need("tinyproxy") {
        return;
    }
    let lab = Lab::new("connect");
    let (home, _server, bert) = home_and_friend(&lab, SiteKind::plain().closed());
    let settings = format!("[network]\nproxy = \"http://{}\"\n", home.router().start_http_proxy(None));
    check_proxied(&Computer::in_host_with("anna", home.host(), &settings), &bert);
}

#[test]
fn an_http_proxy_is_told_the_password() {
    if !need_lab() || !need("tinyproxy") {
        return;
    }
    let lab = Lab::new("connect password");
    let (home, _server, bert) = home_and_friend(&lab, SiteKind::plain().closed());
    let (proxy, (user, password)) = (home.router().start_http_proxy(Some(LOGIN)), LOGIN);
    let settings = format!("[network]\nproxy = \"http://{user}:{password}@{proxy}\"\n");
    let anna = Computer::in_host_with("anna", home.host(), &settings);
    check_proxied(&anna, &bert);
    anna.kith(&["settings", "set", "network.proxy", &format!("http://{proxy}")]).ok();
    wait_last_error(&anna, "a user name and");
}

#[test]
fn a_port_of_the_firewall_leads_to_the_friend_for_whom_it_stands() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("mapped proxy");
    let (home, server, bert) = home_and_friend(&lab, SiteKind::plain().closed());
    let port = home.router().stand_in(5001, server.at(4242));
    let settings = format!("[network.mapped]\n\"{}\" = \"{port}\"\n", bert.device_id());
    check_proxied(&Computer::in_host_with("anna", home.host(), &settings), &bert);
}

#[test]
fn a_dead_proxy_is_not_passed_by() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("dead proxy");
    // The router would let everything out.
    let (home, _server, bert) = home_and_friend(&lab, SiteKind::plain());
    let proxy = format!("{}:1080", home.router().lan_address());
    let settings = format!("[network]\nproxy = \"socks5://{proxy}\"\n");
    let anna = Computer::in_host_with("anna", home.host(), &settings);
    anna.start();
    let said = refused_join(&anna, &bert);
    assert!(said.contains(&format!("the proxy {proxy} can't be reached")), "{said}");
}

#[test]
fn connections_go_only_where_they_may_and_come_from_the_ports_they_are_confined_to() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("confined");
    let (home, server, bert) = home_and_friend(&lab, SiteKind::plain());
    let elsewhere = "192.0.2.0/24:*";
    let settings =
        format!("[network]\nallowed-destinations = [\"{elsewhere}\"]\noutgoing-ports = \"20500-20509\"\n");
    let anna = Computer::in_host_with("anna", home.host(), &settings);
    anna.start();
    let said = refused_join(&anna, &bert);
    assert!(said.contains("the settings don't allow connections to"), "{said}");

    let there = format!("{}:4242", server.address());
    anna.kith(&["settings", "set", "network.allowed-destinations", &there]).ok();
    pair(&bert, &anna);
    // The router keeps the ports of connections.
    let seen = bert.friend("anna")["address"].as_str().unwrap().to_owned();
    let port: u16 = seen.rsplit_once(':').unwrap().1.parse().unwrap();
    assert!((20_500..=20_509).contains(&port), "{seen}");
    back_up_and_restore(&anna);

    // What is not allowed any more ends at once.
    anna.kith(&["settings", "set", "network.allowed-destinations", elsewhere]).ok();
    wait_last_error(&anna, "the settings don't allow connections to");
}

/// A packet filter on a computer that drops everything but what these lines let through.
fn filter(host: &Host, lines: &[String]) {
    let base = "nft add table inet filter
nft add chain inet filter input '{ type filter hook input priority 0; policy drop; }'
nft add chain inet filter output '{ type filter hook output priority 0; policy drop; }'
nft add rule inet filter input iif lo accept
nft add rule inet filter output oif lo accept
";
    let script = format!("set -e\n{base}{}\n", lines.join("\n"));
    let set = host.command("sh").args(["-c", &script]).output().unwrap();
    assert!(set.status.success(), "{script}\n{}", String::from_utf8_lossy(&set.stderr));
}

/// A rule for a filter that doesn't keep connections in mind.
fn without_memory(rule: &Value) -> String {
    let inbound = rule["direction"] == "in";
    let (chain, there, here, far) =
        if inbound { ("input", "saddr", "dport", "sport") } else { ("output", "daddr", "sport", "dport") };
    let mut line = format!("nft add rule inet filter {chain}");
    if let Some(remote) = rule["remote"].as_str() {
        line += &format!(" ip {there} {remote}");
    }
    let protocol = rule["protocol"].as_str().unwrap();
    for (ports, side) in [(&rule["local_ports"], here), (&rule["remote_ports"], far)] {
        if let Some(ports) = ports.as_str() {
            line += &format!(" {protocol} {side} {ports}");
        }
    }
    if rule["answers"] == true {
        line += " 'tcp flags & (syn | ack) != syn'";
    }
    line + " accept"
}

#[test]
fn the_rules_that_are_printed_are_enough_where_everything_else_is_dropped() {
    if !need_lab() || !need("nft") {
        return;
    }
    let lab = Lab::new("printed rules");
    let (home, server, bert) = home_and_friend(&lab, SiteKind::plain());
    let anna = Computer::in_host("anna", home.host());
    anna.start();
    let view = anna.kith(&["ports", "--firewall", "--json"]).json();
    let lines = view["nftables"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned());
    filter(home.host(), &lines.collect::<Vec<_>>());
    pair(&bert, &anna);
    back_up_and_restore(&anna);
    // From a port that is in none of the ranges from which punches go anywhere.
    let other = server.listen(9);
    let other = other.local_addr().unwrap();
    assert!(!home.host().reaches_from(40_000, other, Duration::from_secs(2)), "the filter drops nothing");
    // Now that he is known, his address is named.
    let named = format!("ip daddr {} tcp dport 4242 accept", server.address());
    anna.kith(&["ports", "--firewall"])
        .says(&[&named, "ufw allow in proto tcp from any to any port 4242"])
        .ok();
}

#[test]
fn the_rules_for_filters_without_memory_name_the_packets_that_come_back() {
    if !need_lab() || !need("nft") {
        return;
    }
    let lab = Lab::new("returning packets");
    let (home, server, bert) = home_and_friend(&lab, SiteKind::plain());
    let settings = format!(
        "[network]\noutbound-only = true\noutgoing-ports = \"20500-20509\"\nallowed-destinations = [\"{}:4242\"]\n",
        server.address()
    );
    let anna = Computer::in_host_with("anna", home.host(), &settings);
    anna.start();
    let view = anna.kith(&["ports", "--firewall", "--json"]).json();
    let needed = view["rules"].as_array().unwrap().iter().filter(|rule| rule["optional"] == false);
    let lines: Vec<String> = needed.map(without_memory).collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    filter(home.host(), &lines);
    pair(&bert, &anna);
    back_up_and_restore(&anna);
}

#[test]
fn ports_that_a_firewall_must_map_are_in_the_log_at_the_start() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("mapped in the log");
    let (home, server, bert) = home_and_friend(&lab, SiteKind::plain().closed());
    let port = home.router().stand_in(5001, server.at(4242));
    let settings = format!("[network.mapped]\n\"{}\" = \"{port}\"\n", bert.device_id());
    let anna = Computer::in_host_with("anna", home.host(), &settings);
    anna.start();
    pair(&bert, &anna);
    anna.stop();
    anna.start();
    assert!(anna.log().contains("the firewall must forward this port"), "{}", anna.log());
    let view = anna.kith(&["ports", "--firewall", "--json"]).json();
    assert_eq!(view["mapped"][0]["firewall"], port.to_string());
    assert_eq!(
        (&view["mapped"][0]["friend"], &view["mapped"][0]["forward_to"][0]),
        (&"bert".into(), &server.at(4242).to_string().into())
    );
    // Friends who have no port are missed.
    anna.kith(&["settings", "set", "network.mapped", &format!("{{ \"hub.example:443\" = \"{port}\" }}")])
        .ok();
    anna.kith(&["ports", "--firewall"]).says(&["MISSING", "hub.example:443"]).ok();
}
