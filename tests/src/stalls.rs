//! How long the machine let nobody work: a bound on a time that is measured here is worth no more than that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it is looked.
const STEP: Duration = Duration::from_millis(20);

/// A thread that only wants to wake up all the time, and notes when it could not.
#[derive(Debug)]
pub struct Stalls {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Seen {
    last: Instant,
    longest: Duration,
}

impl Seen {
    /// What is lost if it wakes up now.
    fn lost(&self, now: Instant) -> Duration {
        self.longest.max(now.saturating_duration_since(self.last).saturating_sub(STEP))
    }
}

impl Stalls {
    /// Looks from now on.
    #[must_use]
    pub fn watch() -> Self {
        let seen = Arc::new(Mutex::new(Seen { last: Instant::now(), longest: Duration::ZERO }));
        let mut stalls = Self { stop: Arc::default(), seen, thread: None };
        let (stop, seen) = (stalls.stop.clone(), stalls.seen.clone());
        stalls.thread = Some(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(STEP);
                let now = Instant::now();
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                *seen = Seen { last: now, longest: seen.lost(now) };
            }
        }));
        stalls
    }

    /// By how much it woke up too late at most.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).lost(Instant::now())
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does nothing that could fail.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_without_a_look_is_kept_beyond_the_step_between_two() {
        let begin = Instant::now();
        let after = |milliseconds| begin + Duration::from_millis(milliseconds);
        let seen = Seen { last: begin, longest: Duration::ZERO };
        assert_eq!(seen.lost(after(20)), Duration::ZERO);
        assert_eq!(seen.lost(after(320)), Duration::from_millis(300));
        let seen = Seen { last: after(320), longest: Duration::from_millis(300) };
        assert_eq!(seen.lost(after(420)), Duration::from_millis(300));
        assert_eq!(seen.lost(after(1340)), Duration::from_secs(1), "a stall that is not over counts");
    }
}
