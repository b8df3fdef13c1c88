//! Whether the two come together at all, and if not, whose side should open.

use crate::code::{Code, Part};
use crate::date;
use crate::diagnosis::Outcome;
use crate::facts::{Place, TestResult};

use super::between::is_silence;
use super::router;
use super::words::{Whose, argument, span, test};
use super::{Case, Found};

/// Whoever was seen alive so many seconds ago counts as on.
const ALIVE: u64 = 20 * 60;
/// Whoever did not answer a call within so many seconds, and was not heard of since, is gone.
const UNANSWERED: u64 = 20 * 60;
/// An address inside a network is a friend's for so many seconds after he was connected.
const STILL_THERE: u64 = 600;
/// Whoever answered a call so many seconds ago is on: as long as a call may last.
const ANSWERED: u64 = 45;

/// Whether the two come together, and if not, whose side should open.
pub(super) fn together(case: &Case<'_>, stopped: bool) -> Vec<Found> {
    if case.is_direct() {
        return vec![Found::ok(
            Code::Unknown,
            Part::Internet,
            format!("{} is connected directly", case.name()),
        )];
    }
    if stopped {
        let said = "not looked at, because of what was found before";
        return vec![Found::new(Code::Unknown, Part::Internet, Outcome::Skipped, said)];
    }
    if case.is_relayed() {
        return vec![relayed(case)];
    }
    match case.there {
        Some(_) => vec![nobody_lets_in(case)],
        None => vec![from_here_alone(case)],
    }
}

/// Passed on by a third: fine, and why.
fn relayed(case: &Case<'_>) -> Found {
    let by = case
        .pair
        .link
        .as_ref()
        .and_then(|link| link.relayed_by.clone())
        .unwrap_or_else(|| "another computer".to_owned());
    let why = limits(case).into_iter().map(|found| found.detail);
    let step =
        limits(case).into_iter().next().and_then(|found| found.blame).and_then(|blame| blame.next_step);
    let mut found = Found::failed(
        Code::Relayed,
        Part::Internet,
        format!(
            "everything works: {by} passes on what this computer and {} say, which is slower",
            case.whose().computer()
        ),
        step.map_or_else(
            || "nothing has to be done".to_owned(),
            |step| format!("nothing has to be done; to make it faster, {step}"),
        ),
    )
    .because(why);
    found = found.noted();
    found
}

/// Why neither router lets anybody in, the one first at which most can be done.
fn limits(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let ends = [(Some(case.here), Whose::Here), (case.there, case.whose())];
    for (side, whose) in ends.into_iter().filter_map(|(side, whose)| Some((side?, whose))) {
        if side.outbound_only {
            continue;
        }
        match side.mapping.state.as_str() {
            "router-off" => found.push(router::off(side, whose)),
            "double-nat" => found.push(router::double_nat(side, whose)),
            _ => {}
        }
    }
    // A provider's box is harder to change than one's own.
    found.sort_by_key(|found| found.code == Code::CarrierNat);
    for (side, whose) in ends.into_iter().filter_map(|(side, whose)| Some((side?, whose))) {
        if side.keeps_ports == Some(false) && side.mapping.state != "mapped" {
            found.push(Found::failed(
                Code::PortsScrambled,
                whose.part(Part::RouterHere),
                format!("{} gives every connection another port", whose.router(side)),
                format!("forward TCP port {} on it, or switch on UPnP there", side.listener.port),
            ));
        }
    }
    found
}

/// Both ends were asked, and nothing at all connects them.
fn nobody_lets_in(case: &Case<'_>) -> Found {
    let mut limits = limits(case);
    if !limits.is_empty() {
        let mut first = limits.remove(0);
        if let Some(blame) = &mut first.blame {
            blame.evidence.extend(limits.into_iter().map(|found| found.detail));
            blame.evidence.extend(case.tried().map(test));
            blame.evidence.extend(case.pair.help_error.clone());
        }
        return first;
    }
    Found::failed(
        Code::Unknown,
        Part::Internet,
        format!("neither computer reaches the other, and nothing is wrong at either end, as far as {} and this one can see", case.whose().computer()),
        format!("forward TCP port {} to this computer on the router here, by hand", case.here.listener.port),
    )
    .because(case.tried().map(test))
}

/// The other end could not be asked.
fn from_here_alone(case: &Case<'_>) -> Found {
    let name = case.name();
    let evidence: Vec<String> =
        case.tried().map(test).chain(case.pair.help_error.clone()).chain(seen(case)).collect();
    let now = case.here.time;
    let alive = case.pair.alive.filter(|alive| now.abs_diff(*alive) < ALIVE);
    // Inside a network the address may soon be that of any other computer.
    let was_here = case.pair.last_seen.is_some_and(|seen| now.abs_diff(seen) < STILL_THERE);
    let is_his = |place: Place| place == Place::Public || was_here;
    let refused = case.tried().any(|test| is_his(test.place) && test.result == TestResult::Refused);
    // Whoever carries calls has found him, and could not bring the two together.
    let answered = case.pair.answered.filter(|at| now.abs_diff(*at) < ANSWERED);
    let heard = case.pair.answered.max(case.pair.last_seen);
    let in_vain = |at: &i64| now.abs_diff(*at) < UNANSWERED && heard.is_none_or(|heard| *at > heard);
    let away = answered.is_none() && case.pair.unanswered.as_ref().is_some_and(in_vain);
    let alive = alive.max(answered);
    let found = if let Some(limit) =
        limits(case).into_iter().next().filter(|_| answered.is_some() && !refused)
    {
        limit
    } else if refused && case.none_leads_there() {
        Found::failed(
            Code::NotRunning,
            Part::Friend,
            format!(
                "something answers where {} should be, and says that no Kith runs there",
                case.whose().computer()
            ),
            format!("ask {name} to start Kith, and to look at `kith status` there"),
        )
    } else if away || in_one_network_and_gone(case) {
        Found::failed(
            Code::Offline,
            Part::Friend,
            format!(
                "{} is off, asleep, or without a network, as far as can be seen from here",
                case.whose().computer()
            ),
            format!(
                "ask {name} whether the computer is on and Kith runs there; backups go on by themselves when it is back"
            ),
        )
    } else if let Some(alive) = alive {
        Found::failed(
            Code::Unknown,
            Part::Internet,
            format!(
                "{} is on (it was heard of {} ago), and its network lets no connection in",
                case.whose().computer(),
                span(now.abs_diff(alive))
            ),
            ask_there(name),
        )
    } else {
        Found::failed(
            Code::Unknown,
            Part::Internet,
            format!(
                "{} does not answer: it is off, or something at {name}'s stops connections",
                case.whose().computer()
            ),
            ask_there(name),
        )
    };
    found.because(evidence)
}

fn ask_there(name: &str) -> String {
    format!(
        "ask {name} whether the computer is on; if it is, have him send the line that `kith doctor --code` prints there, and run `kith doctor {} --with -` here",
        argument(name)
    )
}

/// Inside of our own network nobody has the address.
fn in_one_network_and_gone(case: &Case<'_>) -> bool {
    case.tried().any(|test| test.place == Place::Internal && test.result == TestResult::Unreachable)
        && case.tried().all(|test| is_silence(test.result))
}

fn seen(case: &Case<'_>) -> Vec<String> {
    let last = case.pair.last_seen.and_then(date).map(|date| format!("the last connection was on {date}"));
    let alive = case.pair.alive.and_then(date).map(|date| match &case.pair.alive_by {
        Some(by) => format!("{by} ({date})"),
        None => format!("it was heard of last on {date}"),
    });
    last.into_iter().chain(alive).collect()
}
