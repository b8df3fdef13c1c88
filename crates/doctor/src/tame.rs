//! What others say of themselves is bounded and made safe to show before anything is made of it.

use std::net::{IpAddr, SocketAddr};

use crate::facts::{MOST_TESTS, Side};

/// Most entries of any other list.
const MOST_ENTRIES: usize = 16;
/// Most characters of any text.
const MOST_CHARACTERS: usize = 300;

impl Side {
    /// What of it is said to others: of paths the last part.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.program = self.program.and_then(|path| Some(path.rsplit(['/', '\\']).next()?.to_owned()));
        self
    }

    /// The same, with short lists and short, printable texts.
    #[must_use]
    pub fn tamed(mut self) -> Self {
        text(&mut self.version);
        self.clocks.truncate(MOST_ENTRIES);
        for optional in [
            &mut self.program,
            &mut self.listener.error,
            &mut self.listener.taken_by,
            &mut self.proxy,
            &mut self.proxy_error,
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
        for list in [&mut self.internal, &mut self.public, &mut self.firewall.security] {
            list.truncate(MOST_ENTRIES);
            list.iter_mut().for_each(text);
        }
        // These go into commands and links that a person is shown.
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
    use crate::facts::Hub;

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
