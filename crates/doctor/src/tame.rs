//! What others say of themselves is bounded and made safe to show before anything is made of it.

use std::net::{IpAddr, SocketAddr};

use crate::facts::{MOST_TESTS, Side, Test, TestResult};

/// Most entries of any other list.
const MOST_ENTRIES: usize = 16;
/// Longest sleep that is believed, seconds.
const LONGEST_SLEEP: u64 = 366 * 24 * 3600;
/// Most characters of any text.
const MOST_CHARACTERS: usize = 300;

impl Side {
    /// What of it is said to others: what they need to know which part is broken, and not what is in the way of nobody but its owner. Of
    /// programs the name without path and number; of the proxy that there is one; of hubs where they are; of what failed that it did, as
    /// texts of the system hold paths, and those of proxies and hubs names.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.program = self.program.map(|path| name_of_program(&path));
        self.listener.taken_by = self.listener.taken_by.map(|program| name_of_program(&program));
        self.listener.error = None;
        self.proxy = self.proxy.map(|_| String::new());
        // They are other friends' addresses.
        self.listener.shared_with.clear();
        for hub in &mut self.hubs {
            hub.at = without_credentials(&hub.at);
            hub.error = hub.error.take().map(|_| "`kith status` there says why".to_owned());
        }
        let by_proxy =
            |test: &&mut Test| matches!(test.result, TestResult::ProxyDown | TestResult::ProxyRefuses);
        for test in self.tests.iter_mut().filter(by_proxy) {
            test.detail = None;
        }
        if let Some(keeps) = &mut self.keeps {
            keeps.trouble = keeps.trouble.take().map(|_| "its disk failed".to_owned());
        }
        self
    }

    /// The same, with short lists and short, printable texts.
    #[must_use]
    pub fn tamed(mut self) -> Self {
        text(&mut self.version);
        // A person is told how long ago that was.
        self.woken = self.woken.filter(|woken| (0..=self.time).contains(woken));
        self.slept = self.slept.filter(|slept| self.woken.is_some() && *slept <= LONGEST_SLEEP);
        self.clocks.truncate(MOST_ENTRIES);
        for optional in [
            &mut self.program,
            &mut self.listener.error,
            &mut self.listener.taken_by,
            &mut self.proxy,
            &mut self.network.gateway,
            &mut self.mapping.protocol,
            &mut self.mapping.external,
            &mut self.mapping.failed,
            &mut self.mapping.router,
            &mut self.mapping.page,
            &mut self.firewall.inbound_rule,
            &mut self.firewall.outbound_rule,
            &mut self.firewall.zone,
        ] {
            optional.iter_mut().for_each(text);
        }
        text(&mut self.mapping.state);
        self.firewall.remotes.truncate(MOST_ENTRIES);
        let firewall = &mut self.firewall;
        let places = [&mut firewall.inbound_place, &mut firewall.outbound_place].into_iter();
        let of_remotes = firewall
            .remotes
            .iter_mut()
            .flat_map(|remote| [&mut remote.inbound_place, &mut remote.outbound_place]);
        for place in places.chain(of_remotes).flatten() {
            for said in [&mut place.family, &mut place.table, &mut place.chain] {
                text(said);
            }
        }
        for remote in &mut self.firewall.remotes {
            text(&mut remote.address);
            remote.inbound_rule.iter_mut().chain(&mut remote.outbound_rule).for_each(text);
        }
        for list in [
            &mut self.listener.shared_with,
            &mut self.internal,
            &mut self.public,
            &mut self.firewall.security,
        ] {
            list.truncate(MOST_ENTRIES);
            list.iter_mut().for_each(text);
        }
        // These go into commands and links that a person is shown.
        self.listener.shared_with.retain(|address| address.parse::<SocketAddr>().is_ok());
        self.internal.retain(|address| address.parse::<SocketAddr>().is_ok());
        self.public.retain(|address| is_address(address));
        self.mapping.external = self.mapping.external.filter(|address| is_address(address));
        self.network.gateway = self.network.gateway.filter(|gateway| gateway.parse::<IpAddr>().is_ok());
        self.mapping.page = self.mapping.page.filter(|page| is_page_of_a_router(page));
        self.mapping.protocols.truncate(MOST_ENTRIES);
        for (protocol, came) in &mut self.mapping.protocols {
            text(protocol);
            text(came);
        }
        self.hubs.truncate(MOST_ENTRIES);
        for hub in &mut self.hubs {
            text(&mut hub.at);
            hub.error.iter_mut().for_each(text);
        }
        self.tests.truncate(MOST_TESTS);
        for test in &mut self.tests {
            text(&mut test.address);
            test.detail.iter_mut().for_each(text);
        }
        if let Some(names) = &mut self.names {
            text(&mut names.name);
            names.error.iter_mut().for_each(text);
        }
        if let Some(keeps) = &mut self.keeps {
            keeps.trouble.iter_mut().for_each(text);
        }
        self
    }
}

/// `kith` of `/usr/bin/kith`, `nginx` of `nginx (process 812)`.
fn name_of_program(program: &str) -> String {
    let path = program.split_once(" (process ").map_or(program, |(path, _)| path);
    path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}

/// `host:port` of an address that may hold a key, or a user name and a password, before it.
fn without_credentials(address: &str) -> String {
    let place = address.rsplit_once('@').map_or(address, |(_, place)| place);
    let place = place.rsplit_once("//").map_or(place, |(_, place)| place);
    place.split(['/', '?', '#']).next().unwrap_or_default().to_owned()
}

/// `host:port` of characters that mean nothing to a shell.
fn is_address(address: &str) -> bool {
    let (host, port) = address.rsplit_once(':').unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    !host.is_empty() && !host.starts_with('-') && host.chars().all(is_plain) && port.parse::<u16>().is_ok()
}

/// `http://` and a private address, perhaps with a port: nobody is sent to a page elsewhere.
fn is_page_of_a_router(page: &str) -> bool {
    let rest = page.strip_prefix("http://").or_else(|| page.strip_prefix("https://")).unwrap_or_default();
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let ip = rest.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| rest.parse::<IpAddr>());
    match ip {
        Ok(IpAddr::V4(ip)) => ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => (ip.segments()[0] & 0xfe00) == 0xfc00 || (ip.segments()[0] & 0xffc0) == 0xfe80,
        Err(_) => false,
    }
}

fn text(said: &mut String) {
    let is_plain = said.chars().take(MOST_CHARACTERS + 1).count() <= MOST_CHARACTERS
        && !said.chars().any(|c| c.is_control() || is_invisible(c) || c == '`');
    if !is_plain {
        // What stands between backquotes is a command.
        let plain = said.chars().filter(|c| !c.is_control() && !is_invisible(*c));
        *said = plain.map(|c| if c == '`' { '\'' } else { c }).take(MOST_CHARACTERS).collect();
    }
}

/// What turns the direction of writing round, or has no width.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Hub, Keeps, Listener, Names};
    use crate::firewall::{RemoteAccess, RulePlace};

    #[test]
    fn long_lists_long_texts_and_what_is_not_to_be_seen_are_cut() {
        let hostile = format!("\u{1b}[31m\u{202e}{}\n", "x".repeat(1000));
        let side = Side {
            version: hostile.clone(),
            public: vec!["11.0.0.1:4242".into(); 1000],
            hubs: vec![Hub { at: hostile.clone(), works: false, error: Some(hostile) }; 1000],
            ..Side::default()
        };
        let tamed = side.tamed();
        assert_eq!((tamed.public.len(), tamed.hubs.len()), (MOST_ENTRIES, MOST_ENTRIES));
        for said in [&tamed.version, &tamed.hubs[0].at] {
            assert!(said.len() <= MOST_CHARACTERS && said.starts_with("[31mx"), "{said:?}");
        }
    }

    /// The names of all that is said, as `listener.port`.
    fn said(value: &serde_json::Value, at: &str, names: &mut std::collections::BTreeSet<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    let name = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                    said(value, &name, names);
                }
            }
            serde_json::Value::Array(all) if all.iter().any(|one| one.is_object() || one.is_array()) => {
                all.iter().for_each(|one| said(one, at, names));
            }
            serde_json::Value::Null => {}
            _ => {
                names.insert(at.to_owned());
            }
        }
    }

    #[test]
    fn others_are_told_what_they_need_and_nothing_else() {
        let place = || Some(RulePlace { table: "filter".into(), ..RulePlace::default() });
        let mut side = Side {
            program: Some("/home/anna/SECRET/kith".into()),
            proxy: Some("SECRET.example:3128".into()),
            hubs: vec![Hub {
                at: "kith://SECRET@hub.example:443".into(),
                works: false,
                error: Some("SECRET is not registered".into()),
            }],
            keeps: Some(Keeps {
                trouble: Some("/srv/SECRET: input/output error".into()),
                offered: Some(1),
                free: Some(2),
                ..Keeps::default()
            }),
            tests: vec![Test {
                address: "11.0.0.1:4242".into(),
                result: TestResult::ProxyRefuses,
                detail: Some("the proxy SECRET.example:3128 says no".into()),
                ..Test::default()
            }],
            names: Some(Names { name: "home.example.org:4242".into(), ..Names::default() }),
            clock_synchronised: Some(true),
            clocks: vec![1],
            keeps_ports: Some(true),
            last_inbound: Some(1),
            internal: vec!["192.168.1.5:4242".into()],
            public: vec!["11.0.0.1:4242".into()],
            ..Side::default()
        };
        side.listener = Listener {
            taken_by: Some("/opt/SECRET/nginx (process 81234)".into()),
            error: Some("port 4242 is held by nginx (process 81234)".into()),
            free_port: Some(4300),
            shared_with: vec!["192.168.1.6:4242".into()],
            ..Listener::default()
        };
        side.firewall.inbound_rule = Some("policy drop".into());
        side.firewall.inbound_place = place();
        side.firewall.zone = Some("public".into());
        side.firewall.has_policy = Some(true);
        side.firewall.worked = Some(1);
        side.firewall.security = vec!["SELinux (enforcing)".into()];
        side.firewall.remotes =
            vec![RemoteAccess { address: "11.0.0.2:4242".into(), ..RemoteAccess::default() }];
        side.network.gateway = Some("192.168.1.1".into());
        side.network.gateway_answers = Some(true);
        side.network.way_out = Some(true);
        side.network.mtu = Some(1500);
        side.mapping.external = Some("11.0.0.1:4242".into());
        side.mapping.protocol = Some("upnp".into());
        side.mapping.protocols = vec![("upnp".into(), "mapped".into())];
        side.mapping.router = Some("a router".into());
        side.mapping.page = Some("http://192.168.1.1/".into());
        side.mapping.worked = Some(1);
        let told = side.told();
        assert_eq!(
            (told.program.as_deref(), told.listener.taken_by.as_deref()),
            (Some("kith"), Some("nginx"))
        );
        assert_eq!((told.hubs[0].at.as_str(), told.proxy.as_deref()), ("hub.example:443", Some("")));
        let json = serde_json::to_string(&told).unwrap();
        assert!(
            !json.contains("SECRET")
                && !json.contains("192.168.1.6")
                && !json.contains("81234")
                && !json.contains("/home"),
            "{json}"
        );
        let mut names = std::collections::BTreeSet::new();
        said(&serde_json::from_str(&json).unwrap(), "", &mut names);
        let expected: Vec<&str> = include_str!("told.txt").lines().collect();
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{names:#?}");
    }

    #[test]
    fn a_computer_has_woken_before_it_says_so_and_has_not_slept_for_ever() {
        let slept = |woken, slept| {
            let side = Side { time: 1000, woken: Some(woken), slept: Some(slept), ..Side::default() }.tamed();
            (side.woken, side.slept)
        };
        assert_eq!(slept(990, 8 * 3600), (Some(990), Some(8 * 3600)));
        assert_eq!(slept(990, u64::MAX), (Some(990), None));
        assert_eq!(
            (slept(1001, 9), slept(-1, 9), slept(i64::MIN, 9)),
            ((None, None), (None, None), (None, None))
        );
    }

    #[test]
    fn what_goes_into_commands_and_links_is_an_address_and_nothing_else() {
        let mut side = Side {
            internal: ["192.168.1.5:4242", "$(reboot):1"].map(str::to_owned).to_vec(),
            public: ["home.example.org:4242", "[2001:db8::1]:4242", "x;reboot:1", "-f:1", "a b:1", "host"]
                .map(str::to_owned)
                .to_vec(),
            ..Side::default()
        };
        side.network.gateway = Some("`reboot`".into());
        side.mapping.external = Some("x`reboot`:1".into());
        side.mapping.page = Some("http://192.168.1.1:8080/".into());
        let tamed = side.clone().tamed();
        assert_eq!(tamed.internal, ["192.168.1.5:4242"]);
        assert_eq!(tamed.public, ["home.example.org:4242", "[2001:db8::1]:4242"]);
        assert_eq!((tamed.network.gateway, tamed.mapping.external), (None, None));
        assert_eq!(tamed.mapping.page, side.mapping.page);
        for elsewhere in
            ["http://8.8.8.8/", "http://router.evil.example/", "javascript:x", "http://192.168.1.1@evil/"]
        {
            side.mapping.page = Some(elsewhere.into());
            assert_eq!(side.clone().tamed().mapping.page, None, "{elsewhere}");
        }
    }
}
