//! Deleting an object: it is moved aside and held, for whoever deletes may be a thief with the owner's key.

use std::io;

use crate::archive::Place;
use crate::held::{HeldName, Stamp};
use crate::layout::charge;
use crate::names::{Object, ObjectName, ObjectType};
use crate::read;
use crate::refusal::{Code, Refusal};
use crate::view::View;

/// How many milliseconds are tried for a held name; each deletion of the same name within one takes the next.
const MAX_TRIES: u64 = 1000;

/// Deletes an object, durably. Blocking.
pub(crate) fn delete(place: &Place, object: &Object) -> Result<(), Refusal> {
    place.check_writable()?;
    let length = read::length(place, object, View::Now)?;
    match object {
        // The route refuses this before.
        Object::Config => Err(Refusal::new(Code::WriteOnce, "the config of an archive is never deleted")),
        Object::Named(ObjectType::Locks, _) => erase(place, object, length),
        Object::Named(kind, name) => hold(place, object, *kind, name, length),
    }
}

fn erase(place: &Place, object: &Object, length: u64) -> Result<(), Refusal> {
    let path = place.path(object);
    place.disk.medium.remove(&path).map_err(|error| failed(place, object, &error))?;
    place.owner.ledger().erase(charge(length));
    place.sync_parent(&path)
}

fn hold(
    place: &Place,
    object: &Object,
    kind: ObjectType,
    name: &ObjectName,
    length: u64,
) -> Result<(), Refusal> {
    let path = place.path(object);
    let metadata = path.symlink_metadata().map_err(|error| failed(place, object, &error))?;
    let arrived = place.arrived(kind, name, &metadata);
    let stamp = Some(Stamp { hold: place.disk.hold_time(), arrived });
    // A clock that was set back must not make it have gone before it came, or before what refers to it came.
    place.archive.note_arrival(arrived);
    let first = place.archive.deletion_time(place.disk.now());
    for deleted in first..first.saturating_add(MAX_TRIES) {
        let held = place.held_path(kind, &HeldName { object: name.clone(), deleted, stamp });
        place.make_parent(&held)?;
        let _guard = place.begin_rename();
        place.check_writable()?;
        match place.disk.medium.rename_new(&path, &held) {
            Ok(()) => {
                place.owner.ledger().hold(charge(length));
                place.disk.hold.note(stamp.map_or(0, |stamp| stamp.hold));
                // Written down within a minute.
                place.owner.damages().forget(&(place.archive.name.clone(), kind, name.clone()));
                place.sync_parent(&held)?;
                return place.sync_parent(&path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(place, object, &error)),
        }
    }
    Err(Refusal::new(Code::BadRequest, format!("{object} has been deleted too often within a second")))
}

fn failed(place: &Place, object: &Object, error: &io::Error) -> Refusal {
    // Another request was first.
    if error.kind() == io::ErrorKind::NotFound {
        return read::not_found(object);
    }
    place.failed("move a file aside", error)
}
