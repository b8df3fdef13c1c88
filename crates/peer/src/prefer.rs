//! Which of two connections to the same friend is kept. Pure, and the same at both ends.

use std::time::{Duration, Instant};

use kith_wire::{Class, DeviceId, Side};

/// Two connections younger than this were dialled at the same time.
const SIMULTANEOUS: Duration = Duration::from_secs(10);

/// The connection that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Existing {
    pub(crate) side: Side,
    pub(crate) class: Class,
    pub(crate) age: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Existing,
    New,
}

/// Decides between the connection that is there and a new one.
///
/// The better class stays. Of two of one class that were dialled at the same time, the one of the computer with the smaller
/// device id stays: both ends come to the same result without a word. A friend who dials although a connection is long there
/// has lost it, of whatever class it was: nobody who has a link dials for a worse one.
pub(crate) fn prefer(
    existing: Option<Existing>,
    side: Side,
    class: Class,
    us: &DeviceId,
    friend: &DeviceId,
) -> Keep {
    let Some(existing) = existing else { return Keep::New };
    if class < existing.class {
        return Keep::New;
    }
    let lost = side == Side::Acceptor && (existing.side == side || existing.age >= SIMULTANEOUS);
    if lost {
        return Keep::New;
    }
    if class > existing.class {
        return Keep::Existing;
    }
    if existing.side == side {
        return Keep::New;
    }
    if existing.age >= SIMULTANEOUS {
        return Keep::Existing;
    }
    let smaller_dials = if us < friend { Side::Dialer } else { Side::Acceptor };
    if side == smaller_dials { Keep::New } else { Keep::Existing }
}

/// Which connection has the place of the link, and which one is about to take it.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// The link.
    held: Option<Claim>,
    /// A connection that won against it, and that has still to prove itself. If it does not, the link stays.
    pending: Option<Claim>,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    serial: u64,
    side: Side,
    class: Class,
    since: Instant,
}

impl Claims {
    /// Claims the place for a connection, if it is to be kept. What it is compared with is the latest claim, which has won against the
    /// link.
    pub(crate) fn claim(
        &mut self,
        serial: u64,
        (side, class): (Side, Class),
        (us, friend): (&DeviceId, &DeviceId),
        now: Instant,
    ) -> Keep {
        let existing = self.pending.or(self.held).map(|claim| Existing {
            side: claim.side,
            class: claim.class,
            age: now.saturating_duration_since(claim.since),
        });
        let keep = prefer(existing, side, class, us, friend);
        if keep == Keep::New {
            self.pending = Some(Claim { serial, side, class, since: now });
        }
        keep
    }

    /// Whether this connection's claim still stands.
    pub(crate) fn stands(&self, serial: u64) -> bool {
        self.pending.is_some_and(|claim| claim.serial == serial)
    }

    /// The connection becomes the link, if its claim still stands.
    pub(crate) fn settle(&mut self, serial: u64) -> bool {
        let stands = self.stands(serial);
        if stands {
            self.held = self.pending.take();
        }
        stands
    }

    /// The connection came to nothing, or is over.
    pub(crate) fn release(&mut self, serial: u64) {
        self.pending.take_if(|claim| claim.serial == serial);
        self.held.take_if(|claim| claim.serial == serial);
    }

    /// Whether there is a link, or is about to be one.
    pub(crate) const fn is_taken(&self) -> bool {
        self.held.is_some() || self.pending.is_some()
    }

    /// The class of the link.
    #[cfg(test)]
    pub(crate) fn class(&self) -> Option<Class> {
        self.held.map(|claim| claim.class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: [Class; 3] = [Class::Lan, Class::Direct, Class::Relayed];

    fn ids() -> (DeviceId, DeviceId) {
        (DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]))
    }

    /// Two connections, by who dialled them: of the smaller device id, and of the greater.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum By {
        Small,
        Great,
    }

    /// Which of the two an end keeps that hears of them in this order.
    fn survivor(end: By, first: By, classes: (Class, Class)) -> By {
        let (small, great) = ids();
        let ends = if end == By::Small { (&small, &great) } else { (&great, &small) };
        let side = |by| if by == end { Side::Dialer } else { Side::Acceptor };
        let class = |by| if by == By::Small { classes.0 } else { classes.1 };
        let second = if first == By::Small { By::Great } else { By::Small };
        let now = Instant::now();
        let mut claims = Claims::default();
        assert_eq!(claims.claim(1, (side(first), class(first)), ends, now), Keep::New);
        match claims.claim(2, (side(second), class(second)), ends, now + Duration::from_secs(1)) {
            Keep::Existing => first,
            Keep::New => second,
        }
    }

    #[test]
    fn both_ends_keep_the_same_one_of_two_simultaneous_connections_in_any_order() {
        for of_small in CLASSES {
            for of_great in CLASSES {
                let expected = if of_small <= of_great { By::Small } else { By::Great };
                for end in [By::Small, By::Great] {
                    for first in [By::Small, By::Great] {
                        let kept = survivor(end, first, (of_small, of_great));
                        assert_eq!(kept, expected, "{of_small:?} {of_great:?} {end:?} {first:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_friend_who_dials_again_has_lost_the_old_connection() {
        let (small, great) = ids();
        let age = Duration::from_secs(3600);
        for (us, friend) in [(small, great), (great, small)] {
            for side in [Side::Dialer, Side::Acceptor] {
                for class in CLASSES {
                    for new in CLASSES {
                        let existing = Some(Existing { side, class, age });
                        assert_eq!(prefer(existing, Side::Acceptor, new, &us, &friend), Keep::New);
                    }
                }
            }
        }
    }

    #[test]
    fn we_dial_for_a_better_class_only() {
        let (us, friend) = ids();
        for side in [Side::Dialer, Side::Acceptor] {
            let keep = |class, new| {
                let existing = Some(Existing { side, class, age: Duration::from_secs(3600) });
                prefer(existing, Side::Dialer, new, &us, &friend)
            };
            assert_eq!(keep(Class::Relayed, Class::Direct), Keep::New);
            assert_eq!(keep(Class::Direct, Class::Lan), Keep::New);
            assert_eq!(keep(Class::Direct, Class::Relayed), Keep::Existing);
        }
    }

    #[test]
    fn what_comes_to_nothing_leaves_the_link_in_its_place() {
        let (us, friend) = ids();
        let ends = (&us, &friend);
        let now = Instant::now();
        let mut claims = Claims::default();
        assert_eq!(claims.claim(1, (Side::Dialer, Class::Relayed), ends, now), Keep::New);
        assert!(claims.settle(1));
        assert_eq!(claims.claim(2, (Side::Dialer, Class::Direct), ends, now), Keep::New);
        assert_eq!(claims.class(), Some(Class::Relayed), "until it has proved itself");
        claims.release(2);
        assert!(!claims.settle(2));
        assert_eq!(claims.class(), Some(Class::Relayed));
        assert_eq!(claims.claim(3, (Side::Acceptor, Class::Lan), ends, now), Keep::New);
        claims.release(1);
        assert!(claims.is_taken(), "the link ended, another one is about to be");
        assert!(claims.settle(3));
        assert_eq!(claims.class(), Some(Class::Lan));
    }
}
