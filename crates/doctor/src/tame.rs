//! What others say of themselves is bounded and made safe to show before anything is made of it.

use crate::facts::{MOST_TESTS, Side};

/// Most entries of any other list.
const MOST_ENTRIES: usize = 16;
/// Most characters of any text.
const MOST_CHARACTERS: usize = 300;

impl Side {
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
        ] {
            optional.iter_mut().for_each(text);
        }
        text(&mut self.mapping.state);
        for place in
            [&mut self.firewall.inbound_place, &mut self.firewall.outbound_place].into_iter().flatten()
        {
            for said in [&mut place.family, &mut place.table, &mut place.chain] {
                text(said);
            }
        }
        self.firewall.remotes.truncate(MOST_ENTRIES);
        for remote in &mut self.firewall.remotes {
            text(&mut remote.address);
            remote.inbound_rule.iter_mut().chain(&mut remote.outbound_rule).for_each(text);
        }
        for list in [&mut self.internal, &mut self.public, &mut self.firewall.security] {
            list.truncate(MOST_ENTRIES);
            list.iter_mut().for_each(text);
        }
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

fn text(said: &mut String) {
    let is_plain = said.chars().take(MOST_CHARACTERS + 1).count() <= MOST_CHARACTERS
        && !said.chars().any(|c| c.is_control() || is_invisible(c));
    if !is_plain {
        *said = said.chars().filter(|c| !c.is_control() && !is_invisible(*c)).take(MOST_CHARACTERS).collect();
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
            public: vec![hostile.clone(); 1000],
            hubs: vec![Hub { at: hostile.clone(), works: false, error: Some(hostile) }; 1000],
            ..Side::default()
        };
        let tamed = side.tamed();
        assert_eq!((tamed.public.len(), tamed.hubs.len()), (MOST_ENTRIES, MOST_ENTRIES));
        for said in [&tamed.version, &tamed.public[0], &tamed.hubs[0].at] {
            assert!(said.len() <= MOST_CHARACTERS && said.starts_with("[31mx"), "{said:?}");
        }
    }
}
