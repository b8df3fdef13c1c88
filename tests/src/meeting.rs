//! Making friends of computers that will stand where they can't call each other.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::lab::Host;
use crate::{Computer, wait_until};

/// How many pairs are made at once.
const AT_ONCE: usize = 4;
/// Longest wait for a link in the room.
const LINKED: Duration = Duration::from_secs(30);
/// The ports of the first one in the room; each has three.
const FIRST_PORT: usize = 20_000;

/// Starts all in one room, in which everybody has ports of his own, makes friends, and ends them again. `friendships` are
/// places in `computers`; `also` is done with each while it is there. Afterwards each is to be [carried](Computer::carry_to) to
/// where it belongs.
///
/// # Panics
/// If that fails.
pub fn meet(
    room: &Host,
    computers: &mut [Computer],
    friendships: &[(usize, usize)],
    also: impl Fn(&Computer) + Sync,
) {
    for computer in computers.iter_mut() {
        // In a room full of people nobody looks around.
        computer.carry_to(room, "[network]\nlan-discovery = false\n");
    }
    let computers = &*computers;
    in_parallel(&(0..computers.len()).collect::<Vec<_>>(), |index| {
        let ports: Vec<String> = (0..3).map(|port| (FIRST_PORT + 3 * index + port).to_string()).collect();
        let names = ["KITH_LISTENER__PORT", "KITH_CONTROL__PORT", "KITH_CONTROL__APP_PORT"];
        let ports = ports.iter().map(String::as_str);
        computers[*index].start_with(&names.into_iter().zip(ports).collect::<Vec<_>>());
    });
    in_parallel(computers, also);
    in_parallel(friendships, |(one, other)| befriend(&computers[*one], &computers[*other]));
    in_parallel(friendships, |(one, other)| {
        let (one, other) = (&computers[*one], &computers[*other]);
        // A link has told both what friends tell each other.
        wait_until(&format!("{} and {} to meet", one.name(), other.name()), LINKED, || {
            one.linked(other.name()) && other.linked(one.name())
        });
    });
    in_parallel(computers, |computer| {
        computer.stop();
    });
}

/// One invites, the other joins.
///
/// # Panics
/// If that fails.
pub fn befriend(one: &Computer, other: &Computer) {
    let invite = one.kith(&["invite"]);
    other.kith_with(&["join"], invite.ok()).ok();
}

/// Does something with all, a few at a time.
///
/// # Panics
/// If that does, for one of them.
pub(crate) fn in_parallel<T: Sync>(all: &[T], act: impl Fn(&T) + Sync) {
    let waiting = Mutex::new(all.iter());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(one) = next else { break };
                    act(one);
                }
            });
        }
    });
}
