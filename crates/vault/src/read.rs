//! Reading objects.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::Bytes;
use nix::fcntl::OFlag;
use tracing::error;

use crate::archive::Place;
use crate::body::Producer;
use crate::names::Object;
use crate::refusal::{Code, Refusal};
use crate::view::View;

/// So much is read at a time; a download has at most two such pieces in memory.
const PIECE: u64 = 256 << 10;

/// How often an object is looked up again that was moved while it was looked at.
const MAX_LOOKS: usize = 3;

/// An object's length. Blocking.
pub(crate) fn length(place: &Place, object: &Object, view: View) -> Result<u64, Refusal> {
    found(place, object, view, |path| {
        let metadata = path.symlink_metadata()?;
        Ok(metadata.is_file().then_some(metadata.len()))
    })
}

/// Opens an object; its length comes with it. Blocking.
pub(crate) fn open(place: &Place, object: &Object, view: View) -> Result<(File, u64), Refusal> {
    found(place, object, view, open_regular)
}

/// Looks an object up and does something with it. One that is moved aside meanwhile is looked up again.
fn found<T>(
    place: &Place,
    object: &Object,
    view: View,
    mut look: impl FnMut(&Path) -> io::Result<Option<T>>,
) -> Result<T, Refusal> {
    let mut attempt = || place.locate(object, view)?.map_or(Ok(None), |path| look(&path));
    let mut answer = attempt();
    for _ in 0..MAX_LOOKS {
        match &answer {
            Err(error) if view != View::Now && error.kind() == io::ErrorKind::NotFound => answer = attempt(),
            _ => break,
        }
    }
    answer.map_err(|error| unreadable(place, object, &error))?.ok_or_else(|| not_found(object))
}

/// Opens a file unless it is something else: what a person at this disk put here must not lead elsewhere or block.
pub(crate) fn open_regular(path: &Path) -> io::Result<Option<(File, u64)>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata.len())))
}

fn unreadable(place: &Place, object: &Object, error: &io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::NotFound {
        return not_found(object);
    }
    error!(owner = %place.owner.name, archive = %place.archive.name, %object, %error, "cannot read an object");
    Refusal::new(
        Code::StorageFailed,
        format!("{object} is stored, but can't be read from the disk that keeps it"),
    )
}

impl Place {
    /// What to answer when something can't be read that has no name of its own.
    pub(crate) fn unreadable(&self, what: &str, error: &io::Error) -> Refusal {
        error!(owner = %self.owner.name, archive = %self.archive.name, %error, "cannot read {what}");
        Refusal::new(Code::StorageFailed, format!("{what} can't be read from the disk that keeps it"))
    }
}

pub(crate) fn not_found(object: &Object) -> Refusal {
    Refusal::new(Code::NotFound, format!("{object} is not stored here"))
}

/// A part of a file, piece by piece.
pub(crate) struct FilePart {
    pub(crate) file: File,
    pub(crate) bytes: Range<u64>,
}

impl Producer for FilePart {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let length = PIECE.min(self.bytes.end - self.bytes.start);
        if length == 0 {
            return Ok(None);
        }
        // Read into fresh memory: clearing it first would take as long as copying what is in the file.
        let mut piece = Vec::with_capacity(length as usize);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.bytes.start))?;
        if file.take(length).read_to_end(&mut piece)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.bytes.start += length;
        Ok(Some(piece.into()))
    }
}
