//! Sealed state objects: the little that lets an owner come back from nothing. Unreadable here.

use std::fs;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;

use crate::disk::{Disk, Severity};
use crate::error::StateError;
use crate::incarnation::{Incarnation, Installations, RECORD_VERSION, Writer};
use crate::layout::{MAX_STATE_BYTES, STATE_VERSIONS, parse_state_name};
use crate::owner::OwnerState;

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
    match (*owner.installations(), writer) {
        (Installations::Newer { found }, _) => {
            return Err(StateError::NewerRecord { found, known: RECORD_VERSION });
        }
        (Installations::Newest(newest), Some(writer)) => {
            if let Writer::Superseded { since } = newest.writer(writer) {
                return Err(StateError::Superseded { since });
            }
        }
        _ => {}
    }
    if disk.has_failed() {
        let source = io::Error::other("an earlier write failed; Kith has to be restarted");
        return Err(StateError::Storage { action: "write", source });
    }
    let stored = sequences(disk, owner)?;
    match stored.last() {
        Some(&newest) if newest > sequence => return Err(StateError::Stale { sequence, newest }),
        Some(&newest) if newest == sequence => {
            let same = read(disk, owner, sequence)?.is_some_and(|stored| stored == *bytes);
            return if same { Ok(()) } else { Err(StateError::Conflict { sequence }) };
        }
        _ => {}
    }
    write(disk, owner, sequence, bytes).map_err(|error| {
        match disk.judge("write a state object", &error) {
            Severity::Full if !disk.has_failed() => StateError::DiskFull,
            _ => StateError::Storage { action: "write", source: error },
        }
    })?;
    let superseded = (stored.len() + 1).saturating_sub(STATE_VERSIONS);
    for &old in stored.iter().take(superseded) {
        if let Err(error) = disk.medium.remove(&disk.layout.state_object(&owner.name, old)) {
            warn!(owner = %owner.name, sequence = old, %error, "an old state object could not be removed");
        }
    }
    Ok(())
}

fn write(disk: &Arc<Disk>, owner: &OwnerState, sequence: u64, bytes: &Bytes) -> io::Result<()> {
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
        file.place(&disk.layout.state_object(&owner.name, sequence))?;
        disk.sync_directory(&directory)
    };
    let result = written();
    disk.fulfil(length);
    result
}

/// The newest state object. Blocking.
pub(crate) fn newest(disk: &Disk, owner: &OwnerState) -> Result<Option<(u64, Bytes)>, StateError> {
    // One that was just superseded may vanish between the list and the reading; the newest never does.
    let Some(&sequence) = sequences(disk, owner)?.last() else { return Ok(None) };
    Ok(read(disk, owner, sequence)?.map(|bytes| (sequence, bytes)))
}

/// One state object. Blocking.
pub(crate) fn read(disk: &Disk, owner: &OwnerState, sequence: u64) -> Result<Option<Bytes>, StateError> {
    match fs::read(disk.layout.state_object(&owner.name, sequence)) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::Storage { action: "read", source }),
    }
}

/// The sequence numbers stored, ascending. Blocking.
pub(crate) fn sequences(disk: &Disk, owner: &OwnerState) -> Result<Vec<u64>, StateError> {
    let entries = match fs::read_dir(disk.layout.state(&owner.name)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(StateError::Storage { action: "list", source }),
    };
    let mut sequences = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| StateError::Storage { action: "list", source })?;
        sequences.extend(entry.file_name().to_str().and_then(parse_state_name));
    }
    sequences.sort_unstable();
    Ok(sequences)
}
