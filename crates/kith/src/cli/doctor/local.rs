//! What is wrong when the daemon can't be asked, or only by its socket: facts of this computer in, a diagnosis out.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use kith_doctor::diagnosis::{Check, Condition, Direction, Outcome, Passage, Station};
use kith_doctor::{Code, Diagnosis, Part, Verdict, Weight};

use super::super::Place;
use super::super::error::{CliError, CliResult};
use super::ports::{Cause, ShutPort};
use super::start::Start;
use crate::home::{Home, SocketState, tail};
use crate::settings::SettingsSources;

/// How many of the log's last lines are looked through for the reason of an end.
const LOG_LINES: usize = 40;

/// What is known of a computer on which no daemon answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The homes that were looked in, each with what is there.
    pub(super) sockets: Vec<(PathBuf, Socket)>,
    /// The ports of the settings that somebody holds.
    pub(super) taken: Vec<Taken>,
    /// What the log said last that was an error.
    pub(super) last_error: Option<String>,
    /// How the daemon of the home is started that was looked for.
    pub(super) start: Start,
}

/// What is where the control socket should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    /// Nothing.
    Absent,
    /// One that nobody listens on: a daemon ended without clearing up.
    Refuses,
}

/// A port of Kith's that is not free though Kith does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its number.
    pub(super) port: u16,
    /// What it is for.
    pub(super) purpose: &'static str,
    /// `nginx (process 812)`; null: the system tells only the superuser.
    pub(super) holder: Option<String>,
}

/// Looks at this computer.
pub(super) async fn look(place: &Place) -> CliResult<Seen> {
    let homes = Home::candidates(place.flag.clone(), &place.environment)?;
    let is_named = place.flag.is_some() || place.environment.kith_home.is_some();
    let home = if is_named { place.home()? } else { wanted(&homes, place.home()?) };
    let start = Start::of(&home, is_named).await;
    let looking = tokio::task::spawn_blocking(move || look_now(&homes, &home, start));
    looking.await.map_err(|_ending| CliError::new("this computer could not be looked at", "try again"))
}

/// Of the homes in which a daemon was looked for that of one which is there, or the one that somebody has used: a blank one is nobody's.
fn wanted(homes: &[Home], usual: Home) -> Home {
    let used = |home: &&Home| home.root().symlink_metadata().is_ok();
    if usual.socket_state() == SocketState::Live {
        return usual;
    }
    homes.iter().find(used).cloned().unwrap_or(usual)
}

fn look_now(homes: &[Home], home: &Home, start: Start) -> Seen {
    let loaded = SettingsSources::of_process(home).and_then(|sources| sources.load());
    let ports = loaded.map_or([4243, 4244, 4242], |loaded| {
        let settings = loaded.settings();
        [settings.control.port.get(), settings.control.app_port.get(), settings.listener.port.get()]
    });
    let purposes = ["the command line and other programs", "the app", "friends"];
    let error = |line: &String| line.contains("ERROR").then(|| line.trim().to_owned());
    Seen {
        sockets: homes
            .iter()
            .map(|home| {
                let path = home.control_socket();
                let socket = if path.symlink_metadata().is_ok() { Socket::Refuses } else { Socket::Absent };
                (path, socket)
            })
            .collect(),
        taken: ports.into_iter().zip(purposes).filter_map(|(port, purpose)| taken(port, purpose)).collect(),
        last_error: tail(home, LOG_LINES).ok().and_then(|lines| lines.iter().rev().find_map(error)),
        start,
    }
}

fn taken(port: u16, purpose: &'static str) -> Option<Taken> {
    let holder = kith_listener::port_holder(port);
    let holder = holder.map(|holder| format!("{} (process {})", holder.program, holder.pid));
    // Who holds it, the system tells of one's own programs only; that it is held, everybody finds out.
    let in_use = || {
        let tried = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        tried.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    (holder.is_some() || in_use()).then_some(Taken { port, purpose, holder })
}

/// No daemon runs.
pub(super) fn service_down(seen: &Seen) -> Diagnosis {
    let code = Code::ServiceDown;
    let kith = seen
        .taken
        .iter()
        .find_map(|taken| taken.holder.as_deref().filter(|holder| holder.starts_with("kith ")));
    let mut evidence: Vec<String> = seen
        .sockets
        .iter()
        .map(|(path, socket)| match socket {
            Socket::Absent => format!("there is no socket of a daemon at {}", path.display()),
            Socket::Refuses => {
                format!("the socket {} was left behind by a daemon that has ended", path.display())
            }
        })
        .collect();
    let held = |taken: &Taken| match &taken.holder {
        Some(holder) => format!("port {}, for {}, is held by {holder}", taken.port, taken.purpose),
        None => format!(
            "port {}, for {}, is held by another user's program: `sudo ss -ltnp` names it",
            taken.port, taken.purpose
        ),
    };
    evidence.extend(seen.taken.iter().map(held));
    evidence.extend(seen.last_error.as_ref().map(|error| format!("the log's last error: {error}")));
    let step = match kith {
        Some(holder) => format!(
            "a Kith runs, {holder}, for another home or user: name its home with `--home DIR`, or start one here: `{}`",
            seen.start.command
        ),
        None => {
            format!("start it: `{}`; `kith logs` says why it ended if it does so again", seen.start.command)
        }
    };
    evidence.extend(seen.start.service.clone());
    let mut checks = vec![check(code, Outcome::Failed, "no daemon answers on its socket")];
    checks.extend(seen.taken.iter().map(|taken| check(Code::PortTaken, Outcome::Failed, &held(taken))));
    if seen.taken.is_empty() {
        checks.push(check(Code::PortTaken, Outcome::Ok, "nobody else holds Kith's ports"));
    }
    let verdict = Verdict {
        code,
        subject: "this computer".to_owned(),
        part: code.part(),
        weight: code.weight(),
        sentence: "Kith does not run on this computer".to_owned(),
        next_step: Some(step),
        evidence,
    };
    let unknown =
        || Direction { state: Passage::Unknown, detail: "nobody is there who could try".to_owned() };
    Diagnosis {
        friend: None,
        verdict,
        checks,
        outward: unknown(),
        inward: unknown(),
        way: vec![
            station(Part::ThisComputer, "this computer", Condition::Broken),
            station(Part::FirewallHere, "firewall", Condition::Unknown),
            station(Part::RouterHere, "router", Condition::Unknown),
            station(Part::Internet, "Internet", Condition::Unknown),
        ],
        told_by: None,
    }
}

/// A daemon is there, and does not answer.
pub(super) fn service_silent(seen: &Seen, waited: Duration) -> Diagnosis {
    let mut silent = service_down(&Seen { sockets: Vec::new(), taken: Vec::new(), ..seen.clone() });
    let seconds = waited.as_secs();
    "Kith runs on this computer, and does not answer".clone_into(&mut silent.verdict.sentence);
    let anew = match &seen.start.restart {
        Some(command) => format!("`{command}`"),
        None => format!("end its process, and then `{}`", seen.start.command),
    };
    silent.verdict.next_step =
        Some(format!("start it anew: {anew}; before that, `kith logs` says what it does"));
    silent
        .verdict
        .evidence
        .insert(0, format!("its socket takes connections, and no answer came within {seconds} s"));
    silent.checks =
        vec![check(Code::ServiceDown, Outcome::Failed, "the daemon does not answer on its socket")];
    silent
}

/// What the daemon can't see of itself: whether the app reaches it. It is the verdict when nothing else is broken, or when nobody
/// asked for a friend; otherwise a check beside it, because friends don't come by the local ports.
pub(super) fn add_shut_ports(diagnosis: &mut Diagnosis, shut: &[ShutPort]) {
    if shut.is_empty() {
        let said = "the app and other programs of this computer reach Kith";
        diagnosis.checks.insert(0, check(Code::LocalPortBlocked, Outcome::Ok, said));
        return;
    }
    for port in shut.iter().rev() {
        let detail = format!("127.0.0.1:{}: {}", port.port, port.why);
        diagnosis.checks.insert(0, check(code_of(port.cause), Outcome::Failed, &detail));
    }
    if diagnosis.verdict.weight == Weight::Fault && diagnosis.friend.is_some() {
        return;
    }
    // What stops packets is before whoever may listen.
    let is_filtered = shut.iter().any(|port| port.cause == Cause::Filtered);
    let cause = if is_filtered { Cause::Filtered } else { shut[0].cause };
    let code = code_of(cause);
    let those = shut.iter().filter(|port| port.cause == cause);
    let ports = those.map(|port| port.port.to_string()).collect::<Vec<_>>().join(" and ");
    let mut evidence = vec!["Kith runs: it answers on its socket".to_owned()];
    evidence.extend(shut.iter().map(|port| format!("127.0.0.1:{}: {}", port.port, port.why)));
    let (subject, sentence, next_step) = match cause {
        Cause::Filtered => (
            "this computer's firewall",
            format!("Kith runs, and TCP port {ports} of this computer can't be reached from this very computer"),
            format!(
                "in the firewall or security software of this computer, allow TCP {ports} from 127.0.0.1 to 127.0.0.1 and from ::1 to ::1; \
                 nothing of that leaves the computer"
            ),
        ),
        Cause::Nobody => (
            "this computer",
            format!("Kith runs, and nobody listens at TCP port {ports} of this computer, at which the app reaches it"),
            "start it anew: `kith restart`".to_owned(),
        ),
        Cause::SomebodyElse => (
            "this computer",
            format!("another program answers at TCP port {ports} of this computer, at which the app reaches Kith"),
            "end that program, which `sudo ss -ltnp` names, and then `kith restart`; or give Kith another port (control.port, control.app-port)".to_owned(),
        ),
    };
    diagnosis.verdict = Verdict {
        code,
        subject: subject.to_owned(),
        part: code.part(),
        weight: code.weight(),
        sentence,
        next_step: Some(next_step),
        evidence,
    };
    for station in &mut diagnosis.way {
        if station.part == code.part() {
            station.state = Condition::Broken;
        }
    }
}

const fn code_of(cause: Cause) -> Code {
    match cause {
        Cause::Filtered => Code::LocalPortBlocked,
        Cause::Nobody => Code::PortClosed,
        Cause::SomebodyElse => Code::PortTaken,
    }
}

fn check(code: Code, outcome: Outcome, detail: &str) -> Check {
    Check { code, part: code.part(), outcome, detail: detail.to_owned() }
}

fn station(part: Part, name: &str, state: Condition) -> Station {
    Station { part, name: name.to_owned(), state }
}
