//! Whose clock is wrong.

use crate::code::{Code, Part};

use super::end::{MOST_SKEW, median};
use super::words::{Whose, span};
use super::{Case, Found};

/// The clocks of the two, and who else is a witness.
pub(super) fn compared(case: &Case<'_>) -> Found {
    let Some(ahead) = told(case).or(case.pair.clock_ahead) else {
        return super::end::clock_alone(case.here).unwrap_or_else(|| {
            Found::unknown(Code::ClockWrong, Part::ThisComputer, "the two clocks could not be compared yet")
        });
    };
    if ahead.unsigned_abs() < MOST_SKEW {
        return Found::ok(Code::ClockWrong, Part::ThisComputer, "the clocks of the two computers agree");
    }
    let differ = format!(
        "the clock of {} is {} {} of the one here",
        case.whose().computer(),
        span(ahead.unsigned_abs()),
        if ahead > 0 { "ahead" } else { "behind" }
    );
    let near = |skew: i64| skew.unsigned_abs() < MOST_SKEW;
    let (others_here, others_there) =
        (median(&case.here.clocks), case.there.and_then(|there| median(&there.clocks)));
    let here_is_right = others_here.map(near);
    let there_is_right = others_there.map(near);
    let synchronised = (case.here.clock_synchronised, case.there.and_then(|there| there.clock_synchronised));
    let whose = match (here_is_right, there_is_right) {
        (Some(true), Some(false) | None) => Some(case.whose()),
        (Some(false) | None, Some(true)) => Some(Whose::Here),
        _ => match synchronised {
            (Some(true), Some(false)) => Some(case.whose()),
            (Some(false), Some(true)) => Some(Whose::Here),
            _ => None,
        },
    };
    match whose {
        Some(Whose::Here) => wrong(Whose::Here, ahead.saturating_neg())
            .because([differ, "other computers agree with the friend's".to_owned()]),
        Some(there) => {
            wrong(there, ahead).because([differ, "other computers agree with the one here".to_owned()])
        }
        None => Found::failed(
            Code::ClockWrong,
            Part::Internet,
            format!("one of the two clocks is wrong: {differ}"),
            "set the wrong one, and let the system keep it right: `timedatectl set-ntp true`",
        ),
    }
}

/// From what the other end said a moment ago; a pasted code is older than that.
fn told(case: &Case<'_>) -> Option<i64> {
    let there = case.facts.there.as_ref().filter(|there| there.source == crate::facts::Source::Link)?;
    (there.side.time != 0).then(|| there.side.time.saturating_sub(case.here.time))
}

/// One that is wrong by so many seconds.
pub(super) fn wrong(whose: Whose<'_>, ahead: i64) -> Found {
    let by = span(ahead.unsigned_abs());
    let direction = if ahead > 0 { "fast" } else { "slow" };
    Found::failed(
        Code::ClockWrong,
        whose.part(Part::ThisComputer),
        format!("the clock of {} is {by} {direction}", whose.computer()),
        format!("{}set the clock, and let the system keep it right: `timedatectl set-ntp true`", whose.on()),
    )
}
