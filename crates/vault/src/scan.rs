//! Counting what is there at start.

use std::fs::{self, DirEntry, FileType};
use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use crate::archive::ArchiveState;
use crate::layout::{Layout, charge, parse_held_name};
use crate::names::{ArchiveName, Object, ObjectName, ObjectType, Owner};
use crate::owner::OwnerState;

/// Every owner who has a directory, with archives and counted bytes. What can't be read is skipped with a warning:
/// a damaged directory must not take the rest of the vault from its owners.
pub(crate) fn owners(layout: &Layout) -> io::Result<Vec<Arc<OwnerState>>> {
    let mut owners = Vec::new();
    for entry in fs::read_dir(layout.root())? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(|name| Owner::parse(name).ok()) else {
            continue;
        };
        if entry.file_type()?.is_dir() {
            owners.push(Arc::new(owner(layout, name)));
        }
    }
    Ok(owners)
}

fn owner(layout: &Layout, name: Owner) -> OwnerState {
    let owner = OwnerState::new(name);
    let name = &owner.name;
    for (entry, kind) in entries(&layout.owner(name)) {
        let Some(archive) = entry.file_name().to_str().and_then(|name| ArchiveName::parse(name).ok()) else {
            continue;
        };
        if kind.is_dir() {
            owner.ledger().live += live(layout, name, &archive);
            owner.archives().insert(archive.clone(), Arc::new(ArchiveState::new(archive)));
        }
    }
    for (entry, kind) in entries(&layout.held(name)) {
        if kind.is_dir() {
            owner.ledger().held += held(&entry.path());
        }
    }
    owner
}

fn live(layout: &Layout, owner: &Owner, archive: &ArchiveName) -> u64 {
    let config = layout.object(owner, archive, &Object::Config);
    let mut bytes = config.symlink_metadata().map_or(0, |metadata| charge(metadata.len()));
    for kind in ObjectType::STORED {
        bytes += objects(&layout.objects(owner, archive, kind), kind, |name| ObjectName::parse(name).is_ok());
    }
    bytes
}

fn held(archive: &Path) -> u64 {
    let count = |kind: ObjectType| {
        objects(&archive.join(kind.as_str()), kind, |name| parse_held_name(name).is_some())
    };
    ObjectType::STORED.into_iter().map(count).sum()
}

/// The counted bytes of the objects of one type.
fn objects(directory: &Path, kind: ObjectType, is_object: impl Fn(&str) -> bool + Copy) -> u64 {
    if kind != ObjectType::Data {
        return files(directory, is_object);
    }
    let shards = entries(directory).into_iter().filter(|(_, kind)| kind.is_dir());
    shards.map(|(entry, _)| files(&entry.path(), is_object)).sum()
}

fn files(directory: &Path, is_object: impl Fn(&str) -> bool) -> u64 {
    let mut bytes = 0;
    for (entry, kind) in entries(directory) {
        if !kind.is_file() || !entry.file_name().to_str().is_some_and(&is_object) {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => bytes += charge(metadata.len()),
            Err(error) => warn!(path = %entry.path().display(), %error, "a file of the vault can't be read"),
        }
    }
    bytes
}

/// What a directory contains; nothing if it does not exist.
fn entries(directory: &Path) -> Vec<(DirEntry, FileType)> {
    let read = || -> io::Result<Vec<_>> {
        fs::read_dir(directory)?
            .map(|entry| entry.and_then(|e| e.file_type().map(|kind| (e, kind))))
            .collect()
    };
    read().unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            warn!(path = %directory.display(), %error, "a directory of the vault can't be read");
        }
        Vec::new()
    })
}
