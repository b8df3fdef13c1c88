//! Waiting for something to be so, instead of for time to pass.

use std::time::{Duration, Instant};

use crate::say;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// So many measurements keep a promised time, or break it: two of three.
const ENOUGH: usize = 2;

/// Waits until `look` finds something, and says how long that took. A look that begins only after `longest` is the last one:
/// on a machine that stood still meanwhile it is the first that could find anything.
///
/// # Panics
/// If that takes longer than `longest`.
#[track_caller]
pub fn wait_for<T>(what: &str, longest: Duration, mut look: impl FnMut() -> Option<T>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        let is_last = start.elapsed() >= longest;
        if let Some(found) = look() {
            return (found, start.elapsed());
        }
        assert!(!is_last, "waited {longest:?} in vain for: {what}");
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

/// A time that is promised is kept in two of three tries; what `attempt` itself asserts holds in all of them. What else this machine
/// does is not the same from try to try, and a slow product is slow most times. After two that agree there is no third.
///
/// # Panics
/// If two took too long.
#[track_caller]
pub fn promised(what: &str, longest: Duration, mut attempt: impl FnMut() -> Duration) {
    let (mut kept, mut late) = (0, Vec::new());
    while kept < ENOUGH {
        let took = attempt();
        say(&format!("{what}: {took:?}"));
        if took < longest {
            kept += 1;
        } else {
            late.push(took);
        }
        assert!(late.len() < ENOUGH, "{what}: {late:?}; less than {longest:?} is promised");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_at_the_first_look_after_the_time_was_waited_for_is_found() {
        let longest = Duration::from_millis(10);
        let mut looks = 0;
        wait_until("a look after a stall", longest, || {
            looks += 1;
            std::thread::sleep(2 * longest);
            looks == 2
        });
        assert_eq!(looks, 2);
    }

    #[test]
    #[should_panic(expected = "in vain for: nothing")]
    fn what_never_comes_is_not_waited_for_without_end() {
        wait_until("nothing", Duration::from_millis(10), || false);
    }

    #[test]
    fn two_of_three_measurements_within_the_promise_are_enough() {
        for (times, unused) in [([1, 2, 9, 9], 2), ([9, 1, 2, 9], 1), ([1, 9, 2, 9], 1)] {
            let mut left = times.map(Duration::from_secs).into_iter();
            promised("it", Duration::from_secs(5), || left.next().unwrap());
            assert_eq!(left.len(), unused, "of {times:?}");
        }
    }

    #[test]
    #[should_panic(expected = "it: [9s, 8s]; less than 5s is promised")]
    fn what_takes_too_long_twice_breaks_the_promise() {
        let mut times = [9, 1, 8, 1].map(Duration::from_secs).into_iter();
        promised("it", Duration::from_secs(5), || times.next().unwrap());
    }
}
