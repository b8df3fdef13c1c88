use kith_doctor::Part;
use kith_doctor::diagnosis::{Check, Direction, Verdict};

use super::*;

fn row(name: &str, verdict: (Code, Part), failed: &[(Code, Part)], exit: i32) -> Row {
    let case = all().into_iter().find(|case| case.name == name).unwrap();
    let check = |(code, part): &(Code, Part)| Check {
        code: *code,
        part: *part,
        outcome: Outcome::Failed,
        detail: String::new(),
    };
    let (code, part) = verdict;
    let verdict = Verdict {
        code,
        part,
        weight: code.weight(),
        subject: String::new(),
        sentence: String::new(),
        next_step: None,
        evidence: Vec::new(),
    };
    let said = Diagnosis {
        friend: Some("bert".to_owned()),
        verdict,
        checks: failed.iter().map(check).collect(),
        outward: Direction::default(),
        inward: Direction::default(),
        way: Vec::new(),
        told_by: None,
    };
    let took = Duration::from_secs(1);
    Row { case, said: Some(said), exit, took, problem: None, unsettled: None, repeated: None }
}

#[test]
fn what_is_right_is_the_root_at_its_side_with_its_exit_code() {
    let there = (Code::FirewallIn, Part::FirewallThere);
    assert!(row("firewall-in-drop-there", there, &[there], 1).is_good());
    assert!(!row("firewall-in-drop-there", there, &[there], 0).is_right());
    let here = (Code::FirewallIn, Part::FirewallHere);
    let other_side = row("firewall-in-drop-there", here, &[], 1);
    assert!(!other_side.is_right() && other_side.wrong_blames().len() == 1);
    let second = (Code::QuotaFull, Part::Friend);
    let pair = row("router-dead-here+quota-full-there", second, &[], 1);
    assert!(!pair.is_right() && pair.wrong_blames().is_empty(), "it is broken, and not the root");
}

#[test]
fn a_check_may_say_what_a_site_is_like_and_a_verdict_may_not_where_it_works() {
    let fine = (Code::Works, Part::ThisComputer);
    let off = (Code::MappingOff, Part::RouterHere);
    assert!(row("fine-plain-public", fine, &[off], 0).is_good());
    assert!(!row("fine-plain-public", off, &[], 1).is_good());
    assert!(!row("fine-upnp-public", fine, &[off], 0).is_good());
}

#[test]
fn not_to_know_is_not_right_and_blames_nobody() {
    let unknown = row("computer-off-there", (Code::Unknown, Part::Internet), &[], 1);
    assert!(!unknown.is_right() && unknown.wrong_blames().is_empty());
}

#[test]
fn what_may_be_the_machine_is_made_again_and_a_wrong_blame_is_not() {
    let there = (Code::FirewallIn, Part::FirewallThere);
    let again = |row: &Row| row.may_be_the_machine().is_some();
    let right = row("firewall-in-drop-there", there, &[there], 1);
    assert!(!again(&right));
    let took = Duration::from_secs(11);
    assert!(again(&Row { took, ..right.clone() }));
    let problem = |words: &str| Row { problem: Some(words.to_owned()), said: None, ..right.clone() };
    assert!(again(&problem("NOT MADE: no router")));
    assert!(!again(&problem("NO DIAGNOSIS: no words")));
    let unknown = (Code::Unknown, Part::Internet);
    assert!(again(&row("fine-plain-public", unknown, &[], 1)), "healthy, and not fine");
    assert!(!again(&row("firewall-in-drop-there", unknown, &[], 1)), "broken, and not known why");
    let here = (Code::FirewallIn, Part::FirewallHere);
    let blamed = row("firewall-in-drop-there", here, &[], 1);
    assert!(!again(&blamed) && !again(&Row { took, ..blamed }));
    assert!(!again(&row("fine-plain-public", here, &[here], 1)));
}

#[test]
fn what_was_only_late_keeps_what_was_said_at_first_and_gets_the_time_of_the_second() {
    let there = (Code::FirewallIn, Part::FirewallThere);
    let good = row("firewall-in-drop-there", there, &[there], 1);
    let unknown = row("firewall-in-drop-there", (Code::Unknown, Part::Internet), &[], 1);
    let took = Duration::from_secs(11);
    let made_again = |first: Row, again: &Row| {
        let doubt = first.may_be_the_machine().unwrap();
        first.made_again(doubt, again.clone())
    };
    let late = |row: &Row| Row { took, ..row.clone() };
    assert!(made_again(late(&good), &good).is_good());
    assert!(!made_again(late(&good), &late(&good)).is_good(), "late twice");
    let wrong = made_again(late(&unknown), &good);
    assert!(!wrong.is_right() && wrong.is_in_time(), "the first verdict counts");
    let blamed = row("firewall-in-drop-there", (Code::FirewallIn, Part::FirewallHere), &[], 1);
    assert!(!made_again(late(&good), &blamed).wrong_blames().is_empty());
    let not_made = Row { problem: Some("NOT MADE: no router".to_owned()), said: None, ..good.clone() };
    assert!(made_again(late(&good), &not_made).problem.is_some());
    assert!(made_again(not_made, &good).is_good());
    let fine = row("fine-plain-public", (Code::Works, Part::ThisComputer), &[], 0);
    let not_fine = row("fine-plain-public", (Code::Unknown, Part::Internet), &[], 1);
    assert!(made_again(late(&not_fine), &fine).is_good(), "not only late");
}

#[test]
fn a_few_cases_may_be_made_again_and_no_more() {
    let fine = row("fine-plain-public", (Code::Works, Part::ThisComputer), &[], 0);
    let holds = |again: usize, all: usize| {
        let row = |number| Row { repeated: (number < again).then_some(Doubt::NotFine), ..fine.clone() };
        Report { rows: (0..all).map(row).collect(), only_injected: false }.broken_promises().is_empty()
    };
    assert!(holds(2, 2) && holds(2, 59) && holds(3, 60) && holds(5, 100));
    assert!(!holds(3, 59) && !holds(6, 100));
}

#[test]
fn a_case_that_was_made_again_says_so_in_the_table() {
    let fine = row("fine-plain-public", (Code::Works, Part::ThisComputer), &[], 0);
    let rows = vec![Row { repeated: Some(Doubt::Late(Duration::from_secs(11))), ..fine }];
    let text = Report { rows, only_injected: false }.to_string();
    assert!(text.contains("(made again; at first LATE, 11.0 s)"), "{text}");
}

#[test]
fn each_promise_that_is_broken_is_named() {
    let fine = || row("fine-plain-public", (Code::Works, Part::ThisComputer), &[], 0);
    let late = Row { took: Duration::from_secs(11), ..fine() };
    let wrong = row("removed-there", (Code::Offline, Part::Friend), &[], 1);
    let promises = |rows| Report { rows, only_injected: false }.broken_promises();
    assert_eq!(promises(vec![fine()]), Vec::<String>::new());
    assert_eq!(promises(vec![late]).len(), 1);
    assert_eq!(promises(vec![wrong]).len(), 2, "it is not right, and blames somebody");
}
