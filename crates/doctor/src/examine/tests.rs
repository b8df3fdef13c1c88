//! Verdicts from facts.

mod apart;
mod one_network;

use super::*;
use crate::diagnosis::{Condition, Passage};
use crate::facts::{Hub, Keeps, LinkFacts, Listener, ListenerState, Mapping, Network, Place, Test, There};
use crate::firewall::{Access, FirewallFacts, Manager};

mod sleep;

const NOW: i64 = 1_800_000_000;

/// A home whose router maps the port, with nothing wrong.
fn home(public: &str) -> Side {
    Side {
        time: NOW,
        version: "0.1.0".into(),
        listener: Listener { port: 4242, state: ListenerState::Listening, ..Listener::default() },
        internal: vec!["192.168.1.5:4242".into()],
        public: vec![public.into()],
        network: Network {
            gateway: Some("192.168.1.1".into()),
            gateway_answers: Some(true),
            v4: true,
            ..Network::default()
        },
        mapping: Mapping {
            state: "mapped".into(),
            protocol: Some("upnp".into()),
            external: Some(public.into()),
            proved: true,
            ..Mapping::default()
        },
        firewall: FirewallFacts {
            manager: Manager::Nftables,
            inbound: Access::Open,
            outbound: Access::Open,
            readable: true,
            ..FirewallFacts::default()
        },
        ..Side::default()
    }
}

/// A home whose router maps nothing.
fn closed_home(public: &str) -> Side {
    let mapping = Mapping {
        state: "router-off".into(),
        protocols: vec![("upnp".into(), "no answer".into())],
        ..Mapping::default()
    };
    Side { mapping, ..home(public) }
}

fn test(address: &str, result: TestResult) -> Test {
    Test { address: address.into(), place: Place::Public, result, ..Test::default() }
}

fn link(path: &str) -> LinkFacts {
    let relayed_by = (path == "relayed").then(|| "carol".to_owned());
    let remote = "11.0.0.2:4242".to_owned();
    LinkFacts { path: path.into(), relayed_by, dialled: true, since: Some(NOW - 60), remote }
}

fn bert(path: Option<&str>) -> Pair {
    Pair {
        name: "bert".into(),
        link: path.map(link),
        any_address: true,
        unanswered: Some(NOW - 2),
        last_seen: Some(NOW - 60),
        ..Pair::default()
    }
}

/// Two homes that map their ports, linked directly.
fn healthy() -> Facts {
    let reaches = |address| vec![test(address, TestResult::Friend)];
    let keeps =
        Some(Keeps { accepts: true, offered: Some(1 << 40), free: Some(1 << 40), ..Keeps::default() });
    Facts {
        here: Side { tests: reaches("11.0.0.2:4242"), ..home("11.0.0.1:4242") },
        friend: Some(bert(Some("mapped"))),
        there: Some(There {
            side: Side { tests: reaches("11.0.0.1:4242"), keeps, ..home("11.0.0.2:4242") },
            source: Source::Link,
        }),
    }
}

/// Nothing answers, and nobody could be asked.
fn apart(result: TestResult) -> Facts {
    let mut facts = Facts { there: None, ..healthy() };
    facts.friend = Some(bert(None));
    facts.here.tests = vec![test("11.0.0.2:4242", result)];
    facts
}

#[track_caller]
fn check(facts: &Facts, code: Code, part: Part) -> Diagnosis {
    let diagnosis = diagnose(facts);
    assert_eq!((diagnosis.verdict.code, diagnosis.verdict.part), (code, part), "{diagnosis:#?}");
    let is_fault = diagnosis.verdict.weight == Weight::Fault;
    assert!(!is_fault || diagnosis.verdict.next_step.is_some(), "{diagnosis:#?}");
    assert_eq!(diagnosis.way.iter().any(|station| station.state == Condition::Broken), is_fault);
    diagnosis
}

#[test]
fn where_nothing_is_wrong_everything_works_in_both_directions() {
    let diagnosis = check(&healthy(), Code::Works, Part::ThisComputer);
    assert_eq!((diagnosis.outward.state, diagnosis.inward.state), (Passage::Open, Passage::Open));
    assert!(diagnosis.checks.iter().all(|check| check.outcome != Outcome::Failed), "{:#?}", diagnosis.checks);
    check(&Facts { here: home("11.0.0.1:4242"), ..Facts::default() }, Code::Works, Part::ThisComputer);
}

#[test]
fn a_router_that_never_let_anybody_in_is_no_fault_where_the_two_are_connected() {
    for path in ["punched", "public", "mapped", "lan", "proxied"] {
        let mut facts = healthy();
        facts.here.mapping = closed_home("").mapping;
        facts.friend = Some(bert(Some(path)));
        check(&facts, Code::Works, Part::ThisComputer);
    }
}

#[test]
fn a_router_that_stopped_is_a_fault_although_the_two_are_still_connected() {
    let mut facts = healthy();
    facts.here.mapping = Mapping { worked: Some(NOW - 86_400), ..closed_home("").mapping };
    let diagnosis = check(&facts, Code::MappingLost, Part::RouterHere);
    let step = diagnosis.verdict.next_step.unwrap();
    assert!(step.contains("http://192.168.1.1/") && step.contains("192.168.1.5:4242"), "{step}");
}

#[test]
fn relayed_is_fine_and_says_why_it_is_not_better() {
    let mut facts = healthy();
    facts.friend = Some(bert(Some("relayed")));
    facts.here =
        Side { tests: vec![test("11.0.0.2:4242", TestResult::NoResponse)], ..closed_home("11.0.0.1:4242") };
    if let Some(there) = &mut facts.there {
        there.side = Side { keeps_ports: Some(false), ..closed_home("11.0.0.2:4242") };
    }
    let diagnosis = check(&facts, Code::Relayed, Part::Internet);
    assert!(diagnosis.verdict.is_fine());
    assert!(diagnosis.verdict.sentence.contains("carol"), "{:?}", diagnosis.verdict);
    assert_eq!(diagnosis.verdict.evidence.len(), 3, "{:?}", diagnosis.verdict.evidence);
}

#[test]
fn a_rule_that_drops_is_named_with_the_command_also_at_the_other_end() {
    let closed = FirewallFacts {
        inbound: Access::Dropped,
        inbound_rule: Some("tcp dport 4242 drop".into()),
        worked: Some(NOW - 3600),
        ..home("").firewall
    };
    let mut facts = healthy();
    facts.here.firewall = closed.clone();
    let diagnosis = check(&facts, Code::FirewallIn, Part::FirewallHere);
    let step = diagnosis.verdict.next_step.unwrap();
    assert!(step.contains("4242") && step.contains("nft"), "{step}");
    assert!(diagnosis.verdict.evidence.iter().any(|line| line.contains("tcp dport 4242 drop")));
    let mut facts = healthy();
    if let Some(there) = &mut facts.there {
        there.side.firewall = closed;
    }
    let diagnosis = check(&facts, Code::FirewallIn, Part::FirewallThere);
    assert!(diagnosis.verdict.next_step.unwrap().starts_with("on bert's computer: "));
}

#[test]
fn what_follows_from_a_fault_is_not_blamed_beside_it() {
    // The port is taken there, so that nobody gets in by the router, which says so.
    let mut facts = apart(TestResult::Refused);
    facts.there = healthy().there;
    if let Some(there) = &mut facts.there {
        there.side.listener = Listener {
            port: 4242,
            state: ListenerState::Error,
            taken_by: Some("nginx (process 17)".into()),
            free_port: Some(4245),
            ..Listener::default()
        };
        there.side.mapping.state = "blocked".into();
        there.side.mapping.failed = Some("refused".into());
    }
    let diagnosis = check(&facts, Code::PortTaken, Part::Friend);
    assert!(diagnosis.verdict.next_step.unwrap().contains("listener.port 4245"));
    let failed = diagnosis.checks.iter().filter(|check| check.outcome == Outcome::Failed).count();
    assert_eq!(failed, 1, "{:#?}", diagnosis.checks);
}

#[test]
fn the_root_of_two_faults_is_the_one_nearest_to_the_beginning_of_the_way() {
    let mut facts = apart(TestResult::NoResponse);
    facts.here.network.gateway_answers = Some(false);
    facts.here.mapping = closed_home("").mapping;
    check(&facts, Code::RouterSilent, Part::RouterHere);
    facts.here.network = Network::default();
    check(&facts, Code::NoNetwork, Part::ThisComputer);
}

#[test]
fn a_wrong_clock_is_the_one_that_others_disagree_with() {
    let day = 86_400;
    let mut facts = healthy();
    let ahead = |facts: &mut Facts, seconds: i64| {
        facts.friend.as_mut().unwrap().clock_ahead = Some(seconds);
        facts.there.as_mut().unwrap().side.time = NOW + seconds;
    };
    ahead(&mut facts, day);
    check(&facts, Code::ClockWrong, Part::Internet);
    facts.here.clocks = vec![3];
    let diagnosis = check(&facts, Code::ClockWrong, Part::Friend);
    assert!(diagnosis.verdict.sentence.contains("24 hours fast"), "{:?}", diagnosis.verdict);
    facts.here.clocks = vec![day + 2];
    facts.there.as_mut().unwrap().side.clocks = vec![-1];
    let diagnosis = check(&facts, Code::ClockWrong, Part::ThisComputer);
    assert!(diagnosis.verdict.sentence.contains("24 hours slow"), "{:?}", diagnosis.verdict);
    ahead(&mut facts, 200);
    check(&facts, Code::Works, Part::ThisComputer);
}

#[test]
fn each_answer_at_the_friends_address_has_its_cause() {
    let check = |result, code, part| check(&apart(result), code, part);
    check(TestResult::Refused, Code::NotRunning, Part::Friend);
    check(TestResult::NoResponse, Code::Offline, Part::Friend);
    check(TestResult::NotKith, Code::ForeignService, Part::RouterThere);
    check(TestResult::Intercepted, Code::ForeignService, Part::RouterThere);
    check(TestResult::BlackHole, Code::BlackHole, Part::Internet);
    check(TestResult::RefusedUs, Code::IdentityChanged, Part::Friend);
    check(TestResult::OtherVersion, Code::VersionTooOld, Part::Friend);
    check(TestResult::NotAllowed, Code::SettingsForbid, Part::ThisComputer);
    check(TestResult::NameNotFound, Code::NamesFail, Part::Internet);
}

#[test]
fn what_the_system_forbids_is_its_firewalls_doing_unless_its_rules_say_otherwise() {
    let mut facts = apart(TestResult::ForbiddenHere);
    facts.here.firewall = FirewallFacts::default();
    check(&facts, Code::FirewallOut, Part::FirewallHere);
    facts.here.firewall.outbound = Access::Open;
    check(&facts, Code::Offline, Part::Friend);
}

#[test]
fn no_name_of_a_friend_is_more_than_one_word_of_a_command() {
    for (name, word) in [
        ("anna-2.x", "anna-2.x"),
        ("Anna Muster", "'Anna Muster'"),
        ("x; curl evil|sh", "'x; curl evil|sh'"),
        ("$(reboot)", "'$(reboot)'"),
        ("it's", "FRIEND"),
        ("a`b", "FRIEND"),
        ("-rf", "'-rf'"),
        ("", "FRIEND"),
    ] {
        assert_eq!(words::argument(name), word);
        let mut facts = apart(TestResult::NameNotFound);
        facts.friend.as_mut().unwrap().name = name.into();
        let step = diagnose(&facts).verdict.next_step.unwrap();
        assert!(step.contains(&format!("`kith friend address {word} IP:PORT`")), "{step}");
    }
}

#[test]
fn a_kith_that_takes_us_for_a_stranger_is_another_computer_only_where_the_friend_is_seen_elsewhere() {
    let mut facts = apart(TestResult::OtherDevice);
    check(&facts, Code::NotRecognised, Part::Friend);
    facts.here.tests[0].detail = Some("device id ABCDEFG".into());
    check(&facts, Code::WrongDevice, Part::RouterThere);
    facts.here.tests[0].detail = None;
    facts.there = healthy().there;
    facts.friend = Some(bert(Some("relayed")));
    check(&facts, Code::WrongDevice, Part::RouterThere);
}

#[test]
fn whoever_answers_in_the_place_of_everybody_is_between() {
    for result in [TestResult::Intercepted, TestResult::NotKith] {
        let mut facts = apart(result);
        facts.here.others_away = 1;
        check(&facts, Code::Intercepted, Part::Internet);
        facts.here.others_linked = 1;
        check(&facts, Code::ForeignService, Part::RouterThere);
    }
}

#[test]
fn a_mapping_that_the_other_computer_tries_in_vain_is_lost_unless_that_one_gets_nowhere() {
    let mut facts = healthy();
    facts.friend = Some(bert(Some("relayed")));
    facts.here.tests = vec![test("11.0.0.2:4242", TestResult::NoResponse)];
    facts.here.others_away = 1;
    check(&facts, Code::Relayed, Part::Internet);
    facts.here.others_linked = 1;
    check(&facts, Code::MappingLost, Part::RouterThere);
    facts.there.as_mut().unwrap().side.mapping.proved = false;
    check(&facts, Code::MappingLies, Part::RouterThere);
    facts.here.firewall.outbound = Access::Dropped;
    check(&facts, Code::FirewallOut, Part::FirewallHere);
}

#[test]
fn a_closed_port_is_as_somebody_wants_it_where_nobody_ever_came_in_and_the_two_are_connected() {
    let mut facts = healthy();
    facts.here.firewall.inbound = Access::Dropped;
    facts.here.mapping = closed_home("").mapping;
    assert!(check(&facts, Code::FirewallIn, Part::FirewallHere).verdict.is_fine());
    facts.here.last_inbound = Some(NOW - 1000);
    assert!(!check(&facts, Code::FirewallIn, Part::FirewallHere).verdict.is_fine());
}

#[test]
fn a_report_code_in_the_place_of_a_link_finds_the_cause_at_the_other_end() {
    let mut facts = apart(TestResult::NoResponse);
    let mut side = closed_home("11.0.0.2:4242");
    side.mapping =
        Mapping { external: Some("100.64.3.4:4242".into()), state: "double-nat".into(), ..side.mapping };
    facts.here.mapping.state = "off".into();
    facts.there = Some(There { side, source: Source::Code });
    let diagnosis = check(&facts, Code::CarrierNat, Part::RouterThere);
    assert_eq!(diagnosis.told_by.as_deref(), Some("code"));
}

#[test]
fn what_the_friend_has_no_room_for_comes_last() {
    let keeps =
        Keeps { accepts: true, offered: Some(1000), stored: 1000, free: Some(1 << 40), trouble: None };
    let with = |keeps: Keeps| {
        let mut facts = healthy();
        facts.there.as_mut().unwrap().side.keeps = Some(keeps);
        facts
    };
    let used_up = keeps.clone();
    check(&with(keeps.clone()), Code::QuotaFull, Part::Friend);
    check(
        &with(Keeps { offered: Some(1 << 40), free: Some(0), ..keeps.clone() }),
        Code::DiskFull,
        Part::Friend,
    );
    check(&with(Keeps { accepts: false, ..keeps.clone() }), Code::NothingAccepted, Part::Friend);
    check(
        &with(Keeps { trouble: Some("input/output error".into()), ..keeps }),
        Code::DiskFailed,
        Part::Friend,
    );
    let mut facts = with(used_up);
    facts.here.firewall.outbound = Access::Rejected;
    check(&facts, Code::FirewallOut, Part::FirewallHere);
}

#[test]
fn a_hub_that_does_nothing_is_named() {
    let mut facts = healthy();
    facts.here.hubs =
        vec![Hub { at: "hub.example:443".into(), works: false, error: Some("no response".into()) }];
    let diagnosis = check(&facts, Code::HubUnreachable, Part::Internet);
    assert!(diagnosis.verdict.sentence.contains("hub.example:443"));
}

#[test]
fn ipv6_that_gets_lost_is_a_note_where_ipv4_works() {
    let mut facts = healthy();
    facts.here.network.v6 = true;
    facts.here.tests.push(test("[2001:db8::2]:4242", TestResult::NoResponse));
    let diagnosis = check(&facts, Code::Ipv6Broken, Part::Internet);
    assert!(diagnosis.verdict.is_fine());
}

#[test]
fn a_router_that_is_gone_is_named_before_a_rule_that_stops_what_it_would_not_pass_on() {
    let mut facts = apart(TestResult::NoResponse);
    facts.here.firewall.outbound = Access::Dropped;
    check(&facts, Code::FirewallOut, Part::FirewallHere);
    facts.here.network.gateway_answers = Some(false);
    check(&facts, Code::RouterSilent, Part::RouterHere);
}

#[test]
fn a_punched_connection_is_open_both_ways_whatever_the_firewalls_let_in() {
    let mut facts = healthy();
    facts.friend = Some(bert(Some("punched")));
    let there = facts.there.as_mut().unwrap();
    for side in [&mut facts.here, &mut there.side] {
        side.firewall.inbound = Access::Dropped;
        for test in &mut side.tests {
            test.result = TestResult::NoResponse;
        }
    }
    let diagnosis = diagnose(&facts);
    assert_eq!((diagnosis.outward.state, diagnosis.inward.state), (Passage::Open, Passage::Open));
}

#[test]
fn a_connection_that_is_older_than_a_rule_says_nothing_of_new_ones() {
    let mut facts = healthy();
    facts.friend.as_mut().unwrap().link.as_mut().unwrap().dialled = false;
    assert_eq!(diagnose(&facts).inward.state, Passage::Open);
    facts.here.firewall.inbound = Access::Dropped;
    let tested = check(&facts, Code::FirewallIn, Part::FirewallHere);
    assert_eq!(tested.inward.state, Passage::Open, "a new one was just made");
    facts.there.as_mut().unwrap().side.tests = vec![test("11.0.0.1:4242", TestResult::NoResponse)];
    let diagnosis = check(&facts, Code::FirewallIn, Part::FirewallHere);
    assert_eq!((diagnosis.outward.state, diagnosis.inward.state), (Passage::Open, Passage::Closed));
}
