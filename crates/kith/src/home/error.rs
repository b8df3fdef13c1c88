//! What can be wrong with a home, in sentences that say what to do.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a home, or a file in it, can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HomeError {
    /// Nothing says where this user's files are.
    #[error(
        "no home for Kith: neither --home, KITH_HOME, XDG_DATA_HOME nor HOME is set; name a directory with --home"
    )]
    NoUserHome,
    /// The directory does not exist.
    #[error("there is no Kith home at {}; start `kith daemon` once to make it, or name another with --home", path.display())]
    Missing {
        /// The home.
        path: PathBuf,
    },
    /// The directory belongs to somebody else.
    #[error("the Kith home {} may not be read by user {user}{}; run this as its owner, or name another with --home",
        path.display(), owner_note(*owner))]
    Denied {
        /// The home.
        path: PathBuf,
        /// User id of its owner, when that can be seen.
        owner: Option<u32>,
        /// User id of this process.
        user: u32,
    },
    /// A directory operation failed.
    #[error("can't {action} the directory {}: {}", path.display(), reason(source))]
    Directory {
        /// "make", "read" or "find".
        action: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file operation failed.
    #[error("can't {action} {}: {}", path.display(), reason(source))]
    File {
        /// "read", "write" or "remove".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The control socket's path would not fit into a socket address.
    #[error("the path {} has more than the {limit} bytes that a Unix socket may have; choose a shorter --home", path.display())]
    SocketPathTooLong {
        /// The socket.
        path: PathBuf,
        /// Bytes allowed.
        limit: usize,
    },
    /// Another daemon runs in this home.
    #[error("another Kith daemon{} already runs in {}; stop it first, or choose another --home",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), home.display())]
    AlreadyRunning {
        /// The home.
        home: PathBuf,
        /// The other daemon's process, if it wrote one.
        pid: Option<i32>,
    },
    /// A secret file is open to others.
    #[error("{} is open to other users (mode {mode:03o}): a secret must be readable by its owner alone; run: chmod {wanted:o} {}",
        path.display(), path.display())]
    OpenToOthers {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The bits it should have.
        wanted: u32,
    },
    /// A secret file belongs to a user who should have no part in it.
    #[error("{} belongs to user {owner}, not to user {user}: it is not used; run: chown {user} {}", path.display(), path.display())]
    ForeignOwner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who should own it.
        user: u32,
    },
    /// A file of the home does not say what it should.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

fn owner_note(owner: Option<u32>) -> String {
    owner.map(|owner| format!(" (it belongs to user {owner})")).unwrap_or_default()
}

/// What the system said, in words a person can use.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => {
            format!("user {} has no permission", nix::unistd::geteuid())
        }
        io::ErrorKind::ReadOnlyFilesystem => "the file system is mounted read-only".to_owned(),
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        io::ErrorKind::QuotaExceeded => "the disk quota of this user is used up".to_owned(),
        io::ErrorKind::NotADirectory => "a part of the path is a file, not a directory".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory, not a file".to_owned(),
        io::ErrorKind::InvalidData => "it is not valid UTF-8 text".to_owned(),
        // The kind of this one is not stable yet.
        _ if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => {
            "it is a symbolic link".to_owned()
        }
        _ => error.to_string(),
    }
}
