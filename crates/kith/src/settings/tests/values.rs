//! Values: what each type takes and refuses.

use std::net::IpAddr;
use std::time::Duration;

use super::*;

/// A device id with sound check characters.
fn device_id() -> String {
    kith_identity::DeviceId::from_bytes([7; 32]).to_string()
}

#[test]
fn without_any_file_the_defaults_hold() {
    let settings = World::new().load().into_settings();
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.listener.port.get(), 4242);
    assert_eq!((settings.control.port.get(), settings.control.app_port.get()), (4243, 4244));
    assert_eq!(settings.listener.bind.len(), 2);
    assert_eq!(settings.vault.default_quota.bytes(), 100_000_000_000);
    assert_eq!(settings.vault.keep_free.bytes(), 1 << 30);
    assert_eq!(settings.network.punch_port_ranges.len(), 2);
}

#[test]
fn every_value_of_the_contract_can_be_written() {
    let text = format!(
        r#"
name = "study"
[listener]
port = 4300
bind = ["127.0.0.1", "::1"]
advertise = ["home.example.org:4242", "[2001:db8::1]:4242"]
greeting = false
[control]
port = 5243
app-port = 5244
[nat]
upnp = false
nat-pmp = false
pcp = false
[vault]
path = "/srv/./kith/"
accept = "own"
default-quota = "1.5TiB"
hold-days = 7
keep-free = "500MB"
[network]
outbound-only = true
proxy = "socks5://anna:p%40ss:word@proxy.example.org:1080"
allowed-destinations = ["10.0.0.0/8:443", "*:4242"]
outgoing-ports = "1024-5000"
punch-port-ranges = ["2000-3000", "4000"]
hubs = ["kith://{id}@hub.example.org:443"]
relay = false
relay-rate = "500kB"
relay-daily = "2GB"
lan-discovery = false
[network.mapped]
"{id}" = "fw.example.org:7000"
"home.example.org:4242" = "192.0.2.1:7001"
[[set]]
name = "documents"
paths = ["/home/anna/Documents/"]
to = ["Bert", "Büro"]
exclude = ["*.tmp"]
"#,
        id = device_id()
    );
    let settings = settings(&text);
    assert_eq!(settings.computer_name(), "study");
    assert_eq!(settings.listener.port.get(), 4300);
    assert_eq!(settings.listener.bind, ["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    assert_eq!(settings.listener.advertise[1].to_string(), "[2001:db8::1]:4242");
    assert!(!settings.listener.greeting && !settings.nat.upnp && !settings.nat.nat_pmp && !settings.nat.pcp);
    assert_eq!(settings.vault.path, Path::new("/srv/kith"));
    assert_eq!(settings.vault.accept, Accept::Own);
    assert_eq!(settings.vault.default_quota.bytes(), 3 << 39);
    assert_eq!((settings.vault.hold_days.get(), settings.vault.keep_free.bytes()), (7, 500_000_000));
    let network = &settings.network;
    assert!(network.outbound_only && !network.relay && !network.lan_discovery);
    assert_eq!((network.relay_rate.bytes(), network.relay_daily.bytes()), (500_000, 2_000_000_000));
    let proxy = network.proxy.as_ref().unwrap();
    assert_eq!((proxy.kind(), proxy.login()), (ProxyKind::Socks5, Some(("anna", "p@ss:word"))));
    assert_eq!(network.outgoing_ports, Some(PortRange::new(1024, 5000).unwrap()));
    assert_eq!(network.punch_port_ranges[1], PortRange::new(4000, 4000).unwrap());
    assert_eq!(network.hubs[0].device_id().to_string(), device_id());
    assert_eq!(network.hubs[0].address().to_string(), "hub.example.org:443");
    assert_eq!(network.mapped.len(), 2);
    let set = &settings.sets[0];
    assert_eq!(set.name().as_str(), "documents");
    assert_eq!(set.paths(), [Path::new("/home/anna/Documents")]);
    assert_eq!(set.destinations(), ["Bert", "Büro"]);
}

#[test]
fn every_refusal_says_what_is_allowed() {
    let reason = "ports below 1024 belong to the system's services, and Kith runs without the right to open them; \
                  allowed are 1024 to 65535";
    let cases: &[(&str, &str, &str)] = &[
        (
            "listener",
            "port = 80",
            &format!("listener.port: port 80 can't be used: {reason}, for example 4242"),
        ),
        (
            "listener",
            "port = 443",
            &format!("listener.port: port 443 is for `kith hub` only: {reason}, for example 4242"),
        ),
        (
            "listener",
            "port = 0",
            "listener.port: port 0 would be another one at every start; allowed are 1024 to 65535, for example 4242",
        ),
        (
            "listener",
            "port = 70000",
            "listener.port: 70000 is not a port number; allowed are 1024 to 65535, for example 4242",
        ),
        (
            "listener",
            "port = -1",
            "listener.port: -1 is not a port number; allowed are 1024 to 65535, for example 4242",
        ),
        (
            "listener",
            "port = \"4242\"",
            "listener.port: expected a whole number without quotes, found a text",
        ),
        (
            "listener",
            "port = 4242.0",
            "listener.port: expected a whole number without quotes, found a number with a fraction",
        ),
        (
            "listener",
            "port = true",
            "listener.port: expected a whole number without quotes, found true or false",
        ),
        ("listener", "port = 99999999999999999999", "listener.port: the number is too large"),
        ("listener", "greeting = \"yes\"", "listener.greeting: expected true or false, found a text"),
        ("listener", "greeting = 1", "listener.greeting: expected true or false, found a number"),
        (
            "listener",
            "bind = \"::\"",
            "listener.bind: expected a list of texts, as in [\"one\", \"two\"], found a text",
        ),
        (
            "listener",
            "bind = [1]",
            "listener.bind: expected a list of texts, as in [\"one\", \"two\"], found a list with something else in it",
        ),
        (
            "listener",
            "bind = [\"eth0\"]",
            "listener.bind: \"eth0\" is not an address; write addresses of this computer, as \"192.168.1.5\" or \"::1\"; \"0.0.0.0\" and \"::\" mean all",
        ),
        (
            "listener",
            "bind = [\"::\", \"::\"]",
            "listener.bind: \"::\" is named twice; write addresses of this computer, as \"192.168.1.5\" or \"::1\"; \"0.0.0.0\" and \"::\" mean all",
        ),
        (
            "listener",
            "bind = []",
            "listener.bind: the list is empty; name an address, or set network.outbound-only = true to accept no connections",
        ),
        (
            "listener",
            "advertise = [\"home\"]",
            "listener.advertise: \"home\" has no port; write it as \"host:port\", and IPv6 as \"[2001:db8::1]:port\"",
        ),
        (
            "listener",
            "advertise = [\"::1:4242\"]",
            "listener.advertise: \"::1:4242\" is an IPv6 address without brackets; write it as \"host:port\", and IPv6 as \"[2001:db8::1]:port\"",
        ),
        (
            "listener",
            "advertise = [\"a:0\"]",
            "listener.advertise: \"a:0\" has no port between 1 and 65535 after its last colon; write it as \"host:port\", and IPv6 as \"[2001:db8::1]:port\"",
        ),
        (
            "listener",
            "advertise = [\"300.1.1.1:42\"]",
            "listener.advertise: \"300.1.1.1:42\" has a host that is neither a name nor an address; write it as \"host:port\", and IPv6 as \"[2001:db8::1]:port\"",
        ),
        (
            "listener",
            "advertise = [\":42\"]",
            "listener.advertise: \":42\" has no host; write it as \"host:port\", and IPv6 as \"[2001:db8::1]:port\"",
        ),
        ("control", "port = 80", &format!("control.port: port 80 can't be used: {reason}")),
        (
            "control",
            "app-port = 4243",
            "control.app-port: port 4243 is control.port already; give each a port of its own",
        ),
        (
            "control",
            "port = 4242",
            "control.port: port 4242 is listener.port already; give each a port of its own",
        ),
        (
            "vault",
            "path = \"\"",
            "vault.path: the path is empty; name a directory, \"vault\" for the one in the home",
        ),
        (
            "vault",
            "path = \"~/vault\"",
            "vault.path: \"~/vault\": \"~\" is not replaced here; write the whole path, as in /srv/kith",
        ),
        (
            "vault",
            "path = \"../v\"",
            "vault.path: \"../v\" has \"..\" in it; write the whole path, as in /srv/kith",
        ),
        (
            "vault",
            "accept = \"all\"",
            "vault.accept: \"all\" is not known; allowed are \"off\", \"own\" and \"friends\"",
        ),
        (
            "vault",
            "default-quota = \"100\"",
            "vault.default-quota: the size \"100\" has no unit; write a number and a unit, as in \"100GB\" or \"1.5TiB\" (B, kB, MB, GB, TB; KiB, MiB, GiB, TiB)",
        ),
        (
            "vault",
            "default-quota = \"much\"",
            "vault.default-quota: \"much\" is not a size; write a number and a unit, as in \"100GB\" or \"1.5TiB\" (B, kB, MB, GB, TB; KiB, MiB, GiB, TiB)",
        ),
        ("vault", "default-quota = 100", "vault.default-quota: expected a text in quotes, found a number"),
        ("vault", "hold-days = -1", "vault.hold-days: -1 days can't be used; allowed are 0 to 3650 days"),
        ("vault", "hold-days = 4000", "vault.hold-days: 4000 days can't be used; allowed are 0 to 3650 days"),
        (
            "network",
            "proxy = \"ftp://a:s3cret@h:1\"",
            "network.proxy: the proxy URL has a scheme that is neither socks5 nor http; write it as socks5://user:password@host:1080 or http://host:3128",
        ),
        (
            "network",
            "proxy = \"host:3128\"",
            "network.proxy: the proxy URL has no scheme; write it as socks5://user:password@host:1080 or http://host:3128",
        ),
        (
            "network",
            "proxy = \"http://a:s3cret@h\"",
            "network.proxy: the proxy URL has no host and port; write it as socks5://user:password@host:1080 or http://host:3128",
        ),
        (
            "network",
            "proxy = \"http://a:s3cret%G1@h:1\"",
            "network.proxy: the proxy URL has a user name or password with a broken % escape; write it as socks5://user:password@host:1080 or http://host:3128",
        ),
        (
            "network",
            "proxy = \"http://:s3cret@h:1\"",
            "network.proxy: the proxy URL has an empty user name, or one or a password of more than 255 bytes; write it as socks5://user:password@host:1080 or http://host:3128",
        ),
        (
            "network",
            "allowed-destinations = [\"10.0.0.0/33:443\"]",
            "network.allowed-destinations: \"10.0.0.0/33:443\" has a prefix length that is too long or no number; write it as \"10.0.0.0/8:443\", \"[2001:db8::/32]:443\", \"host:1024-5000\" or \"*:443\"",
        ),
        (
            "network",
            "allowed-destinations = [\"lan/8:443\"]",
            "network.allowed-destinations: \"lan/8:443\" has no address before the slash; write it as \"10.0.0.0/8:443\", \"[2001:db8::/32]:443\", \"host:1024-5000\" or \"*:443\"",
        ),
        (
            "network",
            "allowed-destinations = [\"host:x\"]",
            "network.allowed-destinations: \"host:x\" has no port, range of ports or * after its last colon; write it as \"10.0.0.0/8:443\", \"[2001:db8::/32]:443\", \"host:1024-5000\" or \"*:443\"",
        ),
        (
            "network",
            "outgoing-ports = \"5000-1024\"",
            "network.outgoing-ports: the range 5000-1024 runs backwards; write 1024-5000",
        ),
        (
            "network",
            "outgoing-ports = \"all\"",
            "network.outgoing-ports: \"all\" is not a range of ports; write it as \"1024-5000\", ends between 1024 and 65535",
        ),
        (
            "network",
            "punch-port-ranges = [\"1-2000\"]",
            &format!("network.punch-port-ranges: the range 1-2000 begins below 1024: {reason}"),
        ),
        (
            "network",
            "hubs = [\"hub.example.org:443\"]",
            "network.hubs: \"hub.example.org:443\" does not begin with kith://; write a hub as kith://DEVICEID@host:port",
        ),
        (
            "network",
            "hubs = [\"kith://h:443\"]",
            "network.hubs: \"kith://h:443\" names no device id before an @; write a hub as kith://DEVICEID@host:port",
        ),
        (
            "network",
            "hubs = [\"kith://abc@h:443\"]",
            "network.hubs: \"kith://abc@h:443\" has no device id before the @ (a device id has 56 letters and digits in 8 groups of 7, this text has 3); write a hub as kith://DEVICEID@host:port",
        ),
        (
            "network",
            "mapped = [\"a\"]",
            "network.mapped: expected a table of texts, as in { \"one\" = \"two\" }, found a list of texts",
        ),
        (
            "network",
            "mapped = { bert = \"fw:1\" }",
            "network.mapped: \"bert\" is neither a device id nor \"host:port\"; write \"DEVICEID\" = \"firewall:port\" or \"host:port\" = \"firewall:port\"",
        ),
    ];
    for (section, line, expected) in cases {
        let file = format!("[{section}]\n{line}\n");
        assert_eq!(problem(&file), *expected, "for {line}");
    }
}

#[test]
fn names_of_computers_must_be_printable() {
    for bad in ["a\\u202Eb", "a\\nb", "two  spaces"] {
        let text = problem(&format!("name = \"{bad}\""));
        assert!(
            text.contains("can't be a computer's name; allowed are 1 to 64 printable characters"),
            "{text}"
        );
    }
    assert_eq!(settings("name = \"  \"").name, None);
    assert_eq!(settings("name = \" Büro \"").computer_name(), "Büro");
    assert!(!settings("name = \"\"").computer_name().is_empty());
}

#[test]
fn refused_sets_name_the_set_and_the_reason() {
    let cases = [
        (
            "name = \"\"\npaths = [\"/a\"]",
            "set: the set name \"\" can't be used: it is empty; allowed are 1 to 64 printable characters",
        ),
        ("name = \"a\"\npaths = []", "set: the set \"a\" has no paths; name at least one folder or file"),
        ("name = \"a\"", "set: the set \"a\" has no paths; name at least one folder or file"),
        (
            "name = \"a\"\npaths = [\"b\"]",
            "set: the set \"a\" names the path \"b\", which is not absolute; write it from the root, as in /home/anna",
        ),
        (
            "name = \"a\"\npaths = [\"/b/../c\"]",
            "set: the set \"a\" names the path \"/b/../c\" with \"..\" in it; write the path without it",
        ),
        (
            "name = \"a\"\npaths = [\"/b/c\", \"/b\"]",
            "set: the set \"a\" names \"/b/c\", which \"/b\" already contains; leave out one of the two",
        ),
        (
            "name = \"a\"\npaths = [\"/b\"]\nto = [\"x\", \"x\"]",
            "set: the set \"a\" has a repeated destination: \"x\"",
        ),
        (
            "name = \"a\"\npaths = [\"/b\"]\nexclude = [\" \"]",
            "set: the set \"a\" has an empty exclusion: \" \"",
        ),
        ("name = 1", "set.name: expected a text in quotes, found a number"),
        (
            "name = \"a\"\npaths = \"/a\"",
            "set.paths: expected a list of texts, as in [\"one\", \"two\"], found a text",
        ),
        (
            "name = \"a\"\npath = [\"/b\"]",
            "there is no setting path in [[set]]; did you mean paths?; all keys: kith settings get",
        ),
        (
            "name = \"a\"\npaths = [\"/b\"]\n[[set]]\nname = \"A\"\npaths = [\"/c\"]",
            "set: there are two sets named \"A\"; every set needs a name of its own",
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(problem(&format!("[[set]]\n{lines}\n")), expected, "for {lines}");
    }
    assert_eq!(
        problem("[set]\nname = \"a\"\n"),
        "set: expected [[set]] tables, with two brackets on each side"
    );
    assert_eq!(
        problem("set = [1]\n"),
        "set: expected [[set]] tables, found a list with something else in it"
    );
}

#[test]
fn a_hub_may_listen_on_443_but_on_nothing_else_below_1024() {
    let mut world = World::with("[listener]\nport = 443\n");
    world.sources.role = Role::Hub;
    assert_eq!(world.load().settings().listener.port.get(), 443);
    world.write("home/kith.toml", "[listener]\nport = 80\n");
    assert!(world.refusal().contains("listener.port: port 80 can't be used"));
}

#[test]
fn sizes_are_exact_and_show_in_the_largest_unit_that_divides_them() {
    let check = |text: &str, bytes: u64, shown: &str| {
        let size: ByteSize = text.parse().unwrap();
        assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown), "for {text}");
    };
    check("100GB", 100_000_000_000, "100GB");
    check("100 gib", 100 << 30, "100GiB");
    check("1.5TiB", 3 << 39, "1536GiB");
    check("0.1kB", 100, "100B");
    check("2048KiB", 2 << 20, "2MiB");
    check("0B", 0, "0B");
    for bad in ["", "GB", "-1GB", "1.2.3GB", "1.1234567890GB", "99999999999TB", "1e3MB", "10 G", "ten GB"] {
        assert!(bad.parse::<ByteSize>().is_err(), "{bad} was taken");
    }
}

#[test]
fn a_limit_of_nothing_is_none() {
    for none in ["", "0", "0B", " 0 GB"] {
        let network =
            settings(&format!("[network]\nrelay-rate = \"{none}\"\nrelay-daily = \"{none}\"\n")).network;
        assert_eq!((network.relay_rate.bytes(), network.relay_daily.bytes()), (0, 0), "{none:?}");
    }
    for wrong in ["1", "much", "-1B"] {
        let problem = problem(&format!("[network]\nrelay-daily = \"{wrong}\"\n"));
        assert!(
            problem.contains("network.relay-daily") && problem.contains("write a number and a unit"),
            "{problem}"
        );
    }
}

#[test]
fn durations_add_up() {
    let hours = |hours: u64| Ok(Duration::from_secs(hours * 3600));
    assert_eq!(parse_duration("24h"), hours(24));
    assert_eq!(parse_duration("7d"), hours(7 * 24));
    assert_eq!(parse_duration("2w"), hours(14 * 24));
    assert_eq!(parse_duration(" 1h 30m"), Ok(Duration::from_secs(5400)));
    assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
    for bad in ["", "7", "h", "1.5h", "-1h", "7 days!", "99999999999999999w"] {
        let error = parse_duration(bad).unwrap_err();
        assert!(error.ends_with(
            "is not a duration; write it as \"30m\", \"12h\", \"7d\" or \"1h30m\" (s, m, h, d, w)"
        ));
    }
}

#[test]
fn allowed_destinations_match_nets_names_and_ports() {
    let allows = |entry: &str, name: Option<&str>, address: &str, port| {
        entry.parse::<Destination>().unwrap().allows(name, address.parse().ok(), port)
    };
    assert!(allows("10.0.0.0/8:443", None, "10.9.8.7", 443));
    assert!(allows("10.0.0.0/8:443", None, "::ffff:10.9.8.7", 443));
    assert!(!allows("10.0.0.0/8:443", None, "10.9.8.7", 444));
    assert!(!allows("10.0.0.0/8:443", None, "11.0.0.1", 443));
    assert!(!allows("10.0.0.0/8:443", None, "2001:db8::1", 443));
    assert!(allows("[2001:db8::/32]:*", None, "2001:db8:1::1", 9));
    assert!(!allows("[2001:db8::/32]:*", None, "2001:db9::1", 9));
    assert!(allows("0.0.0.0/0:1-65535", None, "192.0.2.1", 65535));
    assert!(allows("[::/0]:*", None, "2001:db8::1", 1));
    assert!(allows("192.0.2.1:4242", None, "192.0.2.1", 4242));
    assert!(allows("Home.example.org:4242", Some("home.example.ORG"), "192.0.2.1", 4242));
    assert!(!allows("home.example.org:4242", None, "192.0.2.1", 4242));
    assert!(allows("*:443", Some("any"), "192.0.2.1", 443));
}

#[test]
fn a_proxy_password_shows_nowhere() {
    let world = World::with("[network]\nproxy = \"http://anna:s3cret@proxy.example.org:3128\"\n");
    let loaded = world.load();
    let everything = format!("{loaded:?}{:?}{:?}", loaded.settings(), loaded.list());
    assert!(!loaded.list().iter().any(|entry| entry.value.contains("s3cret")));
    assert!(!format!("{:?}", loaded.settings()).contains("s3cret"));
    assert!(!everything.contains("s3cret"), "{everything}");
    assert_eq!(loaded.get("network.proxy").unwrap().value, "\"http://anna:***@proxy.example.org:3128\"");
}
