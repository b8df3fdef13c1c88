//! The janitor: erases what has been held for its time. Nothing else ever does.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use crate::archive::{ArchiveState, Place};
use crate::disk::Disk;
use crate::error::VaultError;
use crate::held::{self, HeldFile, HeldName, Stamp};
use crate::hold::Oldest;
use crate::layout::{charge, unix_milliseconds};
use crate::names::{ArchiveName, ObjectType, Owner};
use crate::owner::OwnerState;

/// So many files are erased or renamed in one run at most; the next run goes on.
const MAX_CHANGES: u64 = 10_000;

/// What one run of the janitor did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepReport {
    /// What was erased, by archive; archives of which nothing was are left out.
    pub erased: Vec<Erased>,
    /// Deletions by an earlier version of Kith that got their stamp of hold time now: from now on they are held for a whole window.
    pub stamped: u64,
    /// More may be due: the run reached its bound.
    pub more: bool,
    /// In how much hold time something is due next; `None` if nothing is held, or it is not known.
    pub next_due: Option<Duration>,
}

/// What was erased of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// Whose it was.
    pub owner: Owner,
    /// Of which archive.
    pub archive: ArchiveName,
    /// How many objects.
    pub objects: u64,
    /// Their bytes, as counted.
    pub bytes: u64,
}

/// One run. Blocking.
pub(crate) fn sweep(disk: &Arc<Disk>, owners: &[Arc<OwnerState>]) -> Result<SweepReport, VaultError> {
    if let Some(failure) = disk.failure() {
        return Err(VaultError::Failed { path: disk.layout.root().to_owned(), failure });
    }
    for owner in owners {
        for place in known_places(disk, owner) {
            place.forget_arrivals();
            place.compact_arrivals();
        }
    }
    let (now, window) = (disk.hold_time(), disk.hold.window_ms());
    let mut run = Run { now, window, changes: 0, found: Oldest::Nothing, report: SweepReport::default() };
    let due = |oldest: u64| oldest.saturating_add(window);
    match disk.hold.oldest() {
        Oldest::Nothing => return Ok(run.report),
        Oldest::At(oldest) if due(oldest) > now => {}
        _ => {
            disk.hold.begin_walk();
            let walked = owners.iter().try_for_each(|owner| run.owner(disk, owner));
            let known = walked.is_ok() && !run.report.more;
            disk.hold.end_walk(if known { run.found } else { Oldest::Unknown });
            walked?;
        }
    }
    if let Oldest::At(oldest) = disk.hold.oldest() {
        run.report.next_due = Some(Duration::from_millis(due(oldest).saturating_sub(now)));
    }
    Ok(run.report)
}

struct Run {
    now: u64,
    window: u64,
    changes: u64,
    /// Among what stays.
    found: Oldest,
    report: SweepReport,
}

impl Run {
    fn owner(&mut self, disk: &Arc<Disk>, owner: &Arc<OwnerState>) -> Result<(), VaultError> {
        for place in held_places(disk, owner)? {
            let mut erased = Erased {
                owner: owner.name.clone(),
                archive: place.archive.name.clone(),
                objects: 0,
                bytes: 0,
            };
            // Snapshots first: what an as-of view still shows can be read.
            let result = ObjectType::HELD.into_iter().rev().try_for_each(|kind| {
                let mut directories = place.held_directories(kind).into_iter();
                directories.try_for_each(|directory| self.directory(&place, kind, &directory, &mut erased))
            });
            if erased.objects > 0 {
                let Erased { owner, archive, objects, bytes } = &erased;
                info!(%owner, %archive, objects, bytes, "erased what had been held for its time");
                self.report.erased.push(erased);
            }
            result?;
        }
        Ok(())
    }

    fn directory(
        &mut self,
        place: &Place,
        kind: ObjectType,
        directory: &Path,
        erased: &mut Erased,
    ) -> Result<(), VaultError> {
        let before = self.changes;
        let visited = held::visit(directory, |file| self.file(place, kind, file, erased));
        if self.changes > before {
            place.disk.sync_directory(directory).map_err(failed(directory))?;
        }
        visited.map_err(failed(directory))
    }

    fn file(
        &mut self,
        place: &Place,
        kind: ObjectType,
        file: HeldFile,
        erased: &mut Erased,
    ) -> io::Result<()> {
        let HeldFile { name, path } = file;
        let is_over = |stamp: Stamp| self.now.checked_sub(stamp.hold).is_some_and(|held| held >= self.window);
        match name.stamp {
            Some(stamp) if !is_over(stamp) => {
                self.found = self.found.and(stamp.hold);
                return Ok(());
            }
            _ if self.changes >= MAX_CHANGES => {
                self.report.more = true;
                return Ok(());
            }
            _ => {}
        }
        // Its owner may just have brought it back.
        let Ok(metadata) = path.symlink_metadata() else { return Ok(()) };
        let changed = match name.stamp {
            Some(_) => place.disk.medium.remove(&path),
            None => {
                let arrived = metadata.modified().map_or(0, unix_milliseconds);
                let stamp = Some(Stamp { hold: self.now, arrived });
                let stamped = place.held_path(kind, &HeldName { stamp, ..name.clone() });
                place.disk.medium.rename_new(&path, &stamped)
            }
        };
        match changed {
            Ok(()) => self.changes += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                place.disk.judge("erase what was held", &error);
                return Err(error);
            }
        }
        if name.stamp.is_some() {
            let bytes = charge(metadata.len());
            place.owner.ledger().erase_held(bytes);
            erased.objects += 1;
            erased.bytes += bytes;
        } else {
            self.found = self.found.and(self.now);
            self.report.stamped += 1;
        }
        Ok(())
    }
}

/// The archives of an owner.
pub(crate) fn known_places(disk: &Arc<Disk>, owner: &Arc<OwnerState>) -> Vec<Place> {
    let archives: Vec<_> = owner.archives().values().cloned().collect();
    let place = |archive| Place { disk: Arc::clone(disk), owner: Arc::clone(owner), archive, writer: None };
    archives.into_iter().map(place).collect()
}

/// The archives of an owner of which something may be held, those that are gone themselves included.
fn held_places(disk: &Arc<Disk>, owner: &Arc<OwnerState>) -> Result<Vec<Place>, VaultError> {
    let directory = disk.layout.held(&owner.name);
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed(&directory))?,
    };
    let mut places = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed(&directory))?;
        let Some(name) = entry.file_name().to_str().and_then(|name| ArchiveName::parse(name).ok()) else {
            continue;
        };
        let archive = owner.archive(&name).unwrap_or_else(|| Arc::new(ArchiveState::new(name)));
        places.push(Place { disk: Arc::clone(disk), owner: Arc::clone(owner), archive, writer: None });
    }
    Ok(places)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> VaultError {
    let path = path.to_owned();
    move |source| VaultError::Io { action: "look after", path, source }
}
