//! Which of two connections to the same friend is kept. Pure, and the same at both ends.

use std::time::Duration;

use kith_wire::{DeviceId, Side};

/// Two connections younger than this were dialled at the same time.
const SIMULTANEOUS: Duration = Duration::from_secs(10);

/// The connection that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Existing {
    pub(crate) side: Side,
    pub(crate) age: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Existing,
    New,
}

/// Decides between the connection that is there and a new one.
///
/// Of two that were dialled at the same time, the one of the computer with the smaller device id stays: both ends
/// come to the same result without a word. A friend who dials although a connection is long there has lost it.
pub(crate) fn prefer(existing: Option<Existing>, new: Side, us: &DeviceId, friend: &DeviceId) -> Keep {
    let Some(existing) = existing else { return Keep::New };
    if existing.side == new {
        return Keep::New;
    }
    if existing.age >= SIMULTANEOUS {
        return match new {
            Side::Acceptor => Keep::New,
            Side::Dialer => Keep::Existing,
        };
    }
    let smaller_dials = if us < friend { Side::Dialer } else { Side::Acceptor };
    if new == smaller_dials { Keep::New } else { Keep::Existing }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (DeviceId, DeviceId) {
        (DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]))
    }

    const fn mirrored(side: Side) -> Side {
        match side {
            Side::Dialer => Side::Acceptor,
            Side::Acceptor => Side::Dialer,
        }
    }

    #[test]
    fn both_ends_keep_the_same_one_of_two_simultaneous_connections_in_any_order() {
        let (small, great) = ids();
        let age = Duration::from_secs(1);
        for small_saw_its_own_first in [true, false] {
            for great_saw_its_own_first in [true, false] {
                let survivor = |us: &DeviceId, friend: &DeviceId, own_first: bool| {
                    let first = if own_first { Side::Dialer } else { Side::Acceptor };
                    let second = mirrored(first);
                    match prefer(Some(Existing { side: first, age }), second, us, friend) {
                        Keep::Existing => first,
                        Keep::New => second,
                    }
                };
                assert_eq!(survivor(&small, &great, small_saw_its_own_first), Side::Dialer);
                assert_eq!(survivor(&great, &small, great_saw_its_own_first), Side::Acceptor);
            }
        }
    }

    #[test]
    fn a_friend_who_dials_again_has_lost_the_old_connection() {
        let (small, great) = ids();
        let old = Duration::from_secs(3600);
        for (us, friend) in [(small, great), (great, small)] {
            for side in [Side::Dialer, Side::Acceptor] {
                let existing = Some(Existing { side, age: old });
                assert_eq!(prefer(existing, Side::Acceptor, &us, &friend), Keep::New);
            }
        }
    }
}
