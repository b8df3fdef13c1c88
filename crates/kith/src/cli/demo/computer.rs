//! A computer of the demo: a home and a real daemon, a child of this process.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use kith_control::Client;
use kith_control::view::{FriendView, JobKind, JobView, ListenerState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::command::strip_environment;
use super::ports::Ports;
use crate::cli::error::{CliError, CliResult};
use crate::home::Home;

/// Longest wait for a daemon to be ready, to end, or to be linked.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of log shown with an error.
const LOG_LINES: usize = 12;

/// One of the demo's computers. Its daemon ends when this is dropped.
pub(super) struct Computer {
    pub(super) name: &'static str,
    pub(super) home: Home,
    pub(super) ports: Ports,
    daemon: Mutex<Option<Daemon>>,
    /// Most bytes resident at once, over all its daemons so far.
    peak: Mutex<u64>,
}

impl Computer {
    /// Makes the home with its settings; nothing runs yet.
    pub(super) async fn new(name: &'static str, home: Home, ports: Ports) -> CliResult<Self> {
        let (root, text) = (home.root().to_path_buf(), settings(name, ports));
        let file = home.settings_file();
        super::story::aside(move || {
            std::fs::create_dir_all(root)?;
            crate::home::write_atomically(&file, text.as_bytes(), 0o600)
        })
        .await??;
        Ok(Self { name, home, ports, daemon: Mutex::default(), peak: Mutex::default() })
    }

    /// Starts the daemon and waits until it is ready.
    pub(super) async fn start(&self, program: &Path) -> CliResult {
        let (program, root) = (program.to_path_buf(), self.home.root().to_path_buf());
        let daemon = super::story::aside(move || Daemon::spawn(&program, &root)).await??;
        *lock(&self.daemon) = Some(daemon);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(client) = self.client().await
                && let Ok(status) = client.status().await
            {
                if status.listener.state == ListenerState::Listening {
                    return Ok(());
                }
                let reason = status.listener.error.unwrap_or_else(|| "it does not listen".to_owned());
                return Err(self.failed(&reason));
            }
            if let Some(ending) = lock(&self.daemon).as_mut().and_then(Daemon::ended) {
                return Err(self.failed(&format!("it ended ({ending})")));
            }
            if Instant::now() > deadline {
                return Err(self.failed("it did not get ready"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends the daemon as a service manager does, and waits for its end.
    pub(super) async fn stop(&self) -> CliResult {
        self.note_memory();
        let Some(mut daemon) = lock(&self.daemon).take() else { return Ok(()) };
        match super::story::aside(move || daemon.end()).await? {
            true => Ok(()),
            false => Err(self.failed("it did not end when it was asked to")),
        }
    }

    /// Leaves the daemon running after the demo.
    pub(super) fn release(&self) -> Option<u32> {
        let daemon = lock(&self.daemon).take()?;
        Some(daemon.release())
    }

    /// The daemon's control socket.
    pub(super) async fn client(&self) -> CliResult<Client> {
        Ok(Client::connect(&self.home.control_socket()).await?)
    }

    /// Waits until there is a link to its one friend.
    pub(super) async fn linked(&self) -> CliResult<FriendView> {
        let client = self.client().await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let friend = client.friends().await?.into_iter().next();
            match friend {
                Some(friend) if friend.connected => return Ok(friend),
                friend if Instant::now() > deadline => {
                    let why = friend.and_then(|friend| friend.last_error).unwrap_or_default();
                    return Err(self.failed(&format!("there is no link to its friend. {why}")));
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// The newest backup that is over.
    pub(super) async fn last_backup(&self) -> CliResult<JobView> {
        let jobs = self.client().await?.jobs().await?;
        let over = jobs.into_iter().filter(|job| job.kind == JobKind::Backup && job.state.is_over());
        over.max_by_key(|job| job.id).ok_or_else(|| self.failed("it knows of no backup"))
    }

    /// Most bytes resident at once so far, where the system tells.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        self.note_memory();
        Some(*lock(&self.peak)).filter(|peak| *peak > 0)
    }

    fn note_memory(&self) {
        let Some(pid) = lock(&self.daemon).as_ref().and_then(Daemon::pid) else { return };
        let mut peak = lock(&self.peak);
        *peak = (*peak).max(resident_peak(pid).unwrap_or(0));
    }

    /// A failure of this computer, with the end of its log: the log itself is removed with everything else.
    pub(super) fn failed(&self, what: &str) -> CliError {
        let log = crate::home::tail(&self.home, LOG_LINES).unwrap_or_default();
        let mut message = format!("the computer {}: {what}", self.name);
        if !log.is_empty() {
            message.push_str("\nthe end of its log:");
        }
        for line in log {
            message.push_str("\n  ");
            message.push_str(&crate::cli::output::safe(&line));
        }
        CliError { code: crate::cli::error::Code::Failed, message, hint: None }
    }
}

/// A lock that a panic elsewhere does not break: what it guards is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// All that differs from a computer of one's own: other ports, the loopback address only, nothing asked of routers and
/// nobody looked for. The rest is set too, because this computer's own `/etc/kith` would hold here as well.
fn settings(name: &str, ports: Ports) -> String {
    let Ports { listener, control, app } = ports;
    format!(
        "name = \"{name}\"\n\n[listener]\nport = {listener}\nbind = [\"127.0.0.1\"]\nadvertise = []\n\n\
         [control]\nport = {control}\napp-port = {app}\n\n[nat]\nupnp = false\nnat-pmp = false\npcp = false\n\n\
         [vault]\npath = \"vault\"\naccept = \"friends\"\nkeep-free = \"16MiB\"\n\n\
         [network]\noutbound-only = false\nproxy = \"\"\nallowed-destinations = []\noutgoing-ports = \"\"\n\
         hubs = []\nrelay = false\nlan-discovery = false\n"
    )
}

/// Most bytes that a process had resident at once.
fn resident_peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// A daemon, ended when it is dropped.
struct Daemon(Option<Child>);

impl Daemon {
    fn spawn(program: &Path, home: &Path) -> std::io::Result<Self> {
        let log: PathBuf = home.join("daemon.out");
        let log = File::create(log)?;
        let mut command = Command::new(program);
        strip_environment(|name| {
            command.env_remove(name);
        });
        // A process group of its own: Ctrl-C in the terminal is for the demo, which ends its daemons in order.
        let child = command
            .arg("--home")
            .arg(home)
            .arg("daemon")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        Ok(Self(Some(child)))
    }

    fn pid(&self) -> Option<u32> {
        self.0.as_ref().map(Child::id)
    }

    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.as_mut()?.try_wait().ok()?
    }

    fn release(mut self) -> u32 {
        self.0.take().map_or(0, |child| child.id())
    }

    /// Asks it to end and waits; false if it had to be killed. Blocks.
    fn end(&mut self) -> bool {
        let Some(mut child) = self.0.take() else { return true };
        let asked = i32::try_from(child.id()).is_ok_and(|pid| {
            matches!(child.try_wait(), Ok(None)) && kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok()
        });
        let deadline = Instant::now() + PATIENCE;
        while asked && Instant::now() < deadline {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(LOOK / 2),
                Ok(Some(_)) | Err(_) => return true,
            }
        }
        // Nothing more can be done about a process that can't even be killed.
        drop(child.kill().and_then(|()| child.wait()));
        !asked
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SettingsSources;

    #[test]
    fn the_settings_are_understood_and_keep_to_the_loopback_address() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path());
        let ports = Ports { listener: 20_001, control: 20_002, app: 20_003 };
        std::fs::write(home.settings_file(), settings("anna", ports)).unwrap();
        let sources = SettingsSources::files(&directory.path().join("none"), &home);
        let settings = sources.load().unwrap().into_settings();
        assert_eq!(settings.listener.port.get(), 20_001);
        assert_eq!(settings.control.app_port.get(), 20_003);
        assert_eq!(settings.listener.bind, ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_of_this_very_process_is_known() {
        assert!(resident_peak(std::process::id()).unwrap() > 100_000);
    }
}
