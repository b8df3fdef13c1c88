//! What only tests from the other end show: that calls don't come in although nothing at this end says why.

use crate::code::{Code, Part};
use crate::facts::{ListenerState, Place, Side, Source, Test, TestResult};
use crate::firewall::{Access, Way};

use super::between::is_silence;
use super::end;
use super::router;
use super::words::{Whose, test};
use super::{Case, Found};

/// A firewall that no rule shows, but tests do: in one network nothing else is in between.
pub(super) fn firewalls(case: &Case<'_>) -> Vec<Found> {
    let Some(there) = case.there else { return Vec::new() };
    let ends = [(case.here, there, Whose::Here), (there, case.here, case.whose())];
    let mut found = Vec::new();
    for (called, caller, whose) in ends {
        let known = called.firewall.inbound.is_closed() || caller.firewall.outbound.is_closed();
        let inside: Vec<&Test> = caller
            .tests
            .iter()
            .filter(|test| test.place == Place::Internal && test.result != TestResult::Elsewhere)
            .collect();
        let in_one_network = called
            .tests
            .iter()
            .any(|test| test.place == Place::Internal && test.result == TestResult::Friend);
        let silent = !inside.is_empty() && inside.iter().all(|test| test.result == TestResult::NoResponse);
        if known || !in_one_network || !silent || called.listener.state != ListenerState::Listening {
            continue;
        }
        found.push(
            Found::failed(
                Code::FirewallIn,
                whose.part(Part::FirewallHere),
                format!("{} is not reached at port {}, although the two are in one network and the other direction works", whose.computer(), called.listener.port),
                format!("{}{}", whose.on(), end::step(called, Way::In, called.listener.port)),
            )
            .because(inside.into_iter().map(test))
            .because(end::more(called, Way::In, called.listener.port)),
        );
    }
    found
}

/// Two computers of one network that don't reach each other inside it, though nothing of their own stops them.
pub(super) fn isolated(case: &Case<'_>) -> Option<Found> {
    // What a pasted code says of tests is old.
    let there =
        case.there.filter(|_| case.facts.there.as_ref().is_some_and(|it| it.source == Source::Link))?;
    // Homes behind one carrier share its address, and number their networks alike: only what the router itself says counts.
    let is_home = |side: &Side| side.mapping.state == "mapped" && !side.mapping.direct;
    let one_home = is_home(case.here) && is_home(there) && meet_at_one_router(case.here, there);
    if case.is_direct() || !one_home {
        return None;
    }
    let inside = |side: &Side, result: fn(TestResult) -> bool| -> Option<Vec<String>> {
        let tried = side.tests.iter().filter(|test| test.place == Place::Internal);
        let tried: Vec<&Test> = tried.filter(|test| test.result != TestResult::Elsewhere).collect();
        let all = !tried.is_empty() && tried.iter().all(|test| result(test.result));
        all.then(|| tried.into_iter().map(test).collect())
    };
    let is_open = |side: &Side| {
        side.listener.state == ListenerState::Listening && side.firewall.inbound == Access::Open
    };
    let (outward, inward) = (inside(case.here, is_silence)?, inside(there, is_silence)?);
    if !is_open(case.here) || !is_open(there) {
        return None;
    }
    let page = case.here.network.gateway.as_ref().map_or_else(String::new, |ip| format!(" (http://{ip}/)"));
    let blame = Found::failed(
        Code::Isolated,
        Part::RouterHere,
        format!(
            "this computer and {} are in one network, which keeps its computers apart",
            case.whose().computer()
        ),
        format!("switch off client isolation (AP isolation, guest network) on the router's page{page}"),
    )
    .because(outward.into_iter().chain(inward));
    Some(if case.is_relayed() { blame.noted() } else { blame })
}

/// Whether the router leads calls to its own outer address back inside: few do, and inside it is not needed.
pub(super) fn hairpin(case: &Case<'_>) -> Option<Found> {
    let there = case.there.filter(|there| meet_at_one_router(case.here, there))?;
    let inside =
        case.here.tests.iter().any(|test| test.place == Place::Internal && test.result == TestResult::Friend);
    let external = there.mapping.external.as_deref()?;
    let outside = case.here.tests.iter().find(|test| test.address == external).filter(|_| inside)?;
    let leads = outside.result == TestResult::Friend;
    let said = if leads {
        "the router leads calls to its outer address back inside (hairpin)"
    } else {
        "the router does not lead calls to its outer address back inside (hairpin), which is not needed: the two reach each other inside"
    };
    Some(Found::ok(Code::Isolated, Part::RouterHere, said))
}

/// A router that says that it lets friends in, where the other computer, which gets out, has just tried in vain.
pub(super) fn mappings(case: &Case<'_>) -> Vec<Found> {
    let Some(there) = case.there else { return Vec::new() };
    // In one network calls take another way.
    let reached = |side: &Side| {
        side.tests.iter().any(|test| test.place == Place::Internal && test.result == TestResult::Friend)
    };
    if case.pair.link.as_ref().is_some_and(|link| link.path == "lan") || reached(case.here) || reached(there)
    {
        return Vec::new();
    }
    // What a pasted code says of tests is old; those made here are new.
    let asked = case.facts.there.as_ref().is_some_and(|there| there.source == Source::Link);
    let ends = [(case.here, there, Whose::Here, asked), (there, case.here, case.whose(), true)];
    let mut found = Vec::new();
    for (called, caller, whose, is_new) in ends {
        let fits = has_family(called, caller) && !meet_at_one_router(called, caller);
        if is_new && is_promised(called) && gets_out(caller, case) && fits {
            found.extend(refuted(called, caller, whose));
        }
    }
    found
}

/// The computer and its router both say that calls come in.
fn is_promised(called: &Side) -> bool {
    called.mapping.state == "mapped"
        && called.mapping.failed.is_none()
        && !called.outbound_only
        && called.listener.state == ListenerState::Listening
        && !called.firewall.inbound.is_closed()
}

/// Others outside of its network are reached from there, at any port.
fn gets_out(caller: &Side, case: &Case<'_>) -> bool {
    let others = caller.others_linked > 0;
    // With nobody else to compare: the two were connected before.
    let before = case.pair.last_seen.is_some() && caller.others_away == 0;
    (others || before)
        && !caller.network.only_443
        && !caller.firewall.outbound.is_closed()
        && caller.proxy.is_none()
        && !caller.mapped_ports
        && caller.network.gateway_answers != Some(false)
}

/// Whether the address outside is of a family that the other computer has.
fn has_family(called: &Side, caller: &Side) -> bool {
    let external = called.mapping.external.as_deref().unwrap_or_default();
    if external.starts_with('[') { caller.network.v6 } else { caller.network.v4 }
}

/// Behind one router the address outside leads nowhere, as many don't turn calls around.
fn meet_at_one_router(called: &Side, caller: &Side) -> bool {
    let host = |side: &Side| {
        let external =
            side.mapping.external.as_deref().or_else(|| side.public.first().map(String::as_str))?;
        Some(external.rsplit_once(':').map_or(external, |(host, _)| host).to_owned())
    };
    host(called).is_some() && host(called) == host(caller)
}

fn refuted(called: &Side, caller: &Side, whose: Whose<'_>) -> Option<Found> {
    let external = called.mapping.external.as_deref()?;
    let tried: Vec<&Test> = caller.tests.iter().filter(|test| test.address == external).collect();
    let lost = |result| is_silence(result) || result == TestResult::Refused;
    if tried.is_empty() || !tried.iter().all(|test| lost(test.result)) {
        return None;
    }
    Some(router::lets_nobody_in(called, whose).because(tried.into_iter().map(test)))
}
