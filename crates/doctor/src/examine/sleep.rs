//! Computers that sleep: what looks broken because one has just woken, or is silent because it sleeps as it does every night.

use crate::code::{Code, Part};
use crate::diagnosis::Outcome;
use crate::facts::{Side, Source};
use crate::history::WAKING;

use super::between::is_silence;
use super::words::{Whose, span};
use super::{Case, Found};

/// A pasted code that is older says nothing of this moment, seconds.
const FRESH: u64 = 60;
/// On so many days at least a computer slept at this time of the day for that to be a habit.
const LEAST_DAYS: u32 = 2;
/// Whoever was seen alive so many seconds ago is awake.
const ALIVE: u64 = 20 * 60;
/// Whoever was not heard of for so many seconds does not sleep as on every day: he was not there when he is always awake.
const GONE: u64 = 20 * 3600;

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
        Some((ago, slept, whose)) if failed().all(|found| passes(found.code) || is_of_room(found.code)) => {
            just_woken(ago, slept, whose)
        }
        _ => {
            let Some(habit) = habit(case) else { return };
            let is_silent = failed().all(|found| matches!(found.code, Code::Offline | Code::Unknown));
            if !is_silent || !is_asleep(case) {
                let silences =
                    found.iter_mut().filter(|found| matches!(found.code, Code::Offline | Code::Unknown));
                silences
                    .flat_map(|found| &mut found.blame)
                    .for_each(|blame| blame.evidence.push(habit.clone()));
                return;
            }
            probably_asleep(case, habit)
        }
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

/// What is wrong with the room for backups, which stops no connection.
const fn is_of_room(code: Code) -> bool {
    matches!(code, Code::DiskFailed | Code::DiskFull | Code::NothingAccepted | Code::QuotaFull)
}

/// That at this time of the day it mostly sleeps, if it does, and nothing is heard of it now.
fn habit(case: &Case<'_>) -> Option<String> {
    let habit = case.pair.habit?;
    let is_habit = habit.asleep >= LEAST_DAYS && habit.asleep.saturating_mul(2) > habit.of;
    // Whoever says anything at all is awake.
    let silent = case.there.is_none() && case.tried().all(|test| is_silence(test.result));
    let heard = case.pair.alive.max(case.pair.answered);
    let alive = heard.is_some_and(|heard| case.here.time.abs_diff(heard) < ALIVE);
    (is_habit && silent && !alive)
        .then(|| format!("it slept at this time on {} of {} days", habit.asleep, habit.of))
}

/// Whether nothing but that sleep explains the silence: it was there today, and this computer's own line is fine.
fn is_asleep(case: &Case<'_>) -> bool {
    let sign = case.pair.last_seen.max(case.pair.alive).max(case.pair.answered);
    let was_there = sign.is_some_and(|sign| case.here.time.abs_diff(sign) < GONE);
    let somebody_answers = case.here.others_linked > 0 || case.here.hubs.iter().any(|hub| hub.works);
    was_there && somebody_answers
}

fn probably_asleep(case: &Case<'_>, habit: String) -> Found {
    Found::failed(
        Code::Asleep,
        Part::Friend,
        format!("{} is probably asleep: it is silent, and at this time of the day it mostly sleeps", case.whose().computer()),
        format!("nothing has to be done: backups go on by themselves when it wakes up; ask {} to keep it awake if they should run now", case.name()),
    )
    .because([habit])
}
