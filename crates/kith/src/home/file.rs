//! Small files that are never seen half-written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes names of temporary files unique inside this process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Replaces a small file as a whole: temporary file beside it, mode set before the first byte, fsync, rename, fsync of the
/// directory. When it returns, the new content survives a power cut; when it fails, the old content stands.
///
/// The superuser leaves the file to the owner of the directory, so that `sudo kith ...` never locks the daemon out.
///
/// # Errors
/// What the system said; the temporary file is removed.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::NotADirectory)?;
    let temporary = temporary_beside(path);
    let written = write_new(&temporary, content, mode).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first error is the one to report; a leftover is harmless and overwritten by nobody.
        drop(std::fs::remove_file(&temporary));
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken bits away that an existing file had.
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    give_to_owner_of_parent(&file, path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{number}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// For the superuser: hands a new file or directory to the owner of the directory it lies in. For others: nothing.
///
/// It works on what was opened, and takes only what belongs to the superuser and has one name: the owner of the directory
/// could otherwise put a link there and be given somebody else's file.
pub(crate) fn give_to_owner_of_parent(new: &File, path: &Path) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let Some(parent) = path.parent() else { return Ok(()) };
    let (owner, data) = (std::fs::metadata(parent)?, new.metadata()?);
    if owner.uid() != 0 && data.uid() == 0 && (data.is_dir() || data.nlink() == 1) {
        std::os::unix::fs::fchown(new, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Opens a directory; never through a symbolic link.
pub(super) fn open_directory(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits()).open(path)
}

/// Opens or makes a private file of the home for writing; never through a symbolic link.
pub(crate) fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let no_follow = nix::fcntl::OFlag::O_NOFOLLOW.bits();
    let file = options.create(true).mode(0o600).custom_flags(no_follow).open(path)?;
    give_to_owner_of_parent(&file, path)?;
    Ok(file)
}
