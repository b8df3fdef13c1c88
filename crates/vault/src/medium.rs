//! The operations by which the vault changes a disk, all of them: whoever stands between sees every change and every
//! sync, in order.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use nix::errno::Errno;

/// What the vault asks of a disk when it changes something; reading goes past it. All calls block.
///
/// [`LocalDisk`] does what the words say. Another implementation can keep a protocol of the calls, or fail as disks do.
pub trait Medium: fmt::Debug + Send + Sync {
    /// Makes a file that must be new, mode 0600, to be written.
    ///
    /// # Errors
    /// What the system says; `AlreadyExists` if there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>>;

    /// Opens a file to write at its end; makes it, mode 0600, if it is missing.
    ///
    /// # Errors
    /// What the system says.
    fn append(&self, path: &Path) -> io::Result<Box<dyn MediumFile>>;

    /// Renames; a `to` that exists is an error and stays as it is.
    ///
    /// # Errors
    /// What the system says; `AlreadyExists` if `to` exists.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames in the place of `to`, if that exists.
    ///
    /// # Errors
    /// What the system says.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory, mode 0700; one that exists is fine.
    ///
    /// # Errors
    /// What the system says.
    fn make_directory(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the system says.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the system says; then it is not known what is durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes everything on the file system of `root` durable.
    ///
    /// # Errors
    /// What the system says; then it is not known what is durable.
    fn sync_everything(&self, root: &Path) -> io::Result<()>;
}

/// A file that is being written.
pub trait MediumFile: Send + Sync {
    /// Writes all bytes at the end.
    ///
    /// # Errors
    /// What the system says; some of the bytes may be written.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Sets the time of its last change.
    ///
    /// # Errors
    /// What the system says.
    fn set_modified(&self, time: SystemTime) -> io::Result<()>;

    /// Makes contents and times durable.
    ///
    /// # Errors
    /// What the system says; then it is not known what is durable.
    fn sync(&self) -> io::Result<()>;
}

/// A disk of this computer.
#[derive(Debug, Default)]
pub struct LocalDisk {
    /// For file systems that can't rename without replacing.
    renaming: Mutex<()>,
}

impl Medium for LocalDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create(true).mode(0o600).open(path)?))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rename_no_replace(from, to) {
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                // Nobody else uses the vault, so that looking first is enough if only one looks at a time.
                let _renaming = self.renaming.lock().unwrap_or_else(PoisonError::into_inner);
                match fs::symlink_metadata(to) {
                    Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
                    Err(error) => Err(error),
                }
            }
            result => result.map_err(io::Error::from),
        }
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            result => result,
        }
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        match File::open(path)?.sync_all() {
            // Such a file system syncs names by itself or never: asking again changes nothing.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(()),
            result => result,
        }
    }

    #[cfg(target_os = "linux")]
    fn sync_everything(&self, root: &Path) -> io::Result<()> {
        nix::unistd::syncfs(File::open(root)?)?;
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn sync_everything(&self, root: &Path) -> io::Result<()> {
        nix::unistd::sync();
        self.sync_directory(root)
    }
}

impl MediumFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        Self::set_modified(self, time)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn rename_no_replace(from: &Path, to: &Path) -> nix::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn rename_no_replace(_from: &Path, _to: &Path) -> nix::Result<()> {
    Err(Errno::ENOSYS)
}
