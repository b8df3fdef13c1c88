//! Compares a folder with its restored copy: contents and metadata of every entry.
//!
//! Written apart from the code that backs up and restores, so that the two can't err in the same way.

mod content;
mod difference;
mod links;
mod metadata;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use self::difference::Kind;
pub(super) use self::difference::{Difference, What};
use self::links::Links;
use super::stop::Stop;

/// Differences that are remembered; all are counted.
const MOST_REMEMBERED: usize = 1000;

/// What is expected to differ.
pub(super) struct Rules {
    /// Whether this process may give files to other owners: then owners must be equal too.
    pub(super) root: bool,
    /// Full paths that the backup said it left out, lossy where they are not UTF-8.
    pub(super) skipped: HashSet<String>,
    /// When the backup began: what changed later can't be compared.
    pub(super) since: SystemTime,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) entries: u64,
    /// Bytes of content compared.
    pub(super) bytes: u64,
    pub(super) attributes: u64,
    pub(super) sparse_files: u64,
    pub(super) link_groups: u64,
    /// What a restore leaves out by default, and how often.
    pub(super) withheld: BTreeMap<&'static str, u64>,
    pub(super) skipped: u64,
    pub(super) changed: u64,
    pub(super) difference_count: u64,
    pub(super) differences: Vec<Difference>,
}

impl Comparison {
    pub(super) fn is_equal(&self) -> bool {
        self.difference_count == 0
    }
}

/// Compares two folders. Blocks.
///
/// # Errors
/// When it is to end early. What can't be read is a difference, not an error.
pub(super) fn compare(source: &Path, restored: &Path, rules: &Rules, stop: &Stop) -> io::Result<Comparison> {
    let (result, links, waiting) = (Comparison::default(), Links::default(), Vec::new());
    let mut walk = Walk { source, restored, rules, stop, result, links, waiting };
    walk.entry(PathBuf::new())?;
    while let Some(directory) = walk.waiting.pop() {
        stop.check()?;
        walk.directory(&directory)?;
    }
    walk.result.link_groups = walk.links.groups();
    Ok(walk.result)
}

struct Walk<'a> {
    source: &'a Path,
    restored: &'a Path,
    rules: &'a Rules,
    stop: &'a Stop,
    result: Comparison,
    links: Links,
    /// Directories on both sides whose entries are still to be compared.
    waiting: Vec<PathBuf>,
}

/// One entry on both sides.
struct Pair<'a> {
    relative: &'a Path,
    source: PathBuf,
    restored: PathBuf,
    before: &'a Metadata,
    after: &'a Metadata,
}

impl Walk<'_> {
    fn directory(&mut self, relative: &Path) -> io::Result<()> {
        let (source, restored) = (at(self.source, relative), at(self.restored, relative));
        let before = match names(&source) {
            Ok(names) => names,
            Err(error) => {
                self.unreadable(relative, &error);
                return Ok(());
            }
        };
        let after = match names(&restored) {
            Ok(names) => names,
            Err(error) => {
                self.found(relative, What::Unreadable(format!("the copy: {error}")));
                return Ok(());
            }
        };
        for extra in after.difference(&before) {
            match std::fs::symlink_metadata(&source) {
                Ok(directory) if self.is_newer(&directory) => self.result.changed += 1,
                _ => self.found(&relative.join(extra), What::Extra),
            }
        }
        for name in before {
            self.entry(relative.join(name))?;
        }
        Ok(())
    }

    fn entry(&mut self, relative: PathBuf) -> io::Result<()> {
        self.stop.check()?;
        let (source, restored) = (at(self.source, &relative), at(self.restored, &relative));
        if self.rules.skipped.contains(&*source.to_string_lossy()) {
            self.result.skipped += 1;
            return Ok(());
        }
        let before = match std::fs::symlink_metadata(&source) {
            Ok(before) => before,
            // Removed since the directory was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.result.changed += 1;
                return Ok(());
            }
            Err(error) => {
                self.unreadable(&relative, &error);
                return Ok(());
            }
        };
        let after = match std::fs::symlink_metadata(&restored) {
            Ok(after) => after,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.missing(&relative, &source, &before);
                return Ok(());
            }
            Err(error) => {
                self.found(&relative, What::Unreadable(format!("the copy: {error}")));
                return Ok(());
            }
        };
        let both_directories = before.is_dir() && after.is_dir();
        if self.is_newer(&before) {
            self.result.changed += 1;
        } else {
            let pair = Pair { relative: &relative, source, restored, before: &before, after: &after };
            self.pair(&pair)?;
        }
        if both_directories {
            self.waiting.push(relative);
        }
        Ok(())
    }

    fn pair(&mut self, pair: &Pair<'_>) -> io::Result<()> {
        self.result.entries += 1;
        let (before, after) = (Kind::of(pair.before), Kind::of(pair.after));
        if before != after {
            self.found(pair.relative, What::Kind { before, after });
            return Ok(());
        }
        self.metadata(pair);
        if !pair.before.is_dir() && !self.links.same(pair.before, pair.after) {
            self.found(pair.relative, What::Links);
        }
        match before {
            Kind::File => self.content(pair)?,
            Kind::Symlink => self.target(pair),
            _ => {}
        }
        Ok(())
    }

    /// An entry that is not in the copy.
    fn missing(&mut self, relative: &Path, source: &Path, before: &Metadata) {
        let kind = before.file_type();
        if kind.is_block_device() || kind.is_char_device() {
            self.withheld("devices");
        } else if kind.is_socket() {
            self.withheld("sockets, which only the program that made them can bring to life");
        } else if self.is_newer(before) {
            self.result.changed += 1;
        } else if (kind.is_file() || kind.is_dir()) && is_forbidden(source) {
            // The backup lists such files up to a bound only.
            self.result.skipped += 1;
        } else {
            self.found(relative, What::Missing);
        }
    }

    /// Whether an entry changed after the backup had begun.
    fn is_newer(&self, metadata: &Metadata) -> bool {
        let (Ok(seconds), Ok(nanoseconds)) =
            (u64::try_from(metadata.ctime()), u32::try_from(metadata.ctime_nsec()))
        else {
            return false;
        };
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::new(seconds, nanoseconds))
            .is_some_and(|changed| changed >= self.rules.since)
    }

    /// The original can't be read: neither could the backup, which runs as the same user.
    fn unreadable(&mut self, relative: &Path, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::PermissionDenied => self.result.skipped += 1,
            io::ErrorKind::NotFound => self.result.changed += 1,
            _ => self.found(relative, What::Unreadable(format!("the original: {error}"))),
        }
    }

    fn withheld(&mut self, what: &'static str) {
        *self.result.withheld.entry(what).or_default() += 1;
    }

    fn found(&mut self, relative: &Path, what: What) {
        self.result.difference_count += 1;
        if self.result.differences.len() < MOST_REMEMBERED {
            self.result.differences.push(Difference { path: relative.to_path_buf(), what });
        }
    }
}

/// The top itself has an empty relative path, which `join` would turn into a slash at the end.
fn at(top: &Path, relative: &Path) -> PathBuf {
    if relative.as_os_str().is_empty() { top.to_path_buf() } else { top.join(relative) }
}

fn names(directory: &Path) -> io::Result<BTreeSet<OsString>> {
    std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn is_forbidden(path: &Path) -> bool {
    std::fs::File::open(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}
