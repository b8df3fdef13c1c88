//! What the doctor prints, without a daemon.

use kith_doctor::diagnosis::{Check, Condition, Direction, Outcome, Passage, Station};
use kith_doctor::{Code, Diagnosis, Part, Verdict};

use super::local::{Seen, Socket, Taken, add_shut_ports, service_down, service_silent};
use super::ports::{Cause, ShutPort};
use super::start::Start;
use super::{show, way};

const NAMES: [&str; 7] = ["anna", "firewall", "router", "Internet", "router", "firewall", "bert"];

fn way_with(broken: Part) -> Vec<Station> {
    let state = |part: Part| match part {
        part if part == broken => Condition::Broken,
        part if part > broken => Condition::Unknown,
        _ => Condition::Fine,
    };
    let station = |(part, name): (Part, &str)| Station { part, name: name.to_owned(), state: state(part) };
    Part::ALL.into_iter().zip(NAMES).map(station).collect()
}

fn firewall_there() -> Diagnosis {
    let (code, part) = (Code::FirewallIn, Part::FirewallThere);
    Diagnosis {
        friend: Some("bert".to_owned()),
        verdict: Verdict {
            code,
            subject: "bert's firewall".to_owned(),
            part,
            weight: code.weight(),
            sentence: "the firewall of bert's computer lets nobody in at port 4242".to_owned(),
            next_step: Some("on bert's computer: `sudo ufw allow 4242/tcp`".to_owned()),
            evidence: vec!["203.0.113.9:4242: nothing came back".to_owned()],
        },
        checks: vec![Check {
            code,
            part,
            outcome: Outcome::Failed,
            detail: "ufw drops port 4242".to_owned(),
        }],
        outward: Direction {
            state: Passage::Closed,
            detail: "203.0.113.9:4242: nothing came back".to_owned(),
        },
        inward: Direction { state: Passage::Open, detail: "bert got in 3 min ago".to_owned() },
        way: way_with(part),
        told_by: Some("link".to_owned()),
    }
}

#[test]
fn a_person_reads_the_verdict_first_and_then_what_to_do() {
    let shown = show::lines(&firewall_there()).join("\n");
    let expected = "The firewall of bert's computer lets nobody in at port 4242.

What to do:
  On bert's computer: `sudo ufw allow 4242/tcp`.

From here to bert: connections do NOT get through (203.0.113.9:4242: nothing came back)
From bert to here: connections get through (bert got in 3 min ago)

Why:
  - 203.0.113.9:4242: nothing came back

The way:
  anna -- firewall -- router -- Internet -- router X- firewall X- bert
   ok        ok         ok         ok         ok        HERE       ?

What was looked at:
  FAILED     bert's firewall: ufw drops port 4242

bert's computer told its half.
`kith explain firewall-in` says more.";
    assert_eq!(shown, expected);
}

#[test]
fn a_way_with_long_names_is_drawn_from_top_to_bottom() {
    let mut stations = way_with(Part::RouterHere);
    stations[2].name = "a router whose maker gave it a name as long as this one".to_owned();
    let shown = way::lines(&stations).join("\n");
    assert!(
        shown.starts_with("  [ok] anna\n    |\n  [ok] firewall\n    |\n  [ X] a router whose"),
        "{shown}"
    );
    assert!(shown.ends_with("<-- HERE\n    |\n  [ ?] Internet\n    |\n  [ ?] router\n    |\n  [ ?] firewall\n    |\n  [ ?] bert"), "{shown}");
}

#[test]
fn what_friends_and_routers_call_themselves_can_do_nothing_to_a_terminal() {
    let hostile = "\u{1b}[2Jx\u{202e}\nforged".to_owned();
    let mut diagnosis = firewall_there();
    diagnosis.friend = Some(hostile.clone());
    let verdict = &mut diagnosis.verdict;
    verdict.sentence.clone_from(&hostile);
    verdict.next_step = Some(hostile.clone());
    verdict.evidence = vec![hostile.clone()];
    diagnosis.checks[0].detail.clone_from(&hostile);
    diagnosis.outward.detail.clone_from(&hostile);
    diagnosis.inward.detail.clone_from(&hostile);
    for station in &mut diagnosis.way {
        station.name.clone_from(&hostile);
    }
    for told_by in [None, Some("code".to_owned()), Some(hostile)] {
        diagnosis.told_by = told_by;
        for line in show::lines(&diagnosis) {
            assert!(!line.contains(['\u{1b}', '\u{202e}', '\n']), "{line:?}");
        }
    }
}

fn start() -> Start {
    Start {
        command: "systemctl --user start kith".to_owned(),
        restart: Some("systemctl --user restart kith".to_owned()),
        service: Some("the service kith is installed, and stopped".to_owned()),
    }
}

fn not_running(taken: Vec<Taken>) -> Diagnosis {
    service_down(&Seen {
        sockets: vec![("/home/anna/.local/share/kith/run/control.sock".into(), Socket::Refuses)],
        taken,
        last_error: Some("ERROR the vault can't be opened".to_owned()),
        start: start(),
    })
}

#[test]
fn a_daemon_that_does_not_run_is_the_verdict_with_the_command_that_starts_it() {
    let diagnosis = not_running(Vec::new());
    assert_eq!(diagnosis.verdict.code, Code::ServiceDown);
    let step = diagnosis.verdict.next_step.as_deref().unwrap();
    assert!(step.contains("`systemctl --user start kith`"), "{step}");
    let evidence = diagnosis.verdict.evidence.join("\n");
    assert!(evidence.contains("left behind") && evidence.contains("the vault can't be opened"), "{evidence}");
}

#[test]
fn who_holds_the_local_ports_is_named() {
    let held = |port, holder: &str| Taken { port, purpose: "the app", holder: Some(holder.to_owned()) };
    let diagnosis = not_running(vec![held(4244, "nginx (process 812)")]);
    assert!(diagnosis.verdict.evidence[1].contains("port 4244, for the app, is held by nginx (process 812)"));
    assert_eq!(diagnosis.checks[1].outcome, Outcome::Failed);

    let other_home = not_running(vec![held(4244, "kith (process 81)")]);
    let step = other_home.verdict.next_step.unwrap();
    assert!(step.contains("for another home or user") && step.contains("--home DIR"), "{step}");

    let hidden = not_running(vec![Taken { port: 4243, purpose: "the command line", holder: None }]);
    assert!(hidden.verdict.evidence[1].contains("another user's program"), "{:?}", hidden.verdict.evidence);
}

#[test]
fn a_local_port_that_is_shut_is_the_verdict_unless_a_friend_has_a_fault_of_his_own() {
    let shut = [ShutPort { port: 4243, why: "nothing came back".to_owned(), cause: Cause::Filtered }];
    let mut alone = firewall_there();
    alone.friend = None;
    add_shut_ports(&mut alone, &shut);
    assert_eq!(alone.verdict.code, Code::LocalPortBlocked);
    assert!(alone.verdict.next_step.unwrap().contains("allow TCP 4243 from 127.0.0.1 to 127.0.0.1"));

    let mut with_friend = firewall_there();
    add_shut_ports(&mut with_friend, &shut);
    assert_eq!(with_friend.verdict.code, Code::FirewallIn);
    assert_eq!(
        (with_friend.checks[0].code, with_friend.checks[0].outcome),
        (Code::LocalPortBlocked, Outcome::Failed)
    );

    let mut open = firewall_there();
    add_shut_ports(&mut open, &[]);
    assert_eq!((open.verdict.code, open.checks[0].outcome), (Code::FirewallIn, Outcome::Ok));
}

#[test]
fn a_local_port_at_which_nobody_or_somebody_else_is_blames_no_firewall() {
    for (cause, code, step) in [
        (Cause::Nobody, Code::PortClosed, "`kith restart`"),
        (Cause::SomebodyElse, Code::PortTaken, "end that program"),
    ] {
        let mut alone = firewall_there();
        alone.friend = None;
        add_shut_ports(&mut alone, &[ShutPort { port: 4244, why: "refused".to_owned(), cause }]);
        assert_eq!((alone.verdict.code, alone.verdict.part), (code, Part::ThisComputer));
        assert!(alone.verdict.next_step.as_deref().unwrap().contains(step), "{:?}", alone.verdict);
        assert_eq!(alone.checks[0].code, code);
    }
}

#[test]
fn a_daemon_that_does_not_answer_is_a_verdict_too() {
    let seen = Seen { start: start(), ..Seen::default() };
    let diagnosis = service_silent(&seen, std::time::Duration::from_secs(20));
    assert_eq!(diagnosis.verdict.code, Code::ServiceDown);
    assert!(diagnosis.verdict.next_step.unwrap().contains("`systemctl --user restart kith`"));
    assert!(diagnosis.verdict.evidence[0].contains("within 20 s"));
    assert_eq!(diagnosis.checks.len(), 1);
}
