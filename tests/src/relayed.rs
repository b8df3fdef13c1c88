//! Two friends who are linked by a hub's relay or by stock `socat`, in turns: how much each of the two passes on.
//!
//! One of them makes calls only, and is told that a port of this computer stands for the other one. While `socat` leads from that port to
//! him, that is their way; while nobody does, nothing but the hub is left.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::hubs::HubProcess;
use crate::{Computer, Port, free_port, pair, processor_seconds, wait_until, write_random};

/// Longest wait for a link.
const LINKED: Duration = Duration::from_secs(45);
/// Settings of a hub that holds nothing back. They are the default ones: here they are said.
const UNBOUNDED: &str = "relay = true\nrelay-rate = \"0B\"\nrelay-daily = \"0B\"\n";

/// By what the two are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `socat` joins two TCP connections.
    Socat,
    /// A hub does.
    Hub,
}

/// What a transfer came to.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// Bytes in a second.
    pub rate: f64,
    /// Processor time of whoever stood between the two, in seconds.
    pub between: f64,
}

/// Two daemons, and who stands between them.
#[derive(Debug)]
pub struct Relayed {
    anna: Computer,
    bert: Computer,
    hub: HubProcess,
    place: Port,
    socat: Option<Socat>,
    sets: u64,
}

/// `socat` and its children end with it.
#[derive(Debug)]
struct Socat(Child);

impl Socat {
    fn start(from: u16, to: u16) -> Self {
        let mut socat = Command::new("socat");
        let listen = format!("TCP4-LISTEN:{from},bind=127.0.0.1,reuseaddr,fork");
        socat.args([listen, format!("TCP4:127.0.0.1:{to}")]).stdin(Stdio::null()).process_group(0);
        Self(socat.spawn().unwrap())
    }

    /// Of all its processes.
    fn processor_seconds(&self) -> f64 {
        let pid = self.0.id();
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = children.split_ascii_whitespace().filter_map(|child| child.parse().ok());
        children.chain([pid]).map(processor_seconds).sum()
    }
}

impl Drop for Socat {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.0.id()).unwrap_or(i32::MAX));
        // They may have ended by themselves.
        killpg(group, Signal::SIGKILL).ok();
        drop(self.0.wait());
    }
}

impl Relayed {
    /// Two friends and a hub, of the program as it is shipped or of the one under test; they are linked by nothing that is to be measured yet.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn of_program(program: &std::path::Path) -> Self {
        let mut hub = HubProcess::new(UNBOUNDED).of_program(program);
        hub.start();
        let network = format!("[network]\nhubs = [\"{}\"]\n", hub.address());
        let [anna, bert] = ["anna", "bert"].map(|name| Computer::new(name, &network).of_program(program));
        anna.start();
        bert.start();
        pair(&bert, &anna);
        anna.stop();
        let place = free_port();
        let settings = format!(
            "{network}outbound-only = true\n[network.mapped]\n\"{}\" = \"127.0.0.1:{}\"\n",
            bert.device_id(),
            place.number()
        );
        std::fs::write(anna.home().join("kith.toml"), anna.settings_text(&settings)).unwrap();
        anna.start();
        let mut relayed = Self { anna, bert, hub, place, socat: None, sets: 0 };
        // The archive is made, so that what is measured is the transfer.
        relayed.link(By::Hub);
        relayed.set(64 << 10);
        relayed.anna.kith(&["backup", "set1"]).ok();
        relayed
    }

    /// From now on they are linked by this.
    ///
    /// # Panics
    /// If they are not, in time.
    pub fn link(&mut self, by: By) {
        let path = match by {
            By::Socat => {
                let socat = || Socat::start(self.place.number(), self.bert.port());
                self.socat.get_or_insert_with(socat);
                wait_until("socat to listen", LINKED, || {
                    std::net::TcpStream::connect(("127.0.0.1", self.place.number())).is_ok()
                });
                self.anna.kith(&["ra"]).ok();
                "proxied"
            }
            By::Hub => {
                self.socat = None;
                "relayed"
            }
        };
        let way = |one: &Computer, other: &Computer| one.friend(other.name())["path"].clone();
        wait_until(&format!("the link to be {path}"), LINKED, || {
            let (here, there) = (way(&self.anna, &self.bert), way(&self.bert, &self.anna));
            here == path && !there.is_null() && (there == "relayed") == (by == By::Hub)
        });
    }

    fn set(&mut self, bytes: u64) -> String {
        self.sets += 1;
        let name = format!("set{}", self.sets);
        let source = self.anna.folder(&name);
        write_random(&source, self.sets, bytes, bytes.div_ceil(4));
        self.anna.kith(&["set", "add", &name, source.to_str().unwrap(), "--to", "bert"]).ok();
        name
    }

    /// A backup of so many bytes that don't compress, and its restore; each from the start of the command to its end.
    ///
    /// # Panics
    /// If one of them fails.
    pub fn back_up_and_restore(&mut self, bytes: u64) -> [Passed; 2] {
        let set = self.set(bytes);
        let backup = self.measure(bytes, &["backup", &set]);
        std::fs::remove_dir_all(self.anna.folder(&set)).unwrap();
        let target = self.anna.folder("restored");
        let restore = ["restore", "latest", "--set", &set, "--target", target.to_str().unwrap()];
        let restored = self.measure(bytes, &restore);
        std::fs::remove_dir_all(&target).unwrap();
        self.anna.kith(&["set", "remove", &set]).ok();
        [backup, restored]
    }

    fn measure(&self, bytes: u64, command: &[&str]) -> Passed {
        let before = self.between();
        let begun = Instant::now();
        self.anna.kith(command).ok();
        let took = begun.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        Passed { rate: bytes as f64 / took, between: self.between() - before }
    }

    fn between(&self) -> f64 {
        match &self.socat {
            Some(socat) => socat.processor_seconds(),
            None => processor_seconds(self.hub.pid().unsigned_abs()),
        }
    }
}
