//! Where the scrub is: one object after the other, in an order that a restart does not change.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::Place;
use crate::disk::{Disk, Severity, severity};
use crate::held;
use crate::names::{ArchiveName, ObjectName, ObjectType, Owner};
use crate::owner::OwnerState;

/// The types whose names are hashes, in the order in which they are read.
const KINDS: [ObjectType; 3] = [ObjectType::Data, ObjectType::Index, ObjectType::Snapshots];

/// A directory: of an owner's archive, of one type, of one shard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    owner: Owner,
    archive: ArchiveName,
    kind: ObjectType,
    shard: usize,
}

/// The object that was read last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    spot: Spot,
    name: ObjectName,
}

impl Cursor {
    pub(super) fn to_text(&self) -> String {
        let Spot { owner, archive, kind, .. } = &self.spot;
        format!("{owner} {archive} {} {}", kind.as_str(), self.name)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (owner, archive) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let kind = ObjectType::parse(words.next()?).filter(|kind| KINDS.contains(kind))?;
        let name = ObjectName::parse(words.next()?).ok()?;
        let shard = if kind == ObjectType::Data { usize::from(name.digest()[0]) } else { 0 };
        words.next().is_none().then_some(Self { spot: Spot { owner, archive, kind, shard }, name })
    }
}

/// What comes next.
pub(super) enum Next {
    Object(Place, ObjectType, ObjectName),
    /// A directory that can't be read, and is passed over.
    Unreadable(PathBuf, io::Error),
    /// The system lacks something for a moment.
    Busy,
    End,
}

/// A walk through everything.
pub(super) struct Walk {
    /// The last object that was read.
    cursor: Option<Cursor>,
    /// The directory that is being gone through, and what is left of it.
    directory: Option<(Spot, Place)>,
    names: VecDeque<ObjectName>,
}

impl Walk {
    /// Goes on after an object, or begins.
    pub(super) fn after(cursor: Option<Cursor>) -> Self {
        Self { cursor, directory: None, names: VecDeque::new() }
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.cursor.clone()
    }

    /// The next object. Blocking.
    pub(super) fn next(&mut self, disk: &Arc<Disk>, owners: &[Arc<OwnerState>]) -> Next {
        loop {
            if let Some((spot, place)) = &self.directory
                && let Some(name) = self.names.pop_front()
            {
                return Next::Object(place.clone(), spot.kind, name);
            }
            let found = match &self.directory {
                Some((last, _)) => find(disk, owners, |spot| spot > last),
                // The directory of the last object may have more.
                None => match &self.cursor {
                    Some(cursor) => find(disk, owners, |spot| *spot >= cursor.spot),
                    None => find(disk, owners, |_| true),
                },
            };
            let Some((spot, place)) = found else { return Next::End };
            let objects = disk.layout.objects(&spot.owner, &spot.archive, spot.kind);
            let Some(directory) = held::shards(objects, spot.kind).into_iter().nth(spot.shard) else {
                return Next::End;
            };
            let read = names(&directory);
            if read.as_ref().is_err_and(|error| severity(error) == Severity::Busy) {
                return Next::Busy;
            }
            self.directory = Some((spot, place));
            match read {
                Ok(names) => self.names = names,
                Err(error) => return Next::Unreadable(directory, error),
            }
            if let Some((spot, _)) = &self.directory
                && let Some(cursor) = self.cursor.as_ref().filter(|cursor| cursor.spot == *spot)
            {
                self.names.retain(|name| *name > cursor.name);
            }
        }
    }

    /// The object that came last will come again.
    pub(super) fn put_back(&mut self, name: ObjectName) {
        self.names.push_front(name);
    }

    /// The object that came last was read.
    pub(super) fn done(&mut self, name: &ObjectName) {
        if let Some((spot, _)) = &self.directory {
            self.cursor = Some(Cursor { spot: spot.clone(), name: name.clone() });
        }
    }
}

/// The first directory in order that is wanted.
fn find(
    disk: &Arc<Disk>,
    owners: &[Arc<OwnerState>],
    wanted: impl Fn(&Spot) -> bool,
) -> Option<(Spot, Place)> {
    for owner in owners {
        let archives: Vec<_> =
            owner.archives().iter().map(|(name, a)| (name.clone(), Arc::clone(a))).collect();
        for (name, archive) in archives {
            for kind in KINDS {
                let shards = if kind == ObjectType::Data { 256 } else { 1 };
                for shard in 0..shards {
                    let spot = Spot { owner: owner.name.clone(), archive: name.clone(), kind, shard };
                    if wanted(&spot) {
                        let (disk, owner) = (Arc::clone(disk), Arc::clone(owner));
                        return Some((spot, Place { disk, owner, archive, writer: None }));
                    }
                }
            }
        }
    }
    None
}

/// The objects in a directory, in order; none if it is not there.
fn names(directory: &Path) -> io::Result<VecDeque<ObjectName>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Some(name) = entry?.file_name().to_str().and_then(|name| ObjectName::parse(name).ok()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names.into())
}
