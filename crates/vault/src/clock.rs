//! Two times: the wall clock, by which people speak of when something was deleted, and hold time, by which the
//! hold window passes. Whoever can set a clock (or answer its questions about the time) must not be able to end it.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use crate::layout::unix_milliseconds;

/// A stretch between two looks at the clock counts at most this much: what was not observed (a machine that stood
/// still, a monotonic clock that leapt when a virtual machine moved) has not passed.
pub const MAX_STEP: Duration = Duration::from_secs(300);

/// Where the vault looks up what time it is.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Time since some fixed moment. Goes on evenly, never back, and stands still while the computer sleeps.
    fn monotonic(&self) -> Duration;

    /// The time of day, which anybody may set.
    fn wall(&self) -> SystemTime;
}

/// The clocks of this computer.
#[derive(Debug)]
pub struct SystemClock {
    begin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { begin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.begin.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Hold time: how long the vault has been watched over since it was made. Pure.
///
/// It advances by monotonic time between two looks of one process, thus at most a day per day, and not at all while
/// no process runs or the computer sleeps. The wall clock has no say in it; it is only noted, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HoldClock {
    reading: Duration,
    /// The last look; none before the first one of a process.
    looked: Option<Duration>,
    noted: u64,
    /// The reading that a crash would fall back to.
    saved: Duration,
}

impl HoldClock {
    /// Goes on from a saved reading. What passed since it was saved is lost: everything is held that much longer.
    pub fn resume(saved: Duration) -> Self {
        Self { reading: saved, looked: None, noted: 0, saved }
    }

    /// A look at both clocks; returns the reading.
    pub fn observe(&mut self, monotonic: Duration, wall: SystemTime) -> Duration {
        if let Some(looked) = self.looked {
            self.reading += monotonic.saturating_sub(looked).min(MAX_STEP);
        }
        self.looked = Some(self.looked.map_or(monotonic, |looked| looked.max(monotonic)));
        self.noted = unix_milliseconds(wall);
        self.reading
    }

    /// It was read this late once: an earlier reading is one that a crash or a lost file has set back.
    pub fn raise(&mut self, reading: Duration) {
        self.reading = self.reading.max(reading);
    }

    /// The last reading.
    pub fn reading(&self) -> Duration {
        self.reading
    }

    /// What a crash would lose of it now.
    pub fn unsaved(&self) -> Duration {
        self.reading.saturating_sub(self.saved)
    }

    /// The contents of its file.
    pub(crate) fn to_text(&self) -> String {
        format!("hold {}\nwall {}\n", self.reading.as_millis(), self.noted)
    }

    /// What [`HoldClock::to_text`] wrote is durable.
    pub(crate) fn set_saved(&mut self, reading: Duration) {
        self.saved = self.saved.max(reading);
    }

    /// The reading in a file; `None` if it is damaged.
    pub(crate) fn parse(text: &str) -> Option<Duration> {
        let (first, rest) = text.split_once('\n')?;
        rest.strip_prefix("wall ")?.strip_suffix('\n')?.parse::<u64>().ok()?;
        Some(Duration::from_millis(first.strip_prefix("hold ")?.parse().ok()?))
    }
}
