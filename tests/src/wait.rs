//! Waiting for something to be so, instead of for time to pass.

use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `look` finds something, and says how long that took.
///
/// # Panics
/// If that takes longer than `longest`.
#[track_caller]
pub fn wait_for<T>(what: &str, longest: Duration, mut look: impl FnMut() -> Option<T>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return (found, start.elapsed());
        }
        assert!(start.elapsed() < longest, "waited {longest:?} in vain for: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `so` is true, and says how long that took.
///
/// # Panics
/// If that takes longer than `longest`.
#[track_caller]
pub fn wait_until(what: &str, longest: Duration, mut so: impl FnMut() -> bool) -> Duration {
    wait_for(what, longest, || so().then_some(())).1
}
