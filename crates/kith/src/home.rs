//! Where a computer keeps everything: one directory, its *home*.
//!
//! `--home` or `KITH_HOME` moves all of it, so that several computers can be played on one machine. Inside:
//!
//! ```text
//! kith.toml          what the person decided            logs/kith.log      the last few megabytes of log
//! state.db           what the daemon learned            run/control.sock   the command line's socket
//! secrets/           0700, its files 0600               run/ports.json     the local ports really in use
//! vault/             what friends store here            run/token          the API's token
//! daemon.lock        held by the one running daemon
//! ```
//!
//! This module makes paths, directories and small files. It does not open the database, nor the vault.

pub(crate) mod error;
mod file;
mod lock;
mod logs;
mod run;
mod secrets;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

pub use self::error::HomeError;
pub(crate) use self::file::open_private;
pub use self::file::write_atomically;
pub use self::lock::DaemonLock;
pub use self::logs::{LOG_FILE_BYTES, LOG_FILES, LogFile, tail};
pub use self::run::Ports;
pub use self::secrets::{Secret, Secrets};

/// Home of the system's daemon.
pub const SYSTEM_HOME: &str = "/var/lib/kith";

/// Home of the system's hub.
pub const SYSTEM_HUB_HOME: &str = "/var/lib/kith-hub";

/// Longest path that fits into a Unix socket address on Linux and macOS, with room for the final NUL.
const SOCKET_PATH_MAX: usize = 103;

/// The parts of the process environment that decide where the home is.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `KITH_HOME`.
    pub kith_home: Option<OsString>,
    /// `STATE_DIRECTORY`, set by systemd for a unit with `StateDirectory=`.
    pub state_directory: Option<OsString>,
    /// `XDG_DATA_HOME`.
    pub xdg_data_home: Option<OsString>,
    /// `HOME`.
    pub user_home: Option<OsString>,
    /// True for the superuser.
    pub superuser: bool,
}

impl Environment {
    /// Reads the environment of this process.
    pub fn of_process() -> Self {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            kith_home: var("KITH_HOME"),
            state_directory: var("STATE_DIRECTORY"),
            xdg_data_home: var("XDG_DATA_HOME"),
            user_home: var("HOME"),
            superuser: nix::unistd::geteuid().is_root(),
        }
    }
}

/// What was found where a home's control socket should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketState {
    /// A daemon accepts connections.
    Live,
    /// A daemon is there, but this user may not talk to it.
    Denied,
    /// No daemon.
    Absent,
}

/// One computer's home directory. Making one touches nothing on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
    system: bool,
}

impl Home {
    /// The home that a command uses: `--home`, else `KITH_HOME`, else the system unit's state directory, else
    /// `/var/lib/kith` for the superuser and `$XDG_DATA_HOME/kith` or `~/.local/share/kith` for everybody else.
    ///
    /// # Errors
    /// [`HomeError::NoUserHome`] when nothing names a place, [`HomeError::Directory`] when a relative path was given
    /// and the current directory is gone.
    pub fn resolve(flag: Option<PathBuf>, environment: &Environment) -> Result<Self, HomeError> {
        match Self::chosen(flag, environment)? {
            Some(home) => Ok(home),
            None if environment.superuser => Ok(Self::at(SYSTEM_HOME)),
            None => Self::of_user(environment),
        }
    }

    /// The home of a hub: as [`Home::resolve`], with `kith-hub` in the place of `kith`, so that a hub and a daemon on one computer have
    /// nothing to do with each other.
    ///
    /// # Errors
    /// As [`Home::resolve`].
    pub fn resolve_hub(flag: Option<PathBuf>, environment: &Environment) -> Result<Self, HomeError> {
        let unit = environment.state_directory.as_ref().and_then(|list| {
            std::env::split_paths(list).next().filter(|path| path.is_absolute() && path.ends_with("kith-hub"))
        });
        match Self::chosen(flag, &Environment { state_directory: None, ..environment.clone() })? {
            Some(home) => Ok(home),
            None => match unit {
                Some(root) => Ok(Self::at(root)),
                None if environment.superuser => Ok(Self::at(SYSTEM_HUB_HOME)),
                None => Self::of_user(environment).map(|home| Self::at(home.root.with_file_name("kith-hub"))),
            },
        }
    }

    /// The homes in which the command line looks for a daemon, in order: the one that was named, else the user's own,
    /// then the system's.
    ///
    /// # Errors
    /// As [`Home::resolve`].
    pub fn candidates(flag: Option<PathBuf>, environment: &Environment) -> Result<Vec<Self>, HomeError> {
        if let Some(home) = Self::chosen(flag, environment)? {
            return Ok(vec![home]);
        }
        let system = Self::at(SYSTEM_HOME);
        Ok(match Self::of_user(environment) {
            Ok(own) if environment.superuser => vec![system, own],
            Ok(own) => vec![own, system],
            Err(_) => vec![system],
        })
    }

    /// A home at a known absolute path.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let system = root == Path::new(SYSTEM_HOME);
        Self { root, system }
    }

    fn chosen(flag: Option<PathBuf>, environment: &Environment) -> Result<Option<Self>, HomeError> {
        if let Some(path) = flag.or_else(|| environment.kith_home.clone().map(PathBuf::from)) {
            let root = std::path::absolute(&path).map_err(|source| HomeError::Directory {
                action: "find",
                path: path.clone(),
                source,
            })?;
            return Ok(Some(Self::at(root)));
        }
        // A shell started from another unit inherits that unit's STATE_DIRECTORY; ours always ends in "kith".
        let unit = environment.state_directory.as_ref().and_then(|list| {
            std::env::split_paths(list).next().filter(|path| path.is_absolute() && path.ends_with("kith"))
        });
        Ok(unit.map(|root| Self { root, system: true }))
    }

    fn of_user(environment: &Environment) -> Result<Self, HomeError> {
        // The XDG specification says to ignore relative values.
        let data = environment.xdg_data_home.clone().map(PathBuf::from).filter(|path| path.is_absolute());
        let data =
            data.or_else(|| environment.user_home.as_ref().map(|home| Path::new(home).join(".local/share")));
        data.map(|data| Self { root: data.join("kith"), system: false }).ok_or(HomeError::NoUserHome)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True for the home of the system's daemon, whose socket the group `kith` may reach.
    pub fn is_system(&self) -> bool {
        self.system
    }

    /// The settings file.
    pub fn settings_file(&self) -> PathBuf {
        self.root.join("kith.toml")
    }

    /// The daemon's database.
    pub fn state_db(&self) -> PathBuf {
        self.root.join("state.db")
    }

    /// A path of the settings made absolute: relative ones are relative to the home.
    pub fn path_of(&self, configured: &Path) -> PathBuf {
        self.root.join(configured)
    }

    /// The directory of what exists only while a daemon runs.
    pub fn run_dir(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The command line's socket.
    pub fn control_socket(&self) -> PathBuf {
        self.run_dir().join("control.sock")
    }

    /// The directory of the log files.
    pub fn logs_dir(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The current log file.
    pub fn log_file(&self) -> PathBuf {
        self.logs_dir().join("kith.log")
    }

    /// The secret files.
    pub fn secrets(&self) -> Secrets {
        Secrets::at(self.root.join("secrets"))
    }

    /// True when there is a directory.
    pub fn exists(&self) -> bool {
        self.root.is_dir()
    }

    /// Makes the home and its directories, and proves that this process can read and write them. Existing directories
    /// keep their modes, but for `secrets`, which must be private.
    ///
    /// # Errors
    /// A sentence that names the path and who may use it.
    pub fn prepare(&self) -> Result<(), HomeError> {
        let socket = self.control_socket();
        if socket.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(HomeError::SocketPathTooLong { path: socket, limit: SOCKET_PATH_MAX });
        }
        // The group must pass through the system's home to reach the socket; everything else in it is private.
        let (root_mode, run_mode) = if self.system { (0o710, 0o750) } else { (0o700, 0o700) };
        make_dir(&self.root, root_mode)?;
        std::fs::read_dir(&self.root).map_err(|source| self.unusable(source))?;
        make_dir(&self.run_dir(), run_mode)?;
        make_dir(&self.logs_dir(), 0o700)?;
        self.secrets().prepare()?;
        Ok(())
    }

    /// Checks that an existing home can be read by this process.
    ///
    /// # Errors
    /// [`HomeError::Missing`] when there is none, [`HomeError::Denied`] when it belongs to somebody else.
    pub fn check_readable(&self) -> Result<(), HomeError> {
        match std::fs::read_dir(&self.root) {
            Ok(_) => Ok(()),
            Err(source) => Err(self.unusable(source)),
        }
    }

    /// Looks whether a daemon answers on the control socket. Takes no time: nothing is sent.
    pub fn socket_state(&self) -> SocketState {
        match UnixStream::connect(self.control_socket()) {
            Ok(_) => SocketState::Live,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => SocketState::Denied,
            Err(_) => SocketState::Absent,
        }
    }

    fn unusable(&self, source: io::Error) -> HomeError {
        match source.kind() {
            io::ErrorKind::NotFound => HomeError::Missing { path: self.root.clone() },
            io::ErrorKind::PermissionDenied => HomeError::Denied {
                path: self.root.clone(),
                owner: std::fs::metadata(&self.root).map(|data| data.uid()).ok(),
                user: nix::unistd::geteuid().as_raw(),
            },
            _ => HomeError::Directory { action: "read", path: self.root.clone(), source },
        }
    }
}

/// Makes a directory with its parents; one that exists stays as it is.
fn make_dir(path: &Path, mode: u32) -> Result<(), HomeError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        std::fs::create_dir_all(parent).map_err(|source| dir_error(parent, source))?;
    }
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => file::open_directory(path)
            .and_then(|new| file::give_to_owner_of_parent(&new, path))
            .map_err(|source| dir_error(path, source)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(source) => Err(dir_error(path, source)),
    }
}

fn dir_error(path: &Path, source: io::Error) -> HomeError {
    HomeError::Directory { action: "make", path: path.to_path_buf(), source }
}
