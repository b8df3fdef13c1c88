//! What is kept of a friend's history: changes one by one, and sums of what came before.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Code, JITTER, MOST_MARKS, Moment, Part, State, WAKING, WINDOW};

/// Longest time that has one sum, seconds: the oldest goes as a whole.
const LONGEST_SUM: i64 = 6 * 3600;
/// Most different states that a sum tells apart.
const MOST_STATES: usize = 16;
/// Most sums.
const MOST_SUMS: usize = (WINDOW / LONGEST_SUM) as usize + 2;

/// How a friend could be reached, from the first moment that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Timeline {
    /// What came before the marks; each begins where the one before ends.
    sums: Vec<Sum>,
    /// What was from when on, until the next.
    marks: Vec<Mark>,
    /// When somebody watched last, Unix seconds.
    pub(super) until: i64,
    /// When the reason for which there is no link was found, or found again, Unix seconds.
    pub(super) confirmed: i64,
    /// The date less the steady clock, when somebody watched last: of this run of the program only.
    #[serde(skip)]
    offset: Option<i64>,
    /// When this run of the program began to watch: from there on dates are by one clock.
    #[serde(skip)]
    pub(super) run: Option<i64>,
    /// How much later what was noted before this run was, by the clock of then.
    #[serde(skip)]
    moved_back: i64,
}

/// From when on something was so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    at: i64,
    is: State,
}

/// How long what was so, of a time that is not known more exactly any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    from: i64,
    to: i64,
    of: Vec<(State, i64)>,
}

/// As it is read, before anybody has looked whether it makes sense.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Stored {
    sums: Vec<Sum>,
    marks: Vec<Mark>,
    until: i64,
    confirmed: i64,
}

impl From<Stored> for Timeline {
    fn from(stored: Stored) -> Self {
        let Stored { sums, marks, until, confirmed } = stored;
        let mut read = Self { sums, marks, until, confirmed: confirmed.min(until), ..Self::default() };
        // A clock that began in 1970 has moved what was before.
        let date = |at: i64| (-WINDOW..=i64::from(u32::MAX)).contains(&at);
        let marks_fit = !read.marks.is_empty()
            && read.marks.len() <= MOST_MARKS
            && date(until)
            && read.marks.iter().all(|mark| date(mark.at))
            && read.marks.is_sorted_by(|one, two| one.at < two.at)
            && read.marks.last().is_some_and(|last| last.at <= until);
        if !marks_fit {
            return Self::default();
        }
        let first = read.marks[0].at;
        let sum_fits = |sum: &Sum| {
            let length = sum.to - sum.from;
            (1..=LONGEST_SUM).contains(&length)
                && sum.of.len() <= MOST_STATES
                && sum.of.iter().all(|(_, seconds)| (0..=length).contains(seconds))
                && sum.of.iter().map(|(_, seconds)| seconds).sum::<i64>() == length
        };
        let sums_fit = read.sums.len() <= MOST_SUMS
            && read.sums.iter().all(|sum| date(sum.from) && date(sum.to) && sum_fits(sum))
            && read.sums.is_sorted_by(|one, two| one.to == two.from)
            && read.sums.last().is_none_or(|last| last.to == first);
        if !sums_fit {
            read.sums.clear();
        }
        read
    }
}

/// A code of a later program is one that says nothing.
pub(super) fn known_code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Code, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.parse().unwrap_or(Code::Unknown))
}

impl Timeline {
    /// The date of a moment, after everything was moved along if the clock was set. Never before what is known.
    pub(super) fn arrive(&mut self, now: Moment) -> i64 {
        let unix = now.unix.clamp(0, u32::MAX.into());
        let offset = unix.saturating_sub(i64::try_from(now.steady).unwrap_or(i64::MAX));
        // A computer without a clock of its own starts with a date that is over.
        if self.offset.is_none() && !self.marks.is_empty() {
            self.moved_back = (self.until - unix).max(0);
        }
        if let Some(before) = self.offset.replace(offset) {
            let set = offset.saturating_sub(before);
            if set.abs() > JITTER {
                self.shift(set);
            }
        }
        if self.marks.is_empty() {
            self.until = unix;
        }
        if unix < self.until - JITTER {
            self.shift(unix - self.until);
        }
        unix.max(self.until)
    }

    /// The clock was set. What an earlier run noted stays where it was, unless this one would begin before its end: between the two nobody
    /// watched.
    fn shift(&mut self, by: i64) {
        let Some(run) = self.run.filter(|run| self.marks.first().is_some_and(|first| first.at < *run)) else {
            self.run = self.run.map(|run| run.saturating_add(by));
            self.shift_earlier(by);
            self.shift_present(by);
            return;
        };
        let at_start = self.was(run).unwrap_or(State::Unwatched);
        let mut present = self.marks.split_off(self.marks.partition_point(|mark| mark.at < run));
        if present.first().is_none_or(|first| first.at > run) {
            present.insert(0, Mark { at: run, is: at_start });
        }
        let end = self.marks.last().filter(|last| last.is == State::Unwatched).map_or(run, |last| last.at);
        let earlier =
            if by > 0 { by.min(self.moved_back) } else { run.saturating_add(by).saturating_sub(end).min(0) };
        self.moved_back = self.moved_back.saturating_sub(earlier);
        self.shift_earlier(earlier);
        self.begin(end.saturating_add(earlier), State::Unwatched);
        for mark in present {
            self.begin(mark.at.saturating_add(by), mark.is);
        }
        self.run = Some(run.saturating_add(by));
        self.shift_present(by);
    }

    fn shift_present(&mut self, by: i64) {
        self.until = self.until.saturating_add(by);
        self.confirmed = self.confirmed.saturating_add(by);
    }

    fn shift_earlier(&mut self, by: i64) {
        for mark in &mut self.marks {
            mark.at = mark.at.saturating_add(by);
        }
        for sum in &mut self.sums {
            sum.from = sum.from.saturating_add(by);
            sum.to = sum.to.saturating_add(by);
        }
    }

    /// How it is, as far as was told.
    pub(super) fn now_is(&self) -> Option<State> {
        self.marks.last().map(|mark| mark.is)
    }

    /// How it was at a moment that is known exactly.
    pub(super) fn was(&self, at: i64) -> Option<State> {
        let after = self.marks.partition_point(|mark| mark.at <= at);
        (at <= self.until).then(|| self.marks.get(after.checked_sub(1)?).map(|mark| mark.is))?
    }

    /// When this computer woke last.
    pub(super) fn last_asleep_here(&self) -> Option<i64> {
        let spans: Vec<_> = self.spans().collect();
        spans.iter().rev().find(|(_, _, is)| *is == State::AsleepHere).map(|(_, to, _)| *to)
    }

    /// From here on it is so; true if it was not so before.
    pub(super) fn begin(&mut self, at: i64, is: State) -> bool {
        if self.now_is() == Some(is) {
            return false;
        }
        // What lasted no time was not.
        if self.marks.last().is_some_and(|last| last.at >= at) {
            self.marks.pop();
            if self.now_is() == Some(is) {
                return true;
            }
        }
        self.marks.push(Mark { at, is });
        true
    }

    /// For how long it has been as it is.
    pub(super) fn lasts(&self) -> i64 {
        self.marks.last().map_or(0, |last| self.until - last.at)
    }

    /// What has been so since the last change was something else from its beginning.
    pub(super) fn replace_last(&mut self, is: State) -> bool {
        let Some(last) = self.marks.pop() else { return false };
        self.begin(last.at, is);
        true
    }

    /// From one date to another it was something else, where `fits` says that it may have been; what was apart a moment longer, to
    /// either side, belongs to it. How it is at present stays. True if that changed anything.
    pub(super) fn repaint(&mut self, from: i64, to: i64, color: State, fits: impl Fn(State) -> bool) -> bool {
        let Some(present) = self.now_is() else { return false };
        let spans: Vec<_> = self.spans().collect();
        let before = std::mem::take(&mut self.marks);
        for (begin, end, is) in spans {
            let (mut first, mut last) = (begin.max(from), end.min(to));
            if first >= last || !fits(is) {
                self.begin(begin, is);
                continue;
            }
            if matches!(is, State::Apart { .. }) {
                first = if first - begin < WAKING { begin } else { first };
                last = if end - last < WAKING { end } else { last };
            }
            for (at, is) in [(begin, is), (first, color), (last, is)] {
                self.begin(at, is);
            }
        }
        self.begin(self.until, present);
        self.marks != before
    }

    /// What is known exactly: from, to, how it was.
    fn spans(&self) -> impl Iterator<Item = (i64, i64, State)> + '_ {
        let ends = self.marks.iter().skip(1).map(|mark| mark.at).chain([self.until]);
        self.marks.iter().zip(ends).map(|(mark, end)| (mark.at, end, mark.is))
    }

    /// Forgets what is too old, and the details of what is too much.
    pub(super) fn forget(&mut self) {
        let start = self.until - WINDOW;
        if self.marks.len() > MOST_MARKS {
            let old = MOST_MARKS / 2;
            let spans: Vec<_> = self.spans().take(old).collect();
            for (from, to, is) in spans {
                self.sum_up(from.max(start).min(to), to, is);
            }
            self.marks.drain(..old);
        }
        self.sums.retain(|sum| sum.from >= start);
        let gone = self.marks.partition_point(|mark| mark.at <= start).saturating_sub(1);
        self.marks.drain(..gone);
        if gone > 0 {
            self.sums.clear();
        }
    }

    fn sum_up(&mut self, mut from: i64, to: i64, is: State) {
        while from < to {
            let has_room = |sum: &Sum| sum.to == from && sum.to - sum.from < LONGEST_SUM;
            if !self.sums.last().is_some_and(has_room) {
                self.sums.push(Sum { from, to: from, of: Vec::new() });
            }
            let Some(sum) = self.sums.last_mut() else { return };
            let end = to.min(sum.from + LONGEST_SUM);
            sum.add(is, end - from);
            sum.to = end;
            from = end;
        }
    }

    /// Since when something is known of the last days, and for how long what was so.
    pub(super) fn sums(&self) -> (i64, Vec<(State, i64)>) {
        let start = self.until - WINDOW;
        let mut all = Sum { from: start, to: self.until, of: Vec::new() };
        for (is, seconds) in self.sums.iter().flat_map(|sum| &sum.of) {
            all.add_all(*is, *seconds);
        }
        for (from, to, is) in self.spans() {
            all.add_all(is, to - from.max(start).min(to));
        }
        let first = self.sums.first().map(|sum| sum.from).or_else(|| self.marks.first().map(|mark| mark.at));
        (first.unwrap_or(self.until).max(start), all.of)
    }
}

impl Sum {
    fn add(&mut self, is: State, seconds: i64) {
        let is_new = !self.of.iter().any(|(known, _)| *known == is);
        // Room stays for all that has no code.
        let too_many = is_new && self.of.len() >= MOST_STATES - 5 && matches!(is, State::Apart { .. });
        self.add_all(if too_many { State::UNEXPLAINED } else { is }, seconds);
    }

    fn add_all(&mut self, is: State, seconds: i64) {
        match self.of.iter_mut().find(|(known, _)| *known == is) {
            Some((_, sum)) => *sum += seconds,
            None => self.of.push((is, seconds)),
        }
    }
}

impl State {
    /// The part of the way, of what was in the way.
    pub(super) const fn cause(self) -> Option<(Code, Part)> {
        match self {
            Self::Apart { code, part } => Some((code, part)),
            _ => None,
        }
    }
}
