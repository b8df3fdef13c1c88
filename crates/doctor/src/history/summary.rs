//! The last week in numbers, and in one sentence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Code, DAY, Part, State, WINDOW};

/// Most causes that are told apart.
const MOST_CAUSES: usize = 12;
/// Most causes in the sentence.
const MOST_NAMED: usize = 3;
/// What is known of less time than this is not called a share, seconds.
const LEAST: u64 = 10;

/// How well a friend could be reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reachability {
    /// Since when, Unix seconds: seven days ago, or when it began to be watched.
    pub since: i64,
    /// Until when, Unix seconds.
    pub until: i64,
    /// With a link.
    pub linked_seconds: u64,
    /// Without one, for which the friend's computer or what is between has no excuse.
    pub apart_seconds: u64,
    /// The friend's computer slept, as it told.
    pub asleep_seconds: u64,
    /// This computer slept.
    pub asleep_here_seconds: u64,
    /// Kith did not run on this computer.
    pub unwatched_seconds: u64,
    /// What was in the way, the longest first.
    pub causes: Vec<Cause>,
}

/// What was in the way for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// A code of the doctor's, see `kith explain`; `unknown`: nobody found out.
    #[schema(value_type = String)]
    pub code: Code,
    /// The part of the way.
    pub part: Part,
    /// How long.
    pub seconds: u64,
}

impl Reachability {
    pub(super) fn of(since: i64, until: i64, sums: &[(State, i64)]) -> Self {
        let mut told = Self { since, until, ..Self::default() };
        for (state, seconds) in sums {
            let seconds = seconds.unsigned_abs();
            match state {
                State::Linked => told.linked_seconds += seconds,
                State::Apart { .. } => told.apart_seconds += seconds,
                State::Asleep => told.asleep_seconds += seconds,
                State::AsleepHere => told.asleep_here_seconds += seconds,
                State::Unwatched => told.unwatched_seconds += seconds,
            }
            if let Some((code, part)) = state.cause().filter(|_| seconds > 0) {
                told.causes.push(Cause { code, part, seconds });
            }
        }
        told.causes.sort_by_key(|cause| (std::cmp::Reverse(cause.seconds), cause.code, cause.part));
        told.causes.truncate(MOST_CAUSES);
        told
    }

    /// What the share is of: the time in which the friend could have been reached, and somebody looked.
    #[must_use]
    pub const fn watched_seconds(&self) -> u64 {
        self.linked_seconds + self.apart_seconds
    }

    /// The share of the time with a link, in percent with one decimal, rounded down; none if there is too little to tell of.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        self.thousandths().map(|thousandths| f64::from(thousandths) / 10.0)
    }

    fn thousandths(&self) -> Option<u16> {
        let watched = self.watched_seconds();
        let share = (watched >= LEAST).then(|| self.linked_seconds * 1000 / watched)?;
        u16::try_from(share).ok()
    }

    /// `reachable 98.7 % this week; 6 h asleep, 20 min router`; none if there is too little to tell of.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        let asleep = (self.asleep_seconds > 0).then(|| format!("{} asleep", span(self.asleep_seconds)));
        let share = match self.thousandths() {
            Some(share) if share % 10 == 0 => format!("reachable {} % {}", share / 10, self.period()),
            Some(share) => format!("reachable {}.{} % {}", share / 10, share % 10, self.period()),
            // All of it was sleep.
            None => return asleep.map(|asleep| format!("{asleep} {}", self.period())),
        };
        let reasons: Vec<String> = asleep.into_iter().chain(self.named()).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!("; {}", reasons.join(", ")) };
        Some(format!("{share}{reasons}{}", self.watch()))
    }

    /// The biggest causes, those with one word as one.
    fn named(&self) -> Vec<String> {
        let mut words: BTreeMap<&str, u64> = BTreeMap::new();
        for cause in &self.causes {
            *words.entry(word(cause.code, cause.part)).or_default() += cause.seconds;
        }
        let mut words: Vec<_> = words.into_iter().collect();
        words.sort_by_key(|(_, seconds)| std::cmp::Reverse(*seconds));
        words
            .into_iter()
            .take(MOST_NAMED)
            .map(|(word, seconds)| format!("{} {word}", span(seconds)))
            .collect()
    }

    /// `this week`, `since yesterday`, `in the last 5 h`.
    fn period(&self) -> String {
        let age = self.until.saturating_sub(self.since).max(0);
        if age >= WINDOW - DAY / 2 {
            "this week".to_owned()
        } else if (DAY..2 * DAY).contains(&age) {
            "since yesterday".to_owned()
        } else {
            format!("in the last {}", span(age.unsigned_abs()))
        }
    }

    /// Where little of the time was watched, that.
    fn watch(&self) -> String {
        let watched = self.watched_seconds() + self.asleep_seconds;
        let all = self.until.saturating_sub(self.since).max(0).unsigned_abs();
        if watched * 2 < all { format!(" (of {} that were watched)", span(watched)) } else { String::new() }
    }
}

/// What was in the way, in a word.
const fn word(code: Code, part: Part) -> &'static str {
    match (code, part) {
        (Code::Unknown, _) => "unknown",
        (Code::Asleep, _) => "probably asleep",
        (Code::JustWoken, _) => "waking up",
        (Code::Offline, _) => "off",
        (Code::NotRunning | Code::ServiceDown, _) => "Kith not running",
        (Code::NoNetwork, _) => "no network",
        (Code::ClockWrong, _) => "clock",
        (Code::PortTaken | Code::PortClosed, _) => "port",
        (Code::SettingsForbid | Code::NoCallsAtAll, _) => "settings",
        (Code::NoAddress | Code::Moved | Code::NameWrong, _) => "address",
        (Code::HubUnreachable, _) => "hub",
        (Code::ProxyDown | Code::ProxyRefuses, _) => "proxy",
        (Code::NamesFail, _) => "names",
        (_, Part::RouterHere | Part::RouterThere) => "router",
        (_, Part::FirewallHere | Part::FirewallThere) => "firewall",
        (_, Part::Internet) => "Internet",
        (_, Part::ThisComputer) => "this computer",
        (_, Part::Friend) => "the computer there",
    }
}

/// `45 s`, `20 min`, `6 h`, `3 days`: how long something was, roughly.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..7200 => format!("{} min", (seconds + 30) / 60),
        7200..172_800 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} days", (seconds + 43_200) / 86_400),
    }
}
