//! Whether something in the target is what the snapshot has already.

use std::io::Read;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;

use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::batch::{FileWork, OtherWork, State};
use super::context::Context;
use super::events::add;
use super::metadata;
use super::target;
use crate::id::BlobId;
use crate::repository::{BlobType, Repository};
use crate::tree::{Node, NodeKind, mode};

/// Blobs are not larger. (Those of a hostile repository may be: such a file counts as changed.)
const LARGEST_BLOB: u32 = 64 * 1024 * 1024;

/// Compares an existing file's content with the snapshot's, and settles the file if they are the same. Blocks.
pub(super) fn settle_file(context: &Context, repository: &Repository, work: &FileWork) {
    let Ok(descriptor) = context.target.descriptor(&work.directory) else { return };
    let Ok(mut file) = target::open(&*descriptor, &work.node.name, OFlag::O_RDONLY) else { return };
    let Ok(stat) = fstat(&file) else { return };
    if kind(&stat) != SFlag::S_IFREG || !has_content(context, repository, &mut file, &work.node) {
        return;
    }
    if !has_metadata(context, &stat, &work.node) {
        metadata::set_on_file(context, &file, &work.node, || work.path());
    }
    *work.state() = State::Done;
    if let Some(first) = &work.first {
        first.done.store(true, Relaxed);
    }
    add(&context.counters.unchanged, 1);
    context.done(work.node.size);
}

fn has_content(context: &Context, repository: &Repository, file: &mut impl Read, node: &Node) -> bool {
    let mut buffer = Vec::new();
    for id in node.content.iter().flatten() {
        let locations = repository.locate(BlobType::Data, id);
        let Some(length) = locations.first().map(crate::repository::BlobLocation::content_length) else {
            return false;
        };
        if length > LARGEST_BLOB || context.is_stopped() {
            return false;
        }
        buffer.resize(length as usize, 0);
        if file.read_exact(&mut buffer).is_err() || BlobId::of(&buffer) != *id {
            return false;
        }
    }
    matches!(file.read(&mut [0]), Ok(0))
}

/// Whether a symbolic link, FIFO or device is there as the snapshot has it; if so, its metadata are set. Blocks.
pub(super) fn settle_other(context: &Context, work: &OtherWork, directory: impl AsFd) -> bool {
    let Some(stat) = &work.existing else { return false };
    let same = match work.node.kind {
        NodeKind::Symlink => {
            kind(stat) == SFlag::S_IFLNK
                && readlinkat(&directory, work.node.name.as_os_str())
                    .is_ok_and(|target| target == work.node.link_target)
        }
        NodeKind::Fifo => kind(stat) == SFlag::S_IFIFO,
        NodeKind::BlockDevice => kind(stat) == SFlag::S_IFBLK && stat.st_rdev == work.node.device,
        NodeKind::CharDevice => kind(stat) == SFlag::S_IFCHR && stat.st_rdev == work.node.device,
        _ => false,
    };
    if same && !has_metadata(context, stat, &work.node) {
        let path = || work.directory.join(&work.node.name);
        metadata::set_by_name(context, &directory, &work.node.name, &work.node, path);
    }
    same
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn has_metadata(context: &Context, stat: &FileStat, node: &Node) -> bool {
    let permissions = node.kind == NodeKind::Symlink
        || mode::to_unix_permissions(mode::from_unix(stat.st_mode)) == mode::to_unix_permissions(node.mode);
    let owner = !context.root || (stat.st_uid, stat.st_gid) == (node.uid, node.gid);
    let modified = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec))
        == (node.modified.seconds, Ok(node.modified.nanoseconds));
    permissions && owner && modified
}
