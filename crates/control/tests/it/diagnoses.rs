//! Made-up diagnoses, for tests and for looking at the app.

use kith_doctor::diagnosis::{Check, Condition, Direction, Outcome, Passage, Station};
use kith_doctor::{Code, Diagnosis, Part, Verdict, Weight};

/// The names of all, for `preview`.
pub(crate) const ALL: [&str; 5] = ["works", "firewall-in-there", "mapping-off-here", "relayed", "offline"];

/// The one of that name; `works` for any other.
pub(crate) fn named(name: &str) -> Diagnosis {
    match name {
        "firewall-in-there" => firewall_in_there(),
        "mapping-off-here" => mapping_off_here(),
        "relayed" => relayed(),
        "offline" => offline(),
        _ => works(),
    }
}

/// Everything is fine.
pub(crate) fn works() -> Diagnosis {
    let verdict =
        verdict(Code::Works, Part::ThisComputer, "the two computers are connected, in both directions", None);
    let evidence = ["connected since 2 h, at 203.0.113.19:4242", "Anna’s computer got in here 4 min ago"];
    Diagnosis {
        checks: vec![
            check(Code::ServiceDown, Part::ThisComputer, Outcome::Ok, "Kith runs, version 0.1.0"),
            check(Code::PortTaken, Part::ThisComputer, Outcome::Ok, "port 4242 is open for friends"),
            check(Code::FirewallIn, Part::FirewallHere, Outcome::Ok, "nftables lets TCP 4242 in"),
            check(Code::MappingOff, Part::RouterHere, Outcome::Ok, "FRITZ!Box 7590 forwards 4242, by UPnP"),
            check(Code::Offline, Part::Friend, Outcome::Ok, "the computer answers"),
        ],
        outward: direction(
            Passage::Open,
            "203.0.113.19:4242 answers within 24 ms, and proves that it is Anna’s",
        ),
        inward: direction(Passage::Open, "a connection from Anna’s computer came in 4 min ago"),
        ..diagnosis(verdict, &evidence)
    }
}

/// The friend's own firewall drops what comes in.
pub(crate) fn firewall_in_there() -> Diagnosis {
    let step = "on Anna’s computer, allow TCP 4242: `sudo ufw allow in proto tcp from any to any port 4242`. A rule for the port \
        survives updates; one for the program may not";
    let sentence = "the firewall of Anna’s computer (ufw) drops connections to port 4242";
    let evidence = [
        "192.168.1.40:4242: nothing came back within 3 s, from this computer, in the same network",
        "Anna’s computer says: its port 4242 is open, and ufw has no rule that lets it in",
        "connections got in there until 2026-11-20 18:02: since then a rule has changed",
    ];
    Diagnosis {
        checks: vec![
            check(Code::PortTaken, Part::ThisComputer, Outcome::Ok, "port 4242 is open for friends"),
            check(Code::FirewallOut, Part::FirewallHere, Outcome::Ok, "nftables lets connections out"),
            check(Code::FirewallIn, Part::FirewallThere, Outcome::Failed, "ufw drops TCP 4242"),
            check(Code::MappingOff, Part::RouterThere, Outcome::Skipped, "both are in one network"),
            check(
                Code::WrongDevice,
                Part::RouterThere,
                Outcome::Unknown,
                "nothing answers that could say who it is",
            ),
        ],
        outward: direction(Passage::Closed, "192.168.1.40:4242: nothing came back"),
        inward: direction(Passage::Open, "a connection from Anna’s computer came in 20 s ago"),
        told_by: Some("link".to_owned()),
        ..diagnosis(verdict(Code::FirewallIn, Part::FirewallThere, sentence, Some(step)), &evidence)
    }
}

/// Our router asks for a forwarding.
pub(crate) fn mapping_off_here() -> Diagnosis {
    let step = "open http://192.168.1.1/ and switch on UPnP, or forward TCP 4242 to 192.168.1.23:4242 there";
    let sentence = "this computer’s router (FRITZ!Box 7590) lets nobody in, and UPnP is switched off";
    let evidence =
        ["UPnP: switched off; NAT-PMP: no answer; PCP: no answer", "198.51.100.7:4242: nothing came back"];
    Diagnosis {
        checks: vec![
            check(Code::PortTaken, Part::ThisComputer, Outcome::Ok, "port 4242 is open for friends"),
            check(Code::RouterSilent, Part::RouterHere, Outcome::Ok, "192.168.1.1 answers"),
            check(
                Code::MappingOff,
                Part::RouterHere,
                Outcome::Failed,
                "UPnP: switched off; NAT-PMP: no answer; PCP: no answer",
            ),
            check(Code::CarrierNat, Part::RouterHere, Outcome::Skipped, "no address from outside is known"),
            check(
                Code::MappingOff,
                Part::RouterThere,
                Outcome::Unknown,
                "Anna’s computer could not be asked",
            ),
        ],
        outward: direction(Passage::Unknown, "no address of Anna’s is known that leads in from outside"),
        inward: direction(Passage::Closed, "nobody came in by 198.51.100.7:4242"),
        ..diagnosis(verdict(Code::MappingOff, Part::RouterHere, sentence, Some(step)), &evidence)
    }
}

/// It works, by a third computer.
pub(crate) fn relayed() -> Diagnosis {
    let step = "nothing has to be done; to make it faster, switch on UPnP on one of the two routers";
    let sentence = "everything works, by way of Carla’s computer, and slower";
    let evidence = ["relayed by Carla since 3 h", "both routers give every connection another port"];
    Diagnosis {
        checks: vec![
            check(Code::MappingOff, Part::RouterHere, Outcome::Failed, "no router protocol answers"),
            check(
                Code::PortsScrambled,
                Part::RouterHere,
                Outcome::Failed,
                "three connections, three ports outside",
            ),
            check(Code::Offline, Part::Friend, Outcome::Ok, "the computer answers, by Carla’s"),
        ],
        outward: direction(Passage::Closed, "203.0.113.19:4242: nothing came back"),
        inward: direction(Passage::Closed, "Anna’s computer met no answer at 198.51.100.7:4242"),
        told_by: Some("link".to_owned()),
        ..diagnosis(verdict(Code::Relayed, Part::Internet, sentence, Some(step)), &evidence)
    }
}

/// The friend's computer is asleep.
pub(crate) fn offline() -> Diagnosis {
    let step =
        "ask Anna whether the computer is on and has a network. Backups go on by themselves when it is back";
    let sentence = "Anna’s computer is off or asleep: nobody has seen it for 3 days";
    let evidence = ["last seen 2026-11-19 07:12, by Carla", "203.0.113.19:4242: nothing came back"];
    Diagnosis {
        checks: vec![
            check(Code::NoInternet, Part::Internet, Outcome::Ok, "two other friends are connected"),
            check(Code::Offline, Part::Friend, Outcome::Failed, "nobody has seen it for 3 days"),
            check(
                Code::FirewallIn,
                Part::FirewallThere,
                Outcome::Unknown,
                "Anna’s computer could not be asked",
            ),
        ],
        outward: direction(Passage::Closed, "203.0.113.19:4242: nothing came back"),
        inward: direction(Passage::Unknown, "nobody could ask Anna’s computer to try"),
        ..diagnosis(verdict(Code::Offline, Part::Friend, sentence, Some(step)), &evidence)
    }
}

/// This computer alone.
pub(crate) fn alone() -> Diagnosis {
    let mut alone = works();
    alone.friend = None;
    alone.verdict.sentence = "everything works on this computer".to_owned();
    alone.way.truncate(4);
    alone.outward = Direction::default();
    alone.inward = Direction::default();
    alone
}

/// Puts a hostile name into every text.
pub(crate) fn poison(diagnosis: &mut Diagnosis, name: &str) {
    let text = || name.to_owned();
    *diagnosis = firewall_in_there();
    diagnosis.friend = Some(text());
    diagnosis.verdict.subject = text();
    diagnosis.verdict.sentence = text();
    diagnosis.verdict.next_step = Some(format!("{name} `{name}`"));
    diagnosis.verdict.evidence = vec![text(), text()];
    diagnosis.checks.iter_mut().for_each(|check| check.detail = text());
    diagnosis.outward.detail = text();
    diagnosis.inward.detail = text();
    diagnosis.way.iter_mut().for_each(|station| station.name = text());
    diagnosis.told_by = Some(text());
}

fn verdict(code: Code, part: Part, sentence: &str, step: Option<&str>) -> Verdict {
    Verdict {
        code,
        subject: subject(part).to_owned(),
        part,
        weight: code.weight(),
        sentence: sentence.to_owned(),
        next_step: step.map(str::to_owned),
        evidence: Vec::new(),
    }
}

const fn subject(part: Part) -> &'static str {
    match part {
        Part::ThisComputer => "this computer",
        Part::FirewallHere => "this computer’s firewall",
        Part::RouterHere => "this computer’s router",
        Part::Internet => "the Internet",
        Part::RouterThere => "Anna’s router",
        Part::FirewallThere => "the firewall of Anna’s computer",
        Part::Friend => "Anna’s computer",
    }
}

fn check(code: Code, part: Part, outcome: Outcome, detail: &str) -> Check {
    Check { code, part, outcome, detail: detail.to_owned() }
}

fn direction(state: Passage, detail: &str) -> Direction {
    Direction { state, detail: detail.to_owned() }
}

/// With the way drawn as the verdict says; what lies beyond something broken is not known.
fn diagnosis(mut verdict: Verdict, evidence: &[&str]) -> Diagnosis {
    verdict.evidence = evidence.iter().map(|line| (*line).to_owned()).collect();
    let names = ["study", "nftables", "FRITZ!Box 7590", "Internet", "router", "ufw", "Anna"];
    let station = |(part, name): (Part, &str)| {
        let state = match verdict.weight {
            Weight::Fine => Condition::Fine,
            Weight::Note if part == verdict.part => Condition::Note,
            Weight::Fault if part == verdict.part => Condition::Broken,
            Weight::Fault if part > verdict.part => Condition::Unknown,
            Weight::Note | Weight::Fault => Condition::Fine,
        };
        Station { part, name: name.to_owned(), state }
    };
    Diagnosis {
        friend: Some("Anna".to_owned()),
        way: Part::ALL.into_iter().zip(names).map(station).collect(),
        verdict,
        checks: Vec::new(),
        outward: Direction::default(),
        inward: Direction::default(),
        told_by: None,
    }
}
