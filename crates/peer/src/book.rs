//! What is known of a friend's addresses, and in which order they are tried. Pure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Most addresses tried in one race.
const MOST_CANDIDATES: usize = 24;
/// Between two starts inside the friend's network.
const INTERNAL_STAGGER: Duration = Duration::from_millis(30);
/// Before the first public address, and between two of them.
const PUBLIC_STAGGER: Duration = Duration::from_millis(250);

/// What is known of a friend's addresses; every entry is `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressBook {
    /// Where the friend was reached last.
    pub last_good: Option<String>,
    /// Added by hand.
    pub configured: Vec<String>,
    /// The friend's own words: inside its network.
    pub internal: Vec<String>,
    /// The friend's own words, or our observation: from outside.
    pub public: Vec<String>,
    /// From the invite.
    pub invited: Vec<String>,
}

/// An address to try, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// `host:port`.
    pub(crate) address: String,
    /// Time after the start of the race; a race that has nothing left to wait for starts it earlier.
    pub(crate) delay: Duration,
}

impl AddressBook {
    /// The race: the last good address, those added by hand and the internal ones at once, public ones after them.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut add = |address: &String, delay| {
            if candidates.len() < MOST_CANDIDATES && candidates.iter().all(|c| c.address != *address) {
                candidates.push(Candidate { address: address.clone(), delay });
                true
            } else {
                false
            }
        };
        if let Some(address) = &self.last_good {
            add(address, Duration::ZERO);
        }
        let mut delay = Duration::ZERO;
        let (near, far): (Vec<_>, Vec<_>) = self
            .configured
            .iter()
            .chain(&self.internal)
            .chain(&self.invited)
            .partition(|address| !is_public(address));
        for address in near {
            if add(address, delay) {
                delay += INTERNAL_STAGGER;
            }
        }
        let mut delay = PUBLIC_STAGGER;
        for address in far.into_iter().chain(&self.public) {
            if add(address, delay) {
                delay += PUBLIC_STAGGER;
            }
        }
        candidates.sort_by_key(|candidate| candidate.delay);
        candidates
    }
}

/// Whether an address, `host:port`, lies outside: a public IP address or a name.
fn is_public(address: &str) -> bool {
    address.parse::<SocketAddr>().map_or(true, |address| !is_internal(address.ip()))
}

/// Whether an IP address belongs to a local network: loopback, private (RFC 1918), link-local, unique local
/// (RFC 4193).
#[must_use]
pub fn is_internal(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(addresses: &[&str]) -> Vec<String> {
        addresses.iter().map(|a| (*a).to_owned()).collect()
    }

    fn plan(book: &AddressBook) -> Vec<(String, u128)> {
        book.candidates().into_iter().map(|c| (c.address, c.delay.as_millis())).collect()
    }

    #[test]
    fn a_living_internal_address_behind_dead_ones_starts_within_three_hundred_milliseconds() {
        let internal: Vec<String> = (1..=9).map(|i| format!("192.168.1.{i}:4242")).collect();
        let book = AddressBook { internal, public: strings(&["11.0.0.1:4242"]), ..AddressBook::default() };
        let last_internal = plan(&book).into_iter().find(|(a, _)| a == "192.168.1.9:4242").unwrap();
        assert!(last_internal.1 < 300, "{last_internal:?}");
    }

    #[test]
    fn the_last_good_address_goes_first_and_no_address_goes_twice() {
        let book = AddressBook {
            last_good: Some("11.0.0.1:4242".into()),
            internal: strings(&["10.0.0.2:4242"]),
            public: strings(&["11.0.0.1:4242", "11.0.0.2:4242"]),
            invited: strings(&["10.0.0.2:4242"]),
            ..AddressBook::default()
        };
        let expected = [("11.0.0.1:4242", 0), ("10.0.0.2:4242", 0), ("11.0.0.2:4242", 250)];
        assert_eq!(plan(&book), expected.map(|(a, d)| (a.to_owned(), d)));
    }

    #[test]
    fn names_count_as_public_and_the_race_is_bounded() {
        let book = AddressBook {
            configured: strings(&["home.example:4242", "192.168.7.7:4242"]),
            public: (0..100).map(|i| format!("11.0.0.{i}:4242")).collect(),
            ..AddressBook::default()
        };
        let plan = plan(&book);
        assert_eq!(plan[0], ("192.168.7.7:4242".into(), 0));
        assert_eq!(plan[1], ("home.example:4242".into(), 250));
        assert_eq!(plan.len(), MOST_CANDIDATES);
    }
}
