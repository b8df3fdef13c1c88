//! Computers that sleep: what looks broken because one has just woken, or is silent because it sleeps as it does every night.

use crate::code::{Code, Part};
use crate::diagnosis::Outcome;
use crate::facts::{Side, Source};

use super::between::is_silence;
use super::words::{Whose, span};
use super::{Case, Found};

/// Within this time after it woke a computer has its network and its links again, seconds.
const WAKING: i64 = 60;
/// A pasted code that is older says nothing of this moment, seconds.
const FRESH: u64 = 60;
/// On so many days at least a computer slept at this time of the day for that to be a habit.
const LEAST_DAYS: u32 = 2;
/// Whoever was seen alive so many seconds ago is awake.
const ALIVE: u64 = 20 * 60;

/// Puts sleep before whatever follows from it.
pub(super) fn explains(case: &Case<'_>, found: &mut Vec<Found>) {
    if !case.is_apart() {
        return;
    }
    let there = case
        .facts
        .there
        .as_ref()
        .filter(|there| there.source == Source::Link || there.side.time.abs_diff(case.here.time) < FRESH);
    let sides = [(Some(case.here), Whose::Here), (there.map(|there| &there.side), case.whose())];
    let woken = sides.into_iter().find_map(|(side, whose)| Some((ago(side?)?, side?.slept, whose)));
    let failed = || found.iter().filter(|found| found.outcome == Outcome::Failed);
    let explained = match woken {
        Some((ago, slept, whose)) if failed().all(|found| passes(found.code)) => {
            just_woken(ago, slept, whose)
        }
        _ if failed().all(|found| matches!(found.code, Code::Offline | Code::Unknown)) => {
            let Some(found) = probably_asleep(case) else { return };
            found
        }
        _ => return,
    };
    let mut evidence = Vec::new();
    for found in found.iter_mut().filter(|found| found.outcome == Outcome::Failed) {
        evidence.push(found.detail.clone());
        evidence.extend(found.blame.take().into_iter().flat_map(|blame| blame.evidence));
        found.outcome = Outcome::Unknown;
    }
    found.insert(0, explained.because(evidence).noted());
}

/// How many seconds ago it woke, if that was a moment ago.
fn ago(side: &Side) -> Option<u64> {
    let ago = side.time.checked_sub(side.woken?)?;
    (0..WAKING).contains(&ago).then_some(ago.unsigned_abs())
}

fn just_woken(ago: u64, slept: Option<u64>, whose: Whose<'_>) -> Found {
    let slept = slept
        .filter(|slept| *slept >= 60)
        .map_or_else(String::new, |slept| format!(" after {}", span(slept)));
    Found::failed(
        Code::JustWoken,
        whose.part(Part::ThisComputer),
        format!("{} woke up {} ago{slept} and connects again", whose.computer(), span(ago)),
        "wait a minute, and look again",
    )
}

/// What is mostly over before anybody could see to it: the network of a computer that has just woken comes up.
const fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::NoNetwork
            | Code::RouterSilent
            | Code::NetworkBlocksOut
            | Code::NoInternet
            | Code::NamesFail
            | Code::ProxyDown
            | Code::HubUnreachable
            | Code::MappingOff
            | Code::MappingLost
            | Code::MappingLies
            | Code::DoubleNat
            | Code::CarrierNat
            | Code::PortsScrambled
            | Code::Offline
            | Code::Unknown
    )
}

/// It is silent, and at this time of the day it mostly sleeps.
fn probably_asleep(case: &Case<'_>) -> Option<Found> {
    let habit = case
        .pair
        .habit
        .filter(|habit| habit.asleep >= LEAST_DAYS && habit.asleep.saturating_mul(2) > habit.of)?;
    // Whoever says anything at all is awake.
    let silent = case.there.is_none() && case.tried().all(|test| is_silence(test.result));
    let alive = case.pair.alive.is_some_and(|alive| case.here.time.abs_diff(alive) < ALIVE);
    if !silent || alive {
        return None;
    }
    Some(
        Found::failed(
            Code::Asleep,
            Part::Friend,
            format!("{} is probably asleep: it is silent, and at this time of the day it mostly sleeps", case.whose().computer()),
            format!("nothing has to be done: backups go on by themselves when it wakes up; ask {} to keep it awake if they should run now", case.name()),
        )
        .because([format!("it slept at this time on {} of {} days", habit.asleep, habit.of)]),
    )
}
