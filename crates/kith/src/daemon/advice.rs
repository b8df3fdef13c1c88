//! What would make the way to a friend better. Pure.

use kith_nat::MappingState;
use kith_peer::{DialError, PathKind};

/// What is known of the way to a friend.
#[derive(Clone, Debug, Default)]
pub(super) struct Situation<'a> {
    /// His name here.
    pub(super) friend: &'a str,
    /// The way of the link; none: there is none.
    pub(super) path: Option<PathKind>,
    /// This computer.
    pub(super) here: Here,
    /// Whether the friend's computer takes no calls; not known of older releases.
    pub(super) calls_only_there: bool,
    /// Whether the friend has told an address at which he is to be called from outside.
    pub(super) known_outside: bool,
    /// Whether any address of the friend is known at all.
    pub(super) any_address: bool,
    /// Why what was tried last came to nothing, the newest last.
    pub(super) failures: Vec<&'a DialError>,
    /// Whether a computer is connected that both know, or a hub.
    pub(super) helped: bool,
}

/// How this computer is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Here {
    /// It takes no calls.
    pub(super) calls_only: bool,
    /// A proxy or ports of a firewall are set.
    pub(super) proxied: bool,
    /// How far connections get from here, as far as the settings say it or it was seen.
    pub(super) out: Out,
    /// What the routers say.
    pub(super) router: MappingState,
    /// The port that is to be reached.
    pub(super) port: u16,
}

/// How far connections get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Out {
    /// Anywhere, as far as is known.
    #[default]
    Anywhere,
    /// To what `network.allowed-destinations` names.
    Limited,
    /// To the port of web sites, and to no other: the settings say so.
    Only443,
    /// All that lead out of the network have that port: perhaps no other gets out.
    Perhaps443,
}

/// One sentence, without a full stop at its end; none when nothing needs to be better, or nothing is known that helps.
pub(super) fn better(situation: &Situation<'_>) -> Option<String> {
    match situation.path {
        Some(PathKind::Relayed) => Some(instead_of_relay(situation)),
        Some(_) => None,
        None => to_connect(situation),
    }
}

/// A relay helps where nobody can be called.
fn instead_of_relay(situation: &Situation<'_>) -> String {
    let Situation { friend, here, calls_only_there, .. } = situation;
    let port = here.port;
    let limit = || {
        let known = situation.failures.iter().rev().find_map(|failure| of_limit(failure));
        known.unwrap_or_else(|| "what leads to him".to_owned())
    };
    match (here.calls_only, calls_only_there) {
        (_, false) if here.proxied => through_proxy(friend),
        (_, false) if here.out == Out::Only443 => past_443(friend),
        (_, false) if here.out == Out::Limited => {
            format!(
                "allow {} in network.allowed-destinations, and have the firewall here let it through: `kith ports --firewall` prints the rule",
                limit()
            )
        }

        (true, true) => {
            format!(
                "this computer and {friend}'s only make calls (network.outbound-only): let one of the two be called"
            )
        }
        (true, false) => format!(
            "this computer takes no calls (network.outbound-only): have the port of {friend}'s computer forwarded on the router there"
        ),
        (false, true) => format!("{friend}'s computer takes no calls: {}", open_here(here)),
        (false, false) if is_open(here.router) => format!(
            "this computer can be called at its port {port}: let the network at {friend}'s allow TCP connections to it"
        ),
        (false, false) if here.out == Out::Perhaps443 => format!(
            "{}; or, if the network here lets connections out by port 443 only, ask its administrator for the rule that `kith ports \
             --firewall` prints",
            one_of_two(port)
        ),
        (false, false) => one_of_two(port),
    }
}

fn to_connect(situation: &Situation<'_>) -> Option<String> {
    let Situation { friend, here, calls_only_there, failures, .. } = situation;
    if let Some(told) = failures.iter().rev().find_map(|failure| of_failure(failure, friend)) {
        return Some(told);
    }
    if here.out == Out::Only443 && !here.proxied && !situation.helped {
        return Some(
            "connections from here get out by port 443 only: name a hub at port 443 in network.hubs on both computers, or ask the \
             administrator of the firewall here for the rule that `kith ports --firewall` prints"
                .to_owned(),
        );
    }
    if here.calls_only && *calls_only_there && !situation.helped {
        return Some(format!(
            "this computer and {friend}'s only make calls (network.outbound-only): let one of the two be called, or name a hub in \
             network.hubs on both"
        ));
    }
    if !situation.any_address && !calls_only_there {
        return Some(format!(
            "no address of {friend}'s computer is known: add one with `kith friend address {friend} HOST:PORT`, or pair again"
        ));
    }
    let silent = |failure: &&&DialError| {
        matches!(failure, DialError::NoResponse(_) | DialError::Unreachable(_) | DialError::Refused)
    };
    let all_silent = !failures.is_empty() && failures.iter().filter(silent).count() == failures.len();
    if !all_silent {
        return None;
    }
    if failures.iter().all(|failure| matches!(failure, DialError::Refused)) {
        return Some(format!("{friend}'s computer answers, and Kith does not: let it be started there"));
    }
    match (here.calls_only, calls_only_there, is_open(here.router)) {
        (false, _, true) => {
            Some(format!("this computer can be called: is {friend}'s computer on, and does Kith run there?"))
        }
        (false, true, false) => Some(format!("{friend}'s computer takes no calls: {}", open_here(here))),
        (true, ..) => Some(format!(
            "this computer takes no calls (network.outbound-only): {friend}'s must be on, and its port reachable from here"
        )),
        (false, false, false) if situation.known_outside => {
            Some(format!("if {friend}'s computer is on: {}", one_of_two(here.port)))
        }
        (false, false, false) => None,
    }
}

fn through_proxy(friend: &str) -> String {
    format!(
        "have the proxy or firewall let this computer connect to {friend}'s: `kith ports --firewall` says what to allow"
    )
}

/// A port of a router can lead to any other of a computer, so that it need not be Kith that has 443.
fn past_443(friend: &str) -> String {
    format!(
        "connections from here get out by port 443 only: ask the administrator of the firewall here for the rule that `kith ports \
         --firewall` prints, or have TCP port 443 of the router at {friend}'s forwarded to Kith there"
    )
}

/// The address that the settings forbid.
fn of_limit(failure: &DialError) -> Option<String> {
    match failure {
        DialError::NotAllowed(address) => Some(address.clone()),
        _ => None,
    }
}

/// Failures that say themselves what to do.
fn of_failure(failure: &DialError, friend: &str) -> Option<String> {
    match failure {
        DialError::NotAllowed(address) => {
            Some(format!("allow connections to {address} in network.allowed-destinations"))
        }
        DialError::Proxy(_, why) => Some(format!("see to the proxy: {why}")),
        DialError::RefusedUs(_) => Some(format!(
            "{friend}'s computer does not know this one any more: pair again, with `kith invite` and `kith join`"
        )),
        _ => None,
    }
}

const fn is_open(router: MappingState) -> bool {
    matches!(router, MappingState::Mapped)
}

fn open_here(here: &Here) -> String {
    let port = here.port;
    match here.router {
        MappingState::Mapped => {
            format!("his network must allow TCP connections to port {port} of this computer")
        }
        MappingState::DoubleNat => {
            format!(
                "forward TCP port {port} on the second router, too, or have it pass calls on (bridge mode)"
            )
        }
        MappingState::Blocked => format!("let TCP port {port} in through the firewall of this computer"),
        _ => format!("forward TCP port {port} on the router here, or switch on UPnP there"),
    }
}

fn one_of_two(port: u16) -> String {
    format!("forward TCP port {port} on one of the two routers, or switch on UPnP there")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOME: Here = Here {
        calls_only: false,
        proxied: false,
        out: Out::Anywhere,
        router: MappingState::RouterOff,
        port: 4242,
    };

    fn relayed(here: Here) -> Situation<'static> {
        Situation { friend: "bert", path: Some(PathKind::Relayed), here, ..Situation::default() }
    }

    #[track_caller]
    fn check(situation: &Situation<'_>, expected: &str) {
        assert_eq!(better(situation).as_deref(), Some(expected), "{situation:?}");
    }

    #[test]
    fn direct_ways_need_nothing() {
        for path in [PathKind::Lan, PathKind::Public, PathKind::Mapped, PathKind::Punched, PathKind::Proxied]
        {
            let situation = Situation { path: Some(path), ..relayed(HOME) };
            assert_eq!(better(&situation), None, "{path:?}");
        }
    }

    #[test]
    fn instead_of_a_relay_a_port_is_opened_where_one_can_be() {
        check(&relayed(HOME), "forward TCP port 4242 on one of the two routers, or switch on UPnP there");
        let mapped = Here { router: MappingState::Mapped, port: 4300, ..HOME };
        check(
            &relayed(mapped),
            "this computer can be called at its port 4300: let the network at bert's allow TCP connections to it",
        );
        let there = Situation { calls_only_there: true, ..relayed(HOME) };
        check(
            &there,
            "bert's computer takes no calls: forward TCP port 4242 on the router here, or switch on UPnP there",
        );
        let here = Here { calls_only: true, ..HOME };
        check(
            &relayed(here),
            "this computer takes no calls (network.outbound-only): have the port of bert's computer forwarded on the router there",
        );
        check(
            &Situation { calls_only_there: true, ..relayed(here) },
            "this computer and bert's only make calls (network.outbound-only): let one of the two be called",
        );
        assert!(better(&relayed(Here { proxied: true, ..HOME })).unwrap().contains("kith ports --firewall"));
    }

    #[test]
    fn behind_a_strict_firewall_the_advice_is_for_whoever_looks_after_it() {
        let only_443 = Here { out: Out::Only443, ..HOME };
        let told = better(&relayed(only_443)).unwrap();
        assert!(told.contains("port 443 only") && told.contains("kith ports --firewall"), "{told}");
        assert!(!told.contains("4242"), "{told}");
        // What both settings say comes first.
        let calls_only =
            Situation { calls_only_there: true, ..relayed(Here { calls_only: true, ..only_443 }) };
        assert!(better(&calls_only).unwrap().contains("only make calls"));
        let limited = Here { out: Out::Limited, ..HOME };
        let not_allowed = DialError::NotAllowed("11.0.0.1:4242".to_owned());
        check(
            &Situation { failures: vec![&not_allowed], ..relayed(limited) },
            "allow 11.0.0.1:4242 in network.allowed-destinations, and have the firewall here let it through: `kith ports --firewall` \
             prints the rule",
        );
        let perhaps = better(&relayed(Here { out: Out::Perhaps443, ..HOME })).unwrap();
        assert!(
            perhaps.starts_with("forward TCP port 4242") && perhaps.contains("if the network here"),
            "{perhaps}"
        );
        let alone = Situation { path: None, any_address: true, ..relayed(only_443) };
        let told = better(&alone).unwrap();
        assert!(told.contains("a hub at port 443 in network.hubs"), "{told}");
        assert_eq!(better(&Situation { helped: true, ..alone }), None);
        let proxied = Here { proxied: true, calls_only: true, ..HOME };
        assert!(better(&relayed(proxied)).unwrap().contains("the proxy or firewall"));
    }

    #[test]
    fn without_a_link_the_failures_say_what_to_do() {
        let (silence, refused) = (DialError::NoResponse(Duration::from_secs(10)), DialError::Refused);
        let not_allowed = DialError::NotAllowed("11.0.0.1:4242".to_owned());
        let (silence, refused, not_allowed) = (&silence, &refused, &not_allowed);
        fn apart<'a>(failures: Vec<&'a DialError>, here: Here) -> Situation<'a> {
            Situation { path: None, failures, any_address: true, known_outside: true, ..relayed(here) }
        }
        check(
            &apart(vec![silence, refused], HOME),
            "if bert's computer is on: forward TCP port 4242 on one of the two routers, or switch on UPnP there",
        );
        check(
            &apart(vec![silence], Here { router: MappingState::Mapped, ..HOME }),
            "this computer can be called: is bert's computer on, and does Kith run there?",
        );
        check(
            &apart(vec![refused], HOME),
            "bert's computer answers, and Kith does not: let it be started there",
        );
        check(
            &apart(vec![silence, not_allowed], HOME),
            "allow connections to 11.0.0.1:4242 in network.allowed-destinations",
        );
        assert_eq!(better(&apart(Vec::new(), HOME)), None, "nothing was tried yet");
        let unknown = Situation { any_address: false, ..apart(Vec::new(), HOME) };
        assert!(better(&unknown).unwrap().contains("kith friend address bert HOST:PORT"));
    }
}
