//! How well a friend could be reached in the last days, and what was in the way when he could not.
//!
//! A [`Timeline`] is fed with what happens ([`Event`]) and sums up the last week ([`Reachability`]). Time in which nobody could know, because
//! this computer slept or Kith did not run here, counts for nothing; neither does time in which the friend's computer slept. Dates may jump:
//! a clock that is set moves what this run noted along with it, so that durations stay what they were.

mod kept;
mod summary;

use serde::{Deserialize, Serialize};

use crate::code::{Code, Part, Weight};
use crate::facts::Habit;

pub use self::kept::Timeline;
pub use self::summary::{Cause, Reachability};

/// How far back it goes, seconds.
pub const WINDOW: i64 = 7 * DAY;
const DAY: i64 = 24 * 3600;
/// Whoever watches says so at least this often, seconds; a longer silence was not watched.
const MOST_SILENCE: i64 = 300;
/// A computer that wakes is linked again within this time, and a network is taken down this long before it sleeps, seconds.
pub(crate) const WAKING: i64 = 60;
/// A reason that nobody confirmed for so long is none any more, and none reaches further back, seconds: the daemon looks at least once an
/// hour.
const CAUSE_LASTS: i64 = 2 * 3600;
/// Dates that are off by no more than this are no clock that was set, seconds.
const JITTER: i64 = 2;
/// Most changes that are kept one by one; what came before is kept as sums.
const MOST_MARKS: usize = 256;

/// When something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The date, Unix seconds: a person or a time service may set it.
    pub unix: i64,
    /// Seconds by a clock that nobody sets and that goes on while the computer sleeps, from any beginning.
    pub steady: u64,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Kith began to watch. There is no link yet.
    Started,
    /// All is as it was.
    StillSo,
    /// A link came up.
    Linked,
    /// The last link is gone.
    Lost,
    /// Why there is no link at present; the same once more confirms it.
    Cause {
        /// What is wrong.
        code: Code,
        /// Where.
        part: Part,
    },
    /// This computer has just woken.
    SleptHere {
        /// How long it slept.
        seconds: u64,
    },
    /// The friend's computer tells when it slept.
    SleptThere {
        /// Unix seconds by the clock here.
        from: i64,
        /// Until then.
        to: i64,
    },
}

/// How it was for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// There was a link.
    Linked,
    /// There was none.
    Apart {
        /// Why; [`Code::Unknown`] while nobody knows.
        #[serde(deserialize_with = "kept::known_code")]
        code: Code,
        /// Where.
        part: Part,
    },
    /// The friend's computer slept, as it told itself.
    Asleep,
    /// This computer slept.
    AsleepHere,
    /// Kith did not run on this computer.
    Unwatched,
}

impl State {
    /// No link, and nobody knows why.
    const UNEXPLAINED: Self = Self::Apart { code: Code::Unknown, part: Part::Internet };
    /// No link yet, because this computer has just woken.
    const WAKING: Self = Self::Apart { code: Code::JustWoken, part: Part::ThisComputer };

    /// Whether a better reason replaces this one from its beginning.
    const fn is_vague(self) -> bool {
        matches!(self, Self::Apart { code: Code::Unknown | Code::JustWoken, .. })
    }

    /// Whether it says that a computer has just woken.
    const fn is_waking(self) -> bool {
        matches!(self, Self::Apart { code: Code::JustWoken, .. })
    }

    /// Whether the friend's word that his computer slept explains it. What is broken at this end was broken all the same.
    const fn may_be_his_sleep(self) -> bool {
        match self {
            Self::Apart { part, .. } => {
                !matches!(part, Part::ThisComputer | Part::FirewallHere | Part::RouterHere)
            }
            _ => false,
        }
    }
}

impl Timeline {
    /// Takes note of what happens; true if something is different from what would have been expected, and worth writing down soon.
    pub fn note(&mut self, now: Moment, event: Event) -> bool {
        let at = self.arrive(now);
        let lapsed = self.lapse(at);
        let before = self.now_is();
        let silent = at - self.until > MOST_SILENCE;
        if (silent || event == Event::Started) && before.is_some() {
            self.begin(self.until, State::Unwatched);
        }
        self.until = at;
        let current = before.unwrap_or(State::UNEXPLAINED);
        let news = match event {
            Event::Started => {
                self.run = Some(at);
                self.begin(at, State::UNEXPLAINED)
            }
            Event::StillSo => {
                self.begin(at, current);
                // It would be linked by now.
                current.is_waking() && self.lasts() >= WAKING && self.replace_last(State::UNEXPLAINED)
            }
            Event::Linked => self.begin(at, State::Linked),
            Event::Lost => {
                let lost = if current == State::Linked { self.lost() } else { current };
                self.begin(at, lost)
            }
            Event::Cause { code, part } => {
                self.begin(at, current);
                self.explain(code, part)
            }
            Event::SleptHere { seconds } => {
                self.begin(at, current);
                let from = at.saturating_sub(i64::try_from(seconds).unwrap_or(WINDOW).min(WINDOW));
                let news = self.repaint(from, at, State::AsleepHere, |_| true);
                if current == State::UNEXPLAINED && self.lasts() < WAKING {
                    self.replace_last(State::WAKING);
                }
                news
            }
            Event::SleptThere { from, to } => {
                self.begin(at, current);
                self.repaint(from, to, State::Asleep, State::may_be_his_sleep)
            }
        };
        self.forget();
        news || lapsed
    }

    /// The last seven days, or less if there is less to tell of.
    #[must_use]
    pub fn summary(&self, now: Moment) -> Reachability {
        let mut until_now = self.clone();
        until_now.note(now, Event::StillSo);
        let (since, sums) = until_now.sums();
        Reachability::of(since, until_now.until, &sums)
    }

    /// Whether there is a link, as far as was told.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.now_is() == Some(State::Linked)
    }

    /// On how many of the last days the friend's computer slept at this time of the day; none if no day is known.
    #[must_use]
    pub fn habit(&self, now: Moment) -> Option<Habit> {
        let days = (1..7).filter_map(|day| self.was(now.unix.saturating_sub(day * DAY)));
        let mut habit = Habit::default();
        for state in days {
            match state {
                State::Asleep => {
                    habit.asleep += 1;
                    habit.of += 1;
                }
                State::Linked | State::Apart { .. } => habit.of += 1,
                State::AsleepHere | State::Unwatched => {}
            }
        }
        (habit.of > 0).then_some(habit)
    }

    /// What it means that the link is gone: where this computer has just woken, mostly that.
    fn lost(&self) -> State {
        if self.last_asleep_here().is_some_and(|woke| self.until.saturating_sub(woke) < WAKING) {
            State::WAKING
        } else {
            State::UNEXPLAINED
        }
    }

    /// Takes over a reason. One that says more replaces one that says nothing, from its beginning if that was not long ago; another one
    /// counts from now on.
    fn explain(&mut self, code: Code, part: Part) -> bool {
        let Some(old @ State::Apart { .. }) = self.now_is() else { return false };
        let new = State::Apart { code, part };
        // Who has just woken is known from what slept, and not for long.
        if code.weight() == Weight::Fine || new.is_waking() || new.is_vague() && !old.is_vague() {
            return false;
        }
        self.confirmed = self.until;
        match old {
            _ if old == new => false,
            _ if old.is_vague() => self.begin(self.until - self.lasts().min(CAUSE_LASTS), new),
            _ => self.begin(self.until, new),
        }
    }

    /// What nobody confirmed for long is not known since it was confirmed last. True if that changed anything.
    fn lapse(&mut self, at: i64) -> bool {
        let Some(old @ State::Apart { .. }) = self.now_is() else { return false };
        if old.is_vague() || at - self.confirmed <= CAUSE_LASTS {
            return false;
        }
        self.repaint(self.confirmed, self.until, State::UNEXPLAINED, |is| is == old);
        self.begin(self.until, State::UNEXPLAINED)
    }
}

#[cfg(test)]
mod tests;
