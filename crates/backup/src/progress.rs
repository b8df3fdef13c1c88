//! Folds what a running job counts into rates and a range for the time left.
//!
//! The range is honest rather than exact: its ends come from the fastest and the slowest of several stretches of the recent
//! past, and there is none while too little is known. Pure: the caller says what time it is.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

/// Samples kept; together they span [`WINDOW_MS`].
const SAMPLES_MAX: usize = 61;
/// The past that rates are made from.
const WINDOW_MS: u64 = 60_000;
/// Least time between two samples; counts in between only replace the latest ones.
const SAMPLE_MS: u64 = WINDOW_MS / (SAMPLES_MAX as u64 - 1);
/// The past that the shown rate is made from.
const RATE_MS: u64 = 10_000;
/// Nothing is said about the time left before that much has been seen.
const LEAST_MS: u64 = 3_000;
/// Beyond that, a number would mean nothing.
const LONGEST: Duration = Duration::from_secs(100 * 24 * 60 * 60);

/// What a job has counted so far. Counts never go down within one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Files found.
    pub files_found: u64,
    /// Bytes found.
    pub bytes_found: u64,
    /// Whether everything was found, so that the two above are totals.
    pub found_all: bool,
    /// Files dealt with: stored, or recognised as unchanged.
    pub files_done: u64,
    /// Bytes dealt with.
    pub bytes_done: u64,
    /// Bytes that had to be stored because the friend did not have them.
    pub bytes_new: u64,
    /// Bytes sent to the friend and acknowledged.
    pub bytes_sent: u64,
}

/// What a person is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rates {
    /// Bytes dealt with per second, over the last ten seconds.
    pub bytes_per_second: u64,
    /// Files dealt with per second, over the last ten seconds.
    pub files_per_second: u64,
    /// Bytes sent per second, over the last ten seconds.
    pub sent_per_second: u64,
    /// Least and most time left; `None`: unknown.
    pub left: Option<(Duration, Duration)>,
}

/// Remembers the recent past of one job.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    /// At most [`SAMPLES_MAX`], oldest first, times rising.
    samples: VecDeque<Sample>,
    latest: Option<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ms: u64,
    counts: Counts,
}

impl Meter {
    /// A meter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what the job has counted by now, in milliseconds of a clock that never goes back.
    pub fn observe(&mut self, counts: Counts, now_ms: u64) {
        let at_ms = self.latest.map_or(now_ms, |latest| latest.at_ms.max(now_ms));
        let sample = Sample { at_ms, counts };
        self.latest = Some(sample);
        if self.samples.back().is_none_or(|last| at_ms - last.at_ms >= SAMPLE_MS) {
            self.samples.push_back(sample);
        }
        while self.samples.len() > SAMPLES_MAX
            || self.samples.front().is_some_and(|first| at_ms - first.at_ms > WINDOW_MS)
        {
            self.samples.pop_front();
        }
    }

    /// To be called when the job stood still for a known reason (a lost link, a pause): that time shall not count.
    pub fn forget_past(&mut self) {
        self.samples.clear();
        self.latest = None;
    }

    /// Rates and time left as of now. Silence since the last observation lowers the rates.
    pub fn rates(&self, now_ms: u64) -> Rates {
        let Some(latest) = self.latest else { return Rates::default() };
        let now_ms = now_ms.max(latest.at_ms);
        let Some(start) = self.since(now_ms, RATE_MS) else { return Rates::default() };
        let elapsed = now_ms - start.at_ms;
        let rate = |count: fn(&Counts) -> u64| {
            per_second(count(&latest.counts).saturating_sub(count(&start.counts)), elapsed)
        };
        Rates {
            bytes_per_second: rate(|counts| counts.bytes_done),
            files_per_second: rate(|counts| counts.files_done),
            sent_per_second: rate(|counts| counts.bytes_sent),
            left: self.left(latest.counts, now_ms),
        }
    }

    /// The oldest sample within the last `span`.
    fn since(&self, now_ms: u64, span: u64) -> Option<Sample> {
        self.samples.iter().find(|sample| now_ms - sample.at_ms <= span && sample.at_ms < now_ms).copied()
    }

    /// From the fastest and the slowest of three stretches: the last ten seconds, half a minute, a minute. A job of many small
    /// files is bound by their number, one of large files by their bytes: whichever takes longer holds.
    fn left(&self, counts: Counts, now_ms: u64) -> Option<(Duration, Duration)> {
        if !counts.found_all {
            return None;
        }
        let bytes = counts.bytes_found.saturating_sub(counts.bytes_done);
        let files = counts.files_found.saturating_sub(counts.files_done);
        if bytes == 0 && files == 0 {
            return Some((Duration::ZERO, Duration::ZERO));
        }
        let estimate = |span: u64| {
            let start = self.since(now_ms, span)?;
            let elapsed = now_ms - start.at_ms;
            if elapsed < LEAST_MS {
                return None;
            }
            let needed = |left: u64, done: u64, before: u64| match done.saturating_sub(before) {
                _ if left == 0 => Some(0),
                0 => None,
                progress => u64::try_from(u128::from(left) * u128::from(elapsed) / u128::from(progress)).ok(),
            };
            let by_bytes = needed(bytes, counts.bytes_done, start.counts.bytes_done);
            let by_files = needed(files, counts.files_done, start.counts.files_done);
            // A single large file finishes no file for a long time: then the bytes alone say how long.
            by_bytes.max(by_files).map(Duration::from_millis).filter(|left| *left <= LONGEST)
        };
        let estimates = [RATE_MS, WINDOW_MS / 2, WINDOW_MS].into_iter().filter_map(estimate);
        let (least, most) = estimates.fold(None, |range: Option<(Duration, Duration)>, left| {
            Some(range.map_or((left, left), |(least, most)| (least.min(left), most.max(left))))
        })?;
        // The end of a job (index, snapshot) is not in the counts; and three like stretches are no certainty.
        Some((least, most + most / 5 + Duration::from_secs(1)))
    }
}

fn per_second(count: u64, elapsed_ms: u64) -> u64 {
    u64::try_from(u128::from(count) * 1000 / u128::from(elapsed_ms.max(1))).unwrap_or(u64::MAX)
}
