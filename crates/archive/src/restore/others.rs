//! Symbolic links, FIFOs, devices, and hard links.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::{linkat, symlinkat};

use super::batch::{First, LinkWork, OtherWork};
use super::context::Context;
use super::error::{EntryError, entry, entry_io};
use super::events::add;
use super::existing;
use super::metadata;
use super::report::WithheldKind;
use super::target::{self, Placing};
use super::{Overwrite, Special};
use crate::tree::{Node, NodeKind};

/// Restores what is neither file nor directory. Blocks.
pub(super) fn restore(context: &Context, work: &OtherWork) {
    let path = || work.directory.join(&work.node.name);
    match work.node.kind {
        NodeKind::Socket => return add(&context.counters.sockets, 1),
        NodeKind::Unknown => {
            return context.fail(path(), "it is of a kind that this version of the program does not know");
        }
        NodeKind::BlockDevice | NodeKind::CharDevice
            if !context.root || context.special == Special::Withhold =>
        {
            return context.withhold(path(), WithheldKind::Device);
        }
        _ => {}
    }
    match make(context, work) {
        Ok(Came::Made) => add(&context.counters.others, 1),
        Ok(Came::Unchanged) => add(&context.counters.unchanged, 1),
        Err(error) => return context.fail_entry(path(), error),
    }
    if let Some(first) = &work.first {
        first.done.store(true, Relaxed);
    }
}

enum Came {
    Made,
    Unchanged,
}

fn make(context: &Context, work: &OtherWork) -> Result<Came, EntryError> {
    const WHAT: &str = "it can't be created";
    let descriptor = context.target.descriptor(&work.directory).map_err(entry(WHAT))?;
    if context.overwrite == Overwrite::Changed && existing::settle_other(context, work, &*descriptor) {
        return Ok(Came::Unchanged);
    }
    let temporary = context.target.temporary_name();
    let node = &work.node;
    match node.kind {
        NodeKind::Symlink => symlinkat(node.link_target.as_os_str(), &*descriptor, temporary.as_os_str()),
        _ => special(&*descriptor, &temporary, node),
    }
    .map_err(entry(WHAT))?;
    metadata::set_by_name(context, &*descriptor, &temporary, node, || work.directory.join(&node.name));
    target::finish(&*descriptor, &temporary, &node.name, work.placing).map_err(entry(WHAT))?;
    Ok(Came::Made)
}

#[cfg(not(any(target_os = "macos", target_os = "ios")))]
fn special(directory: impl AsFd, name: &std::ffi::OsStr, node: &Node) -> nix::Result<()> {
    use nix::sys::stat::{SFlag, mknodat};
    let kind = match node.kind {
        NodeKind::Fifo => return nix::unistd::mkfifoat(directory, name, Mode::S_IRUSR | Mode::S_IWUSR),
        NodeKind::BlockDevice => SFlag::S_IFBLK,
        NodeKind::CharDevice => SFlag::S_IFCHR,
        _ => return Err(Errno::EINVAL),
    };
    mknodat(directory, name, kind, Mode::S_IRUSR | Mode::S_IWUSR, node.device)
}

/// These systems can't make them relative to a directory's descriptor.
#[cfg(any(target_os = "macos", target_os = "ios"))]
fn special(_: impl AsFd, _: &std::ffi::OsStr, _: &Node) -> nix::Result<()> {
    Err(Errno::ENOTSUP)
}

/// Makes a further name. Blocks.
pub(super) fn link(context: &Context, work: &LinkWork) {
    let path = || work.directory.join(&work.node.name);
    let came = if work.first.done.load(Relaxed) {
        make_link(context, work)
    } else {
        let first = work.first.directory.join(&work.first.name);
        context.fail(path(), format_args!("{}, the same file, was not restored", first.display()));
        return finished(context, &work.node);
    };
    match came {
        Ok(Came::Made) => add(&context.counters.links, 1),
        Ok(Came::Unchanged) => add(&context.counters.unchanged, 1),
        Err(error) => context.fail_entry(path(), error),
    }
    finished(context, &work.node);
}

fn finished(context: &Context, node: &Node) {
    if node.kind == NodeKind::File {
        context.done(node.size);
    }
}

fn make_link(context: &Context, work: &LinkWork) -> Result<Came, EntryError> {
    const WHAT: &str = "the hard link can't be created";
    let (first, name) = (&work.first, work.node.name.as_os_str());
    let source = context.target.descriptor(&first.directory).map_err(entry(WHAT))?;
    let descriptor = context.target.descriptor(&work.directory).map_err(entry(WHAT))?;
    if work.placing == Placing::Replace {
        let there = target::look(&*descriptor, name).map_err(entry(WHAT))?;
        let wanted = target::look(&*source, &first.name).map_err(entry(WHAT))?;
        if let (Some(there), Some(wanted)) = (there, wanted)
            && (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino)
        {
            return Ok(Came::Unchanged);
        }
    }
    let temporary = context.target.temporary_name();
    let linked =
        linkat(&*source, first.name.as_os_str(), &*descriptor, temporary.as_os_str(), AtFlags::empty());
    match linked {
        // A file system without hard links, or with too few.
        Err(Errno::EPERM | Errno::EMLINK | Errno::EXDEV | Errno::ENOTSUP | Errno::ENOSYS)
            if work.node.kind == NodeKind::File =>
        {
            if let Err(error) = copy(context, &*source, first, &*descriptor, &temporary, work) {
                target::discard(&*descriptor, &temporary);
                return Err(error);
            }
        }
        linked => linked.map_err(entry(WHAT))?,
    }
    target::finish(&*descriptor, &temporary, name, work.placing).map_err(entry(WHAT))?;
    Ok(Came::Made)
}

fn copy(
    context: &Context,
    source: impl AsFd,
    first: &First,
    directory: impl AsFd,
    temporary: &std::ffi::OsStr,
    work: &LinkWork,
) -> Result<(), EntryError> {
    const WHAT: &str = "it can't be copied from its other name";
    let mut from = target::open(source, &first.name, OFlag::O_RDONLY).map_err(entry(WHAT))?;
    let mut to: File = target::create(directory, temporary).map_err(entry(WHAT))?;
    std::io::copy(&mut from, &mut to).map_err(entry_io(WHAT))?;
    metadata::set_on_file(context, &to, &work.node, || work.directory.join(&work.node.name));
    Ok(())
}
