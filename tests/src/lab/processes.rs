//! Programs that run as long as a lab, and not longer.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::need::program;

use super::Shared;

/// Calls that wait for the thread that starts programs.
const MOST_WAITING: usize = 16;

type Answer = SyncSender<io::Result<Child>>;

/// The thread that starts the programs. The kernel counts the *thread* that started a program as its parent when it sends
/// the death signal, and threads of tests end while their programs still run.
static STARTER: LazyLock<SyncSender<(Command, Answer)>> = LazyLock::new(|| {
    let (sender, receiver) = sync_channel::<(Command, Answer)>(MOST_WAITING);
    std::thread::Builder::new()
        .name("starter".into())
        .spawn(move || {
            for (mut command, answer) in receiver {
                // Whoever asked may be gone.
                drop(answer.send(command.spawn()));
            }
        })
        .expect("a test can start a thread");
    sender
});

/// Starts a program that [`tied_to_us`] made die with this process.
///
/// # Errors
/// As [`Command::spawn`].
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let (answer, child) = sync_channel(1);
    STARTER.send((command, answer)).expect("the starter lives as long as the process");
    child.recv().expect("the starter answers every call")
}

/// The same call, by a process that is killed when this one ends, however it ends.
pub(crate) fn tied_to_us(command: &Command) -> Command {
    let mut tied = Command::new(program("setpriv"));
    tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    tied
}

/// The programs of a lab.
#[derive(Debug, Default)]
pub(super) struct Processes {
    children: Mutex<BTreeMap<u32, Child>>,
}

impl Processes {
    /// Keeps a program, under its process id.
    pub(super) fn keep(&self, child: Child) -> u32 {
        let id = child.id();
        self.children().insert(id, child);
        id
    }

    /// How it ended; none while it runs.
    pub(super) fn ended(&self, id: u32) -> Option<String> {
        match self.children().get_mut(&id) {
            Some(child) => child.try_wait().unwrap().map(|status| status.to_string()),
            None => Some("killed".to_owned()),
        }
    }

    /// Kills it; it is gone when this returns.
    pub(super) fn end(&self, id: u32) {
        let child = self.children().remove(&id);
        child.into_iter().for_each(end);
    }

    pub(super) fn end_all(&self) {
        let children = std::mem::take(&mut *self.children());
        children.into_values().for_each(end);
    }

    fn children(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(mut child: Child) {
    // It may have ended already.
    drop(child.kill());
    drop(child.wait());
}

/// A program that runs in a namespace of a lab until it is dropped, or the lab is.
#[derive(Debug)]
pub struct Process {
    shared: Arc<Shared>,
    id: u32,
}

impl Process {
    pub(super) fn start(shared: &Arc<Shared>, mut command: Command, log: &Path) -> Self {
        let id = start(shared, &mut command, log);
        Self { shared: Arc::clone(shared), id }
    }

    /// Its process id.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Whether it still runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.shared.processes.ended(self.id).is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shared.processes.end(self.id);
    }
}

/// Starts a program of a lab that writes what it says to the end of `log`.
pub(super) fn start(shared: &Shared, command: &mut Command, log: &Path) -> u32 {
    let mut command = match shared.directory {
        super::Directory::Temporary(_) => tied_to_us(command),
        super::Directory::Standing(_) => {
            let mut free = Command::new(program("setsid"));
            free.arg(command.get_program()).args(command.get_args());
            free
        }
    };
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    command.stdin(std::process::Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let child = spawn(command).unwrap();
    shared.processes.keep(child)
}
