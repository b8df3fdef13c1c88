//! What came of a run, and how it is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use super::expected::{Because, Expected, Way, expected};
use super::kind::Kind;

/// What came of one pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The two kinds.
    pub kinds: [Kind; 2],
    /// What was expected of them.
    pub expected: Expected,
    /// The `path` of the other one that each shows; none: there was no link.
    pub got: [Option<String>; 2],
    /// Whether something that was asked over the link was answered, by either.
    pub answered: bool,
    /// From the break of a link until the next one was there, by whichever way: the shortest of the times that it was measured.
    pub again: Option<Duration>,
    /// From the break of a link until one was there by the expected way: the shortest of the times that it was measured.
    pub settled: Option<Duration>,
    /// What was said of a link that did not come about.
    pub said: Option<String>,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Pair by pair.
    pub rows: Vec<Row>,
}

impl Row {
    /// Whether the two are connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.answered && self.got.iter().all(Option::is_some)
    }

    /// Whether they are connected by the way that was expected.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        let [Some(first), Some(second)] = &self.got else { return false };
        self.is_connected() && self.expected.way.allows(first, second)
    }

    /// Whether they were punched although the port of one was unknown. Each try leaves his router by another port of 64,512 (1024 to 65,535), a
    /// few dozen times in a second: once in hundreds of punches it is the one that the other end calls.
    #[must_use]
    pub fn met_by_chance(&self) -> bool {
        let is_punched = self.got.iter().all(|got| got.as_deref() == Some("punched"));
        self.is_connected() && is_punched && self.expected.because == Because::PortsAreUnknown
    }

    fn way(&self) -> String {
        let [first, second] = self.got.each_ref().map(|word| word.as_deref().unwrap_or("none"));
        if first == second { first.to_owned() } else { format!("{first}>{second}") }
    }
}

impl Report {
    /// The pairs that are not connected by the way that was expected, and not by chance by a better one.
    pub fn surprises(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.is_as_expected() && !row.met_by_chance())
    }

    /// The pairs that met [by chance](Row::met_by_chance): more than one of them in a run is none.
    pub fn lucky(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.met_by_chance())
    }

    /// The median time to a link by the expected way, for every expected way.
    #[must_use]
    pub fn medians(&self) -> BTreeMap<Way, (Duration, usize)> {
        medians(self.rows.iter().filter_map(|row| Some((row.expected.way, row.settled?))))
    }

    /// The expected ways for which a time is promised, and by which no link came at all in the time that was waited.
    #[must_use]
    pub fn never_settled(&self) -> BTreeSet<Way> {
        let medians = self.medians();
        let ways = self.rows.iter().map(|row| group(row.expected.way));
        ways.filter(|way| promised(*way).is_some() && !medians.contains_key(way)).collect()
    }
}

/// The median of these times, for every way, and of how many it is.
pub(super) fn medians(times: impl IntoIterator<Item = (Way, Duration)>) -> BTreeMap<Way, (Duration, usize)> {
    let mut by_way: BTreeMap<Way, Vec<Duration>> = BTreeMap::new();
    for (way, time) in times {
        by_way.entry(group(way)).or_default().push(time);
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        (times[times.len() / 2], times.len())
    };
    by_way.into_iter().map(|(way, times)| (way, median(times))).collect()
}

/// The promise for the median time to a link by this way; none where there is no promise.
#[must_use]
pub const fn promised(way: Way) -> Option<Duration> {
    match group(way) {
        Way::Lan | Way::Public | Way::Mapped => Some(Duration::from_secs(1)),
        Way::Punched => Some(Duration::from_secs(3)),
        Way::Relayed => Some(Duration::from_secs(2)),
        _ => None,
    }
}

/// Ways whose times belong together.
pub(super) const fn group(way: Way) -> Way {
    match way {
        Way::PublicOrMapped => Way::Mapped,
        Way::SecondByProxyToPublic | Way::FirstByProxyToMapped | Way::SecondByProxyToMapped => {
            Way::FirstByProxyToPublic
        }
        other => other,
    }
}

const fn name_of_group(way: Way) -> &'static str {
    match way {
        Way::Lan => "lan",
        Way::Public => "public",
        Way::FirstByProxyToPublic => "by a proxy",
        Way::Punched => "punched",
        Way::PunchedOrRelayed => "punched, else relayed",
        Way::Relayed => "relayed",
        Way::None => "none",
        _ => "mapped",
    }
}

/// What is expected of all pairs, as a table.
#[must_use]
pub fn expectations() -> String {
    let width = 16;
    let mut text = format!("{:<14}", "");
    for kind in Kind::ALL {
        write!(text, "{kind:<width$}").expect("a String takes what is written to it");
    }
    for first in Kind::ALL {
        write!(text, "\n{first:<14}").expect("a String takes what is written to it");
        for second in Kind::ALL {
            let way = expected(first, second, true).way;
            write!(text, "{way:<width$}").expect("a String takes what is written to it");
        }
    }
    text + "\n"
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{:<14}{:<14}{:<18}{:<18}{:>9}{:>9}  WHY THIS WAY",
            "ONE", "OTHER", "EXPECTED", "GOT", "LINK", "SETTLED"
        )?;
        let time = |time: Option<Duration>| {
            time.map_or_else(|| "-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
        };
        for row in &self.rows {
            let [first, second] = row.kinds;
            let mark = match (row.is_connected(), row.is_as_expected()) {
                (_, true) => String::new(),
                _ if row.met_by_chance() => "  (met by chance)".to_owned(),
                (true, false) => "  <-- not as expected".to_owned(),
                (false, _) => {
                    format!("  <-- NOT CONNECTED: {}", row.said.as_deref().unwrap_or("nothing was said"))
                }
            };
            writeln!(
                f,
                "{first:<14}{second:<14}{:<18}{:<18}{:>9}{:>9}  {}{mark}",
                row.expected.way,
                row.way(),
                time(row.again),
                time(row.settled),
                row.expected.because,
            )?;
        }
        let all = self.rows.len();
        let connected = self.rows.iter().filter(|row| row.is_connected()).count();
        let as_expected = self.rows.iter().filter(|row| row.is_as_expected()).count();
        writeln!(f, "\n{connected} of {all} pairs connected, {as_expected} of {all} by the expected way.")?;
        for (way, (median, count)) in self.medians() {
            writeln!(f, "{:<22} median {:.2} s of {count}", name_of_group(way), median.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_a_port_is_unknown_a_punched_link_is_one_that_met_by_chance() {
        let row = |because, got: [&str; 2]| Row {
            kinds: [Kind::ALL[0]; 2],
            expected: Expected { way: Way::Relayed, because },
            got: got.map(|word| Some(word.to_owned())),
            answered: true,
            again: None,
            settled: None,
            said: None,
        };
        let lucky = row(Because::PortsAreUnknown, ["punched"; 2]);
        assert!(lucky.met_by_chance() && !lucky.is_as_expected());
        for other in [
            row(Because::OutboundOnly, ["punched"; 2]),
            row(Because::PortsAreUnknown, ["punched", "relayed"]),
            row(Because::PortsAreUnknown, ["mapped"; 2]),
            Row { answered: false, ..lucky.clone() },
        ] {
            assert!(!other.met_by_chance(), "{other:?}");
            assert_eq!(Report { rows: vec![other] }.surprises().count(), 1);
        }
        assert_eq!(Report { rows: vec![lucky] }.surprises().count(), 0);
    }
}
