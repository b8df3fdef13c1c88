use super::*;
use FirewallDirection::Out;

const BERT: &str = "203.0.113.5:4242";

fn facts(settings: &str) -> Facts {
    Facts {
        settings: toml::from_str(settings).unwrap(),
        listening: Some(4242),
        gateways: vec!["192.168.1.1".parse().unwrap()],
        friends: vec![
            peer(1, "bert", &[BERT]),
            peer(2, "cleo", &["cleo.example:4300", "[2001:db8::7]:4300"]),
        ],
        hubs: Vec::new(),
    }
}

fn peer(byte: u8, name: &str, addresses: &[&str]) -> Peer {
    Peer {
        device_id: DeviceId::from_bytes([byte; 32]),
        name: name.to_owned(),
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
    }
}

/// The rules that must be, in short: `out tcp 1024-5000 > 203.0.113.5:4242`.
fn short(rule: &FirewallRule) -> String {
    let any = |text: &Option<String>| text.clone().unwrap_or_else(|| "*".to_owned());
    format!(
        "{} {}{} {} > {}:{}",
        rule.direction.as_str(),
        rule.protocol.as_str(),
        if rule.answers { " answers" } else { "" },
        any(&rule.local_ports),
        any(&rule.remote),
        any(&rule.remote_ports)
    )
}

#[track_caller]
fn check(settings: &str, expected: &[&str]) {
    let view = rules(&facts(settings));
    let must: Vec<String> = view.rules.iter().filter(|rule| !rule.optional).map(short).collect();
    assert_eq!(must, expected, "{settings}");
}

#[test]
fn what_must_be_let_through_follows_from_the_settings() {
    check(
        "",
        &[
            "in tcp 4242 > *:*",
            "out tcp * > *:4242",
            "out tcp * > *:4300",
            "in tcp answers * > *:4242",
            "in tcp answers * > *:4300",
            "out tcp answers 4242 > *:*",
        ],
    );
    check(
        "[network]\noutbound-only = true\noutgoing-ports = \"1024-5000\"\nallowed-destinations = [\"203.0.113.0/24:4242\", \"*:443\"]",
        &[
            "out tcp 1024-5000 > 203.0.113.0/24:4242",
            "out tcp 1024-5000 > *:443",
            "in tcp answers 1024-5000 > 203.0.113.0/24:4242",
            "in tcp answers 1024-5000 > *:443",
        ],
    );
    check(
        "[network]\noutbound-only = true\nproxy = \"socks5://anna:secret@proxy.example:1080\"",
        &["out tcp * > proxy.example:1080", "in tcp answers * > proxy.example:1080"],
    );
}

#[test]
fn a_computer_that_only_makes_calls_needs_no_udp_and_lets_nobody_in() {
    let view = rules(&facts("[network]\noutbound-only = true"));
    assert!(view.rules.iter().all(|rule| rule.protocol == Tcp), "{:#?}", view.rules);
    assert!(view.rules.iter().all(|rule| rule.direction == Out || rule.answers), "{:#?}", view.rules);
    let view = rules(&facts(""));
    assert!(view.rules.iter().any(|rule| rule.protocol == Udp && rule.direction == In));
}

#[test]
fn every_address_of_a_friend_is_named_that_may_be_dialled() {
    let named = |settings: &str| -> Vec<String> {
        let view = rules(&facts(settings));
        view.rules.iter().filter(|rule| rule.friend.is_some()).map(short).collect()
    };
    let all =
        ["out tcp * > 203.0.113.5:4242", "out tcp * > cleo.example:4300", "out tcp * > 2001:db8::7:4300"];
    assert_eq!(named(""), all);
    assert_eq!(named("[network]\nallowed-destinations = [\"203.0.113.0/24:*\"]"), all[..1]);
    assert_eq!(named("[network]\nproxy = \"http://10.0.0.1:3128\""), Vec::<String>::new());
}

#[test]
fn the_proxy_is_named_with_all_that_it_must_allow_and_without_its_password() {
    let view = rules(&facts("[network]\nproxy = \"socks5://anna:secret@proxy.example:1080\""));
    let proxy = view.proxy.clone().unwrap();
    let to: Vec<&str> = proxy.destinations.iter().map(|to| to.address.as_str()).collect();
    assert_eq!(to, [BERT, "cleo.example:4300", "[2001:db8::7]:4300"]);
    assert_eq!(
        (proxy.kind.as_str(), proxy.address.as_str(), proxy.login),
        ("socks5", "proxy.example:1080", true)
    );
    assert!(!format!("{view:?}").contains("secret"));
}

#[test]
fn every_port_that_must_be_mapped_is_listed_and_so_is_who_has_none() {
    let bert = DeviceId::from_bytes([1; 32]);
    let settings = format!(
        "[network.mapped]\n\"{bert}\" = \"fw.example:7000\"\n\"hub.example:443\" = \"fw.example:7001\""
    );
    let view = rules(&facts(&settings));
    let said: Vec<String> = view.mapped.iter().map(MappedPort::sentence).collect();
    assert_eq!(
        said,
        [
            "the firewall must forward fw.example:7000 to 203.0.113.5:4242, for bert".to_owned(),
            "the firewall must forward fw.example:7001 to hub.example:443, for hub.example:443".to_owned(),
            "no port of the firewall stands for cleo: have one forwarded to cleo.example:4300 and name it under [network.mapped]"
                .to_owned(),
        ]
    );
    // Bert is reached by nothing else.
    assert!(view.rules.iter().all(|rule| rule.friend.as_deref() != Some("bert")), "{:#?}", view.rules);
    assert!(rules(&facts("")).mapped.is_empty());
}

#[test]
fn lines_for_nftables_and_ufw_say_the_same() {
    let view = rules(&facts(
        "[network]\noutgoing-ports = \"1024-5000\"\nallowed-destinations = [\"203.0.113.0/24:4242\"]",
    ));
    let has = |lines: &[String], line: &str| {
        assert!(lines.iter().any(|found| found == line), "{line} in {lines:#?}");
    };
    has(
        &view.nftables,
        "nft add rule inet filter input tcp dport 4242 accept comment '\"Kith: friends connect here, from wherever they are\"'",
    );
    has(
        &view.nftables,
        "nft add rule inet filter output ip daddr 203.0.113.0/24 tcp sport 1024-5000 tcp dport 4242 accept comment '\"Kith: allowed by \
         network.allowed-destinations\"'",
    );
    has(
        &view.ufw,
        "ufw allow in proto tcp from any to any port 4242 comment 'Kith: friends connect here, from wherever they are'",
    );
    has(
        &view.ufw,
        "ufw allow out proto tcp from any port 1024:5000 to 203.0.113.0/24 port 4242 comment 'Kith: allowed by \
         network.allowed-destinations'",
    );
}

#[test]
fn no_name_of_a_friend_does_anything_in_a_shell() {
    let mut facts = facts("");
    facts.friends[0].name = "x'; rm -rf / #\" $(id) `id`\n".to_owned();
    facts.friends[0].addresses.push("$(id):1; id".to_owned());
    let view = rules(&facts);
    for line in view.nftables.iter().chain(&view.ufw).filter(|line| !line.starts_with("# ")) {
        let (rule, comment) = line.split_once(" comment '").unwrap_or((line, "'"));
        let plain = |c: char| c.is_ascii_alphanumeric() || " .,:/-_".contains(c);
        assert!(rule.chars().all(plain), "{line}");
        let words = comment.strip_suffix('\'').unwrap().trim_matches('"');
        assert!(words.chars().all(|c| plain(c) || "()".contains(c)), "{line}");
    }
}

/// One of the settings that has assigned another, moves, and one of a friend.
fn with_hubs(settings: &str) -> Facts {
    let hub = |byte: u8, at: &[&str], whose| Hub {
        device_id: DeviceId::from_bytes([byte; 32]),
        addresses: at.iter().map(|at| (*at).to_owned()).collect(),
        whose,
    };
    let hubs = vec![
        hub(8, &["assigned.example:443"], Whose::Ours),
        hub(7, &["198.51.100.7:4287", "198.51.100.8:443"], Whose::Ours),
        hub(9, &["198.51.100.9:4287"], Whose::OfFriend),
    ];
    let named = DeviceId::from_bytes([7; 32]);
    let settings = settings.replacen(
        "[network]",
        &format!("[network]\nhubs = [\"kith://{named}@198.51.100.7:4287\"]"),
        1,
    );
    Facts { hubs, friends: Vec::new(), ..facts(&settings) }
}

#[test]
fn every_hub_that_is_used_or_will_be_is_named_and_none_that_is_forbidden() {
    let to_hubs = |settings: &str| -> Vec<String> {
        let view = rules(&with_hubs(settings));
        let of_hubs = |rule: &&FirewallRule| rule.purpose.contains("hub") && !rule.answers;
        let line =
            |rule: &FirewallRule| format!("{}{}", short(rule), if rule.optional { " may" } else { "" });
        view.rules.iter().filter(of_hubs).map(line).collect()
    };
    assert_eq!(
        to_hubs("[network]"),
        [
            "out tcp * > 198.51.100.7:4287",
            "out tcp * > 198.51.100.8:443",
            "out tcp * > assigned.example:443",
            "out tcp * > 198.51.100.9:4287 may",
        ]
    );
    assert_eq!(
        to_hubs("[network]\nallowed-destinations = [\"*:443\"]"),
        ["out tcp * > 198.51.100.8:443", "out tcp * > assigned.example:443"]
    );
    let proxied = rules(&with_hubs("[network]\nproxy = \"socks5://10.0.0.1:1080\"")).proxy.unwrap();
    let to: Vec<&str> = proxied.destinations.iter().map(|to| to.address.as_str()).collect();
    assert_eq!(to, ["198.51.100.7:4287", "198.51.100.8:443", "assigned.example:443", "198.51.100.9:4287"]);
}

#[test]
fn hubs_without_a_port_of_the_firewall_are_named_too() {
    let named = DeviceId::from_bytes([7; 32]);
    let settings = format!(
        "[network]\nallowed-destinations = [\"*:443\"]\n[network.mapped]\n\"{named}\" = \"fw.example:7000\""
    );
    let said: Vec<_> = rules(&with_hubs(&settings))
        .mapped
        .into_iter()
        .map(|port| (port.firewall, port.forward_to.join(" ")))
        .collect();
    assert_eq!(
        said,
        [
            (Some("fw.example:7000".to_owned()), "198.51.100.7:4287 198.51.100.8:443".to_owned()),
            (None, "assigned.example:443".to_owned()),
        ]
    );
}

#[test]
fn a_hub_has_rules_of_its_own() {
    let all = |settings: &str| -> Vec<String> {
        hub_rules(&toml::from_str(settings).unwrap()).rules.iter().map(short).collect()
    };
    assert_eq!(all("port = 443"), ["in tcp 443 > *:*", "out tcp answers 443 > *:*"]);
    let peer = DeviceId::from_bytes([8; 32]);
    let settings = format!("metrics = \"0.0.0.0:9187\"\npeers = [\"kith://{peer}@hub-b.example:4288\"]");
    assert_eq!(
        all(&settings),
        [
            "in tcp 4287 > *:*",
            "in tcp 4288 > hub-b.example:*",
            "out tcp * > hub-b.example:4288",
            "in tcp 9187 > *:*",
            "out tcp answers 4287 > *:*",
            "out tcp answers 4288 > hub-b.example:*",
            "in tcp answers * > hub-b.example:4288",
            "out udp * > *:53",
            "out tcp * > *:53",
        ]
    );
    let moving = "moving = { to = [\"new.example:443\"], at = \"2099-12-24T18:00:00Z\" }";
    let view = hub_rules(&toml::from_str(moving).unwrap());
    assert!(view.notes.iter().any(|note| note.contains("new.example:443")), "{:?}", view.notes);
    assert!(view.nftables.iter().any(|line| line.contains("tcp dport 4287 accept")), "{:?}", view.nftables);
}
