//! Permissions, owner, time, extended attributes, device numbers, targets of links.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::{Pair, Walk, What};

const PERMISSIONS: u32 = 0o7777;
const SET_ID: u32 = 0o6000;
const CAPABILITIES: &str = "security.capability";

impl Walk<'_> {
    pub(super) fn metadata(&mut self, pair: &Pair<'_>) {
        let (before, after) = (pair.before, pair.after);
        let kind = before.file_type();
        // Links have no permissions and no attributes of their own.
        if !kind.is_symlink() {
            self.mode(pair);
            self.attributes(pair);
        }
        let owners = ((before.uid(), before.gid()), (after.uid(), after.gid()));
        if self.rules.root && owners.0 != owners.1 {
            self.found(pair.relative, What::Owner { before: owners.0, after: owners.1 });
        }
        let times = ((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
        if times.0 != times.1 {
            self.found(pair.relative, What::Modified { before: times.0, after: times.1 });
        }
        if (kind.is_block_device() || kind.is_char_device()) && before.rdev() != after.rdev() {
            self.found(pair.relative, What::Device { before: before.rdev(), after: after.rdev() });
        }
    }

    /// A restore gives nobody's rights away: setuid and setgid bits of files are left out. A folder's setgid bit gives no
    /// rights and must be there.
    fn mode(&mut self, pair: &Pair<'_>) {
        let (before, after) = (pair.before.mode() & PERMISSIONS, pair.after.mode() & PERMISSIONS);
        let mut expected = before;
        if !pair.before.is_dir() && before & SET_ID != 0 {
            expected &= !SET_ID;
            self.withheld("setuid and setgid bits of files");
        }
        if after != expected {
            self.found(pair.relative, What::Mode { before: expected, after });
        }
    }

    fn attributes(&mut self, pair: &Pair<'_>) {
        let (before, after) = match (list(&pair.source), list(&pair.restored)) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(error), _) => return self.unreadable(pair.relative, &error),
            (_, Err(error)) => {
                return self
                    .found(pair.relative, What::Unreadable(format!("attributes of the copy: {error}")));
            }
        };
        for name in before.union(&after) {
            let how = match (before.contains(name), after.contains(name)) {
                (true, false) if name == CAPABILITIES => {
                    self.withheld("capabilities of programs");
                    continue;
                }
                // Only root can set these.
                _ if !self.rules.root && is_of_system(name) => continue,
                (true, false) => "is not restored",
                (false, _) => "is not in the original",
                (true, true) => {
                    self.result.attributes += 1;
                    match (xattr::get(&pair.source, name), xattr::get(&pair.restored, name)) {
                        (Ok(before), Ok(after)) if before == after => continue,
                        (Ok(_), Ok(_)) => "has another value",
                        (Err(error), _) if error.kind() == io::ErrorKind::PermissionDenied => continue,
                        _ => "can't be read",
                    }
                }
            };
            self.found(pair.relative, What::Attribute { name: name.clone(), how });
        }
    }

    pub(super) fn target(&mut self, pair: &Pair<'_>) {
        match (std::fs::read_link(&pair.source), std::fs::read_link(&pair.restored)) {
            (Ok(before), Ok(after)) if before == after => {}
            (Ok(before), Ok(after)) => self.found(pair.relative, What::Target { before, after }),
            (Err(error), _) | (_, Err(error)) => {
                self.found(pair.relative, What::Unreadable(format!("where it points: {error}")));
            }
        }
    }
}

/// The names of the attributes; none where the file system has no such thing.
fn list(path: &Path) -> io::Result<BTreeSet<OsString>> {
    match xattr::list(path) {
        Ok(names) => Ok(names.collect()),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

fn is_of_system(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"security.") || name.starts_with(b"trusted.")
}
