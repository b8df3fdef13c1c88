//! Two who are apart, or come together by others only.

use super::*;

#[test]
fn who_answers_a_call_that_others_pass_on_is_not_off() {
    let mut facts = apart(TestResult::NoResponse);
    facts.here.mapping = closed_home("").mapping;
    let sought = |facts: &mut Facts, answered, unanswered| {
        let bert = facts.friend.as_mut().unwrap();
        (bert.answered, bert.unanswered) = (answered, unanswered);
    };
    check(&facts, Code::Offline, Part::Friend);
    sought(&mut facts, Some(NOW - 3), Some(NOW - 60));
    check(&facts, Code::MappingOff, Part::RouterHere);
    // Nobody has looked for him yet.
    sought(&mut facts, None, None);
    check(&facts, Code::Unknown, Part::Internet);
    // He answered long ago, and does not now.
    sought(&mut facts, Some(NOW - 600), Some(NOW - 3));
    check(&facts, Code::Offline, Part::Friend);
    // What was called in vain long ago says nothing.
    sought(&mut facts, None, Some(NOW - 3600));
    check(&facts, Code::Unknown, Part::Internet);
}

#[test]
fn a_proxy_that_refuses_is_told_from_one_that_is_not_there() {
    for (result, code) in
        [(TestResult::ProxyDown, Code::ProxyDown), (TestResult::ProxyRefuses, Code::ProxyRefuses)]
    {
        let mut facts = apart(result);
        facts.here.proxy = Some("proxy.example:3128".into());
        let diagnosis = check(&facts, code, Part::Internet);
        assert!(diagnosis.verdict.sentence.contains("proxy.example:3128"), "{:?}", diagnosis.verdict);
        // One that leads to others is there.
        facts.here.tests.push(test("11.0.0.3:4242", TestResult::Friend));
        assert_ne!(diagnose(&facts).verdict.code, code);
    }
}

#[test]
fn of_two_ends_that_are_shut_the_nearer_one_is_named_first() {
    let mut facts = healthy();
    facts.friend = Some(bert(Some("relayed")));
    let there = &mut facts.there.as_mut().unwrap().side;
    there.firewall.inbound = Access::Dropped;
    there.last_inbound = Some(NOW - 600);
    facts.here.tests = vec![test("11.0.0.2:4242", TestResult::NoResponse)];
    check(&facts, Code::FirewallIn, Part::FirewallThere);
    facts.here.network.only_443 = true;
    check(&facts, Code::NetworkBlocksOut, Part::RouterHere);
}

#[test]
fn nobody_is_blamed_who_could_not_be_asked() {
    let mut facts = apart(TestResult::NoResponse);
    facts.friend.as_mut().unwrap().unanswered = None;
    let diagnosis = check(&facts, Code::Unknown, Part::Internet);
    assert!(diagnosis.verdict.next_step.unwrap().contains("kith doctor --code"));
    // A program without rights reads no rules, and sees no neighbours.
    facts.here.firewall = FirewallFacts::default();
    facts.here.network.gateway_answers = None;
    check(&facts, Code::Unknown, Part::Internet);
}

#[test]
fn a_port_that_was_always_shut_is_not_why_a_friend_is_gone() {
    let mut facts = apart(TestResult::NoResponse);
    facts.here.firewall.inbound = Access::Dropped;
    facts.here.mapping = closed_home("").mapping;
    check(&facts, Code::Offline, Part::Friend);
    // It was not always so.
    facts.here.last_inbound = Some(NOW - 600);
    check(&facts, Code::FirewallIn, Part::FirewallHere);
    // The two never were connected: it may be why.
    facts.here.last_inbound = None;
    facts.friend.as_mut().unwrap().last_seen = None;
    check(&facts, Code::FirewallIn, Part::FirewallHere);
}
