//! From what the system tells about a file to a node.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nix::unistd::{Gid, Group, Uid, User};
use xattr::{FileExt, XAttrs};

use crate::tree::{ExtendedAttribute, FileTime, Node, NodeKind, mode};

/// Names of users and groups, each looked up once.
#[derive(Default)]
pub(super) struct Names {
    users: Mutex<HashMap<u32, String>>,
    groups: Mutex<HashMap<u32, String>>,
}

impl Names {
    fn user(&self, uid: u32) -> String {
        cached(&self.users, uid, || Some(User::from_uid(Uid::from_raw(uid)).ok()??.name))
    }

    fn group(&self, gid: u32) -> String {
        cached(&self.groups, gid, || Some(Group::from_gid(Gid::from_raw(gid)).ok()??.name))
    }
}

fn cached(names: &Mutex<HashMap<u32, String>>, id: u32, look_up: impl FnOnce() -> Option<String>) -> String {
    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
    names.entry(id).or_insert_with(|| look_up().unwrap_or_default()).clone()
}

/// What `metadata` says the entry is.
pub(super) fn kind(metadata: &Metadata) -> NodeKind {
    match metadata.mode() & 0o170_000 {
        0o100_000 => NodeKind::File,
        0o040_000 => NodeKind::Dir,
        0o120_000 => NodeKind::Symlink,
        0o060_000 => NodeKind::BlockDevice,
        0o020_000 => NodeKind::CharDevice,
        0o010_000 => NodeKind::Fifo,
        0o140_000 => NodeKind::Socket,
        _ => NodeKind::Unknown,
    }
}

/// Time of modification.
pub(super) fn modified(metadata: &Metadata) -> FileTime {
    time(metadata.mtime(), metadata.mtime_nsec())
}

/// Time of the last change of content or metadata.
pub(super) fn changed(metadata: &Metadata) -> FileTime {
    time(metadata.ctime(), metadata.ctime_nsec())
}

fn time(seconds: i64, nanoseconds: i64) -> FileTime {
    FileTime { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) }
}

/// A node with everything but content, subtree and extended attributes.
pub(super) fn node(name: &OsStr, metadata: &Metadata, names: &Names) -> Node {
    let kind = kind(metadata);
    let mut node = Node::new(name, kind);
    node.mode = mode::from_unix(metadata.mode());
    node.modified = modified(metadata);
    // As restic by default: storing the real one would make every directory that was read look changed.
    node.accessed = node.modified;
    node.changed = changed(metadata);
    node.uid = metadata.uid();
    node.gid = metadata.gid();
    node.user = names.user(node.uid);
    node.group = names.group(node.gid);
    node.inode = metadata.ino();
    node.device_id = metadata.dev();
    match kind {
        NodeKind::File => {
            node.size = metadata.size();
            node.links = metadata.nlink();
        }
        NodeKind::Symlink => node.links = metadata.nlink(),
        NodeKind::BlockDevice | NodeKind::CharDevice => {
            node.links = metadata.nlink();
            node.device = metadata.rdev();
        }
        _ => {}
    }
    node
}

/// The extended attributes of an entry.
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) found: Vec<ExtendedAttribute>,
    /// Those that can't be read, and why not.
    pub(super) unreadable: Vec<(OsString, io::Error)>,
}

/// The extended attributes of an entry that is no symbolic link. File systems without them have none.
pub(super) fn extended_attributes(path: &Path) -> io::Result<Attributes> {
    collect_attributes(|| xattr::list(path), |name| xattr::get(path, name))
}

/// The same of an open file.
pub(super) fn attributes_of_file(file: &File) -> io::Result<Attributes> {
    collect_attributes(|| file.list_xattr(), |name| file.get_xattr(name))
}

fn collect_attributes(
    list: impl FnOnce() -> io::Result<XAttrs>,
    get: impl Fn(&OsStr) -> io::Result<Option<Vec<u8>>>,
) -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    let names = match list() {
        Ok(names) => names,
        Err(error) if is_unsupported(&error) => return Ok(attributes),
        Err(error) => return Err(error),
    };
    for name in names {
        match get(&name) {
            Ok(Some(value)) => attributes.found.push(ExtendedAttribute { name, value }),
            Ok(None) => {}
            // It went away since it was listed.
            Err(error) if is_unsupported(&error) => {}
            Err(error) => attributes.unreadable.push((name, error)),
        }
    }
    Ok(attributes)
}

fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || [nix::errno::Errno::ENOTSUP, nix::errno::Errno::ENODATA]
            .iter()
            .any(|code| error.raw_os_error() == Some(*code as i32))
}
