//! Bringing back what was deleted: each held object is renamed to where it was, never over another.

use std::io;

use serde_json::json;

use crate::archive::{Place, RenameGuard};
use crate::held::{self, HeldFile};
use crate::layout::{charge, unix_milliseconds};
use crate::names::{Object, ObjectName, ObjectType};
use crate::refusal::Refusal;

/// So many objects are renamed before their directories are synced.
const BATCH: usize = 1024;

/// What was brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Undeleted {
    data: u64,
    index: u64,
    snapshots: u64,
    bytes: u64,
    /// Deleted after the time, and not brought back because the same object is there.
    present: u64,
}

impl Undeleted {
    fn count(&mut self, kind: ObjectType, bytes: u64) {
        let objects = match kind {
            ObjectType::Data => &mut self.data,
            ObjectType::Index => &mut self.index,
            _ => &mut self.snapshots,
        };
        *objects += 1;
        self.bytes += bytes;
    }

    pub(crate) fn to_json(&self) -> String {
        let Self { data, index, snapshots, bytes, present } = self;
        let text = json!({
            "data": data, "index": index, "snapshots": snapshots, "bytes": bytes, "present": present,
        });
        text.to_string()
    }
}

/// Brings back every object that was deleted after a time: packs, then index files, then snapshots, so that whatever
/// is visible can be read even if it ends half-way. Doing it again does the rest. Blocking.
pub(crate) fn undelete(place: &Place, after: u64) -> Result<Undeleted, Refusal> {
    place.check_writable()?;
    // It grows by a line for every object that comes back, as often as that is done.
    place.compact_arrivals();
    let mut report = Undeleted::default();
    for kind in ObjectType::HELD {
        for directory in place.held_directories(kind) {
            let mut batch = Vec::new();
            held::visit(&directory, |file| {
                if file.name.deleted > after {
                    batch.push(file);
                }
                if batch.len() == BATCH { bring_back(place, kind, &mut batch, &mut report) } else { Ok(()) }
            })
            .map_err(|stop| stop.into_refusal(place))?;
            bring_back(place, kind, &mut batch, &mut report).map_err(|stop| stop.into_refusal(place))?;
        }
    }
    Ok(report)
}

/// Why a walk ended early.
enum Stop {
    Walk(io::Error),
    Refused(Refusal),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Walk(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Stop {
    fn into_refusal(self, place: &Place) -> Refusal {
        match self {
            Self::Walk(error) => place.unreadable("what is held", &error),
            Self::Refused(refusal) => refusal,
        }
    }
}

/// Brings back objects of one directory, durably.
fn bring_back(
    place: &Place,
    kind: ObjectType,
    batch: &mut Vec<HeldFile>,
    report: &mut Undeleted,
) -> Result<(), Stop> {
    let Some(first) = batch.first() else { return Ok(()) };
    let (held, live) = (first.path.clone(), place.path(&object(kind, &first.name.object)));
    place.make_parent(&live)?;
    let _guard: RenameGuard<'_> =
        if kind == ObjectType::Data { place.begin_rename() } else { place.await_renames() };
    place.check_writable()?;
    let mut back: Vec<(ObjectName, u64)> = Vec::with_capacity(batch.len());
    let mut failure = None;
    for HeldFile { name, path } in batch.drain(..) {
        // It may have been brought back, or erased, since it was listed.
        let Ok(metadata) = path.symlink_metadata() else { continue };
        match place.disk.medium.rename_new(&path, &place.path(&object(kind, &name.object))) {
            Ok(()) => {
                let arrived = name.stamp.map(|stamp| stamp.arrived);
                let arrived = arrived.unwrap_or_else(|| metadata.modified().map_or(0, unix_milliseconds));
                place.owner.ledger().unhold(charge(metadata.len()));
                report.count(kind, metadata.len());
                back.push((name.object, arrived));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => report.present += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                failure = Some(place.failed("bring a file back", &error));
                break;
            }
        }
    }
    if !back.is_empty() {
        place.note_arrivals(kind, &back)?;
        place.sync_parent(&live)?;
        place.sync_parent(&held)?;
    }
    failure.map_or(Ok(()), |refusal| Err(refusal.into()))
}

fn object(kind: ObjectType, name: &ObjectName) -> Object {
    Object::Named(kind, name.clone())
}
