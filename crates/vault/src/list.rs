//! Listing the objects of a type, as JSON written while the directories are read: a list has no bound, memory has.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{self, ReadDir};
use std::io;
use std::path::PathBuf;

use bytes::Bytes;

use crate::archive::Place;
use crate::body::Producer;
use crate::names::{ObjectName, ObjectType};

/// A piece of a list has about this many bytes.
const PIECE: usize = 64 << 10;

/// What a list tells of each object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Names.
    One,
    /// Names and sizes.
    Two,
}

impl Version {
    /// What a client asks for by its Accept header.
    pub(crate) fn requested(accept: Option<&str>) -> Self {
        let types = accept.unwrap_or_default().split(',');
        let mut types = types.map(|kind| kind.split(';').next().unwrap_or_default().trim());
        if types.any(|kind| kind == Self::Two.content_type()) { Self::Two } else { Self::One }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::One => "application/vnd.x.restic.rest.v1",
            Self::Two => "application/vnd.x.restic.rest.v2",
        }
    }
}

/// A list under way.
pub(crate) struct Listing {
    version: Version,
    /// Directories not yet read.
    directories: VecDeque<PathBuf>,
    /// The directory being read.
    entries: Option<ReadDir>,
    /// What goes before the next entry: nothing yet written needs the bracket, everything else a comma.
    separator: char,
    ended: bool,
}

impl Listing {
    pub(crate) fn new(place: &Place, kind: ObjectType, version: Version) -> Self {
        let directory = place.disk.layout.objects(&place.owner.name, &place.archive.name, kind);
        let directories = match kind {
            ObjectType::Data => (0..=255).map(|shard| directory.join(format!("{shard:02x}"))).collect(),
            _ => VecDeque::from([directory]),
        };
        Self { version, directories, entries: None, separator: '[', ended: false }
    }

    /// Writes the next object to `text`; false at the end.
    fn step(&mut self, text: &mut String) -> io::Result<bool> {
        let Some(entries) = self.entries.as_mut() else {
            let Some(directory) = self.directories.pop_front() else { return Ok(false) };
            self.entries = unless_missing(fs::read_dir(directory))?;
            return Ok(true);
        };
        let Some(entry) = entries.next().transpose()? else {
            self.entries = None;
            return Ok(true);
        };
        let Some(name) = entry.file_name().to_str().and_then(|name| ObjectName::parse(name).ok()) else {
            return Ok(true);
        };
        let written = match self.version {
            Version::One => {
                entry.file_type()?.is_file().then(|| write!(text, "{}\"{name}\"", self.separator))
            }
            // It may have been deleted since its name was read.
            Version::Two => unless_missing(entry.metadata())?.filter(fs::Metadata::is_file).map(|metadata| {
                write!(text, "{}{{\"name\":\"{name}\",\"size\":{}}}", self.separator, metadata.len())
            }),
        };
        if let Some(written) = written {
            written.map_err(io::Error::other)?;
            self.separator = ',';
        }
        Ok(true)
    }
}

impl Producer for Listing {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let mut text = String::with_capacity(PIECE + 256);
        while text.len() < PIECE {
            if !self.step(&mut text)? {
                text.push_str(if self.separator == '[' { "[]" } else { "]" });
                self.ended = true;
                break;
            }
        }
        Ok(Some(text.into()))
    }
}

fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
