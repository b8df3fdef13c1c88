//! Which requests of one friend are carried out. Pure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

/// Between two requests of one friend that are carried out.
pub(super) const BETWEEN: Duration = Duration::from_secs(10);

/// What is known of one friend: where his connections come from, and when he was last called.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// As many as he has connections, of which there are few.
    present: Vec<(PresenceId, IpAddr)>,
    next: u64,
    last: Option<Instant>,
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PresenceId(u64);

/// What becomes of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is called.
    Call,
    /// It could be, but not yet.
    TooSoon {
        /// How long from now.
        wait: Duration,
    },
    /// It isn't: no connection of the friend comes from there.
    NotAllowed,
    /// It isn't: a connection of the friend comes from there, but what is there is this computer, a router of it, or beside it.
    Inside,
}

impl Guard {
    /// A connection whose other end, at this address, has proved to be the friend.
    pub(super) fn enter(&mut self, remote: IpAddr) -> PresenceId {
        let id = PresenceId(self.next);
        self.next += 1;
        self.present.push((id, remote.to_canonical()));
        id
    }

    /// It is over.
    pub(super) fn leave(&mut self, id: PresenceId) {
        self.present.retain(|(present, _)| *present != id);
    }

    /// Judges one request; `is_outside` knows which addresses are [outside](super::is_outside). Only a request that leads to a call
    /// counts against the next.
    pub(super) fn judge(
        &mut self,
        addresses: &[SocketAddr],
        is_outside: impl Fn(IpAddr) -> bool,
        now: Instant,
    ) -> Vec<(SocketAddr, Judgement)> {
        let wait = self.last.and_then(|last| (last + BETWEEN).checked_duration_since(now));
        let due = match wait {
            Some(wait) if !wait.is_zero() => Judgement::TooSoon { wait },
            _ => Judgement::Call,
        };
        let judge = |&address: &SocketAddr| match self.allows(address) {
            true if is_outside(address.ip().to_canonical()) => (address, due),
            true => (address, Judgement::Inside),
            false => (address, Judgement::NotAllowed),
        };
        let judged: Vec<_> = addresses.iter().map(judge).collect();
        if judged.iter().any(|(_, judgement)| *judgement == Judgement::Call) {
            self.last = Some(now);
        }
        judged
    }

    /// Exactly the address of a connection and no neighbour of it.
    fn allows(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        address.port() >= kith_wire::LEAST_DIAL_BACK_PORT
            && self.present.iter().any(|(_, present)| *present == ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRIEND: &str = "11.0.113.5";

    fn connected(remotes: &[&str]) -> Guard {
        let mut guard = Guard::default();
        for remote in remotes {
            guard.enter(remote.parse().unwrap());
        }
        guard
    }

    /// Inside are all addresses that begin with 192, 127 or 0.
    fn check(guard: &mut Guard, addresses: &[&str], now: Instant, expected: &[Judgement]) {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let outside = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ![0, 127, 192].contains(&ip.octets()[0]),
            IpAddr::V6(ip) => ip.segments()[0] != 0,
        };
        let judged = guard.judge(&addresses, outside, now);
        let judged: Vec<Judgement> = judged.into_iter().map(|(_, verdict)| verdict).collect();
        assert_eq!(judged, expected, "{addresses:?}");
    }

    #[test]
    fn only_the_very_address_of_a_connection_is_called() {
        let now = Instant::now();
        for (remote, address, expected) in [
            (FRIEND, "11.0.113.5:4242", Judgement::Call),
            (FRIEND, "11.0.113.5:1024", Judgement::Call),
            (FRIEND, "11.0.113.5:65535", Judgement::Call),
            (FRIEND, "[::ffff:11.0.113.5]:4242", Judgement::Call),
            ("::ffff:11.0.113.5", "11.0.113.5:4242", Judgement::Call),
            (FRIEND, "11.0.113.5:1023", Judgement::NotAllowed),
            (FRIEND, "11.0.113.5:22", Judgement::NotAllowed),
            (FRIEND, "11.0.113.6:4242", Judgement::NotAllowed),
            (FRIEND, "192.168.1.1:4242", Judgement::NotAllowed),
            (FRIEND, "127.0.0.1:4242", Judgement::NotAllowed),
            (FRIEND, "0.0.0.0:4242", Judgement::NotAllowed),
            (FRIEND, "224.0.0.1:4242", Judgement::NotAllowed),
            (FRIEND, "[::1]:4242", Judgement::NotAllowed),
            (FRIEND, "[2001:db8::5]:4242", Judgement::NotAllowed),
            ("2001:db8::5", "[2001:db8::5]:4242", Judgement::Call),
            ("2001:db8::5", "[2001:db8::6]:4242", Judgement::NotAllowed),
            ("127.0.0.1", "127.0.0.2:4242", Judgement::NotAllowed),
            ("127.0.0.1", "[::1]:4242", Judgement::NotAllowed),
        ] {
            check(&mut connected(&[remote]), &[address], now, &[expected]);
        }
    }

    #[test]
    fn an_address_inside_is_not_called_even_if_a_connection_comes_from_there() {
        let now = Instant::now();
        for (remote, address) in [
            ("127.0.0.1", "127.0.0.1:4242"),
            ("::ffff:127.0.0.1", "127.0.0.1:4242"),
            ("127.0.0.1", "[::ffff:127.0.0.1]:4242"),
            ("::1", "[::1]:4242"),
            ("192.168.1.1", "192.168.1.1:4242"),
            ("0.0.0.0", "0.0.0.0:4242"),
        ] {
            check(&mut connected(&[remote]), &[address], now, &[Judgement::Inside]);
        }
        // It doesn't count against what is called, in the same request or in the next.
        let mut guard = connected(&["192.168.1.1", "2001:db8::5"]);
        check(&mut guard, &["192.168.1.1:4242"], now, &[Judgement::Inside]);
        let both = ["192.168.1.1:4242", "[2001:db8::5]:4242"];
        check(&mut guard, &both, now, &[Judgement::Inside, Judgement::Call]);
    }

    #[test]
    fn each_family_needs_a_connection_of_its_own() {
        let now = Instant::now();
        let both = ["11.0.113.5:4242", "[2001:db8::5]:4242"];
        check(&mut connected(&[FRIEND]), &both, now, &[Judgement::Call, Judgement::NotAllowed]);
        check(&mut connected(&[FRIEND, "2001:db8::5"]), &both, now, &[Judgement::Call, Judgement::Call]);
    }

    #[test]
    fn an_address_may_be_called_for_as_long_as_a_connection_comes_from_there() {
        let now = Instant::now();
        let mut guard = Guard::default();
        let remote = FRIEND.parse().unwrap();
        let (one, other) = (guard.enter(remote), guard.enter(remote));
        guard.leave(one);
        check(&mut guard, &["11.0.113.5:4242"], now, &[Judgement::Call]);
        guard.leave(other);
        check(&mut guard, &["11.0.113.5:4242"], now + BETWEEN, &[Judgement::NotAllowed]);
        assert!(guard.present.is_empty());
    }

    #[test]
    fn a_friend_is_called_once_in_ten_seconds_and_refusals_do_not_count() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let wait = |milliseconds| Judgement::TooSoon { wait: Duration::from_millis(milliseconds) };
        let mut guard = connected(&[FRIEND]);
        let address = ["11.0.113.5:4242"];
        check(&mut guard, &["11.0.113.6:4242"], after(0), &[Judgement::NotAllowed]);
        check(&mut guard, &address, after(1), &[Judgement::Call]);
        check(&mut guard, &address, after(1), &[wait(10_000)]);
        check(&mut guard, &["11.0.113.6:4242"], after(2), &[Judgement::NotAllowed]);
        check(&mut guard, &address, after(10_000), &[wait(1)]);
        check(&mut guard, &address, after(10_001), &[Judgement::Call]);
        check(&mut guard, &address, after(10_002), &[wait(9_999)]);
    }

    #[test]
    fn a_new_connection_does_not_shorten_the_wait() {
        let now = Instant::now();
        let mut guard = Guard::default();
        let id = guard.enter(FRIEND.parse().unwrap());
        check(&mut guard, &["11.0.113.5:4242"], now, &[Judgement::Call]);
        guard.leave(id);
        guard.enter(FRIEND.parse().unwrap());
        check(&mut guard, &["11.0.113.5:4243"], now, &[Judgement::TooSoon { wait: BETWEEN }]);
    }
}
