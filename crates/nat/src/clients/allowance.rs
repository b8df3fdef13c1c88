//! How much is listened to where anybody may speak.

use std::net::IpAddr;
use std::time::Duration;

use kith_network::Snapshot;
use tokio::time::Instant;

/// The window of time that datagrams are counted in.
const WINDOW: Duration = Duration::from_secs(1);
/// Most datagrams in a window that are looked into, of the gateways together and of all others together. A gateway announces all
/// its parts several times in one burst.
pub(super) const MOST_HEARD: u32 = 64;
/// Most datagrams in a window that are taken from the socket at all, which costs little. Beyond it nothing is read: the system
/// drops what its buffer can't hold, and that costs this program nothing. Routers repeat their news.
pub(super) const MOST_READ: u32 = 512;

/// Who sent a datagram, as far as its address tells. On the same link anybody can lie about that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// A gateway of ours.
    Gateway,
    /// Anybody.
    Other,
}

impl Sender {
    pub(super) fn of(from: IpAddr, snapshot: &Snapshot) -> Self {
        let from = from.to_canonical();
        if snapshot.gateways.iter().any(|gateway| gateway.address.to_canonical() == from) {
            Self::Gateway
        } else {
            Self::Other
        }
    }
}

/// Counts the datagrams of a socket. What others send never uses up what gateways may say.
#[derive(Debug)]
pub(super) struct Allowance {
    window: Instant,
    read: u32,
    of_gateways: u32,
    of_others: u32,
}

impl Allowance {
    pub(super) const fn new(now: Instant) -> Self {
        Self { window: now, read: 0, of_gateways: 0, of_others: 0 }
    }

    /// One more was read: whether it may be looked into.
    pub(super) fn admits(&mut self, sender: Sender, now: Instant) -> bool {
        if now >= self.window + WINDOW {
            *self = Self::new(now);
        }
        self.read += 1;
        let count = match sender {
            Sender::Gateway => &mut self.of_gateways,
            Sender::Other => &mut self.of_others,
        };
        *count += 1;
        *count <= MOST_HEARD
    }

    /// Until when nothing is to be read, if there were too many.
    pub(super) fn quiet_until(&self) -> Option<Instant> {
        (self.read >= MOST_READ).then(|| self.window + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_do_not_use_up_what_gateways_may_say() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let heard = |allowance: &mut Allowance, sender, count, now| {
            (0..count).filter(|_| allowance.admits(sender, now)).count()
        };
        assert_eq!(heard(&mut allowance, Sender::Other, 200, start), 64);
        assert_eq!(heard(&mut allowance, Sender::Gateway, 200, start), 64);
        assert_eq!(allowance.quiet_until(), None);
        assert_eq!(heard(&mut allowance, Sender::Other, 112, start), 0);
        let later = start + Duration::from_secs(1);
        assert_eq!(allowance.quiet_until(), Some(later), "and a flood is read at a bounded rate");
        assert_eq!(heard(&mut allowance, Sender::Other, 1, later), 1);
        assert_eq!(allowance.quiet_until(), None);
    }
}
