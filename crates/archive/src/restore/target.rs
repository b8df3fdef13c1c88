//! The directory that is restored into. Everything in it is reached from its own descriptor, one component at a time
//! and without following symbolic links, so nothing outside can be touched.

use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::RestoreError;
use crate::store::SystemError;

const MAKE: &str = "it can't be made";
const OPEN: &str = "it can't be opened";
/// So many directories are kept open.
const MOST_OPEN: usize = 64;
/// So many file systems are synced one by one.
const MOST_SYSTEMS: usize = 64;

/// A directory is only passed through: on Linux that needs no right to list it.
#[cfg(target_os = "linux")]
const PASS: OFlag = OFlag::O_PATH;
#[cfg(not(target_os = "linux"))]
const PASS: OFlag = OFlag::O_RDONLY;

/// A directory in the target.
pub(super) struct Directory {
    parent: Option<Arc<Self>>,
    name: OsString,
    number: u64,
    /// Whether this restore made it, so that there is nothing in it yet.
    pub(super) fresh: bool,
    /// The directories in it that this restore has entered, by their inodes.
    entered: Mutex<HashSet<(Device, u64)>>,
}

impl Directory {
    /// Its path in the snapshot.
    pub(super) fn path(&self) -> PathBuf {
        let mut names = Vec::new();
        let mut at = self;
        while let Some(parent) = &at.parent {
            names.push(&at.name);
            at = parent;
        }
        let mut path = PathBuf::from("/");
        path.extend(names.into_iter().rev());
        path
    }

    /// A number that no other directory has; those of inner directories are larger.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The path of an entry.
    pub(super) fn join(&self, name: &OsStr) -> PathBuf {
        self.path().join(name)
    }

    /// The directory that it lies in, and its name there; nothing for the target itself.
    pub(super) fn place(&self) -> Option<(&Arc<Self>, &OsStr)> {
        self.parent.as_ref().map(|parent| (parent, self.name.as_os_str()))
    }
}

/// Whether a new entry may take the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placing {
    /// Nothing was there; what came meanwhile is kept.
    New,
    /// What is there is replaced.
    Replace,
}

pub(super) struct Target {
    path: PathBuf,
    descriptor: Arc<OwnedFd>,
    /// Open directories by number, the latest used first.
    open: Mutex<VecDeque<(u64, Arc<OwnedFd>)>>,
    /// Beginning of the names of unfinished files.
    prefix: String,
    names: AtomicU64,
    directories: AtomicU64,
    written: Mutex<Written>,
}

/// The file systems that are written to: others may be mounted below the target.
#[derive(Default)]
struct Written {
    /// Devices, each with an open directory for syncing it. Held from the beginning on, because the system tells a
    /// descriptor only of what failed after it was opened, and because permissions may be taken away later.
    systems: Vec<(Device, OwnedFd)>,
    /// There are more, or one that can be written to but not listed: the whole computer is synced.
    others: bool,
}

impl Target {
    /// Makes the directory if need be, and opens it.
    pub(super) fn open(path: &Path) -> Result<Self, RestoreError> {
        let failed = |what: &str, error: std::io::Error| {
            let target = path.to_owned();
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EROFS) => RestoreError::ReadOnly { target },
                Some(Errno::EACCES | Errno::EPERM) => RestoreError::Denied { target },
                Some(Errno::ENOSPC | Errno::EDQUOT) => RestoreError::Full { target },
                // Parents were made where they can be.
                Some(Errno::ENOENT) => {
                    let reason = format!("{what}, the system permits no new folders in that place");
                    RestoreError::Target { target, reason }
                }
                Some(Errno::EEXIST | Errno::ENOTDIR) => {
                    let reason = format!("{what}, something that is no folder is in the way");
                    RestoreError::Target { target, reason }
                }
                _ => {
                    let reason = format!("{what}: {}", SystemError::from(error));
                    RestoreError::Target { target, reason }
                }
            }
        };
        DirBuilder::new().recursive(true).create(path).map_err(|error| failed(MAKE, error))?;
        let descriptor = nix::fcntl::open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | PASS, Mode::empty())
            .map_err(|errno| failed(OPEN, errno.into()))?;
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|_| failed(OPEN, std::io::Error::other("the system gives no random numbers")))?;
        let mut written = Written::default();
        let device = fstat(&descriptor).map_err(|errno| failed(OPEN, errno.into()))?.st_dev;
        written.note(device, &descriptor).map_err(|errno| failed(OPEN, errno.into()))?;
        Ok(Self {
            path: path.to_owned(),
            descriptor: Arc::new(descriptor),
            open: Mutex::default(),
            prefix: format!(".kith-restore-{:016x}-", u64::from_le_bytes(random)),
            names: AtomicU64::new(0),
            directories: AtomicU64::new(1),
            written: Mutex::new(written),
        })
    }

    /// As it was given.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Brings everything that was written to the disk. Blocks, possibly for long.
    ///
    /// One call for a whole file system costs far less than one per file, and it comes after the names.
    pub(super) fn sync(&self) -> Result<(), RestoreError> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.sync().map_err(|errno| {
            let target = self.path.clone();
            match errno {
                Errno::ENOSPC | Errno::EDQUOT => RestoreError::Full { target },
                _ => {
                    let error = SystemError::from(std::io::Error::from(errno));
                    let reason = format!("not everything that was restored reached its disk: {error}");
                    RestoreError::Target { target, reason }
                }
            }
        })
    }

    /// The target as a directory.
    pub(super) fn top(&self) -> Arc<Directory> {
        let entered = Mutex::default();
        Arc::new(Directory { parent: None, name: OsString::new(), number: 0, fresh: false, entered })
    }

    /// A name that nothing else has, for something unfinished.
    pub(super) fn temporary_name(&self) -> OsString {
        format!("{}{}", self.prefix, self.names.fetch_add(1, Ordering::Relaxed)).into()
    }

    /// An open descriptor of a directory, for operations on what is in it.
    pub(super) fn descriptor(&self, directory: &Directory) -> nix::Result<Arc<OwnedFd>> {
        let mut way = Vec::new();
        let mut at = directory;
        let mut descriptor = loop {
            let Some(parent) = &at.parent else { break Arc::clone(&self.descriptor) };
            if let Some(open) = self.cached(at.number) {
                break open;
            }
            way.push(at);
            at = parent;
        };
        for directory in way.into_iter().rev() {
            descriptor = Arc::new(pass(&*descriptor, &directory.name)?);
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.push_front((directory.number, Arc::clone(&descriptor)));
            open.truncate(MOST_OPEN);
        }
        Ok(descriptor)
    }

    fn cached(&self, number: u64) -> Option<Arc<OwnedFd>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().position(|(other, _)| *other == number)?;
        let found = open.remove(at)?;
        let descriptor = Arc::clone(&found.1);
        open.push_front(found);
        Some(descriptor)
    }

    /// Makes a directory, or enters it if it is there. Something else in its place is removed if `placing` permits.
    ///
    /// `EEXIST`: this restore has entered it by another name. The file system can't tell the two names apart.
    pub(super) fn enter(
        &self,
        parent: &Arc<Directory>,
        name: &OsStr,
        placing: Placing,
    ) -> nix::Result<Arc<Directory>> {
        let descriptor = self.descriptor(parent)?;
        // Closed to others until it gets its permissions at the end.
        let make = || mkdirat(&*descriptor, name, Mode::S_IRWXU);
        let fresh = match make() {
            Ok(()) => true,
            Err(Errno::EEXIST) => match (pass(&*descriptor, name), placing) {
                (Ok(_), _) => false,
                (Err(Errno::ENOTDIR | Errno::ELOOP), Placing::Replace) => {
                    unlinkat(&*descriptor, name, UnlinkatFlags::NoRemoveDir)?;
                    make()?;
                    true
                }
                (Err(error), _) => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let opened = pass(&*descriptor, name)?;
        let stat = fstat(&opened)?;
        let mut entered = parent.entered.lock().unwrap_or_else(PoisonError::into_inner);
        if !entered.insert(inode(&stat)) {
            return Err(Errno::EEXIST);
        }
        drop(entered);
        self.written.lock().unwrap_or_else(PoisonError::into_inner).note(stat.st_dev, &opened)?;
        let number = self.directories.fetch_add(1, Ordering::Relaxed);
        let (parent, name, entered) = (Some(Arc::clone(parent)), name.to_owned(), Mutex::default());
        Ok(Arc::new(Directory { parent, name, number, fresh, entered }))
    }
}

impl Written {
    /// A directory on this device is written to.
    fn note(&mut self, device: Device, directory: impl AsFd) -> nix::Result<()> {
        if self.others || self.systems.iter().any(|(known, _)| *known == device) {
            return Ok(());
        }
        if self.systems.len() >= MOST_SYSTEMS {
            self.others = true;
            return Ok(());
        }
        // A descriptor for passing through won't do.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match openat(directory, ".", flags, Mode::empty()) {
            Ok(readable) => self.systems.push((device, readable)),
            // It may be written to, but not listed.
            Err(Errno::EACCES) => self.others = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn sync(&self) -> nix::Result<()> {
        if self.others {
            nix::unistd::sync();
        }
        self.systems.iter().try_for_each(|(_, directory)| nix::unistd::syncfs(directory))
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
    fn sync(&self) -> nix::Result<()> {
        nix::unistd::sync();
        Ok(())
    }
}

/// The type of `st_dev` depends on the system.
pub(super) type Device = nix::libc::dev_t;

/// What nothing else has at the same time.
pub(super) fn inode(stat: &FileStat) -> (Device, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Opens a directory for passing through it. A symbolic link is refused.
fn pass(parent: impl AsFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | PASS;
    openat(parent, name, flags, Mode::empty())
}

/// What is there, if anything.
pub(super) fn look(directory: impl AsFd, name: &OsStr) -> nix::Result<Option<FileStat>> {
    match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a file with a temporary name, for its owner only.
pub(super) fn create(directory: impl AsFd, name: &OsStr) -> nix::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from)
}

/// Opens a file, not a symbolic link.
pub(super) fn open(directory: impl AsFd, name: &OsStr, how: OFlag) -> nix::Result<File> {
    let flags = how | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    openat(directory, name, flags, Mode::empty()).map(File::from)
}

/// Removes something unfinished.
pub(super) fn discard(directory: impl AsFd, name: &OsStr) {
    if let Err(error) = unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)
        && error != Errno::ENOENT
    {
        tracing::warn!(?name, %error, "an unfinished file stays behind in the restore target");
    }
}

/// Gives something finished its final name. `EEXIST`: there is something else now, which is kept.
pub(super) fn finish(
    directory: impl AsFd,
    temporary: &OsStr,
    name: &OsStr,
    placing: Placing,
) -> nix::Result<()> {
    let directory = directory.as_fd();
    let placed = match placing {
        Placing::New => rename_new(directory, temporary, name),
        Placing::Replace => match renameat(directory, temporary, directory, name) {
            Err(Errno::EISDIR) => unlinkat(directory, name, UnlinkatFlags::RemoveDir)
                .and_then(|()| renameat(directory, temporary, directory, name)),
            other => other,
        },
    };
    placed.inspect_err(|_| discard(directory, temporary))
}

fn rename_new(directory: impl AsFd, temporary: &OsStr, name: &OsStr) -> nix::Result<()> {
    let directory = directory.as_fd();
    match rename_no_replace(directory, temporary, name) {
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::ENOTSUP) => {}
        done => return done,
    }
    link_new(directory, temporary, name)
}

/// For file systems that can't do it in one step: a hard link never replaces anything.
fn link_new(directory: impl AsFd, temporary: &OsStr, name: &OsStr) -> nix::Result<()> {
    let directory = directory.as_fd();
    match linkat(directory, temporary, directory, name, AtFlags::empty()) {
        Ok(()) => unlinkat(directory, temporary, UnlinkatFlags::NoRemoveDir),
        Err(Errno::EEXIST) => Err(Errno::EEXIST),
        Err(_) => match look(directory, name)? {
            Some(_) => Err(Errno::EEXIST),
            None => renameat(directory, temporary, directory, name),
        },
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn rename_no_replace(directory: impl AsFd, temporary: &OsStr, name: &OsStr) -> nix::Result<()> {
    use nix::fcntl::{RenameFlags, renameat2};
    let directory = directory.as_fd();
    renameat2(directory, temporary, directory, name, RenameFlags::RENAME_NOREPLACE)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn rename_no_replace(_: impl AsFd, _: &OsStr, _: &OsStr) -> nix::Result<()> {
    Err(Errno::ENOSYS)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::BorrowedFd;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn something_new_never_replaces_what_came_meanwhile() {
        type Place = fn(BorrowedFd<'_>, &OsStr, &OsStr) -> nix::Result<()>;
        let places: [Place; 2] = [|d, a, b| rename_new(d, a, b), |d, a, b| link_new(d, a, b)];
        for place in places {
            let temp = tempfile::tempdir().unwrap();
            let target = Target::open(temp.path()).unwrap();
            let open = target.descriptor(&target.top()).unwrap();
            let descriptor = open.as_fd();
            fs::write(temp.path().join("a"), "a").unwrap();
            symlink("b", temp.path().join("link")).unwrap();
            place(descriptor, "a".as_ref(), "b".as_ref()).unwrap();
            assert_eq!(fs::read(temp.path().join("b")).unwrap(), b"a");
            assert!(!temp.path().join("a").exists());
            assert_eq!(place(descriptor, "link".as_ref(), "b".as_ref()), Err(Errno::EEXIST));
            assert_eq!(fs::read(temp.path().join("b")).unwrap(), b"a");
            place(descriptor, "link".as_ref(), "other".as_ref()).unwrap();
            assert!(temp.path().join("other").is_symlink());
        }
    }

    #[test]
    fn what_was_written_is_brought_to_the_disk() {
        let temp = tempfile::tempdir().unwrap();
        let target = Target::open(temp.path()).unwrap();
        fs::write(temp.path().join("file"), "content").unwrap();
        target.sync().unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o300)).unwrap();
        target.sync().unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn directories_are_found_again_when_they_are_not_open_any_more() {
        let temp = tempfile::tempdir().unwrap();
        let target = Target::open(temp.path()).unwrap();
        let mut directories = vec![target.top()];
        for number in 0..3 * MOST_OPEN {
            let parent = &directories[number / 2];
            let name = number.to_string();
            directories.push(target.enter(parent, name.as_ref(), Placing::New).unwrap());
        }
        for directory in directories.iter().rev() {
            let descriptor = target.descriptor(directory).unwrap();
            drop(create(&*descriptor, "file".as_ref()).unwrap());
            let path = directory.path();
            assert!(temp.path().join(path.strip_prefix("/").unwrap()).join("file").exists());
        }
        assert!(target.open.lock().unwrap().len() <= MOST_OPEN);
    }

    #[test]
    fn a_directory_that_becomes_a_link_is_not_entered() {
        let temp = tempfile::tempdir().unwrap();
        let target = Target::open(temp.path()).unwrap();
        let directory = target.enter(&target.top(), "way".as_ref(), Placing::New).unwrap();
        fs::rename(temp.path().join("way"), temp.path().join("moved")).unwrap();
        symlink("/", temp.path().join("way")).unwrap();
        assert!(matches!(target.descriptor(&directory), Err(Errno::ENOTDIR | Errno::ELOOP)));
    }
}
