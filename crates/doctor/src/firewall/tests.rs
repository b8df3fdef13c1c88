//! With what the real programs print: nft 1.0.6, iptables 1.8.9, ufw 0.36.2 and firewalld 1.3.3, each in a network namespace of its own.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::advice::{advice, worked_until};
use super::iptables::Backend;
use super::*;

const OWN: &str = include_str!("fixtures/own.json");
const IPTABLES_NFT: &str = include_str!("fixtures/iptables.json");
const IPTABLES: &str = include_str!("fixtures/iptables.txt");
const IP6TABLES: &str = include_str!("fixtures/ip6tables.txt");
const LEGACY: &str = include_str!("fixtures/legacy.txt");
const UFW_NFT: &str = include_str!("fixtures/ufw.json");
const UFW: &str = include_str!("fixtures/ufw.txt");
const UFW6: &str = include_str!("fixtures/ufw6.txt");
const UFW_MIXED: &str = include_str!("fixtures/ufw-mixed.txt");
const FIREWALLD: &str = include_str!("fixtures/firewalld.json");
const FIREWALLD_OPEN: &str = include_str!("fixtures/firewalld-open.json");
const FIREWALLD_DROP: &str = include_str!("fixtures/firewalld-drop.json");
const FIREWALLD_PANIC: &str = include_str!("fixtures/firewalld-panic.json");
const EMPTY: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}]}"#;

fn nft(text: &str) -> Rules {
    let mut rules = Rules::default();
    rules.add_nft(text).unwrap();
    rules
}

fn all(nft: &str, v4: &str, v6: &str) -> Rules {
    let mut rules = self::nft(nft);
    rules.add_iptables(Family::V4, Backend::of(v4, ""), v4).unwrap();
    rules.add_iptables(Family::V6, Backend::of(v6, ""), v6).unwrap();
    rules.settle();
    rules
}

/// Objects of one table `inet t`: a chain at `hook`, and rules of it and of other chains.
fn table(hook: &str, policy: &str, rules: &[(&str, &str)]) -> String {
    let mut objects = vec![
        r#"{"table": {"family": "inet", "name": "t", "handle": 1}}"#.to_owned(),
        format!(
            r#"{{"chain": {{"family": "inet", "table": "t", "name": "base", "type": "filter", "hook": "{hook}", "prio": 0, "policy": "{policy}"}}}}"#
        ),
    ];
    for name in ["one", "two"] {
        objects.push(format!(r#"{{"chain": {{"family": "inet", "table": "t", "name": "{name}"}}}}"#));
    }
    for (chain, expressions) in rules {
        objects.push(format!(
            r#"{{"rule": {{"family": "inet", "table": "t", "chain": "{chain}", "expr": [{expressions}]}}}}"#
        ));
    }
    format!(r#"{{"nftables": [{}]}}"#, objects.join(","))
}

const OUR_PORT: &str =
    r#"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 4242}}"#;
const ACCEPT: &str = r#"{"accept": null}"#;
const DROP: &str = r#"{"drop": null}"#;

fn decide(rules: &Rules, way: Way, port: u16, remote: &str) -> Decision {
    let remote: IpAddr = remote.parse().unwrap();
    rules.decide(way, Family::of(remote), Some(port), Some(remote))
}

#[track_caller]
fn check(rules: &Rules, way: Way, port: u16, remote: &str, access: Access, rule: &str) {
    let decision = decide(rules, way, port, remote);
    assert_eq!(decision.access, access, "{decision:?}");
    assert!(decision.rule.unwrap_or_default().contains(rule) && (rule.is_empty() != access.is_closed()));
}

#[test]
fn without_rules_everything_is_open() {
    let rules = nft(EMPTY);
    for remote in ["198.51.100.7", "2001:db8::7"] {
        check(&rules, Way::In, 4242, remote, Access::Open, "");
        check(&rules, Way::Out, 4242, remote, Access::Open, "");
    }
}

#[test]
fn where_nothing_was_read_nothing_is_said() {
    check(&Rules::default(), Way::In, 4242, "198.51.100.7", Access::Unknown, "");
    let mut rules = Rules::default();
    rules.add_iptables(Family::V4, Backend::of(LEGACY, ""), LEGACY).unwrap();
    check(
        &rules,
        Way::In,
        4242,
        "198.51.100.7",
        Access::Dropped,
        "iptables -A INPUT -p tcp -m tcp --dport 4242 -j DROP",
    );
    check(&rules, Way::In, 4242, "2001:db8::7", Access::Unknown, "");
    check(&rules, Way::In, 4243, "198.51.100.7", Access::Open, "");
    rules.add_unread();
    check(&rules, Way::In, 4243, "198.51.100.7", Access::Unknown, "");
    check(&rules, Way::In, 4242, "198.51.100.7", Access::Dropped, "--dport 4242");
}

#[test]
fn a_server_with_rules_of_nftables_is_understood() {
    // A table that sleeps, as nft 1.0.6 prints it: perhaps it does not.
    check(&nft(OWN), Way::In, 4050, "203.0.113.9", Access::Unknown, "");
    let rules = nft(&OWN.replace("\"flags\": 22", "\"flags\": [\"dormant\"]"));
    // By the set of friends and the set of ports.
    check(&rules, Way::In, 4050, "203.0.113.9", Access::Open, "");
    check(&rules, Way::In, 22, "198.51.100.9", Access::Open, "");
    check(&rules, Way::In, 4444, "198.51.100.9", Access::Dropped, "tcp dport vmap @ways");
    check(
        &rules,
        Way::In,
        1500,
        "198.51.100.9",
        Access::Rejected,
        "tcp dport { 80, 443, 1000-2000 } reject with tcp reset",
    );
    check(
        &rules,
        Way::In,
        4250,
        "198.51.100.9",
        Access::Rejected,
        "table inet filter, chain input: reject with icmpx admin-prohibited",
    );
    check(&rules, Way::In, 4250, "2001:db8::7", Access::Rejected, "admin-prohibited");
    // A limit stands before the chain that lets this one in.
    check(&rules, Way::In, 4300, "198.51.100.9", Access::Unknown, "");
    check(&rules, Way::In, 4242, "192.0.2.2", Access::Open, "");
    // Outside: the answers to these are let in as established.
    check(&rules, Way::Out, 4242, "198.51.100.9", Access::Open, "");
    check(
        &rules,
        Way::Out,
        4242,
        "10.1.2.3",
        Access::Dropped,
        "table inet filter, chain output: ip daddr 10.0.0.0/8 tcp dport 4242 drop",
    );
    check(&rules, Way::Out, 4242, "fd00::1", Access::Dropped, "ip6 daddr fc00::/7 drop");
    check(&rules, Way::Out, 25, "198.51.100.9", Access::Rejected, "oifname != lo tcp dport 25 reject");
    // To itself.
    check(&rules, Way::In, 4250, "127.0.0.1", Access::Open, "");
}

#[test]
fn rules_of_iptables_count_as_iptables_save_shows_them() {
    let rules = all(IPTABLES_NFT, IPTABLES, IP6TABLES);
    check(&rules, Way::In, 4242, "203.0.113.9", Access::Open, "");
    check(
        &rules,
        Way::In,
        4242,
        "198.51.100.9",
        Access::Rejected,
        "iptables -A GUARD -p tcp -m tcp --dport 4242 -j REJECT --reject-with tcp-reset",
    );
    check(&rules, Way::In, 5005, "198.51.100.9", Access::Open, "");
    check(&rules, Way::In, 5011, "198.51.100.9", Access::Dropped, "iptables -P INPUT DROP");
    check(
        &rules,
        Way::In,
        4242,
        "2001:db8::7",
        Access::Dropped,
        "ip6tables -A INPUT -p tcp -m tcp --dport 4242 -j DROP",
    );
    // Docker leads this port to a container.
    check(&rules, Way::In, 8080, "198.51.100.9", Access::Unknown, "");
    check(&rules, Way::Out, 4242, "192.0.2.1", Access::Open, "");
    // Some account is let out there.
    check(&rules, Way::Out, 4242, "198.51.100.9", Access::Unknown, "");
    // Without iptables-save, what extensions do is not known.
    check(&nft(IPTABLES_NFT), Way::In, 4242, "198.51.100.9", Access::Unknown, "");
    check(&nft(IPTABLES_NFT), Way::In, 22, "198.51.100.9", Access::Open, "");
}

#[test]
fn ufw_is_understood() {
    let rules = all(UFW_NFT, UFW, UFW6);
    check(&rules, Way::In, 22, "198.51.100.9", Access::Open, "");
    check(&rules, Way::In, 4242, "198.51.100.9", Access::Dropped, "iptables -P INPUT DROP");
    check(&rules, Way::In, 22, "2001:db8::7", Access::Open, "");
    check(&rules, Way::In, 4242, "2001:db8::7", Access::Dropped, "ip6tables -P INPUT DROP");
    check(&rules, Way::Out, 4242, "198.51.100.9", Access::Open, "");
    check(&rules, Way::Out, 4242, "2001:db8::7", Access::Open, "");
    let mut rules = Rules::default();
    rules.add_iptables(Family::V4, Backend::of(UFW_MIXED, ""), UFW_MIXED).unwrap();
    check(&rules, Way::In, 4242, "198.51.100.9", Access::Open, "");
    check(
        &rules,
        Way::Out,
        4242,
        "198.51.100.9",
        Access::Dropped,
        "iptables -A ufw-user-output -p tcp -m tcp --dport 4242 -j DROP",
    );
    // A limit of calls.
    check(&rules, Way::In, 4300, "198.51.100.9", Access::Unknown, "");
}

#[test]
fn firewalld_is_understood() {
    let (closed, open) = (nft(FIREWALLD), nft(FIREWALLD_OPEN));
    assert!(closed.has_firewalld());
    for remote in ["198.51.100.9", "2001:db8::7"] {
        check(
            &closed,
            Way::In,
            4242,
            remote,
            Access::Rejected,
            "table inet firewalld, chain filter_IN_public: reject with icmpx admin-prohibited",
        );
        check(&closed, Way::Out, 4242, remote, Access::Open, "");
        check(&open, Way::In, 4242, remote, Access::Open, "");
    }
    let drop = nft(FIREWALLD_DROP);
    check(&drop, Way::In, 4242, "192.0.2.9", Access::Dropped, "filter_IN_drop");
    check(&drop, Way::Out, 4242, "192.0.2.9", Access::Open, "");
    let panic = nft(FIREWALLD_PANIC);
    check(
        &panic,
        Way::Out,
        4242,
        "192.0.2.9",
        Access::Dropped,
        "table inet firewalld_policy_drop, chain raw_output: policy drop",
    );
    let facts = FirewallFacts {
        manager: Manager::Firewalld,
        ..panic.facts(4242, &["192.0.2.9:4242".parse().unwrap()])
    };
    assert_eq!(
        advice(&facts, Way::In, 4242, "/usr/bin/kith").next_step(),
        "run `sudo firewall-cmd --panic-off`"
    );
}

#[test]
fn a_rule_that_is_not_understood_accuses_only_where_it_makes_no_difference() {
    let odd = r#"{"osf": {"something": 1}}"#;
    let odd_match = r#"{"match": {"op": "==", "left": {"socket": {"key": "mark"}}, "right": 1}}"#;
    for (rules, access) in [
        (vec![("base", format!("{odd}, {DROP}"))], Access::Unknown),
        (vec![("base", format!("{odd_match}, {DROP}"))], Access::Unknown),
        (
            vec![("base", format!("{odd_match}, {DROP}")), ("base", format!("{OUR_PORT}, {DROP}"))],
            Access::Dropped,
        ),
        (
            vec![("base", format!("{odd_match}, {ACCEPT}")), ("base", format!("{OUR_PORT}, {DROP}"))],
            Access::Unknown,
        ),
        (
            vec![("base", format!("{OUR_PORT}, {DROP}")), ("base", format!("{odd}, {ACCEPT}"))],
            Access::Dropped,
        ),
        (vec![("base", format!("{odd_match}, {ACCEPT}"))], Access::Open),
    ] {
        let rules: Vec<(&str, &str)> = rules.iter().map(|(chain, rule)| (*chain, rule.as_str())).collect();
        let rules = nft(&table("input", "accept", &rules));
        assert_eq!(decide(&rules, Way::In, 4242, "192.0.2.1").access, access);
    }
}

/// One rule of `inet t base`, in a chain that lets everything in.
#[track_caller]
fn check_rule(expressions: &str, access: Access) {
    let rules = nft(&table(
        "input",
        "accept",
        &[("base", expressions), ("one", ACCEPT), ("two", r#"{"return": null}"#)],
    ));
    assert_eq!(decide(&rules, Way::In, 4242, "192.0.2.1").access, access, "{expressions}");
}

#[test]
fn the_last_entry_of_a_map_is_for_what_no_other_is_for() {
    let map = |entries: &str| {
        format!(
            r#"{{"vmap": {{"key": {{"payload": {{"protocol": "tcp", "field": "dport"}}}}, "data": {{"set": [{entries}]}}}}}}"#
        )
    };
    let star = r#"["*", {"drop": null}]"#;
    check_rule(&map(star), Access::Dropped);
    check_rule(&map(&format!(r#"[22, {{"accept": null}}], {star}"#)), Access::Dropped);
    check_rule(&map(&format!(r#"{star}, [4242, {{"accept": null}}]"#)), Access::Open);
    check_rule(&map(&format!(r#"[4242, {{"jump": {{"target": "two"}}}}], {star}"#)), Access::Open);
    check_rule(&map(&format!(r#"[{{"range": [4000, 5000]}}, {{"continue": null}}], {star}"#)), Access::Open);
    check_rule(
        &map(&format!(
            r#"[{{"elem": {{"val": 4242, "timeout": 60, "expires": 5}}}}, {{"accept": null}}], {star}"#
        )),
        Access::Open,
    );
    // Perhaps the other one is for it.
    check_rule(&map(&format!(r#"[{{"odd": 1}}, {{"jump": {{"target": "two"}}}}], {star}"#)), Access::Unknown);
    check_rule(&map(r#"[{"odd": 1}, {"accept": null}], [4242, {"drop": null}]"#), Access::Dropped);
}

#[test]
fn kinds_of_packets_are_known_by_every_name() {
    let matching = |left: &str, right: &str| {
        format!(r#"{{"match": {{"op": "==", "left": {left}, "right": {right}}}}}, {DROP}"#)
    };
    let l4 = r#"{"meta": {"key": "l4proto"}}"#;
    let th = r#"{"payload": {"protocol": "th", "field": "dport"}}"#;
    let state = r#"{"ct": {"key": "state"}}"#;
    let pair = format!(r#"{{"concat": [{l4}, {th}]}}"#);
    for (left, right, access) in [
        (l4, r#""tcp""#, Access::Dropped),
        (l4, r#"{"set": ["udp", "tcp"]}"#, Access::Dropped),
        (l4, r#""udp""#, Access::Open),
        (l4, "17", Access::Open),
        (th, "4242", Access::Dropped),
        (th, r#"{"set": [80, {"range": [4000, 4300]}]}"#, Access::Dropped),
        (th, r#"{"set": [80, {"range": [4300, 4400]}]}"#, Access::Open),
        (state, r#""new""#, Access::Dropped),
        (state, r#"["established", "related"]"#, Access::Open),
        (state, r#"{"|": ["invalid", "new"]}"#, Access::Dropped),
        (state, r#""invalid""#, Access::Open),
        (&*pair, r#"{"set": [{"concat": ["tcp", 4242]}]}"#, Access::Dropped),
        (
            &*pair,
            r#"{"set": [{"concat": ["udp", 4242]}, {"concat": ["tcp", {"range": [1, 1024]}]}]}"#,
            Access::Open,
        ),
        (&*pair, r#"{"set": [{"concat": ["tcp", {"range": [4000, 5000]}]}]}"#, Access::Dropped),
    ] {
        // The answers to what is let in are of this state, too: what comes in is asked for alone.
        let rules = nft(&table("input", "accept", &[("base", &matching(left, right))]));
        assert_eq!(decide(&rules, Way::In, 4242, "192.0.2.1").access, access, "{left} {right}");
    }
}

#[test]
fn a_packet_is_stopped_where_any_chain_drops_it_whatever_another_accepts() {
    let chain = |name: &str, priority: i32| {
        format!(
            r#"{{"chain": {{"family": "inet", "table": "t", "name": "{name}", "type": "filter", "hook": "input", "prio": {priority}, "policy": "accept"}}}}"#
        )
    };
    let rule = |chain: &str, what: &str| {
        format!(
            r#"{{"rule": {{"family": "inet", "table": "t", "chain": "{chain}", "expr": [{OUR_PORT}, {what}]}}}}"#
        )
    };
    for (early, late) in [(-10, 10), (10, -10)] {
        let objects =
            [chain("yes", early), chain("no", late), rule("yes", ACCEPT), rule("no", DROP)].join(",");
        let rules = nft(&format!(r#"{{"nftables": [{objects}]}}"#));
        check(&rules, Way::In, 4242, "192.0.2.1", Access::Dropped, "chain no");
    }
}

#[test]
fn rules_of_which_something_is_not_understood_stop_nobody_for_certain() {
    for rule in [
        "-p tcp -m socket -j DROP",
        "-m osf -j DROP",
        "-p tcp -m conntrack -j DROP",
        "-p tcp -m multiport ! --strange 1,2 -j DROP",
        "-p tcp -m set --match-set friends src -j DROP",
        "-m recent --update --seconds 60 --name DEFAULT --mask 255.255.255.255 --rsource -j DROP",
        "-p tcp -m tcp --dport 4242 -m limit --limit 1/sec -j DROP",
        "-m statistic --mode random --probability 0.5 -j DROP",
        "-p tcp -m tcp --dport 4242 !",
    ] {
        let text = format!("*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT {rule}\nCOMMIT\n");
        let mut rules = Rules::default();
        rules.add_iptables(Family::V4, Backend::Legacy, &text).unwrap();
        assert_eq!(decide(&rules, Way::In, 4242, "192.0.2.1").access, Access::Unknown, "{rule}");
    }
    let long = format!("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {}-j DROP\nCOMMIT\n", "-m tcp ".repeat(300));
    let mut rules = Rules::default();
    rules.add_iptables(Family::V4, Backend::Legacy, &long).unwrap();
    assert_eq!(decide(&rules, Way::In, 4242, "192.0.2.1").access, Access::Unknown);
}

#[test]
fn rules_that_take_long_to_follow_are_given_up_in_time() {
    // Each chain jumps to the next one many times: two to the thousandth ways through.
    let mut text = "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n".to_owned();
    let chains = 30;
    for at in 0..chains {
        text += &format!(":C{at} - [0:0]\n");
    }
    text += "-A INPUT -j C0\n";
    for at in 0..chains - 1 {
        for _ in 0..1000 {
            text += &format!("-A C{at} -p tcp -m tcp --dport 4242 -j C{}\n", at + 1);
        }
    }
    text += "COMMIT\n";
    let elements: Vec<String> =
        (0..200_000_u32).map(|at| format!("\"{}\"", std::net::Ipv4Addr::from(0x0a00_0000 + at))).collect();
    let set = format!(
        r#"{{"set": {{"family": "inet", "table": "t", "name": "many", "elem": [{}]}}}}"#,
        elements.join(",")
    );
    let look = format!(
        r#"{{"match": {{"op": "==", "left": {{"payload": {{"protocol": "ip", "field": "saddr"}}}}, "right": "@many"}}}}, {DROP}"#
    );
    let rules: Vec<(&str, &str)> = vec![("base", &look); 100];
    let mut many = table("input", "accept", &rules);
    many.truncate(many.len() - 2);
    many = many.replacen(r#""nftables": ["#, &format!(r#""nftables": [{set},"#), 1) + "]}";
    let mut rules = nft(&many);
    rules.add_iptables(Family::V4, Backend::Legacy, &text).unwrap();
    let remotes: Vec<SocketAddr> =
        (1..=16).map(|last| SocketAddr::new([192, 0, 2, last].into(), 4242)).collect();
    let begun = std::time::Instant::now();
    let facts = rules.facts(4242, &remotes);
    let took = begun.elapsed();
    assert_eq!((facts.inbound, facts.remotes.len()), (Access::Unknown, 16));
    assert!(took < std::time::Duration::from_secs(3), "{took:?}");
}

#[test]
fn jumps_in_a_circle_end() {
    let jump = |to: &str| format!(r#"{{"jump": {{"target": "{to}"}}}}"#);
    let (one, two) = (jump("one"), jump("two"));
    let rules = nft(&table("input", "drop", &[("base", &one), ("one", &two), ("two", &one)]));
    assert_eq!(decide(&rules, Way::In, 4242, "192.0.2.1").access, Access::Unknown);
    let text = "*filter\n:INPUT DROP [0:0]\n:A - [0:0]\n-A INPUT -g A\n-A A -j A\nCOMMIT\n";
    let mut rules = Rules::default();
    rules.add_iptables(Family::V4, Backend::of(text, ""), text).unwrap();
    assert_eq!(decide(&rules, Way::In, 4242, "192.0.2.1").access, Access::Unknown);
}

#[test]
fn a_connection_needs_its_answers() {
    let rules = nft(&table("input", "drop", &[("base", &format!("{OUR_PORT}, {ACCEPT}"))]));
    check(&rules, Way::In, 4242, "192.0.2.1", Access::Open, "");
    // Nothing lets in what answers to calls from here.
    check(&rules, Way::Out, 4242, "192.0.2.1", Access::Dropped, "table inet t, chain base: policy drop");
    let facts = rules.facts(4242, &[]);
    let advice = advice(&facts, Way::Out, 4242, "/usr/bin/kith");
    assert_eq!(
        advice.next_step(),
        "run `sudo nft insert rule inet t base ct state established,related accept`"
    );
}

#[test]
fn a_table_that_sleeps_stops_nothing() {
    let asleep = |flags: &str| {
        let text = table("input", "drop", &[]).replacen("\"handle\": 1", &format!("\"flags\": {flags}"), 1);
        decide(&nft(&text), Way::In, 4242, "192.0.2.1").access
    };
    assert_eq!(asleep(r#"["dormant"]"#), Access::Open);
    assert_eq!(asleep(r#""dormant""#), Access::Open);
    assert_eq!(asleep(r#"["owner", "persist"]"#), Access::Dropped);
    // What nft 1.0.6 prints for it.
    assert_eq!(asleep("22"), Access::Unknown);
}

#[test]
fn what_the_kernel_does_not_track_has_no_state() {
    let new = r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}"#;
    let refuse = format!("{new}, {DROP}");
    let rules = nft(&table("input", "accept", &[("base", &refuse)]));
    check(&rules, Way::In, 4242, "192.0.2.1", Access::Dropped, "ct state new drop");
    let rules = nft(&table("input", "accept", &[("one", r#"{"notrack": null}"#), ("base", &refuse)]));
    check(&rules, Way::In, 4242, "192.0.2.1", Access::Unknown, "");
}

#[test]
fn where_addresses_differ_each_is_told() {
    let rules = nft(&OWN.replace("\"flags\": 22", "\"flags\": [\"dormant\"]"));
    let remotes: [SocketAddr; 2] =
        ["203.0.113.9:4242".parse().unwrap(), "[2001:db8::7]:4242".parse().unwrap()];
    let facts = rules.facts(4242, &remotes);
    assert_eq!((facts.inbound, facts.inbound_rule.as_deref()), (Access::Unknown, None));
    let told: Vec<Access> = facts.remotes.iter().map(|remote| remote.inbound).collect();
    assert_eq!(told, [Access::Open, Access::Rejected]);
    let facts = rules.facts(4250, &remotes[1..]);
    assert_eq!(facts.inbound, Access::Rejected);
    assert!(facts.inbound_place.is_some());
    let again: FirewallFacts = serde_json::from_str(&serde_json::to_string(&facts).unwrap()).unwrap();
    assert_eq!(again, facts);
}

#[test]
fn what_no_program_of_these_printed_is_refused() {
    for text in ["", "{}", "[]", "null", r#"{"nftables": [1]}"#, r#"{"nftables": [{"rule": {}}]}"#] {
        assert!(Rules::default().add_nft(text).is_err(), "{text}");
    }
    for text in ["ACCEPT", ":INPUT ACCEPT", "*filter\n-A INPUT -j DROP", "*filter\n:INPUT"] {
        assert!(Rules::default().add_iptables(Family::V4, Backend::of(text, ""), text).is_err(), "{text}");
    }
}

fn stopped(manager: Manager, place: RulePlace) -> FirewallFacts {
    let place = Some(place);
    FirewallFacts { manager, inbound_place: place.clone(), outbound_place: place, ..FirewallFacts::default() }
}

fn place(tool: Tool, table: &str, chain: &str) -> RulePlace {
    let (family, table, chain) = ("inet".into(), table.into(), chain.into());
    RulePlace { tool, family, table, chain, answers: false, policy: false }
}

fn policy(tool: Tool, table: &str, chain: &str) -> RulePlace {
    RulePlace { policy: true, ..place(tool, table, chain) }
}

#[track_caller]
fn check_advice(facts: &FirewallFacts, way: Way, expected: &[&str]) {
    let advice = advice(facts, way, 4242, "/usr/bin/kith");
    assert_eq!(advice.port.commands, expected, "{facts:?}");
    assert!(!advice.which.is_empty() && !advice.program.words.is_empty());
}

#[test]
fn the_advice_is_for_the_firewall_that_decides() {
    for (facts, way, expected) in [
        (
            stopped(Manager::Ufw, policy(Tool::Iptables, "filter", "INPUT")),
            Way::In,
            "sudo ufw allow 4242/tcp",
        ),
        (
            stopped(Manager::Ufw, place(Tool::Nft, "mine", "in")),
            Way::In,
            "sudo nft insert rule inet mine in tcp dport 4242 accept",
        ),
        (
            stopped(Manager::Iptables, place(Tool::Ip6tables, "filter", "INPUT")),
            Way::In,
            "sudo ip6tables -I INPUT -p tcp --dport 4242 -j ACCEPT",
        ),
        (
            stopped(Manager::Nftables, place(Tool::Nft, "t", "$(reboot)")),
            Way::In,
            "sudo nft insert rule inet filter input tcp dport 4242 accept",
        ),
    ] {
        check_advice(&facts, way, &[expected]);
    }
    check_advice(&stopped(Manager::None, place(Tool::Nft, "t; reboot", "in")), Way::In, &[]);
}

#[test]
fn what_a_person_denied_with_ufw_is_allowed_before_all_others_whatever_is_there() {
    check_advice(
        &stopped(Manager::Ufw, place(Tool::Iptables, "filter", "ufw-user-output")),
        Way::Out,
        &[
            "sudo ufw allow out 4242/tcp",
            "sudo ufw delete allow out 4242/tcp",
            "sudo ufw prepend allow out 4242/tcp",
        ],
    );
}

#[test]
fn what_somebody_put_before_the_rules_of_ufw_does_not_give_way_to_ufw() {
    let foreign = stopped(Manager::Ufw, place(Tool::Iptables, "filter", "INPUT"));
    check_advice(&foreign, Way::In, &["sudo iptables -I INPUT -p tcp --dport 4242 -j ACCEPT"]);
    let early = stopped(Manager::Ufw, place(Tool::Ip6tables, "filter", "ufw6-before-input"));
    check_advice(&early, Way::In, &["sudo ip6tables -I ufw6-before-input -p tcp --dport 4242 -j ACCEPT"]);
    let said = advice(&early, Way::In, 4242, "/usr/bin/kith").port.words;
    assert!(said.contains("/etc/ufw/before.rules"), "{said}");
    // As the kernel shows it: a rule before ufw's chains, and ufw's own policy without it.
    let before = UFW.replace(
        "-A INPUT -j ufw-before-logging-input\n",
        "-A INPUT -p tcp -m tcp --dport 4242 -j DROP\n-A INPUT -j ufw-before-logging-input\n",
    );
    assert_ne!(before, UFW);
    for (text, expected) in
        [(UFW, "sudo ufw allow 4242/tcp"), (&*before, "sudo iptables -I INPUT -p tcp --dport 4242 -j ACCEPT")]
    {
        let rules = all(UFW_NFT, text, UFW6);
        let facts = rules.facts(4242, &["198.51.100.9:4242".parse().unwrap()]);
        let facts = FirewallFacts { manager: Manager::Ufw, ..facts };
        check_advice(&facts, Way::In, &[expected]);
    }
}

#[test]
fn firewalld_is_told_a_port_now_and_for_ever_where_the_rules_come_by() {
    let of = |chain: &str| stopped(Manager::Firewalld, place(Tool::Nft, "firewalld", chain));
    check_advice(
        &of("filter_IN_public"),
        Way::In,
        &[
            "sudo firewall-cmd --zone=public --add-port=4242/tcp",
            "sudo firewall-cmd --permanent --zone=public --add-port=4242/tcp",
        ],
    );
    let elsewhere = FirewallFacts { zone: Some("home".into()), ..of("filter_IN_docker") };
    check_advice(
        &elsewhere,
        Way::In,
        &[
            "sudo firewall-cmd --zone=home --add-port=4242/tcp",
            "sudo firewall-cmd --permanent --zone=home --add-port=4242/tcp",
        ],
    );
    let rule = "--add-rich-rule='rule priority=\"-32768\" port port=\"4242\" protocol=\"tcp\" accept'";
    check_advice(
        &of("filter_IN_public_deny"),
        Way::In,
        &[
            &format!("sudo firewall-cmd --zone=public {rule}"),
            &format!("sudo firewall-cmd --permanent --zone=public {rule}"),
        ],
    );
    check_advice(
        &of("filter_OUT_policy_strict"),
        Way::Out,
        &[
            "sudo firewall-cmd --policy=strict --add-port=4242/tcp",
            "sudo firewall-cmd --permanent --policy=strict --add-port=4242/tcp",
        ],
    );
    // Nothing of firewalld's shows where: a policy of its own, which is made once.
    let mut unknown = FirewallFacts { manager: Manager::Firewalld, ..FirewallFacts::default() };
    let commands = advice(&unknown, Way::Out, 4242, "kith").port.commands;
    assert_eq!(commands[0], "sudo firewall-cmd --permanent --new-policy=kith-out");
    // firewall-cmd takes one thing to set at a time.
    assert!(
        commands
            .iter()
            .all(|command| command.matches(" --add-").count() + command.matches(" --set-").count() < 2)
    );
    unknown.has_policy = Some(true);
    check_advice(
        &unknown,
        Way::Out,
        &[
            "sudo firewall-cmd --policy=kith-out --add-port=4242/tcp",
            "sudo firewall-cmd --permanent --policy=kith-out --add-port=4242/tcp",
        ],
    );
}

#[test]
fn where_the_two_kinds_of_addresses_are_stopped_by_two_programs_both_are_told() {
    let (v4, v6) = (
        "*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n",
        "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -p tcp -j DROP\nCOMMIT\n",
    );
    let rules = all(EMPTY, v4, v6);
    let remotes = ["198.51.100.9:4242", "[2001:db8::7]:4242"].map(|remote| remote.parse().unwrap());
    let mut facts = rules.facts(4242, &remotes);
    let (own4, own6) = (
        "sudo iptables -I INPUT -p tcp --dport 4242 -j ACCEPT",
        "sudo ip6tables -I INPUT -p tcp --dport 4242 -j ACCEPT",
    );
    check_advice(&facts, Way::In, &[own4, own6]);
    assert_eq!(facts.remotes[1].inbound_place.as_ref().map(|place| place.tool), Some(Tool::Ip6tables));
    // The rule that stops one address is not told as what lets in another one.
    facts.remotes[0].inbound = Access::Open;
    check_advice(&facts, Way::In, &[own4]);
}

#[test]
fn security_software_is_spoken_of_where_it_is_found() {
    let security =
        ["SELinux (enforcing)", "AppArmor (kith)", "CrowdStrike Falcon"].map(str::to_owned).to_vec();
    let facts = FirewallFacts { security, ..FirewallFacts::default() };
    let advice = advice(&facts, Way::In, 4242, "/usr/bin/kith");
    assert!(advice.security[0].contains("semanage port -a -t TYPE -p tcp 4242"));
    assert!(advice.security[1].contains("journalctl"));
    assert!(advice.security[2].contains("/usr/bin/kith, which an update may undo"));
}

#[test]
fn a_rule_that_worked_is_told_with_its_date() {
    assert!(worked_until(1_795_336_980).contains("got through until 2026-11-22 08:43 UTC; since then"));
    assert!(worked_until(951_782_400).contains("2000-02-29 00:00 UTC"));
    assert!(worked_until(i64::MIN).contains("until a while ago"));
    assert!(worked_until(i64::MAX).contains("until a while ago"));
}

proptest! {
    #[test]
    fn no_change_of_a_text_breaks_the_readers(at in 0_usize..8_000, with in "[ -~]{0,4}", port: u16) {
        for text in [OWN, IPTABLES_NFT] {
            let at = at.min(text.len() - 8);
            let text = format!("{}{with}{}", &text[..at], &text[at + 4..]);
            let mut rules = Rules::default();
            rules.add_nft(&text).ok();
            prop_assert!(rules.facts(port, &[]).readable);
        }
        let at = at % (IPTABLES.len() - 8);
        let text = format!("{}{with}{}", &IPTABLES[..at], &IPTABLES[at + 4..]);
        let mut rules = Rules::default();
        rules.add_iptables(Family::V4, Backend::of(&text, ""), &text).ok();
        prop_assert!(rules.facts(port, &[]).readable);
    }
}
