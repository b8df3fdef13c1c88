//! One daemon per home.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::{Home, HomeError, open_private};

/// Somebody who only asks whether a daemon runs holds the lock for an instant; a daemon tries again that often.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Held by the one daemon of a home for as long as it lives; the system releases it even after `kill -9`.
#[derive(Debug)]
pub struct DaemonLock {
    // The file itself stays: removing it would let two daemons lock two files.
    file: File,
}

impl DaemonLock {
    /// Takes the home for this process.
    ///
    /// # Errors
    /// [`HomeError::AlreadyRunning`] with the other daemon's process id; file errors.
    pub fn acquire(home: &Home) -> Result<Self, HomeError> {
        let path = lock_path(home);
        let failed = |source| HomeError::File { action: "write", path: path.clone(), source };
        let mut lock = open(home).map_err(failed)?;
        for attempt in 1.. {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let pid = pid_in(&mut lock);
                    return Err(HomeError::AlreadyRunning { home: home.root().to_path_buf(), pid });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        lock.set_len(0).map_err(failed)?;
        lock.seek(SeekFrom::Start(0)).map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { file: lock })
    }
}

impl Drop for DaemonLock {
    fn drop(&mut self) {
        release(&self.file);
    }
}

impl Home {
    /// The process id of the daemon that holds this home: `None` when none does, 0 when it has not said yet.
    pub fn running_daemon(&self) -> Option<i32> {
        let mut lock = File::open(lock_path(self)).ok()?;
        match lock.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(pid_in(&mut lock).unwrap_or(0)),
            Ok(()) => {
                release(&lock);
                None
            }
            Err(TryLockError::Error(_)) => None,
        }
    }
}

/// Closing the file releases its lock only when no program that is being started at this moment has a copy of it.
fn release(file: &File) {
    if let Err(error) = file.unlock() {
        tracing::debug!(%error, "a lock ends only when its file is closed");
    }
}

fn lock_path(home: &Home) -> PathBuf {
    home.root().join("daemon.lock")
}

fn open(home: &Home) -> std::io::Result<File> {
    open_private(&lock_path(home), OpenOptions::new().read(true).write(true).truncate(false))
}

fn pid_in(lock: &mut File) -> Option<i32> {
    let mut text = String::new();
    lock.seek(SeekFrom::Start(0)).ok()?;
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
