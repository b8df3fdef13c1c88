//! What passes at a computer's interface.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::wait_until;

use super::Shared;
use super::namespace::Namespace;
use super::processes::Process;

/// What listens at the interface.
const SCRIPT: &str = include_str!("capture.py");
/// Longest time for it to start.
const START: Duration = Duration::from_secs(10);

/// A record of the kinds of packets that pass at a computer's interface, from its making on. Needs `python3`.
#[derive(Debug)]
pub struct Capture {
    log: PathBuf,
    _process: Process,
}

/// A kind of packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Passed {
    /// Whether it left the computer.
    pub out: bool,
    /// `tcp`, `udp`, `icmp`, `icmp6`, `igmp`, `arp`, or another one.
    pub protocol: String,
    /// Where it comes from; none of what is no IP.
    pub from: Option<IpAddr>,
    /// Its source port; 0 where there are none.
    pub from_port: u16,
    /// Where it goes.
    pub to: Option<IpAddr>,
    /// Its destination port; 0 where there are none.
    pub to_port: u16,
    /// Of TCP which of S, A, F and R are set; of ICMP its type.
    pub more: String,
}

impl Capture {
    pub(super) fn start(shared: &Arc<Shared>, namespace: &Namespace, name: &str) -> Self {
        let log = shared.directory.path().join(shared.unique(&format!("{name}.capture")));
        let mut command = namespace.command("python3");
        command.args(["-S", "-c", SCRIPT, "eth0"]);
        let process = Process::start(shared, command, &log);
        wait_until("the capture to begin", START, || {
            std::fs::read_to_string(&log).is_ok_and(|said| said.contains("listening"))
        });
        Self { log, _process: process }
    }

    /// Everything so far.
    ///
    /// # Panics
    /// If something was missed.
    #[must_use]
    pub fn all(&self) -> BTreeSet<Passed> {
        let said = std::fs::read_to_string(&self.log).unwrap();
        // The last line may be half written.
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().skip_while(|line| *line != "listening").skip(1);
        lines.map(|line| Passed::parse(line).unwrap_or_else(|| panic!("{line:?} in {said}"))).collect()
    }
}

impl Passed {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let out = match words.next()? {
            "out" => true,
            "in" => false,
            _ => return None,
        };
        let protocol = words.next()?.to_owned();
        let (from, from_port) = (words.next()?.parse().ok(), words.next()?.parse().ok()?);
        let (to, to_port) = (words.next()?.parse().ok(), words.next()?.parse().ok()?);
        Some(Self { out, protocol, from, from_port, to, to_port, more: words.next()?.to_owned() })
    }
}
