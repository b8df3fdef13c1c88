//! A computer that runs Kith: a home, ports, a daemon, a command line.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{self, Host};
use crate::{Isolation, Outcome, Port, free_port, kith_binary, run_with, say, wait_for, wait_until};

/// A user without rights, for tests that the superuser runs.
pub const UNPRIVILEGED: u32 = 65_534;

/// Longest time for a daemon to be ready, on a machine with much else to do.
const START: Duration = Duration::from_secs(20);
/// Longest wait for the end of a daemon. The promise of 5 s is shown where nothing but that is measured.
const END: Duration = Duration::from_secs(30);
/// Longest wait for the link of new friends, on a machine with much else to do.
const LINKED: Duration = Duration::from_secs(30);
/// Ports of listener, API and app where nothing is configured.
const DEFAULT_PORTS: [u16; 3] = [4242, 4243, 4244];
/// Lines of a daemon's log shown with a failed test.
const LOG_LINES: usize = 120;

/// A computer that runs Kith.
#[derive(Debug)]
pub struct Computer {
    name: String,
    directory: TempDir,
    program: PathBuf,
    user: Option<u32>,
    isolation: Option<Isolation>,
    host: Option<Host>,
    listen: Port,
    control: Port,
    app: Port,
    daemon: Mutex<Option<Child>>,
}

impl Computer {
    /// A home with settings, and nothing running yet. `settings` is added to the settings file.
    ///
    /// # Panics
    /// If the home can't be made.
    #[must_use]
    pub fn new(name: &str, settings: &str) -> Self {
        let computer = Self::blank(name);
        std::fs::create_dir(computer.home()).unwrap();
        std::fs::write(computer.home().join("kith.toml"), computer.settings_text(settings)).unwrap();
        computer
    }

    /// A computer without a home: what it needs of settings comes with the environment.
    ///
    /// # Panics
    /// If no directory can be made for it.
    #[must_use]
    pub fn blank(name: &str) -> Self {
        Self::with(name, [free_port(), free_port(), free_port()], None)
    }

    fn with(name: &str, [listen, control, app]: [Port; 3], host: Option<Host>) -> Self {
        Self {
            name: name.to_owned(),
            directory: tempfile::Builder::new().prefix("kith-e2e-").tempdir().unwrap(),
            program: kith_binary().to_owned(),
            user: None,
            isolation: None,
            host,
            listen,
            control,
            app,
            daemon: Mutex::new(None),
        }
    }

    /// A computer in the laboratory: daemon and command line run on that host, with default settings but for the name.
    /// Nothing runs yet.
    ///
    /// # Panics
    /// If the home can't be made.
    #[must_use]
    pub fn in_host(name: &str, host: &Host) -> Self {
        Self::in_host_with(name, host, "")
    }

    /// As [`Self::in_host`], with more settings.
    ///
    /// # Panics
    /// If the home can't be made.
    #[must_use]
    pub fn in_host_with(name: &str, host: &Host, settings: &str) -> Self {
        let computer = Self::with(name, DEFAULT_PORTS.map(Port::fixed), Some(host.clone()));
        std::fs::create_dir(computer.home()).unwrap();
        let settings = format!("name = \"{name}\"\n{settings}");
        std::fs::write(computer.home().join("kith.toml"), settings).unwrap();
        computer
    }

    /// A computer whose daemon is ready.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn started(name: &str) -> Self {
        let computer = Self::new(name, "");
        computer.start();
        computer
    }

    /// The settings file of this computer.
    #[must_use]
    pub fn settings_text(&self, more: &str) -> String {
        format!(
            "name = \"{}\"\n[listener]\nport = {}\nbind = [\"127.0.0.1\"]\n[control]\nport = {}\napp-port = {}\n{more}",
            self.name,
            self.listen.number(),
            self.control.number(),
            self.app.number()
        )
    }

    /// Carries it to another host of the laboratory, while no daemon runs. Its settings there are the default ones but for the name,
    /// and these.
    ///
    /// # Panics
    /// If a daemon runs.
    pub fn carry_to(&mut self, host: &Host, settings: &str) {
        assert!(self.daemon().is_none(), "the daemon of {} runs", self.name);
        self.host = Some(host.clone());
        [self.listen, self.control, self.app] = DEFAULT_PORTS.map(Port::fixed);
        let settings = format!("name = \"{}\"\n{settings}", self.name);
        std::fs::write(self.home().join("kith.toml"), settings).unwrap();
    }

    /// Gives it another inbound port, while no daemon runs. Gives back the old one: whoever drops it lets others have it.
    ///
    /// # Panics
    /// If its settings file does not name the port.
    pub fn move_to_another_port(&mut self) -> Port {
        assert!(self.daemon().is_none(), "the daemon of {} runs", self.name);
        let old = std::mem::replace(&mut self.listen, free_port());
        let path = self.home().join("kith.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let (from, to) = (format!("port = {}\n", old.number()), format!("port = {}\n", self.listen.number()));
        assert!(text.contains(&from), "{text}");
        std::fs::write(&path, text.replacen(&from, &to, 1)).unwrap();
        old
    }

    /// Everything of this computer is run by another user, who also owns the home. Only the superuser can arrange that.
    ///
    /// # Panics
    /// If it can't be arranged.
    #[must_use]
    pub fn run_by(mut self, user: u32) -> Self {
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.directory.path(), everybody.clone()).unwrap();
        // The build directory may lie where other users can't go.
        let program = self.directory.path().join("kith");
        std::fs::copy(&self.program, &program).unwrap();
        std::fs::set_permissions(&program, everybody).unwrap();
        self.program = program;
        self.user = Some(user);
        for path in [self.home(), self.home().join("kith.toml")] {
            std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
        }
        self
    }

    /// Daemon and command line are this program, as [`release_binary`](crate::release_binary).
    #[must_use]
    pub fn of_program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// The daemon (not the command line) sees the file systems this way.
    #[must_use]
    pub fn isolated(mut self, isolation: Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// A place for its files, beside the home.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.directory.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// The inbound port of its settings.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.listen.number()
    }

    /// The ports of API and app of its settings.
    #[must_use]
    pub const fn control_ports(&self) -> (u16, u16) {
        (self.control.number(), self.app.number())
    }

    /// Where friends reach it.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.host {
            None => format!("127.0.0.1:{}", self.port()),
            Some(host) => host.at(self.port()).to_string(),
        }
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("daemon.log")
    }

    /// Everything its daemons have said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Child>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn as_user(&self, program: &Path) -> Command {
        match self.user {
            None => match &self.host {
                None => Command::new(program),
                Some(host) => host.command(program),
            },
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".into()]);
                command.arg("--").arg(program);
                command
            }
        }
    }

    fn with_home(&self, mut command: Command, args: &[&str]) -> Command {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KITH_") && name != "KITH_LOG" {
                command.env_remove(name);
            }
        }
        for name in ["NOTIFY_SOCKET", "JOURNAL_STREAM", "XDG_DATA_HOME"] {
            command.env_remove(name);
        }
        command.env("HOME", self.directory.path());
        command.arg("--home").arg(self.home()).args(args);
        command
    }

    /// A call of the command line, for a test that wants to do something special with it.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        self.with_home(self.as_user(&self.program), args)
    }

    /// A call of the command line by a process that sees the file systems in a special way.
    #[must_use]
    pub fn isolated_command(&self, isolation: &Isolation, args: &[&str]) -> Command {
        self.with_home(isolation.command(&self.program), args)
    }

    /// Calls the command line.
    #[track_caller]
    pub fn kith(&self, args: &[&str]) -> Outcome {
        self.kith_with(args, "")
    }

    /// Calls the command line with something on its standard input.
    #[track_caller]
    pub fn kith_with(&self, args: &[&str], input: &str) -> Outcome {
        run_with(&mut self.command(args), input.as_bytes())
    }

    /// Starts the daemon and waits until it is ready; by then its port is open, or known not to be.
    ///
    /// # Panics
    /// If that takes too long or the daemon ends.
    #[track_caller]
    pub fn start(&self) {
        self.start_with(&[]);
    }

    /// As [`Self::start`] with environment variables.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[track_caller]
    pub fn start_with(&self, environment: &[(&str, &str)]) {
        self.start_program("daemon", environment);
        self.wait_ready();
    }

    #[track_caller]
    fn start_program(&self, program: &str, environment: &[(&str, &str)]) {
        assert!(self.daemon().is_none(), "the daemon of {} runs already", self.name);
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let command = match &self.isolation {
            Some(isolation) => isolation.command(&self.program),
            None => self.as_user(&self.program),
        };
        let mut command = self.with_home(command, &[program]);
        command.envs(environment.iter().copied());
        if self.host.is_some() {
            command = lab::tied_to_us(&command);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // A test that is killed leaves no daemon in its laboratory.
        let child = if self.host.is_some() { lab::spawn(command) } else { command.spawn() };
        *self.daemon() = Some(child.unwrap());
    }

    /// Starts a hub in place of a daemon, and waits until this port of it is open.
    ///
    /// # Panics
    /// If that takes too long or it ends.
    #[track_caller]
    pub fn start_hub(&self, port: u16) {
        self.start_program("hub", &[]);
        let host = self.host.as_ref().expect("a hub stands in the laboratory");
        wait_until(&format!("the hub of {} to listen", self.name), START, || {
            self.check_running();
            host.reaches(host.at(port), START)
        });
    }

    /// Waits until the daemon answers.
    ///
    /// # Panics
    /// If that takes too long or the daemon ends.
    #[track_caller]
    pub fn wait_ready(&self) {
        let socket = self.home().join("run/control.sock");
        wait_until(&format!("the daemon of {} to be ready", self.name), START, || {
            self.check_running();
            UnixStream::connect(&socket).is_ok() && self.kith(&["status", "--json"]).code == 0
        });
    }

    #[track_caller]
    fn check_running(&self) {
        if let Some(ended) = self.daemon().as_mut().and_then(|child| child.try_wait().unwrap()) {
            panic!("the daemon of {} ended with {ended}:\n{}", self.name, self.log());
        }
    }

    /// Runs a daemon that is expected to end by itself.
    #[track_caller]
    pub fn failing_daemon(&self) -> Outcome {
        self.kith(&["daemon"])
    }

    /// The daemon's process.
    ///
    /// # Panics
    /// If none runs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon().as_ref().expect("a running daemon").id()
    }

    /// Sends a signal to the daemon.
    ///
    /// # Panics
    /// If none runs.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// Ends the daemon as a service manager does; says how long it took.
    ///
    /// # Panics
    /// If it does not end, or not with exit code 0.
    #[track_caller]
    pub fn stop(&self) -> Duration {
        self.signal(Signal::SIGTERM);
        let (status, took) = wait_for(&format!("the end of {}", self.name), END, || {
            self.daemon().as_mut().and_then(|child| child.try_wait().unwrap())
        });
        *self.daemon() = None;
        assert!(status.success(), "the daemon of {} ended with {status}", self.name);
        took
    }

    /// Ends the daemon as a power cut does.
    ///
    /// # Panics
    /// If none runs.
    pub fn kill(&self) {
        let mut child = self.daemon().take().expect("a running daemon");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// `kith status --json`.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.kith(&["status", "--json"]).json()
    }

    /// One friend as `kith friends --json` shows him.
    ///
    /// # Panics
    /// If there is no such friend.
    #[track_caller]
    pub fn friend(&self, name: &str) -> Value {
        let friends = self.kith(&["friends", "--json"]).json();
        let found = friends.as_array().unwrap().iter().find(|friend| friend["name"] == name);
        found.unwrap_or_else(|| panic!("{} has no friend {name}: {friends:#}", self.name)).clone()
    }

    /// Whether the link to a friend is up, as seen from here.
    #[track_caller]
    pub fn linked(&self, name: &str) -> bool {
        self.friend(name)["connected"] == true
    }

    /// The newest job to a friend, null if there was none.
    #[track_caller]
    pub fn job(&self, friend: &str) -> Value {
        let status = self.status();
        let jobs = status["jobs"].as_array().unwrap();
        jobs.iter().find(|job| job["friend"] == friend).cloned().unwrap_or_default()
    }

    /// Its device id.
    #[track_caller]
    pub fn device_id(&self) -> String {
        self.kith(&["id"]).ok().to_owned()
    }

    /// The one archive that `owner` has here.
    ///
    /// # Panics
    /// If there is not exactly one.
    #[track_caller]
    pub fn archive_of(&self, owner: &Self) -> PathBuf {
        let directory = self.home().join("vault").join(owner.device_id());
        let entries = std::fs::read_dir(&directory).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let archives: Vec<PathBuf> = paths.filter(|path| path.join("config").is_file()).collect();
        assert_eq!(archives.len(), 1, "archives in {}: {archives:?}", directory.display());
        archives[0].clone()
    }
}

impl Drop for Computer {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon().take() {
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
            let end = Instant::now() + END;
            let asked = kill(pid, Signal::SIGTERM).is_ok();
            while asked && Instant::now() < end && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
            // It may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            say(&format!("--- log of {}\n{last}\n---", self.name));
        }
    }
}

/// Makes friends: `inviter` invites, `joiner` joins, both are linked. Gives back the safety sentence.
///
/// # Panics
/// If that fails.
#[track_caller]
pub fn pair(inviter: &Computer, joiner: &Computer) -> String {
    pair_with(inviter, joiner, &[])
}

/// As [`pair`], with arguments for `kith invite`.
///
/// # Panics
/// If that fails.
#[track_caller]
pub fn pair_with(inviter: &Computer, joiner: &Computer, invite: &[&str]) -> String {
    let invite = inviter.kith(&[&["invite"], invite].concat());
    joiner.kith_with(&["join"], invite.ok()).ok();
    wait_until("both to be linked", LINKED, || {
        inviter.linked(joiner.name()) && joiner.linked(inviter.name())
    });
    joiner.friend(inviter.name())["safety_words"].as_str().unwrap().to_owned()
}
