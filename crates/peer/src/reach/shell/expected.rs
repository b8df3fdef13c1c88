//! From where friends' halves of punches may come in. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kith_wire::DeviceId;

/// How long after a punch a connection from where it led counts as punched.
const PUNCHED_FOR: Duration = Duration::from_secs(20);
/// Most addresses of one friend: the targets of a few rounds.
const MOST_OF_ONE: usize = 16;

/// Where punches led just now.
#[derive(Debug, Default)]
pub(super) struct Expected(BTreeMap<DeviceId, (Instant, Vec<SocketAddr>)>);

impl Expected {
    /// A punch leads there from now on.
    pub(super) fn expect(&mut self, friend: DeviceId, targets: &[SocketAddr], now: Instant) {
        self.0.retain(|_, (until, _)| now < *until);
        let (until, from) = self.0.entry(friend).or_insert_with(|| (now, Vec::new()));
        *until = now + PUNCHED_FOR;
        from.splice(0..0, targets.iter().copied().map(plain));
        from.truncate(MOST_OF_ONE);
    }

    /// Whether a connection from there is his half of one. From another port he has dialled us, and got in as everybody does.
    pub(super) fn is_expected(&self, friend: &DeviceId, remote: SocketAddr, now: Instant) -> bool {
        self.0.get(friend).is_some_and(|(until, from)| now < *until && from.contains(&plain(remote)))
    }
}

/// Without the form that IPv4 addresses have on sockets for both families.
const fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_dials_from_where_a_punch_just_led_was_not_punched() {
        let (now, anna, bert) =
            (Instant::now(), DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]));
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mut expected = Expected::default();
        expected.expect(anna, &[at("11.0.0.1:4242")], now);
        assert!(expected.is_expected(&anna, at("[::ffff:11.0.0.1]:4242"), now));
        assert!(!expected.is_expected(&anna, at("11.0.0.1:50000"), now), "an ordinary dial");
        assert!(!expected.is_expected(&bert, at("11.0.0.1:4242"), now));
        // The first round may still lead to something while the second one is under way.
        expected.expect(anna, &[at("11.0.0.1:2001")], now + Duration::from_secs(4));
        let later = now + PUNCHED_FOR;
        assert!(expected.is_expected(&anna, at("11.0.0.1:4242"), later));
        assert!(!expected.is_expected(&anna, at("11.0.0.1:2001"), later + Duration::from_secs(4)));
        for port in 3000..3100 {
            expected.expect(anna, &[SocketAddr::new(at("11.0.0.1:1").ip(), port)], now);
        }
        assert_eq!(expected.0[&anna].1.len(), MOST_OF_ONE);
    }
}
