//! Networks that let connections out only by a proxy, by a port that stands for what is outside, or to named places.

use std::time::Duration;

use e2e::lab::{Host, Lab, Site, SiteKind};
use e2e::{Computer, assert_same, need, need_lab, pair, wait_until, write_random};

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
