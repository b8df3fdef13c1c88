//! Sealed state objects: the little that lets an owner come back from nothing. Unreadable here.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;

use crate::disk::{Disk, Severity};
use crate::error::StateError;
use crate::incarnation::{Incarnation, Installations, RECORD_VERSION, Writer};
use crate::layout::{MAX_STATE_BYTES, STATE_DAYS, STATE_VERSIONS, StateName, unix_milliseconds};
use crate::owner::OwnerState;

/// By so much the number of a state object may exceed that of the newest: a recovery adds some 2^32. Without a bound whoever
/// could write once could use up all numbers.
const MOST_AHEAD: u64 = 1 << 40;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Stores a state object, durably. Blocking.
pub(crate) fn put(
    disk: &Arc<Disk>,
    owner: &OwnerState,
    writer: Option<Incarnation>,
    sequence: u64,
    bytes: &Bytes,
) -> Result<(), StateError> {
    if bytes.len() > MAX_STATE_BYTES {
        return Err(StateError::TooLarge { bytes: bytes.len(), max: MAX_STATE_BYTES });
    }
    if !owner.is_accepting() {
        return Err(StateError::NotAccepted);
    }
    let _state = owner.state();
    if let Installations::Newer { found } = *owner.installations() {
        return Err(StateError::NewerRecord { found, known: RECORD_VERSION });
    }
    let name = StateName { incarnation: writer.map_or(0, Incarnation::number), sequence };
    match writer.map(|writer| owner.writer(writer)) {
        Some(Writer::Superseded { since }) => return Err(StateError::Superseded { since }),
        Some(Writer::Implausible) => return Err(StateError::NotAccepted),
        Some(Writer::Current) | None => {}
    }
    if disk.has_failed() {
        let source = io::Error::other("an earlier write failed; Kith has to be restarted");
        return Err(StateError::Storage { action: "write", source });
    }
    let mut stored = names(disk, owner)?;
    match stored.last() {
        Some(&newest) if newest > name => {
            return Err(StateError::Stale { sequence, newest: newest.sequence });
        }
        Some(&newest) if newest == name => {
            let same = read(disk, owner, name)?.is_some_and(|stored| stored == *bytes);
            return if same { Ok(()) } else { Err(StateError::Conflict { sequence }) };
        }
        Some(newest) if sequence > newest.sequence.saturating_add(MOST_AHEAD) => {
            return Err(StateError::TooFarAhead { sequence, newest: newest.sequence });
        }
        None if sequence > u64::MAX / 2 => return Err(StateError::TooFarAhead { sequence, newest: 0 }),
        _ => {}
    }
    write(disk, owner, name, bytes).map_err(|error| match disk.judge("write a state object", &error) {
        Severity::Full if !disk.has_failed() => StateError::DiskFull,
        _ => StateError::Storage { action: "write", source: error },
    })?;
    stored.push(name);
    let dated: Vec<_> = stored.into_iter().map(|name| (name, day(disk, owner, name))).collect();
    for old in superfluous(&dated) {
        if let Err(error) = disk.medium.remove(&disk.layout.state_object(&owner.name, old)) {
            warn!(owner = %owner.name, sequence = old.sequence, %error, "an old state object could not be removed");
        }
    }
    Ok(())
}

/// Those that need not be kept, of all in ascending order with the days on which they came. The newest ones stay, and the newest of
/// each of the days before: ten that somebody sends in a row push out no more than one day.
fn superfluous(stored: &[(StateName, u64)]) -> Vec<StateName> {
    let mut days = BTreeSet::new();
    let (mut old, mut kept) = (Vec::new(), 0);
    for (position, (name, day)) in stored.iter().rev().enumerate() {
        let of_new_day = days.insert(*day);
        if position < STATE_VERSIONS {
            continue;
        }
        if of_new_day && kept < STATE_DAYS {
            kept += 1;
        } else {
            old.push(*name);
        }
    }
    old
}

/// On which day it came, by its file's time.
fn day(disk: &Disk, owner: &OwnerState, name: StateName) -> u64 {
    let metadata = fs::metadata(disk.layout.state_object(&owner.name, name));
    metadata.and_then(|metadata| metadata.modified()).map_or(0, |time| unix_milliseconds(time) / DAY_MS)
}

fn write(disk: &Arc<Disk>, owner: &OwnerState, name: StateName, bytes: &Bytes) -> io::Result<()> {
    let length = bytes.len() as u64;
    disk.promise(length)?.map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
    let written = || {
        let directory = disk.layout.state(&owner.name);
        {
            let _directories = owner.directories();
            disk.make_directories(&directory)?;
        }
        let mut file = disk.temporary()?;
        if let Err(error) = file.write_all(bytes).and_then(|()| file.sync(disk.now())) {
            file.discard();
            return Err(error);
        }
        file.place(&disk.layout.state_object(&owner.name, name))?;
        disk.sync_directory(&directory)
    };
    let result = written();
    disk.fulfil(length);
    result
}

/// The newest state object but `back` newer ones. Blocking.
pub(crate) fn newest(
    disk: &Disk,
    owner: &OwnerState,
    back: usize,
) -> Result<Option<(u64, Bytes)>, StateError> {
    // One that was just superseded may vanish between the list and the reading; the newest never does.
    let Some(&name) = names(disk, owner)?.iter().rev().nth(back) else { return Ok(None) };
    Ok(read(disk, owner, name)?.map(|bytes| (name.sequence, bytes)))
}

/// One state object. Blocking.
pub(crate) fn read(disk: &Disk, owner: &OwnerState, name: StateName) -> Result<Option<Bytes>, StateError> {
    match fs::read(disk.layout.state_object(&owner.name, name)) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::Storage { action: "read", source }),
    }
}

/// What is stored, ascending. Blocking.
pub(crate) fn names(disk: &Disk, owner: &OwnerState) -> Result<Vec<StateName>, StateError> {
    let entries = match fs::read_dir(disk.layout.state(&owner.name)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(StateError::Storage { action: "list", source }),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| StateError::Storage { action: "list", source })?;
        names.extend(entry.file_name().to_str().and_then(StateName::parse));
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_day_is_pushed_out_by_another() {
        let name = |sequence| StateName { incarnation: 0, sequence };
        let mut stored: Vec<(StateName, u64)> = Vec::new();
        // Three a day for a hundred days, then a flood.
        let flood = (300..1000).map(|sequence| (name(sequence), 100));
        for new in (0..300).map(|sequence| (name(sequence), sequence / 3)).chain(flood) {
            stored.push(new);
            let old = superfluous(&stored);
            stored.retain(|(name, _)| !old.contains(name));
            assert!(stored.len() <= STATE_VERSIONS + STATE_DAYS);
        }
        let kept: Vec<u64> = stored.iter().map(|(name, _)| name.sequence).collect();
        let newest: Vec<u64> = (990..1000).collect();
        assert!(kept.ends_with(&newest), "{kept:?}");
        let days: Vec<u64> = (100 - STATE_DAYS as u64..100).map(|day| 3 * day + 2).collect();
        assert_eq!(kept[..kept.len() - STATE_VERSIONS], days, "the newest of each day before the flood");
    }
}
