//! Opening a vault: whose it is, what format it has, and clearing up after a process that died.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tracing::error;

use crate::disk::{Disk, make_private_directory, sync_directory};
use crate::error::VaultError;
use crate::layout::{FORMAT_FILE_NEW, FORMAT_VERSION, LOCK_FILE, Layout};
use crate::owner::OwnerState;
use crate::scan;

/// What the format file begins with.
const FORMAT_NAME: &str = "kith-vault";

/// Opens the vault at `path`, making one if there is nothing. Blocking.
pub(crate) fn open(path: PathBuf, floor: u64) -> Result<(Arc<Disk>, Vec<Arc<OwnerState>>), VaultError> {
    let root = std::path::absolute(&path).map_err(failed("find", &path))?;
    let layout = Layout::new(root);
    let root = layout.root();
    if !root.is_dir() {
        make_root(root).map_err(failed("make the vault's directory", root))?;
    }
    let format = layout.format_file();
    let is_new = !format.try_exists().map_err(failed("read", &format))?;
    if is_new && !is_unused(root).map_err(failed("read", root))? {
        return Err(VaultError::NotAVault { path: root.to_owned() });
    }
    let lock = lock(&layout)?;
    // Another process may have made it before the lock was ours.
    if !format.try_exists().map_err(failed("read", &format))? {
        initialise(&layout).map_err(failed("make a vault in", root))?;
    }
    check_format(&layout)?;
    clear_temporary(&layout.temporary()).map_err(failed("empty", &layout.temporary()))?;
    let owners = scan::owners(&layout).map_err(failed("read", root))?;
    let in_use = layout.in_use_file();
    let ended_cleanly = mark_in_use(&in_use).map_err(failed("make", &in_use))?;
    let disk = Disk::new(layout, floor, lock);
    if !ended_cleanly && let Err(error) = sync_all(disk.layout.root()) {
        error!(path = %disk.layout.root().display(), %error, "the vault's disk can't be synced: it takes no changes");
        disk.set_failed();
    }
    Ok((Arc::new(disk), owners))
}

fn make_root(root: &Path) -> io::Result<()> {
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent)?;
        make_private_directory(root)?;
        sync_directory(parent)?;
    }
    Ok(())
}

/// Nothing is there but what an earlier, interrupted start left behind. A folder with other things in it is somebody's.
fn is_unused(root: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        if ![LOCK_FILE, FORMAT_FILE_NEW, "lost+found"].iter().any(|known| name == *known) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(layout: &Layout) -> Result<Flock<File>, VaultError> {
    let path = layout.lock_file();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(failed("open", &path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => VaultError::InUse { path: layout.root().to_owned() },
        errno => VaultError::Io { action: "lock", path, source: errno.into() },
    })
}

fn initialise(layout: &Layout) -> io::Result<()> {
    fs::set_permissions(layout.root(), Permissions::from_mode(0o700))?;
    let new = layout.format_file_new();
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    writeln!(file, "{FORMAT_NAME} {FORMAT_VERSION}")?;
    file.sync_all()?;
    fs::rename(&new, layout.format_file())?;
    sync_directory(layout.root())
}

fn check_format(layout: &Layout) -> Result<(), VaultError> {
    let path = layout.format_file();
    let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
    let version = text.strip_prefix(FORMAT_NAME).and_then(|rest| rest.trim().parse::<u32>().ok());
    match version {
        Some(found) if found > FORMAT_VERSION => {
            Err(VaultError::NewerFormat { path: layout.root().to_owned(), found, known: FORMAT_VERSION })
        }
        Some(1..) => Ok(()),
        _ => Err(VaultError::DamagedFormat { path }),
    }
}

fn clear_temporary(directory: &Path) -> io::Result<()> {
    make_private_directory(directory)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Leaves the mark that a clean end removes; false if the last end was none. It needs no sync: after a
/// power failure everything visible is durable anyway.
fn mark_in_use(path: &Path) -> io::Result<bool> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        result => result.map(|_| true),
    }
}

/// Makes durable what an earlier process had renamed and not yet synced when it died.
#[cfg(target_os = "linux")]
fn sync_all(root: &Path) -> io::Result<()> {
    nix::unistd::syncfs(File::open(root)?)?;
    Ok(())
}

/// Makes durable what an earlier process had renamed and not yet synced when it died.
#[cfg(not(target_os = "linux"))]
fn sync_all(root: &Path) -> io::Result<()> {
    nix::unistd::sync();
    sync_directory(root)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VaultError {
    let path = path.to_owned();
    move |source| VaultError::Io { action, path, source }
}
