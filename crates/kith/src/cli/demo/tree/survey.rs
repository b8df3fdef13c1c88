//! What a folder holds.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::stop::Stop;
use super::super::talk::count;
use crate::cli::output::size;

/// What a folder holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Contents {
    pub(in super::super) files: u64,
    pub(in super::super) directories: u64,
    pub(in super::super) others: u64,
    /// Sizes of all files; each further hard link counts again, as in a backup.
    pub(in super::super) bytes: u64,
    /// What a copy takes on the disk: links once, holes not.
    pub(in super::super) stored_bytes: u64,
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {}, {}, {}",
            size(self.bytes),
            count(self.files, "file", "files"),
            count(self.directories, "folder", "folders"),
            count(self.others, "other entry", "other entries")
        )
    }
}

/// Counts. What can't be read is left out; the backup will say so. Blocks.
///
/// # Errors
/// When it is to end early, or the folder itself can't be read.
pub(in super::super) fn survey(root: &Path, stop: &Stop) -> io::Result<Contents> {
    let mut contents = Contents { directories: 1, ..Contents::default() };
    let mut seen = HashSet::new();
    let mut waiting = vec![std::fs::read_dir(root)?];
    while let Some(directory) = waiting.pop() {
        stop.check()?;
        for entry in directory.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                contents.directories += 1;
                waiting.extend(std::fs::read_dir(entry.path()));
            } else if metadata.is_file() {
                contents.files += 1;
                contents.bytes += metadata.size();
                if metadata.nlink() < 2 || seen.insert((metadata.dev(), metadata.ino())) {
                    contents.stored_bytes += metadata.size().min(metadata.blocks() * 512).max(4096);
                }
            } else {
                contents.others += 1;
            }
        }
    }
    Ok(contents)
}
