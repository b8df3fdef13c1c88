//! Who answers at the friend's addresses.

use crate::code::{Code, Part};
use crate::diagnosis::Outcome;
use crate::facts::{ListenerState, Place, Side, Test, TestResult};

use super::words::{argument, test};
use super::{Case, Found};

/// Who answers, and whether he knows us.
pub(super) fn identity(case: &Case<'_>) -> Vec<Found> {
    let name = case.name();
    let mut found = Vec::new();
    let refused = case.tests(&[TestResult::RefusedUs]);
    if !refused.is_empty() && case.is_apart() {
        found.push(
            Found::failed(
                Code::IdentityChanged,
                Part::Friend,
                format!("{} does not know this one any more", case.whose().computer()),
                format!("pair again: `kith invite` on {name}'s computer, `kith join` on this one; what is stored there stays"),
            )
            .because(refused),
        );
    }
    let other = case.tests(&[TestResult::OtherVersion]);
    if !other.is_empty() && case.is_apart() {
        found.push(
            Found::failed(
                Code::VersionTooOld,
                Part::Friend,
                format!("the Kith of {name} and the one here are too far apart in age"),
                format!("install the newer Kith where the older one runs: here it is {}", case.here.version),
            )
            .because(other),
        );
    }
    found
}

/// Who answers at the friend's addresses.
pub(super) fn addresses(case: &Case<'_>, stopped: bool) -> Vec<Found> {
    let (name, argument) = (case.name(), argument(case.name()));
    if !case.none_leads_there() || case.is_direct() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let skip = |blame: Found| {
        let detail = blame.detail.clone();
        if stopped { Found::new(blame.code, blame.part, Outcome::Skipped, detail) } else { blame }
    };
    // Inside a network the address may be that of any other computer: homes number theirs alike. Where he says himself at which addresses he is,
    // others may well be somebody else's by now.
    let is_his = |test: &&Test| {
        case.there.is_none_or(|there| {
            there.public.contains(&test.address) || there.mapping.external.as_ref() == Some(&test.address)
        })
    };
    let public = |results: &[TestResult]| {
        case.tried()
            .filter(is_his)
            .filter(|test| test.place == Place::Public && results.contains(&test.result))
            .map(test)
            .collect::<Vec<_>>()
    };
    let moved = case
        .there
        .filter(|there| there.listener.state == ListenerState::Listening)
        .and_then(|there| moved(case, there));
    if let Some(moved) = moved {
        found.push(skip(moved));
        return found;
    }
    let other = public(&[TestResult::OtherDevice]);
    let shows_who = case.tried().any(|test| test.result == TestResult::OtherDevice && test.detail.is_some());
    if !other.is_empty() && case.there.is_none() && !shows_who {
        found.push(skip(
            Found::failed(
                Code::NotRecognised,
                Part::Friend,
                format!("a Kith answers where {name}'s should be, and does not know this computer: it was removed there, set up anew, or the address is another computer's now"),
                format!("ask {name} whether this computer is in `kith friends` there; if not, pair again with `kith invite` there and `kith join` here"),
            )
            .because(other),
        ));
    } else if !other.is_empty() {
        found.push(skip(
            Found::failed(
                Code::WrongDevice,
                Part::RouterThere,
                format!("another computer's Kith answers where {name}'s should be"),
                format!("correct the forwarding on the router at {name}'s, so that it leads to his computer; or the address: `kith friend address {argument} HOST:PORT`"),
            )
            .because(other),
        ));
    }
    let foreign = public(&[TestResult::NotKith, TestResult::Silent, TestResult::Intercepted]);
    if !foreign.is_empty() {
        found.push(skip(
            Found::failed(
                Code::ForeignService,
                Part::RouterThere,
                format!("another program answers where {name}'s Kith should be"),
                format!("correct the forwarding on the router at {name}'s, or end that program there; or correct the address: `kith friend address {argument} HOST:PORT`"),
            )
            .because(foreign),
        ));
    }
    found
}

/// He is known at a port at which he isn't any more.
fn moved(case: &Case<'_>, there: &Side) -> Option<Found> {
    let now = [&there.public[..], &there.internal[..], there.mapping.external.as_slice()].concat();
    let gone: Vec<&Test> = case
        .tried()
        .filter(|test| !now.contains(&test.address) && test.result != TestResult::Myself)
        .collect();
    // Where he is now was tried, too, in vain: then something else stops it.
    let tried_now = case.tried().any(|test| test.place == Place::Public && now.contains(&test.address));
    let open = there.mapping.state == "mapped" && there.mapping.failed.is_none();
    if gone.is_empty() || tried_now || !open || there.public.is_empty() {
        return None;
    }
    Some(
        Found::failed(
            Code::Moved,
            Part::Friend,
            format!(
                "{} is not where it is called: it is at {} now",
                case.whose().computer(),
                there.public.join(", ")
            ),
            format!(
                "`kith friend address {} {}`",
                argument(case.name()),
                there.public.first().cloned().unwrap_or_default()
            ),
        )
        .because(gone.into_iter().map(test)),
    )
}
