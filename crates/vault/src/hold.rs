//! Hold time while the vault is open: its clock, the length of the window, and how long nothing can be due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, HoldClock};

/// How long deleted objects are held unless told otherwise: 30 days.
pub const DEFAULT_HOLD: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The hold window of a vault.
#[derive(Debug)]
pub(crate) struct Hold {
    clock: Mutex<HoldClock>,
    window_ms: AtomicU64,
    oldest: Mutex<Oldest>,
}

/// The earliest deletion among what is held, in milliseconds of hold time: before its window is over there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oldest {
    /// Only a walk can tell.
    Unknown,
    /// Nothing is held.
    Nothing,
    /// Nothing was deleted before.
    At(u64),
}

impl Oldest {
    /// With one more deletion.
    pub(crate) fn and(self, hold: u64) -> Self {
        match self {
            Self::Unknown => Self::Unknown,
            Self::Nothing => Self::At(hold),
            Self::At(oldest) => Self::At(oldest.min(hold)),
        }
    }
}

impl Hold {
    pub(crate) fn new(clock: HoldClock, oldest: Oldest) -> Self {
        let window_ms = AtomicU64::new(milliseconds(DEFAULT_HOLD));
        Self { clock: Mutex::new(clock), window_ms, oldest: Mutex::new(oldest) }
    }

    pub(crate) fn set_window(&self, window: Duration) {
        self.window_ms.store(milliseconds(window), Ordering::Relaxed);
    }

    pub(crate) fn window_ms(&self) -> u64 {
        self.window_ms.load(Ordering::Relaxed)
    }

    /// Looks at the clocks: hold time in milliseconds.
    pub(crate) fn observe(&self, clock: &dyn Clock) -> u64 {
        milliseconds(lock(&self.clock).observe(clock.monotonic(), clock.wall()))
    }

    pub(crate) fn clock(&self) -> MutexGuard<'_, HoldClock> {
        lock(&self.clock)
    }

    /// Something was deleted.
    pub(crate) fn note(&self, hold: u64) {
        let mut oldest = lock(&self.oldest);
        *oldest = oldest.and(hold);
    }

    pub(crate) fn oldest(&self) -> Oldest {
        *lock(&self.oldest)
    }

    /// A walk begins: what is deleted from now on is noted beside what it finds.
    pub(crate) fn begin_walk(&self) -> Oldest {
        std::mem::replace(&mut *lock(&self.oldest), Oldest::Nothing)
    }

    /// A walk has found this.
    pub(crate) fn end_walk(&self, found: Oldest) {
        let mut oldest = lock(&self.oldest);
        *oldest = match (*oldest, found) {
            (Oldest::Unknown, _) | (_, Oldest::Unknown) => Oldest::Unknown,
            (Oldest::At(noted), found) => found.and(noted),
            (Oldest::Nothing, found) => found,
        };
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
