//! What lies between the two: settings, what gets out, who answers at the addresses, and whether the two come together at all.

use crate::code::{Code, Part};
use crate::diagnosis::Outcome;
use crate::facts::{ListenerState, Place, Side, Test, TestResult};

use super::end::{self, MOST_SKEW};
use super::words::{Whose, argument, span, test};
use super::{Case, Found};
use crate::date;
use crate::firewall::{Access, Way};

/// Whoever was seen alive so many seconds ago counts as on.
const ALIVE: u64 = 20 * 60;

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
    let proxied = case.tests(&[TestResult::Proxy]);
    if !proxied.is_empty() && case.here.proxy_error.is_none() && !case.any(TestResult::Friend) {
        found.push(of_proxy(case, proxied));
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

fn of_proxy(case: &Case<'_>, evidence: Vec<String>) -> Found {
    let proxy = case.here.proxy.clone().unwrap_or_default();
    let reason = evidence.join(" ");
    let is_down = reason.contains("can't be reached") || reason.contains("did not answer");
    let (code, sentence, step) = if is_down {
        (
            Code::ProxyDown,
            format!("the proxy {proxy} can't be reached"),
            "see whether the proxy runs, or correct it: `kith settings set network.proxy ...`".to_owned(),
        )
    } else {
        (
            Code::ProxyRefuses,
            format!("the proxy {proxy} refuses connections to {}", case.name()),
            "ask who runs the proxy to allow it (`kith ports --firewall` says what), or correct network.proxy".to_owned(),
        )
    };
    let blame = Found::failed(code, Part::Internet, sentence, step).because(evidence);
    if case.is_relayed() || case.is_direct() { blame.noted() } else { blame }
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
            "router-off" => found.push(end::off(side, whose)),
            "double-nat" => found.push(end::double_nat(side, whose)),
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
    // Inside a network the address may be that of any other computer.
    let refused = case.tried().any(|test| test.place == Place::Public && test.result == TestResult::Refused);
    // Whoever carries calls has found him, and could not bring the two together.
    let called = case.pair.help_error.as_deref().is_some_and(|error| error.contains("connected with both"));
    let found = if let Some(limit) =
        limits(case).into_iter().next().filter(|_| called && alive.is_some() && !refused)
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
    } else if case.pair.helped || in_one_network_and_gone(case) {
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
