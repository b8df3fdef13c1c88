//! The directory in which everything happens, and its removal.

use std::cell::Cell;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::error::{CliError, CliResult};
use crate::cli::output;
use crate::home::Home;

/// A process that was ended a moment ago may still have a last file under way.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// The demo's own directory, removed when this is dropped unless it is kept.
pub(super) struct Stage {
    root: PathBuf,
    given: Option<PathBuf>,
    keep: Cell<bool>,
}

impl Stage {
    pub(super) fn new(given: Option<PathBuf>) -> CliResult<Self> {
        let place = std::env::temp_dir();
        let made = tempfile::Builder::new().prefix("kith-demo-").tempdir_in(&place).map_err(|error| {
            CliError::new(
                format!("no directory can be made in {}: {error}", place.display()),
                "name another place in the variable TMPDIR",
            )
        })?;
        let root = std::fs::canonicalize(made.path())?;
        // From here on the removal is ours: it also copes with folders that forbid it.
        drop(made.keep());
        let stage = Self { root, given, keep: Cell::new(false) };
        stage.check()?;
        Ok(stage)
    }

    fn check(&self) -> CliResult {
        if let Some(given) = &self.given
            && self.root.starts_with(given)
        {
            return Err(CliError::usage(
                format!(
                    "{} holds the demo's own directory, {}, which would be backed up into itself",
                    given.display(),
                    self.root.display()
                ),
                "name another folder, or another place for the demo in the variable TMPDIR",
            ));
        }
        if self.root.to_str().is_none() {
            return Err(CliError::new(
                format!("the path {} is not valid UTF-8", self.root.display()),
                "name another place in the variable TMPDIR",
            ));
        }
        Ok(())
    }

    /// The directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder to back up, when the person named one.
    pub(super) fn given(&self) -> Option<&Path> {
        self.given.as_deref()
    }

    /// A computer's home.
    pub(super) fn home(&self, name: &str) -> Home {
        Home::at(self.root.join(name))
    }

    /// Free bytes on the disk of the directory.
    pub(super) fn free(&self) -> io::Result<u64> {
        let system = nix::sys::statvfs::statvfs(&self.root)?;
        #[allow(clippy::useless_conversion, reason = "some systems count blocks in 32 bits")]
        let blocks = u64::from(system.blocks_available());
        Ok(blocks.saturating_mul(system.fragment_size()))
    }

    /// Removes the directory and says so, unless it is kept. Dropping does the same, silently.
    pub(super) fn close(self) {
        if !self.keep.replace(true) && remove_and_tell(&self.root) {
            output::note("Everything the demo made is removed.");
        }
    }

    /// Leaves everything where it is.
    pub(super) fn keep(&self) {
        self.keep.set(true);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.keep.get() {
            remove_and_tell(&self.root);
        }
    }
}

/// False if something stays.
fn remove_and_tell(root: &Path) -> bool {
    match remove(root) {
        Ok(()) => true,
        Err(error) => {
            output::note(format!("note: {} could not be removed: {error}", root.display()));
            false
        }
    }
}

/// Removes a directory with all that is in it, also where its folders forbid that to their owner. Follows no links.
pub(super) fn remove(root: &Path) -> io::Result<()> {
    let mut outcome = Ok(());
    for attempt in 0..ATTEMPTS {
        outcome = std::fs::remove_dir_all(root);
        match &outcome {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !root.exists() => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open_up(root)?,
            Err(_still_in_use) if attempt + 1 < ATTEMPTS => std::thread::sleep(PAUSE),
            Err(_) => {}
        }
    }
    outcome
}

/// Gives the owner all rights to every directory below.
fn open_up(root: &Path) -> io::Result<()> {
    let mut waiting = vec![root.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))?;
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_removed_when_it_is_dropped_with_folders_that_forbid_it() {
        let stage = Stage::new(None).unwrap();
        let root = stage.root().to_path_buf();
        let locked = root.join("locked/inner");
        std::fs::create_dir_all(&locked).unwrap();
        std::fs::write(locked.join("file"), "content").unwrap();
        for folder in [&locked, &root.join("locked")] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o000)).unwrap();
        }
        drop(stage);
        assert!(!root.exists());
    }

    #[test]
    fn what_a_link_in_it_points_to_stays() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("mine"), "mine").unwrap();
        let stage = Stage::new(None).unwrap();
        std::os::unix::fs::symlink(outside.path(), stage.root().join("link")).unwrap();
        drop(stage);
        assert!(outside.path().join("mine").exists());
    }

    #[test]
    fn a_folder_that_holds_the_stage_is_refused() {
        let outside = std::fs::canonicalize(std::env::temp_dir()).unwrap();
        assert!(Stage::new(Some(outside)).is_err());
    }
}
