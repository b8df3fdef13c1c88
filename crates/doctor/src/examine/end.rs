//! One end of the way, by what that computer says of itself: the same checks here and there.

use crate::code::{Code, Part};
use crate::diagnosis::Outcome;
use crate::facts::{ListenerState, Side, TestResult};
use crate::firewall::advice::{self, advice};
use crate::firewall::{Access, FirewallFacts, RemoteAccess, Way};

use super::Found;
use super::words::{Whose, span};

/// By how many seconds clocks may differ before somebody is told.
pub(super) const MOST_SKEW: u64 = 300;

/// When a router is to blame that makes no mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matters {
    /// Whatever it does not do.
    Always,
    /// Only what is broken: it lied, or stopped.
    IfBroken,
    /// As [`Self::IfBroken`] now; [`super::together::together`] looks at what nothing else explains.
    IfNothingElse,
}

/// The computer: its network, its port.
pub(super) fn itself(side: &Side, whose: Whose<'_>) -> Vec<Found> {
    vec![network(side, whose), port(side, whose)]
}

fn network(side: &Side, whose: Whose<'_>) -> Found {
    let part = whose.part(Part::ThisComputer);
    let network = &side.network;
    if !network.v4 && !network.v6 {
        return Found::failed(
            Code::NoNetwork,
            part,
            format!("{} is not in any network", whose.computer()),
            format!(
                "{}plug in the cable, or choose a Wi-Fi network; an address must come from the router",
                whose.on()
            ),
        );
    }
    let router = whose.part(Part::RouterHere);
    match (&network.gateway, network.gateway_answers) {
        (Some(gateway), Some(false)) => Found::failed(
            Code::RouterSilent,
            router,
            format!("the router at {gateway} does not answer {}", whose.computer()),
            "see whether that router is on and its cables are in; switch it off and on again",
        )
        .because([format!("{gateway} was asked, and nobody answers there")]),
        (None, _) if network.way_out != Some(false) => {
            Found::unknown(Code::RouterSilent, router, format!("{} names no router", whose.computer()))
        }
        (None, _) => Found::failed(
            Code::NoNetwork,
            part,
            format!("{} has an address and no way to other networks: no router is set", whose.computer()),
            format!("{}connect anew, so that the router gives it an address and a way out", whose.on()),
        )
        .noted(),
        (Some(gateway), Some(true)) => {
            Found::ok(Code::RouterSilent, router, format!("the router at {gateway} answers"))
        }
        (Some(gateway), None) => Found::unknown(
            Code::RouterSilent,
            router,
            format!("whether the router at {gateway} answers is not known"),
        ),
    }
}

fn port(side: &Side, whose: Whose<'_>) -> Found {
    let part = whose.part(Part::ThisComputer);
    let listener = &side.listener;
    let (computer, port) = (whose.computer(), listener.port);
    match listener.state {
        ListenerState::Listening => {
            Found::ok(Code::PortTaken, part, format!("port {port} of {computer} is open for friends"))
        }
        ListenerState::Off if side.outbound_only => Found::new(
            Code::PortTaken,
            part,
            Outcome::Skipped,
            format!("{computer} takes no calls (network.outbound-only)"),
        ),
        ListenerState::Off => {
            Found::unknown(Code::PortTaken, part, format!("port {port} of {computer} is not open yet"))
        }
        ListenerState::Error => match &listener.taken_by {
            Some(program) => {
                let free = match listener.free_port {
                    Some(free) => format!(
                        "{}end {program}, or give Kith another port: `kith settings set listener.port {free}`",
                        whose.on()
                    ),
                    None => format!("{}end {program}, or give Kith another port", whose.on()),
                };
                Found::failed(
                    Code::PortTaken,
                    part,
                    format!("{program} has port {port} of {computer}, at which friends call"),
                    free,
                )
                .because(listener.error.clone())
            }
            None => Found::failed(
                Code::PortClosed,
                part,
                format!("port {port} of {computer}, at which friends call, can't be opened"),
                format!(
                    "{}correct listener.port or listener.bind: `kith status` says why it can't be opened",
                    whose.on()
                ),
            )
            .because(listener.error.clone()),
        },
    }
}

/// A clock by itself, against those of all others.
pub(super) fn clock_alone(here: &Side) -> Option<Found> {
    let ahead = median(&here.clocks)?;
    if here.clocks.len() < 2 || ahead.unsigned_abs() < MOST_SKEW {
        return Some(Found::ok(Code::ClockWrong, Part::ThisComputer, "the clock is as friends' clocks are"));
    }
    Some(super::clock::wrong(Whose::Here, ahead.saturating_neg()).because([format!(
        "the clocks of {} other computers are {} {} of it",
        here.clocks.len(),
        span(ahead.unsigned_abs()),
        if ahead > 0 { "ahead" } else { "behind" }
    )]))
}

/// The one in the middle; none of none.
pub(super) fn median(numbers: &[i64]) -> Option<i64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

/// The computer's own firewall, by its rules.
///
/// A rule that stops what comes in is a fault if friends got in before, or if nothing else connects the two; else it may be wanted.
pub(super) fn firewall(side: &Side, whose: Whose<'_>, matters: Matters) -> Vec<Found> {
    let part = whose.part(Part::FirewallHere);
    let firewall = &settled(side);
    let (computer, port) = (whose.computer(), side.listener.port);
    let mut found = Vec::new();
    let how = |access: Access| if access == Access::Rejected { "refuses" } else { "drops" };
    found.push(match firewall.outbound {
        access if access.is_closed() => {
            let rule = firewall.outbound_rule.as_ref().map(|rule| format!("the rule: {rule}"));
            let port = port_there(side, firewall);
            Found::failed(
                Code::FirewallOut,
                part,
                format!("the firewall of {computer} {} connections to friends", how(access)),
                format!("{}{}", whose.on(), step(side, Way::Out, port)),
            )
            .because(rule.into_iter().chain(more(side, Way::Out, port)))
        }
        Access::Open => {
            Found::ok(Code::FirewallOut, part, format!("no rule on {computer} stops connections to friends"))
        }
        _ => Found::unknown(Code::FirewallOut, part, unreadable(firewall, whose)),
    });
    if side.outbound_only {
        return found;
    }
    found.push(match firewall.inbound {
        access if access.is_closed() => {
            let rule = firewall.inbound_rule.as_ref().map(|rule| format!("the rule: {rule}"));
            let worked = firewall.worked.or(side.last_inbound).or(side.mapping.worked);
            let is_wanted = matters == Matters::IfBroken && worked.is_none() && !side.mapping.proved;
            let worked = worked.map(advice::worked_until);
            let blame = Found::failed(
                Code::FirewallIn,
                part,
                format!("the firewall of {computer} {} what comes to port {port}", how(access)),
                format!("{}{}", whose.on(), step(side, Way::In, port)),
            )
            .because(rule.into_iter().chain(worked).chain(more(side, Way::In, port)));
            if is_wanted { blame.noted() } else { blame }
        }
        Access::Open => Found::ok(
            Code::FirewallIn,
            part,
            format!("no rule on {computer} stops what comes to port {port}"),
        ),
        _ => Found::unknown(Code::FirewallIn, part, unreadable(firewall, whose)),
    });
    found
}

/// The firewall with what its rules say of the other computer's addresses, where they tell addresses apart: of those to which it calls the
/// ones count at which it called in vain.
fn settled(side: &Side) -> FirewallFacts {
    let mut firewall = side.firewall.clone();
    let reaches = side.tests.iter().any(|test| test.result == TestResult::Friend);
    let in_vain = |address: &str| !reaches && side.tests.iter().any(|test| test.address == address);
    let closed = |remote: &&RemoteAccess| remote.outbound.is_closed() && in_vain(&remote.address);
    if firewall.outbound == Access::Unknown
        && let Some(remote) = side.firewall.remotes.iter().find(closed)
    {
        firewall.outbound = remote.outbound;
        firewall.outbound_rule.clone_from(&remote.outbound_rule);
        firewall.outbound_place.clone_from(&remote.outbound_place);
    }
    // From one of his addresses alone he may not want to come.
    let all = firewall.remotes.iter().all(|remote| remote.inbound.is_closed());
    if firewall.inbound == Access::Unknown
        && all
        && let Some(remote) = side.firewall.remotes.first()
    {
        firewall.inbound = remote.inbound;
        firewall.inbound_rule.clone_from(&remote.inbound_rule);
        firewall.inbound_place.clone_from(&remote.inbound_place);
    }
    firewall
}

/// The port to which connections are stopped: the friend's where his address is known, and else the one that most have.
fn port_there(side: &Side, firewall: &FirewallFacts) -> u16 {
    let closed = firewall.remotes.iter().find(|remote| remote.outbound.is_closed());
    let port = closed.and_then(|remote| remote.address.rsplit_once(':')?.1.parse().ok());
    port.unwrap_or(side.listener.port)
}

/// What the person there does so that connections get through.
pub(super) fn step(side: &Side, way: Way, port: u16) -> String {
    advice(&settled(side), way, port, program(side)).next_step()
}

/// The rule for the program instead, which of the two lasts, and what else may stop connections.
pub(super) fn more(side: &Side, way: Way, port: u16) -> Vec<String> {
    let advice = advice(&settled(side), way, port, program(side));
    let typed: Vec<String> = advice.program.commands.iter().map(|command| format!("`{command}`")).collect();
    let instead = match typed.as_slice() {
        [] => format!("a rule for the program instead: {}", advice.program.words),
        typed => {
            format!("a rule for the program instead: {}. {}", typed.join(" and then "), advice.program.words)
        }
    };
    // Where there is nothing to type, the words are the step itself.
    let how = (!advice.port.commands.is_empty()).then_some(advice.port.words);
    how.into_iter().chain([advice.which, instead]).chain(advice.security).collect()
}

fn program(side: &Side) -> &str {
    side.program.as_deref().unwrap_or("kith")
}

/// What is said of security software where a firewall may be what stops connections, and its rules don't show it.
pub(super) fn suspects(firewall: &FirewallFacts, port: u16) -> Vec<String> {
    advice(firewall, Way::In, port, "kith").security
}

/// Why nothing is said of a firewall.
fn unreadable(firewall: &FirewallFacts, whose: Whose<'_>) -> String {
    let computer = whose.computer();
    if firewall.readable {
        return format!("the firewall's rules on {computer} don't say for certain what they let through");
    }
    match whose {
        Whose::Here => format!(
            "the firewall's rules on {computer} can't be read by Kith, which has no right to: `sudo kith doctor` can, with `--home` and its directory for a Kith that runs for one person"
        ),
        Whose::There(_) => format!(
            "the firewall's rules on {computer} can't be read by Kith, which has no right to: `sudo kith doctor` there can, with `--home` and its directory for a Kith that runs for one person"
        ),
    }
}
