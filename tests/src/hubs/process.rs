//! A `kith hub` of its own home.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kith_wire::HubAddress;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::{Outcome, Port, free_port, kith_binary, run_with};

/// Longest time for a hub to be ready.
const START: Duration = Duration::from_secs(30);
/// Longest wait for its end, on a machine with much else to do.
const END: Duration = Duration::from_secs(30);

/// A hub with a home of its own, on loopback.
#[derive(Debug)]
pub struct HubProcess {
    directory: TempDir,
    program: PathBuf,
    port: Port,
    peer_port: Port,
    metrics: Port,
    running: Option<Child>,
    address: Option<HubAddress>,
}

impl HubProcess {
    /// A home with settings, and nothing running yet. `settings` are more lines of `[hub]`.
    ///
    /// # Panics
    /// If the home can't be made.
    #[must_use]
    pub fn new(settings: &str) -> Self {
        let hub = Self {
            directory: tempfile::Builder::new().prefix("kith-hub-").tempdir().unwrap(),
            program: kith_binary().to_owned(),
            port: free_port(),
            peer_port: free_port(),
            metrics: free_port(),
            running: None,
            address: None,
        };
        std::fs::create_dir(hub.home()).unwrap();
        hub.set(settings);
        hub
    }

    /// The hub is this program.
    #[must_use]
    pub fn of_program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// Writes its settings anew.
    ///
    /// # Panics
    /// If the file can't be written.
    pub fn set(&self, settings: &str) {
        let text = format!(
            "[hub]\nport = {}\nbind = [\"127.0.0.1\"]\npeer-port = {}\nmetrics = \"127.0.0.1:{}\"\n{settings}",
            self.port.number(),
            self.peer_port.number(),
            self.metrics.number()
        );
        std::fs::write(self.home().join("kith.toml"), text).unwrap();
    }

    /// Gives it another port for computers, while it does not run, and other settings. Gives back the old port: whoever drops it lets others
    /// have it.
    ///
    /// # Panics
    /// If it runs, or the settings can't be written.
    pub fn move_to(&mut self, port: Port, settings: &str) -> Port {
        assert!(self.running.is_none(), "the hub runs");
        let old = std::mem::replace(&mut self.port, port);
        self.set(settings);
        old
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// A call of the command line for this hub.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KITH_") && name != "KITH_LOG" {
                command.env_remove(name);
            }
        }
        for name in ["NOTIFY_SOCKET", "JOURNAL_STREAM", "STATE_DIRECTORY"] {
            command.env_remove(name);
        }
        command.arg("--home").arg(self.home()).args(args);
        command
    }

    /// Calls the command line for this hub.
    #[track_caller]
    pub fn kith(&self, args: &[&str]) -> Outcome {
        run_with(&mut self.command(args), b"")
    }

    /// Starts the hub, and waits until it says where it is known.
    ///
    /// # Panics
    /// If it doesn't, in time.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "the hub runs");
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut child =
            self.command(&["hub"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let (sender, lines) = std::sync::mpsc::sync_channel(4);
        let stdout = child.stdout.take().unwrap();
        // Ends with the hub.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let said = lines.recv_timeout(START);
        self.running = Some(child);
        match said {
            Ok(line) => self.address = Some(line.parse().unwrap_or_else(|error| panic!("{line}: {error}"))),
            Err(error) => panic!("the hub is not ready: {error}\n{}", self.log()),
        }
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("hub.log")
    }

    /// Everything it has said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Where computers reach it.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number()).into()
    }

    /// The line it printed.
    ///
    /// # Panics
    /// If it never ran.
    #[must_use]
    pub fn address(&self) -> HubAddress {
        self.address.clone().unwrap()
    }

    /// How other hubs name it in their settings: made at the first start of this one.
    ///
    /// # Panics
    /// If it has no identity yet.
    #[must_use]
    pub fn as_peer(&self) -> String {
        let id = self.kith(&["id"]).ok().trim().to_owned();
        format!("kith://{id}@127.0.0.1:{}", self.peer_port.number())
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it doesn't run.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.running.as_ref().unwrap().id()).unwrap()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If that fails.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Kills it as a crash would.
    ///
    /// # Panics
    /// If it doesn't run.
    pub fn kill(&mut self) {
        let mut child = self.running.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to end, and waits; how long that took.
    ///
    /// # Panics
    /// If it takes too long, or fails.
    pub fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        self.signal(Signal::SIGTERM);
        let mut child = self.running.take().unwrap();
        while begun.elapsed() < END {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{status}\n{}", self.log());
                return begun.elapsed();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("the hub did not end in time\n{}", self.log());
    }

    /// Bytes that it has in memory.
    ///
    /// # Panics
    /// If it doesn't run.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_ascii_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The page of its numbers.
    ///
    /// # Panics
    /// If it can't be read.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics.number())).unwrap();
        stream.set_read_timeout(Some(START)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
        page
    }

    /// One of its numbers; none if it isn't there.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        let page = self.metrics();
        let wanted = format!("kith_hub_{name} ");
        page.lines().find_map(|line| line.strip_prefix(&wanted)?.trim().parse().ok())
    }
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            // It may have ended by itself.
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            crate::say(&format!("the hub said:\n{}", lines[lines.len().saturating_sub(40)..].join("\n")));
        }
    }
}
