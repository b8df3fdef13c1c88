//! What lies between the two: settings, and what gets out and through.

use crate::code::{Code, Part};
use crate::diagnosis::Outcome;
use crate::facts::{Place, Test, TestResult};

use super::end::{self, MOST_SKEW};
use super::words::{argument, test};
use super::{Case, Found};
use crate::firewall::{Access, Way};

/// What the settings of both say about connections.
pub(super) fn settings(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let forbidden = case.tests(&[TestResult::NotAllowed]);
    if !forbidden.is_empty() && !case.any(TestResult::Friend) && !case.is_direct() {
        let address = case.tried().find(|test| test.result == TestResult::NotAllowed);
        let address = address.map_or("", |test| test.address.as_str());
        let blame = Found::failed(
            Code::SettingsForbid,
            Part::ThisComputer,
            format!("the settings of this computer forbid connections to {}", case.name()),
            format!("add \"{address}\" to network.allowed-destinations: `kith settings get network.allowed-destinations` shows what is there"),
        )
        .because(forbidden);
        found.push(if case.is_relayed() { blame.noted() } else { blame });
    }
    let there_calls_only = case.there.map_or(case.pair.calls_only, |there| there.outbound_only);
    if case.here.outbound_only && there_calls_only && case.is_apart() && case.here.hubs.is_empty() {
        found.push(Found::failed(
            Code::NoCallsAtAll,
            Part::ThisComputer,
            format!("this computer and {} only make calls, and nobody takes one", case.whose().computer()),
            "`kith settings set network.outbound-only false` on one of the two, or name a hub in network.hubs on both",
        ));
    }
    if !case.pair.any_address && !there_calls_only && case.is_apart() {
        found.push(Found::failed(
            Code::NoAddress,
            Part::Friend,
            format!("no address of {} is known", case.whose().computer()),
            format!(
                "`kith friend address {} HOST:PORT` with an address of that computer, or pair again",
                argument(case.name())
            ),
        ));
    }
    found
}

/// Whether connections get out of this computer and its network, and are what they seem.
pub(super) fn out(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let forbidden = case.tests(&[TestResult::ForbiddenHere]);
    let rules = case.here.firewall.outbound;
    if !forbidden.is_empty() && rules == Access::Unknown && !case.is_direct() && !case.any(TestResult::Friend)
    {
        found.push(
            Found::failed(
                Code::FirewallOut,
                Part::FirewallHere,
                "the firewall of this computer refuses connections to friends",
                end::step(case.here, Way::Out, port_of(case)),
            )
            .because(forbidden),
        );
    }
    let names = case.tests(&[TestResult::NameNotFound]);
    if !names.is_empty() && !case.any(TestResult::Friend) {
        found.extend(of_names(case, names));
    }
    if !case.any(TestResult::Friend) {
        found.extend(between(case));
    }
    found.push(ipv6(case));
    found
}

fn of_names(case: &Case<'_>, evidence: Vec<String>) -> Option<Found> {
    if case.is_direct() {
        return None;
    }
    let (name, argument) = (case.name(), argument(case.name()));
    let service_is_there = case.here.names.as_ref().is_some_and(|names| names.works);
    let blame = if service_is_there {
        Found::failed(
            Code::NameWrong,
            Part::Internet,
            format!("the name by which {name} is known leads to no address"),
            format!("`kith friend address {argument} HOST:PORT` with the right one"),
        )
    } else {
        Found::failed(
            Code::NamesFail,
            Part::Internet,
            "names can't be looked up from this computer",
            format!(
                "see to the name server (DNS) of this network, or give the address in numbers: `kith friend address {argument} IP:PORT`"
            ),
        )
    };
    let why = case.here.names.as_ref().and_then(|names| names.error.clone());
    let blame = blame.because(evidence.into_iter().chain(why));
    Some(if case.is_relayed() { blame.noted() } else { blame })
}

/// Who answers in the friend's place, and which packets arrive.
fn between(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let odd = case.tests(&[TestResult::Intercepted, TestResult::NotKith]);
    if !odd.is_empty() && answers_for_all(case) && !case.is_direct() {
        found.push(
            Found::failed(
                Code::Intercepted,
                Part::Internet,
                format!("something between this computer and {} opens connections and answers itself", case.whose().computer()),
                "open any web page in a browser and log in to this network; or except the friend's port from inspection in the security software",
            )
            .because(odd),
        );
    }
    let long_lost = case.tests(&[TestResult::BlackHole]);
    if !long_lost.is_empty() {
        let mtu = case
            .here
            .network
            .mtu
            .map(|mtu| format!("the interface of this computer sends packets of up to {mtu} bytes"));
        found.push(
            Found::failed(
                Code::BlackHole,
                Part::Internet,
                "short packets arrive and long ones get lost on the way",
                "lower the MTU of this computer's network interface to 1280, or have the router let the ICMP message \"fragmentation needed\" through",
            )
            .because(long_lost.into_iter().chain(mtu)),
        );
    }
    let here = case.here;
    if here.network.gateway_answers == Some(true)
        && here.others_linked == 0
        && here.others_away > 0
        && case.is_apart()
        && case.tried().any(|test| test.place == Place::Public)
        && case.tried().filter(|test| test.place == Place::Public).all(|test| is_silence(test.result))
    {
        found.push(
            Found::failed(
                Code::NoInternet,
                Part::Internet,
                "nothing outside of this network answers",
                "see whether other programs get to the Internet; if not, restart the router, and ask the provider",
            )
            .because(case.tests(&[TestResult::NoResponse, TestResult::Unreachable])),
        );
    }
    let silent_elsewhere = case.tried().any(|test| {
        test.place == Place::Public && is_silence(test.result) && !test.address.ends_with(":443")
    });
    if here.network.only_443 && silent_elsewhere && !case.is_direct() {
        let blame = Found::failed(
            Code::NetworkBlocksOut,
            Part::RouterHere,
            format!("this network lets connections out to port 443 only, and {} is called at another one", case.name()),
            "ask its administrator for the rules that `kith ports --firewall` prints, or name a hub at port 443 in network.hubs on both computers",
        )
        .because(case.tests(&[TestResult::NoResponse, TestResult::Unreachable]));
        found.push(if case.is_relayed() { blame.noted() } else { blame });
    }
    found
}

/// Whether what answers in the friend's place may be between here and everybody: nobody else is reached over the Internet.
fn answers_for_all(case: &Case<'_>) -> bool {
    case.here.others_linked == 0 && case.here.others_away > 0
}

fn ipv6(case: &Case<'_>) -> Found {
    let six = |test: &&Test| test.place == Place::Public && test.address.starts_with('[');
    let tried: Vec<&Test> = case.tried().filter(six).collect();
    let works = tried.iter().any(|test| test.result == TestResult::Friend);
    let lost = !tried.is_empty() && tried.iter().all(|test| is_silence(test.result));
    let four = case.tried().any(|test| !test.address.starts_with('[') && test.result == TestResult::Friend);
    if lost && four && case.here.network.v6 {
        return Found::failed(
            Code::Ipv6Broken,
            Part::Internet,
            "everything works by IPv4, and IPv6 gets lost on the way",
            "nothing has to be done; see to IPv6 on the routers if you want to use it",
        )
        .because(tried.into_iter().map(test))
        .noted();
    }
    let said = if works { "IPv6 works" } else { "IPv6 is not needed" };
    Found::new(Code::Ipv6Broken, Part::Internet, if works { Outcome::Ok } else { Outcome::Skipped }, said)
}

pub(super) const fn is_silence(result: TestResult) -> bool {
    matches!(result, TestResult::NoResponse | TestResult::Unreachable)
}

/// The port at which the friend is called.
fn port_of(case: &Case<'_>) -> u16 {
    let port = case.tried().find_map(|test| test.address.rsplit_once(':')?.1.parse().ok());
    port.unwrap_or(case.here.listener.port)
}

/// Kept beside [`MOST_SKEW`] so that nobody calls a clock right here and wrong there.
const _: () = assert!(MOST_SKEW < 600, "signals are refused at ten minutes");
