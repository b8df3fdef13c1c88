//! Both directions, and the way as a row of stations.

use crate::code::{Part, Weight};
use crate::diagnosis::{Check, Condition, Direction, Outcome, Passage, Station, Verdict};
use crate::facts::{Facts, LinkFacts, Pair, Side, Test, TestResult};
use crate::firewall::Access;

use super::words;

/// Connections from here to there.
pub(super) fn outward(facts: &Facts) -> Direction {
    let Some(pair) = &facts.friend else { return Direction::default() };
    let link = pair.link.as_ref().filter(|link| link.path != "relayed");
    if let Some(link) = link.filter(|link| link.dialled || link.path == "punched") {
        let made = format!("the connection at {} was made from here", link.remote);
        let there = facts.there.as_ref().map(|there| there.side.firewall.inbound);
        let rules = [Some(facts.here.firewall.outbound), there];
        return of_link(link, made, rules, &facts.here.tests);
    }
    of_tests(&facts.here.tests, "no address of the other computer was tried from here")
}

/// Connections from there to here.
pub(super) fn inward(facts: &Facts) -> Direction {
    let Some(pair) = &facts.friend else { return Direction::default() };
    let link = pair.link.as_ref().filter(|link| link.path != "relayed");
    if let Some(link) = link.filter(|link| !link.dialled || link.path == "punched") {
        let made = format!("the connection from {} was made from there", link.remote);
        let there = facts.there.as_ref().map(|there| &there.side);
        let rules = [Some(facts.here.firewall.inbound), there.map(|there| there.firewall.outbound)];
        return of_link(link, made, rules, there.map_or(&[], |there| &there.tests));
    }
    let Some(there) = facts.there.as_ref() else {
        return Direction {
            state: Passage::Unknown,
            detail: "the other computer could not be asked to try".to_owned(),
        };
    };
    if facts.here.outbound_only {
        return Direction {
            state: Passage::Closed,
            detail: "this computer takes no calls (network.outbound-only)".to_owned(),
        };
    }
    of_tests(&there.side.tests, "no address of this computer was tried from there")
}

/// A connection that is older than the rules of the firewalls says nothing of new ones; one that both made at once they let in all the same.
fn of_link(link: &LinkFacts, made: String, rules: [Option<Access>; 2], tests: &[Test]) -> Direction {
    let is_tried = tests.iter().any(|test| test.result == TestResult::Friend);
    if link.path == "punched" || is_tried || !rules.into_iter().flatten().any(Access::is_closed) {
        return Direction { state: Passage::Open, detail: made };
    }
    Direction { state: Passage::Closed, detail: format!("{made}, before a firewall stopped new ones") }
}

fn of_tests(tests: &[Test], nothing: &str) -> Direction {
    let tried: Vec<&Test> = tests.iter().filter(|test| test.result != TestResult::Elsewhere).collect();
    if let Some(test) = tried.iter().find(|test| test.result == TestResult::Friend) {
        return Direction { state: Passage::Open, detail: words::test(test) };
    }
    let detail: Vec<String> = tried.iter().map(|test| words::test(test)).collect();
    if detail.is_empty() {
        return Direction { state: Passage::Unknown, detail: nothing.to_owned() };
    }
    Direction { state: Passage::Closed, detail: detail.join("; ") }
}

/// The parts of the way from here to there, or of this end alone. One is broken at most; what else failed is a note.
pub(super) fn stations(facts: &Facts, verdict: &Verdict, checks: &[Check]) -> Vec<Station> {
    let parts: &[Part] = if facts.friend.is_some() { &Part::ALL } else { &Part::ALL[..4] };
    let broken = (!verdict.is_fine()).then_some(verdict.part);
    let noted = (verdict.weight == Weight::Note).then_some(verdict.part);
    let linked = facts.friend.as_ref().is_some_and(|pair| pair.link.is_some());
    // Who has just woken or sleeps is not broken, and what lies beyond was not seen all the same.
    let ends_at = broken.or_else(|| noted.filter(|_| facts.friend.is_some() && !linked));
    let is_seen = |part: Part| match ends_at {
        // What works is beyond doubt; else what is before the broken piece, and what the other end said of itself.
        _ if linked => true,
        None => true,
        Some(end) => part < end || (part > end && facts.there.is_some()),
    };
    let of = |part: Part| checks.iter().filter(move |check| check.part == part).map(|check| check.outcome);
    let fails = |part: Part| of(part).any(|outcome| outcome == Outcome::Failed);
    let is_unknown = |part: Part| {
        let mut known = of(part).filter(|outcome| *outcome != Outcome::Skipped).peekable();
        !linked && known.peek().is_some() && known.all(|outcome| outcome == Outcome::Unknown)
    };
    let station = |part: Part| Station {
        part,
        name: name(part, facts),
        state: if broken == Some(part) {
            Condition::Broken
        } else if noted == Some(part) || fails(part) {
            Condition::Note
        } else if is_seen(part) && !is_unknown(part) {
            Condition::Fine
        } else {
            Condition::Unknown
        },
    };
    parts.iter().copied().map(station).collect()
}

fn name(part: Part, facts: &Facts) -> String {
    let there = facts.there.as_ref().map(|there| &there.side);
    let router = |side: Option<&Side>| {
        side.and_then(|side| side.mapping.router.clone()).unwrap_or_else(|| "router".to_owned())
    };
    match part {
        Part::ThisComputer => "this computer".to_owned(),
        Part::FirewallHere | Part::FirewallThere => "firewall".to_owned(),
        Part::RouterHere => router(Some(&facts.here)),
        Part::Internet => relay(facts.friend.as_ref()),
        Part::RouterThere => router(there),
        Part::Friend => facts.friend.as_ref().map_or_else(|| "friend".to_owned(), |pair| pair.name.clone()),
    }
}

fn relay(pair: Option<&Pair>) -> String {
    let by = pair.and_then(|pair| pair.link.as_ref()?.relayed_by.clone());
    by.map_or_else(|| "Internet".to_owned(), |by| format!("Internet, by {by}"))
}
