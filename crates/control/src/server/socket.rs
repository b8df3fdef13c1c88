//! The Unix socket: made so that nobody can slip in, and asked who calls.
//!
//! Admitted are the user the daemon runs as, root, and members of one group (`kith`). Being admitted means being able to read
//! every backed-up file, whoever owns it: the manual says so.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, chown};
use tokio::net::{UnixListener, UnixStream};

use super::ControlError;

/// Longest path that fits into a socket address everywhere (104 bytes on some systems, with the final zero).
const MAX_ADDRESS_BYTES: usize = 103;

/// Binds the socket, replacing one that a dead daemon left behind. The file appears under its name only when its
/// permissions are final.
pub(super) async fn bind(path: &Path, group: Option<&str>) -> Result<(UnixListener, Place), ControlError> {
    let failed = |source| ControlError::Socket { path: path.to_owned(), source };
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "another file is in its place")));
        }
        let (short, _directory) = reachable_path(path).map_err(failed)?;
        match UnixStream::connect(&short).await {
            Ok(_) => return Err(ControlError::SocketInUse { path: path.to_owned() }),
            // Nobody listens: a dead daemon left it behind.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let listener =
        make(path, &draft, group).inspect_err(|_| drop(fs::remove_file(&draft))).map_err(failed)?;
    let place = Place::of(path).map_err(failed)?;
    Ok((listener, place))
}

/// The socket's file, recognised again: another daemon's socket at the same place is not ours to remove.
pub(super) struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    pub(super) fn remove(&self) {
        match Self::of(&self.path) {
            Ok(found) if (found.device, found.inode) == (self.device, self.inode) => {}
            _ => return,
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, socket = %self.path.display(), "the socket could not be removed");
        }
    }
}

fn make(path: &Path, draft: &Path, group: Option<&str>) -> io::Result<UnixListener> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (short, _directory) = reachable_path(draft)?;
    let listener = UnixListener::bind(&short)?;
    let shared = group
        .and_then(|name| Group::from_name(name).ok().flatten())
        .is_some_and(|group| chown(draft, None, Some(group.gid)).is_ok());
    // Without the group nobody but the owner needs to get as far as the credentials check.
    fs::set_permissions(draft, fs::Permissions::from_mode(if shared { 0o660 } else { 0o600 }))?;
    fs::rename(draft, path)?;
    Ok(listener)
}

/// A path that fits into a socket address, and what must stay open meanwhile. Homes can lie deep.
pub(crate) fn reachable_path(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if path.as_os_str().len() <= MAX_ADDRESS_BYTES || !cfg!(target_os = "linux") {
        return Ok((path.to_owned(), None));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let directory = OwnedFd::from(fs::File::open(directory)?);
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    Ok((short, Some(directory)))
}

/// Who may use the socket.
pub(super) struct Admission {
    own: Uid,
    group: Option<String>,
}

impl Admission {
    pub(super) fn new(group: Option<String>) -> Self {
        Self { own: Uid::effective(), group }
    }

    /// Asks the kernel who is at the other end.
    pub(super) async fn admits(&self, stream: &UnixStream) -> bool {
        let Ok(caller) = stream.peer_cred() else { return false };
        let (uid, gid) = (Uid::from_raw(caller.uid()), Gid::from_raw(caller.gid()));
        if uid == self.own || uid.is_root() {
            return true;
        }
        let Some(group) = self.group.clone() else { return false };
        // The user database may be a slow network service.
        let member = tokio::task::spawn_blocking(move || is_member(uid, gid, &group)).await.unwrap_or(false);
        if !member {
            tracing::warn!(user = %uid, "a user without permission was refused on the socket");
        }
        member
    }

    /// What those are told who may not.
    pub(super) fn refusal(&self) -> String {
        let owners = owners(self.own);
        match &self.group {
            Some(group) => format!("only {owners} and members of the group {group} may control this daemon"),
            None => format!("only {owners} may control this daemon"),
        }
    }
}

/// A user and root, or root alone.
pub(crate) fn owners(user: Uid) -> String {
    if user.is_root() { "root".to_owned() } else { format!("{}, root", user_name(user)) }
}

fn is_member(uid: Uid, gid: Gid, group: &str) -> bool {
    let Ok(Some(group)) = Group::from_name(group) else { return false };
    if gid == group.gid {
        return true;
    }
    let Ok(Some(user)) = User::from_uid(uid) else { return false };
    user.gid == group.gid || group.mem.contains(&user.name)
}

pub(crate) fn user_name(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => format!("user {uid}"),
    }
}
