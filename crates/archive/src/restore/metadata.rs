//! Owner, permissions, times and extended attributes. What can't be set is reported and does not undo the file.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmod, fchmodat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use xattr::FileExt;

use super::Special;
use super::batch::DirectoryWork;
use super::context::Context;
use super::error::entry_io;
use super::events::add;
use super::report::WithheldKind;
use super::target::{self, Directory};
use crate::tree::{ExtendedAttribute, FileTime, Node, NodeKind, mode};

const SET_ID: u32 = 0o6000;
const CAPABILITIES: &str = "security.capability";

/// Sets everything on an open file or directory. The order matters: changing the owner takes away setuid bits and
/// capabilities.
pub(super) fn set_on_file(context: &Context, file: &File, node: &Node, path: impl Fn() -> PathBuf) {
    let mut owned = true;
    if context.root
        && let Err(errno) = fchown(file, Some(Uid::from_raw(node.uid)), Some(Gid::from_raw(node.gid)))
    {
        owned = false;
        incomplete(context, &path, "its owner", errno);
    }
    for attribute in attributes(context, node, owned, &path) {
        if let Err(error) = file.set_xattr(&attribute.name, &attribute.value) {
            incomplete_attribute(context, &path, attribute, &error);
        }
    }
    if let Err(errno) = fchmod(file, permissions(context, node, owned, &path)) {
        incomplete(context, &path, "its permissions", errno);
    }
    if let Err(errno) = futimens(file, &time(node.accessed), &time(node.modified)) {
        incomplete(context, &path, "its times", errno);
    }
}

/// Sets everything on what must not be opened: symbolic links, FIFOs, devices. Links are not followed.
pub(super) fn set_by_name(
    context: &Context,
    directory: impl AsFd,
    name: &OsStr,
    node: &Node,
    path: impl Fn() -> PathBuf,
) {
    let mut owned = true;
    if context.root {
        let (owner, group) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        if let Err(errno) = fchownat(&directory, name, Some(owner), Some(group), flags) {
            owned = false;
            incomplete(context, &path, "its owner", errno);
        }
    }
    for attribute in attributes(context, node, owned, &path) {
        if let Err(error) = set_attribute_by_name(&directory, name, attribute) {
            incomplete_attribute(context, &path, attribute, &error);
        }
    }
    if node.kind != NodeKind::Symlink {
        let permissions = permissions(context, node, owned, &path);
        if let Err(errno) = fchmodat(&directory, name, permissions, FchmodatFlags::NoFollowSymlink) {
            incomplete(context, &path, "its permissions", errno);
        }
    }
    let (accessed, modified) = (time(node.accessed), time(node.modified));
    if let Err(errno) = utimensat(&directory, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink) {
        incomplete(context, &path, "its times", errno);
    }
}

/// Sets everything on a directory when what is in it is complete.
pub(super) fn finish_directory(context: &Context, directory: &Arc<Directory>) {
    if let Some(work) = context.take_directory(directory) {
        set_on_directory(context, &work);
    }
}

/// After an early end: sets everything on the directories that never became complete, but lets their owner go on writing
/// into them.
pub(super) fn finish_early(context: &Context) {
    for mut work in context.take_directories() {
        work.node.mode |= 0o700;
        set_on_directory(context, &work);
    }
}

fn set_on_directory(context: &Context, work: &DirectoryWork) {
    let Some((parent, name)) = work.directory.place() else { return };
    let opened = context
        .target
        .descriptor(parent)
        .and_then(|parent| target::open(&*parent, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY));
    match opened {
        Ok(directory) => set_on_file(context, &directory, &work.node, || work.directory.path()),
        Err(errno) => incomplete(context, &|| work.directory.path(), "its permissions and times", errno),
    }
    add(&context.counters.directories, 1);
}

/// The permissions to set. A directory's setgid bit gives no rights; it is kept. Without the right owner a setuid
/// bit would give somebody else's rights.
fn permissions(context: &Context, node: &Node, owned: bool, path: &impl Fn() -> PathBuf) -> Mode {
    let mut bits = mode::to_unix_permissions(node.mode);
    if node.kind != NodeKind::Dir && bits & SET_ID != 0 {
        if context.special == Special::Withhold {
            bits &= !SET_ID;
            context.withhold(path(), WithheldKind::SetId);
        } else if !owned {
            bits &= !SET_ID;
        }
    }
    Mode::from_bits_truncate(bits)
}

/// The attributes to set. Those of the system's own name spaces only root can set.
fn attributes<'a>(
    context: &'a Context,
    node: &'a Node,
    owned: bool,
    path: &'a impl Fn() -> PathBuf,
) -> impl Iterator<Item = &'a ExtendedAttribute> {
    node.extended_attributes.iter().filter(move |attribute| {
        let name = attribute.name.as_encoded_bytes();
        if name == CAPABILITIES.as_bytes() {
            if context.special == Special::Withhold {
                context.withhold(path(), WithheldKind::Capabilities);
                return false;
            }
            return context.root && owned;
        }
        context.root || !(name.starts_with(b"security.") || name.starts_with(b"trusted."))
    })
}

/// There is no call for this that takes a directory's descriptor, so the way leads over `/proc`.
fn set_attribute_by_name(
    directory: impl AsFd,
    name: &OsStr,
    attribute: &ExtendedAttribute,
) -> std::io::Result<()> {
    let number = directory.as_fd().as_raw_fd();
    let path = PathBuf::from(format!("/proc/self/fd/{number}")).join(name);
    xattr::set(path, &attribute.name, &attribute.value)
}

fn time(time: FileTime) -> TimeSpec {
    TimeSpec::new(time.seconds, time.nanoseconds.into())
}

fn incomplete(context: &Context, path: &impl Fn() -> PathBuf, what: &str, errno: Errno) {
    context.incomplete(path(), format_args!("{what} could not be restored: {}", errno.desc()));
}

fn incomplete_attribute(
    context: &Context,
    path: &impl Fn() -> PathBuf,
    attribute: &ExtendedAttribute,
    error: &std::io::Error,
) {
    let errno = entry_io("")(std::io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0))).errno;
    let what = format!("its attribute {}", attribute.name.display());
    incomplete(context, path, &what, errno);
}
