//! Counting what is there at start.

use std::fs::{self, DirEntry, FileType};
use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use crate::archive::ArchiveState;
use crate::damage::Damages;
use crate::held::{self, HeldFile};
use crate::hold::Oldest;
use crate::incarnation;
use crate::layout::{Layout, charge, unix_milliseconds};
use crate::names::{ArchiveName, Object, ObjectName, ObjectType, Owner};
use crate::owner::OwnerState;

/// What a walk over the vault tells.
pub(crate) struct Found {
    pub(crate) owners: Vec<Arc<OwnerState>>,
    /// The latest deletion in hold time: the clock has been this far.
    pub(crate) newest_hold: u64,
    pub(crate) oldest: Oldest,
}

/// Every owner who has a directory, with archives and counted bytes. What can't be read is skipped with a warning:
/// a damaged directory must not take the rest of the vault from its owners.
pub(crate) fn owners(layout: &Layout) -> io::Result<Found> {
    let mut found = Found { owners: Vec::new(), newest_hold: 0, oldest: Oldest::Nothing };
    for entry in fs::read_dir(layout.root())? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(|name| Owner::parse(name).ok()) else {
            continue;
        };
        if entry.file_type()?.is_dir() {
            let owner = Arc::new(owner(layout, name, &mut found));
            found.owners.push(owner);
        }
    }
    Ok(found)
}

fn owner(layout: &Layout, name: Owner, found: &mut Found) -> OwnerState {
    let owner = OwnerState::new(name);
    let name = &owner.name;
    *owner.installations() = incarnation::load(layout, name);
    *owner.damages() = Damages::load(layout, name);
    for (entry, kind) in entries(&layout.owner(name)) {
        let Some(archive) = entry.file_name().to_str().and_then(|name| ArchiveName::parse(name).ok()) else {
            continue;
        };
        if kind.is_dir() {
            let state = ArchiveState::new(archive.clone());
            owner.ledger().live += live(layout, name, &state);
            owner.archives().insert(archive, Arc::new(state));
        }
    }
    for (entry, kind) in entries(&layout.held(name)) {
        if kind.is_dir() {
            let archive = entry.file_name().to_str().and_then(|name| ArchiveName::parse(name).ok());
            let state = archive.and_then(|archive| owner.archive(&archive));
            owner.ledger().held += held(&entry.path(), state.as_deref(), found);
        }
    }
    owner
}

fn live(layout: &Layout, owner: &Owner, archive: &ArchiveState) -> u64 {
    let config = layout.object(owner, &archive.name, &Object::Config);
    let mut bytes = config.symlink_metadata().map_or(0, |metadata| charge(metadata.len()));
    for kind in ObjectType::STORED {
        bytes += objects(&layout.objects(owner, &archive.name, kind), kind, archive);
    }
    bytes
}

fn held(directory: &Path, archive: Option<&ArchiveState>, found: &mut Found) -> u64 {
    let mut bytes = 0;
    for kind in ObjectType::STORED {
        for directory in held::shards(directory.join(kind.as_str()), kind) {
            let visited = held::visit(&directory, |HeldFile { name, path }| {
                let metadata = path.symlink_metadata()?;
                bytes += charge(metadata.len());
                match name.stamp {
                    Some(stamp) => {
                        found.newest_hold = found.newest_hold.max(stamp.hold);
                        // After a crash the stamp may name an earlier arrival of the same object than its last.
                        let last = metadata.modified().map_or(0, unix_milliseconds).max(stamp.arrived);
                        archive.inspect(|archive| archive.note_arrival(last));
                        found.oldest = found.oldest.and(stamp.hold);
                    }
                    None => found.oldest = Oldest::Unknown,
                }
                Ok::<_, io::Error>(())
            });
            if let Err(error) = visited {
                found.oldest = Oldest::Unknown;
                warn!(path = %directory.display(), %error, "a directory of the vault can't be read");
            }
        }
    }
    bytes
}

/// The counted bytes of the objects of one type.
fn objects(directory: &Path, kind: ObjectType, archive: &ArchiveState) -> u64 {
    if kind != ObjectType::Data {
        return files(directory, archive);
    }
    let shards = entries(directory).into_iter().filter(|(_, kind)| kind.is_dir());
    shards.map(|(entry, _)| files(&entry.path(), archive)).sum()
}

fn files(directory: &Path, archive: &ArchiveState) -> u64 {
    let mut bytes = 0;
    for (entry, kind) in entries(directory) {
        let is_object = |name: &str| ObjectName::parse(name).is_ok();
        if !kind.is_file() || !entry.file_name().to_str().is_some_and(is_object) {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => {
                bytes += charge(metadata.len());
                archive.note_arrival(metadata.modified().map_or(0, unix_milliseconds));
            }
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
