//! Several computers of one house.

use super::*;

/// Both behind one router, which maps the ports of both.
fn one_house(inside: TestResult) -> Facts {
    let mut facts = healthy();
    facts.friend = Some(bert(None));
    let test_inside = |address| Test { place: Place::Internal, ..test(address, inside) };
    let there = &mut facts.there.as_mut().unwrap().side;
    there.mapping.external = Some("11.0.0.1:4243".into());
    for (side, other) in [(&mut facts.here, "192.168.1.6:4242"), (there, "192.168.1.5:4242")] {
        side.tests = vec![test_inside(other), test("11.0.0.1:4243", TestResult::NoResponse)];
        side.firewall.inbound = Access::Open;
        side.firewall.outbound = Access::Open;
    }
    facts
}

#[test]
fn a_network_that_keeps_its_computers_apart_is_named() {
    let facts = one_house(TestResult::NoResponse);
    let diagnosis = check(&facts, Code::Isolated, Part::RouterHere);
    assert!(diagnosis.verdict.next_step.unwrap().contains("http://192.168.1.1/"));
}

#[test]
fn two_homes_that_number_their_networks_alike_are_not_one() {
    let isolated = |facts: &Facts| diagnose(facts).verdict.code == Code::Isolated;
    let mut facts = one_house(TestResult::NoResponse);
    // Behind one carrier both are seen from the same address.
    for state in ["double-nat", "router-off"] {
        facts.here.mapping.state = state.into();
        assert!(!isolated(&facts), "{state}");
    }
    let mut facts = one_house(TestResult::NoResponse);
    facts.there.as_mut().unwrap().side.mapping.external = Some("11.0.0.9:4242".into());
    assert!(!isolated(&facts));
    // A firewall that nobody could look into may be what is in the way.
    let mut facts = one_house(TestResult::NoResponse);
    facts.here.firewall.inbound = Access::Unknown;
    assert!(!isolated(&facts));
    assert!(!isolated(&one_house(TestResult::Friend)));
}

#[test]
fn two_computers_at_one_port_matter_where_a_person_forwards_it() {
    let mut facts = healthy();
    facts.friend = Some(bert(None));
    facts.here.listener.shared_with = vec!["192.168.1.9:4242".into()];
    facts.here.listener.free_port = Some(4245);
    assert_ne!(diagnose(&facts).verdict.code, Code::PortShared, "each has a mapping of its own");
    facts.here.mapping.protocol = Some("static".into());
    assert_ne!(diagnose(&facts).verdict.code, Code::PortShared, "it leads here");
    facts.here.mapping.failed = Some("another computer answers".into());
    let diagnosis = diagnose(&Facts { friend: None, there: None, ..facts });
    assert_eq!(diagnosis.verdict.code, Code::PortShared, "{diagnosis:#?}");
    let step = diagnosis.verdict.next_step.unwrap();
    assert!(step.contains("listener.port 4245") && step.contains("to 192.168.1.5:4245"), "{step}");
}

#[test]
fn a_router_that_leads_nothing_back_inside_is_no_fault_where_the_two_meet_inside() {
    let mut facts = one_house(TestResult::Friend);
    facts.friend = Some(bert(Some("lan")));
    let said = |facts: &Facts| {
        let diagnosis = check(facts, Code::Works, Part::ThisComputer);
        let hairpin = diagnosis.checks.into_iter().find(|check| check.code == Code::Isolated).unwrap();
        assert_eq!(hairpin.outcome, Outcome::Ok);
        hairpin.detail
    };
    assert!(said(&facts).contains("which is not needed"));
    facts.here.tests[1].result = TestResult::Friend;
    assert!(!said(&facts).contains("which is not needed"));
}

#[test]
fn who_refuses_where_he_was_a_moment_ago_is_there_and_later_it_may_be_anybody() {
    let mut facts = apart(TestResult::Refused);
    facts.here.tests[0].place = Place::Internal;
    check(&facts, Code::NotRunning, Part::Friend);
    facts.friend.as_mut().unwrap().last_seen = Some(NOW - 3600);
    facts.friend.as_mut().unwrap().unanswered = None;
    check(&facts, Code::Unknown, Part::Internet);
}
