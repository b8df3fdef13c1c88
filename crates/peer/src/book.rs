//! What is known of a friend's addresses, and in which order they are tried. Pure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kith_wire::Class;

use crate::outbound::NamedBy;
use crate::way::{CandidateKind, Place};

/// Most addresses tried in one race.
const MOST_CANDIDATES: usize = 24;
/// Most addresses in our network at which a friend was just seen.
const MOST_NEARBY: usize = 8;
/// Between two starts inside the friend's network.
const INTERNAL_STAGGER: Duration = Duration::from_millis(30);
/// Before the first public address, and between two of them.
const PUBLIC_STAGGER: Duration = Duration::from_millis(250);
/// Before others are asked for help.
const BEFORE_CALL: Duration = Duration::from_millis(500);

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
    /// The friend's own words: its router's addresses that are not public.
    pub routers: Vec<String>,
    /// From the invite.
    pub invited: Vec<String>,
}

/// Something to try, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) target: Target,
    pub(crate) kind: CandidateKind,
    /// Time after the start of the race; a race that has nothing left to wait for starts it earlier.
    pub(crate) delay: Duration,
}

/// What is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To dial `host:port`.
    Address(String),
    /// To ask others for help.
    Call,
}

impl Candidate {
    pub(crate) fn address(address: &str, kind: CandidateKind, delay: Duration) -> Self {
        Self { target: Target::Address(address.to_owned()), kind, delay }
    }

    pub(crate) const fn call() -> Self {
        Self { target: Target::Call, kind: CandidateKind::Relayed, delay: BEFORE_CALL }
    }

    fn is_at(&self, address: &str) -> bool {
        matches!(&self.target, Target::Address(own) if own == address)
    }
}

/// All that is known of a friend's addresses, by where it is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// What the program around this crate says.
    book: AddressBook,
    /// What his newest address record says: its last good, configured and invited ones don't count.
    record: AddressBook,
    /// Where he was just seen in our network, `ip:port`.
    nearby: Vec<String>,
}

impl Known {
    pub(crate) fn new(book: AddressBook) -> Self {
        Self { book, ..Self::default() }
    }

    /// Says whether that is news. To have been reached somewhere is none.
    pub(crate) fn set_book(&mut self, book: AddressBook) -> bool {
        let before = std::mem::replace(&mut self.book, book);
        AddressBook { last_good: self.book.last_good.clone(), ..before } != self.book
    }

    /// Says whether that is news.
    pub(crate) fn set_record(&mut self, record: AddressBook) -> bool {
        std::mem::replace(&mut self.record, record) != self.record
    }

    /// Says whether that is news: that he is gone is none.
    pub(crate) fn set_nearby(&mut self, nearby: &[SocketAddr]) -> bool {
        let nearby: Vec<String> = nearby.iter().take(MOST_NEARBY).map(ToString::to_string).collect();
        let is_news = nearby.iter().any(|address| !self.nearby.contains(address));
        self.nearby = nearby;
        is_news
    }

    /// The address by which he is to be dialled, who has dialled us from `remote`.
    pub(crate) fn likeliest(&self, remote: IpAddr) -> Option<&String> {
        let Self { book, record, .. } = self;
        let outside = || book.configured.iter().chain(&book.public).chain(&record.public);
        let all = || outside().chain(&book.last_good).chain(&book.internal).chain(&record.internal);
        let is_there = |address: &&String| {
            address.parse::<SocketAddr>().is_ok_and(|at| at.ip().to_canonical() == remote.to_canonical())
        };
        all().find(is_there).or_else(|| all().next())
    }

    /// Who named an address: what is not the person's word may lead nowhere on this computer, whatever a name stands for.
    pub(crate) fn told(&self, address: &str) -> NamedBy {
        let is_ours = self.book.configured.iter().any(|own| own == address);
        if is_ours { NamedBy::Person } else { NamedBy::Others }
    }

    /// Where an address is, apart from what it looks like.
    pub(crate) fn place(&self, address: &str) -> Place {
        let is_in = |list: &[String]| list.iter().any(|own| own == address);
        if is_in(&self.nearby) {
            Place::SameNetwork
        } else if is_in(&self.book.routers) || is_in(&self.record.routers) {
            Place::Router
        } else {
            Place::Unknown
        }
    }

    /// The race: where he was just seen, the last good address, those added by hand and the internal ones at once, public ones
    /// after them.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        use CandidateKind::{Invited, Lan, LastGood, Nearby, Public, Router, Static};
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut add = |address: &String, kind, delay| {
            let is_new = candidates.iter().all(|candidate| !candidate.is_at(address));
            let added = candidates.len() < MOST_CANDIDATES && is_new;
            if added {
                candidates.push(Candidate::address(address, kind, delay));
            }
            added
        };
        for address in &self.nearby {
            add(address, Nearby, Duration::ZERO);
        }
        let Self { book, record, .. } = self;
        if let Some(address) = &book.last_good {
            add(address, LastGood, Duration::ZERO);
        }
        let of = |list: &'_ [String], kind| {
            list.iter().cloned().map(|address| (address, kind)).collect::<Vec<_>>()
        };
        let anywhere = [
            of(&book.configured, Static),
            of(&book.internal, Lan),
            of(&record.internal, Lan),
            of(&book.invited, Invited),
        ];
        let (near, far): (Vec<_>, Vec<_>) =
            anywhere.into_iter().flatten().partition(|(address, _)| !is_public(address));
        let mut delay = Duration::ZERO;
        for (address, kind) in near {
            if add(&address, kind, delay) {
                delay += INTERNAL_STAGGER;
            }
        }
        let outside = [
            of(&book.public, Public),
            of(&record.public, Public),
            of(&book.routers, Router),
            of(&record.routers, Router),
        ];
        let mut delay = PUBLIC_STAGGER;
        for (address, kind) in far.into_iter().chain(outside.into_iter().flatten()) {
            if add(&address, kind, delay) {
                delay += PUBLIC_STAGGER;
            }
        }
        candidates.sort_by_key(|candidate| candidate.delay);
        candidates
    }

    /// The race for a way that is better than this class.
    pub(crate) fn better_than(&self, class: Class) -> Vec<Candidate> {
        let mut candidates = self.candidates();
        if class <= Class::Direct {
            candidates.retain(|candidate| match &candidate.target {
                Target::Address(address) => match self.place(address) {
                    Place::SameNetwork => true,
                    Place::Router | Place::BehindProxy => false,
                    Place::Unknown => !is_public(address),
                },
                Target::Call => false,
            });
        }
        candidates
    }
}

/// Whether an address, `host:port`, lies outside: a public IP address or a name.
fn is_public(address: &str) -> bool {
    address.parse::<SocketAddr>().map_or(true, |address| !is_internal(address.ip()))
}

/// Whether the name of a host can stand for nothing but the computer that looks it up, or is an IP address in an old spelling (`127.1`),
/// which whoever looks it up understands.
#[must_use]
pub fn is_local_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.strip_prefix("0x").unwrap_or(last).bytes().all(|byte| byte.is_ascii_hexdigit())
        && last.starts_with(|first: char| first.is_ascii_digit());
    last == "localhost" || host == "localhost.localdomain" || host.is_empty() || is_number
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

    fn address_of(candidate: Candidate) -> String {
        match candidate.target {
            Target::Address(address) => address,
            Target::Call => panic!("an address"),
        }
    }

    fn plan(book: &AddressBook) -> Vec<(String, u128)> {
        let candidates = Known::new(book.clone()).candidates();
        candidates.into_iter().map(|c| (c.delay.as_millis(), address_of(c))).map(|(d, a)| (a, d)).collect()
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

    #[test]
    fn where_he_was_just_seen_goes_before_all_others_and_is_news_once() {
        let mut known = Known::new(AddressBook {
            last_good: Some("11.0.0.1:4242".into()),
            internal: strings(&["10.0.0.2:4242"]),
            ..AddressBook::default()
        });
        let seen = ["10.0.0.9:4242".parse().unwrap()];
        assert!(known.set_nearby(&seen));
        assert!(!known.set_nearby(&seen));
        assert_eq!(address_of(known.candidates()[0].clone()), "10.0.0.9:4242");
        assert!(!known.set_nearby(&[]), "he is gone");
        assert_eq!(address_of(known.candidates()[0].clone()), "11.0.0.1:4242");
    }

    #[test]
    fn to_have_been_reached_somewhere_is_no_news_and_other_addresses_are() {
        let mut known = Known::default();
        let book = AddressBook { internal: strings(&["10.0.0.2:4242"]), ..AddressBook::default() };
        assert!(known.set_book(book.clone()));
        let reached = AddressBook { last_good: Some("10.0.0.2:4242".into()), ..book };
        assert!(!known.set_book(reached.clone()));
        assert!(known.set_book(AddressBook { internal: Vec::new(), ..reached }));
        let record = AddressBook { public: strings(&["11.0.0.1:4242"]), ..AddressBook::default() };
        assert!(known.set_record(record.clone()));
        assert!(!known.set_record(record));
    }

    #[test]
    fn a_name_that_stands_for_whoever_looks_it_up_is_told_from_others() {
        for local in [
            "localhost",
            "LOCALHOST.",
            "x.localhost",
            "localhost.localdomain",
            "127.1",
            "127.0.0.1.",
            "2130706433",
            "0x7f.1",
            "1.0x7f000001",
            "0177.1",
            ".",
            "",
        ] {
            assert!(is_local_name(local), "{local}");
        }
        for name in [
            "home.example",
            "localhost.example",
            "nas",
            "7.example",
            "1.2.3.4.in-addr.arpa",
            "0xide.f00d.dev",
        ] {
            assert!(!is_local_name(name), "{name}");
        }
    }

    #[test]
    fn only_what_the_person_typed_is_the_persons_word() {
        let known = Known::new(AddressBook {
            last_good: Some("home.example:1".into()),
            configured: strings(&["nas:1"]),
            invited: strings(&["invited.example:1"]),
            public: strings(&["public.example:1"]),
            ..AddressBook::default()
        });
        assert_eq!(known.told("nas:1"), NamedBy::Person);
        for other in ["home.example:1", "invited.example:1", "public.example:1", "unknown.example:1"] {
            assert_eq!(known.told(other), NamedBy::Others, "{other}");
        }
    }

    #[test]
    fn only_addresses_inside_are_better_than_a_direct_link_and_a_router_of_a_carrier_is_none() {
        let mut known = Known::new(AddressBook {
            internal: strings(&["192.168.1.5:4242", "[2001:db8::5]:4242"]),
            public: strings(&["11.0.0.1:4242"]),
            routers: strings(&["10.64.0.7:4242"]),
            ..AddressBook::default()
        });
        known.set_nearby(&["[2001:db8::9]:4242".parse().unwrap()]);
        let than = |class| known.better_than(class).into_iter().map(address_of).collect::<Vec<_>>();
        assert_eq!(than(Class::Direct), ["[2001:db8::9]:4242", "192.168.1.5:4242"]);
        assert_eq!(than(Class::Relayed).len(), 5);
        assert_eq!(known.place("10.64.0.7:4242"), Place::Router);
    }
}
