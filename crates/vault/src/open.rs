//! Opening a vault: whose it is, what format it has, and clearing up after a process that died.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tracing::{error, info, warn};

use crate::clock::{Clock, HoldClock};
use crate::disk::{Disk, replace};
use crate::error::VaultError;
use crate::hold::Hold;
use crate::layout::{FORMAT_FILE_NEW, FORMAT_VERSION, LOCK_FILE, Layout};
use crate::medium::Medium;
use crate::owner::OwnerState;
use crate::scan;

/// What the format file begins with.
const FORMAT_NAME: &str = "kith-vault";

/// Opens the vault at `path`, making one if there is nothing. Blocking.
pub(crate) fn open(
    path: PathBuf,
    floor: u64,
    medium: Arc<dyn Medium>,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<Disk>, Vec<Arc<OwnerState>>), VaultError> {
    let root = std::path::absolute(&path).map_err(failed("find", &path))?;
    let layout = Layout::new(root);
    let root = layout.root();
    if !root.is_dir() {
        make_root(root, medium.as_ref()).map_err(failed("make the vault's directory", root))?;
    }
    let format = layout.format_file();
    let is_new = !format.try_exists().map_err(failed("read", &format))?;
    if is_new && !is_unused(root).map_err(failed("read", root))? {
        return Err(VaultError::NotAVault { path: root.to_owned() });
    }
    let lock = lock(&layout)?;
    // Another process may have made it before the lock was ours.
    if !format.try_exists().map_err(failed("read", &format))? {
        fs::set_permissions(layout.root(), Permissions::from_mode(0o700))
            .map_err(failed("make a vault in", root))?;
        write_format(&layout, medium.as_ref())?;
    }
    let version = check_format(&layout)?;
    if version < FORMAT_VERSION {
        // Nothing else changes at once: what was deleted before gets its stamp when the janitor first sees it.
        write_format(&layout, medium.as_ref())?;
        info!(path = %root.display(), from = version, to = FORMAT_VERSION, "the vault has the new format now");
    }
    clear_temporary(&layout.temporary(), medium.as_ref()).map_err(failed("empty", &layout.temporary()))?;
    let scan::Found { owners, newest_hold, oldest } = scan::owners(&layout).map_err(failed("read", root))?;
    let mut hold = HoldClock::resume(saved_clock(&layout));
    hold.raise(Duration::from_millis(newest_hold));
    hold.observe(clock.monotonic(), clock.wall());
    let in_use = layout.in_use_file();
    let ended_cleanly = mark_in_use(&in_use, medium.as_ref()).map_err(failed("make", &in_use))?;
    let disk = Disk::new(layout, floor, lock, medium, clock, Hold::new(hold, oldest));
    if !ended_cleanly && let Err(error) = disk.medium.sync_everything(disk.layout.root()) {
        error!(path = %disk.layout.root().display(), %error, "the vault's disk can't be synced: it takes no changes");
        disk.fail("sync what an earlier run left", &error);
    }
    Ok((Arc::new(disk), owners))
}

/// What hold time was when it was last saved. If that is lost, the newest stamp is where it goes on.
fn saved_clock(layout: &Layout) -> Duration {
    let path = layout.clock_file();
    match fs::read_to_string(&path) {
        Ok(text) => HoldClock::parse(&text).unwrap_or_else(|| {
            warn!(path = %path.display(), "the hold clock's file is damaged: what is held is held longer");
            Duration::ZERO
        }),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                warn!(path = %path.display(), %error, "the hold clock's file can't be read: what is held is held longer");
            }
            Duration::ZERO
        }
    }
}

fn make_root(root: &Path, medium: &dyn Medium) -> io::Result<()> {
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent)?;
        medium.make_directory(root)?;
        medium.sync_directory(parent)?;
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

fn write_format(layout: &Layout, medium: &dyn Medium) -> Result<(), VaultError> {
    let path = layout.format_file();
    let text = format!("{FORMAT_NAME} {FORMAT_VERSION}\n");
    replace(medium, &path, &text).map_err(|error| failed("write", &path)(error.into()))
}

/// The version of the format, if it is known.
fn check_format(layout: &Layout) -> Result<u32, VaultError> {
    let path = layout.format_file();
    let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
    match parse_format(&text) {
        Some(found) if found > FORMAT_VERSION => {
            Err(VaultError::NewerFormat { path: layout.root().to_owned(), found, known: FORMAT_VERSION })
        }
        Some(found @ 1..) => Ok(found),
        _ => Err(VaultError::DamagedFormat { path }),
    }
}

/// The version that a format file names.
pub(crate) fn parse_format(text: &str) -> Option<u32> {
    let version = text.strip_prefix(FORMAT_NAME)?.strip_prefix(' ')?.trim_end();
    version.bytes().all(|c| c.is_ascii_digit()).then(|| version.parse().ok()).flatten()
}

fn clear_temporary(directory: &Path, medium: &dyn Medium) -> io::Result<()> {
    medium.make_directory(directory)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            medium.remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Leaves the mark that a clean end removes; false if the last end was none. It needs no sync: after a
/// power failure everything visible is durable anyway.
fn mark_in_use(path: &Path, medium: &dyn Medium) -> io::Result<bool> {
    match medium.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        result => result.map(|_| true),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VaultError {
    let path = path.to_owned();
    move |source| VaultError::Io { action, path, source }
}
