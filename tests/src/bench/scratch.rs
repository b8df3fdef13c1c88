//! Where the benchmark works: a directory on a tmpfs that is removed at the end.

use std::path::{Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::sys::statvfs::statvfs;

use super::Options;
use crate::say;

/// Beginning of the directory's name; the number of the process follows.
const PREFIX: &str = "kith-bench-";
/// What is needed beside the corpora, their repositories and what is restored: programs' memory, the corpus `docs`.
const BESIDE_MEDIA: u64 = 2_500_000_000;

/// A directory that goes away with this value.
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes it, if there is a tmpfs with enough room and memory behind it. What a killed run left is removed.
    pub(super) fn make(options: &Options) -> Result<Self, String> {
        let base = &options.scratch;
        let shown = base.display();
        let system = statfs(base).map_err(|error| format!("{shown} can't be looked at: {}", error.desc()))?;
        if system.filesystem_type() != TMPFS_MAGIC {
            return Err(format!(
                "{shown} is no tmpfs, and a disk is not to be measured here: mount one \
                 (mount -t tmpfs none DIR) and name it with --scratch DIR"
            ));
        }
        sweep(base);
        let needed = 3 * options.media_bytes + BESIDE_MEDIA;
        let room = statvfs(base).map_err(|error| format!("{shown} can't be looked at: {}", error.desc()))?;
        let free = room.blocks_available() * room.fragment_size();
        if free.min(memory_available()) < needed {
            return Err(format!(
                "{} MB are needed on {shown}, and as much free memory: there are {} and {} MB; \
                 --media makes the corpus smaller",
                needed / 1_000_000,
                free / 1_000_000,
                memory_available() / 1_000_000
            ));
        }
        let path = base.join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| format!("{} can't be made: {error}", path.display()))?;
        // Daemons' homes and everything else that is temporary go there too.
        if tempfile::env::override_temp_dir(&path).is_err() {
            say("note: temporary files lie elsewhere");
        }
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An empty directory of that name.
    pub(super) fn fresh(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.path.join(name);
        self.remove(name)?;
        std::fs::create_dir(&path).map_err(|error| format!("{} can't be made: {error}", path.display()))?;
        Ok(path)
    }

    /// Removes a directory, if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), String> {
        let path = self.path.join(name);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("{} can't be removed: {error}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            say(&format!("{} can't be removed: {error}", self.path.display()));
        }
    }
}

/// Removes the directories of runs that were killed.
fn sweep(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

fn memory_available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) * 1024
}
