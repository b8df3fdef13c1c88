//! Deleting an object: it is moved aside and held, for whoever deletes may be a thief with the owner's key.

use std::fs;
use std::io;
use std::time::SystemTime;

use crate::archive::Place;
use crate::layout::{charge, unix_milliseconds};
use crate::names::{Object, ObjectName, ObjectType};
use crate::read;
use crate::refusal::{Code, Refusal};

/// How many milliseconds are tried for a held name; each deletion of the same name within one takes the next.
const MAX_TRIES: u64 = 1000;

/// Deletes an object, durably. Blocking.
pub(crate) fn delete(place: &Place, object: &Object) -> Result<(), Refusal> {
    place.check_writable()?;
    let length = read::length(place, object)?;
    match object {
        // The route refuses this before.
        Object::Config => Err(Refusal::new(Code::WriteOnce, "the config of an archive is never deleted")),
        Object::Named(ObjectType::Locks, _) => erase(place, object, length),
        Object::Named(kind, name) => hold(place, object, *kind, name, length),
    }
}

fn erase(place: &Place, object: &Object, length: u64) -> Result<(), Refusal> {
    let path = place.path(object);
    fs::remove_file(&path).map_err(|error| failed(place, object, &error))?;
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
    let now = unix_milliseconds(SystemTime::now());
    for deleted in now..now.saturating_add(MAX_TRIES) {
        let held = place.disk.layout.held_object(&place.owner.name, &place.archive.name, kind, name, deleted);
        place.make_parent(&held)?;
        let _guard = place.begin_rename();
        match place.disk.rename_new(&path, &held) {
            Ok(()) => {
                place.owner.ledger().hold(charge(length));
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
