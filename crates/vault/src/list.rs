//! Listing the objects of a type, as JSON written while the directories are read: a list has no bound, memory has.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::fs::{self, DirEntry, ReadDir};
use std::io;
use std::path::PathBuf;

use bytes::Bytes;

use crate::archive::Place;
use crate::body::Producer;
use crate::held::{self, HeldName};
use crate::names::{Object, ObjectName, ObjectType};
use crate::view::View;

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
    place: Place,
    kind: ObjectType,
    view: View,
    version: Version,
    /// Directories not yet read.
    directories: VecDeque<Directory>,
    /// The directory being read.
    entries: Option<(Directory, ReadDir)>,
    /// What was shown of the held objects of that directory: if a clock was set back, two copies have been there at one time.
    shown: HashSet<[u8; 32]>,
    /// What goes before the next entry: nothing yet written needs the bracket, everything else a comma.
    separator: char,
    ended: bool,
}

#[derive(Debug, Clone)]
enum Directory {
    Live(PathBuf),
    Held(PathBuf),
}

impl Listing {
    pub(crate) fn new(place: Place, kind: ObjectType, view: View, version: Version) -> Self {
        let live = place.disk.layout.objects(&place.owner.name, &place.archive.name, kind);
        let mut directories: VecDeque<_> =
            held::shards(live, kind).into_iter().map(Directory::Live).collect();
        if view != View::Now && ObjectType::HELD.contains(&kind) {
            // After the live ones: what is deleted meanwhile is met here or there.
            directories.extend(place.held_directories(kind).into_iter().map(Directory::Held));
        }
        let shown = HashSet::new();
        Self { place, kind, view, version, directories, entries: None, shown, separator: '[', ended: false }
    }

    /// Writes the next object to `text`; false at the end.
    fn step(&mut self, text: &mut String) -> io::Result<bool> {
        let Some((directory, entries)) = self.entries.as_mut() else {
            let Some(directory) = self.directories.pop_front() else { return Ok(false) };
            let (Directory::Live(path) | Directory::Held(path)) = &directory;
            self.entries = unless_missing(fs::read_dir(path))?.map(|entries| (directory, entries));
            self.shown.clear();
            return Ok(true);
        };
        let Some(entry) = entries.next().transpose()? else {
            self.entries = None;
            return Ok(true);
        };
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else { return Ok(true) };
        let is_held = matches!(directory, Directory::Held(_));
        let shown = if is_held { self.held(&entry, file_name) } else { self.live(&entry, file_name) };
        // It may have been moved or deleted since its name was read.
        let Some((name, size)) = unless_missing(shown)?.flatten() else { return Ok(true) };
        if is_held && !self.shown.insert(name.digest()) {
            return Ok(true);
        }
        let written = match self.version {
            Version::One => write!(text, "{}\"{name}\"", self.separator),
            Version::Two => write!(text, "{}{{\"name\":\"{name}\",\"size\":{size}}}", self.separator),
        };
        written.map_err(io::Error::other)?;
        self.separator = ',';
        Ok(true)
    }

    /// Name and size of an object, if the view shows it; the size only if it is told.
    fn live(&self, entry: &DirEntry, name: &str) -> io::Result<Option<(ObjectName, u64)>> {
        let Ok(name) = ObjectName::parse(name) else { return Ok(None) };
        if self.view == View::Now && self.version == Version::One {
            return Ok(entry.file_type()?.is_file().then_some((name, 0)));
        }
        let metadata = entry.metadata()?;
        let (is_file, size) = (metadata.is_file(), metadata.len());
        let shown = is_file && self.view.shows(&self.place, self.kind, &name, || Ok(metadata))?;
        Ok(shown.then_some((name, size)))
    }

    fn held(&self, entry: &DirEntry, name: &str) -> io::Result<Option<(ObjectName, u64)>> {
        let Some(held) = HeldName::parse(name) else { return Ok(None) };
        let metadata = entry.metadata()?;
        let (is_file, size) = (metadata.is_file(), metadata.len());
        if !is_file || !self.view.shows_held(&held, || Ok(metadata))? {
            return Ok(None);
        }
        // The same object may be there again, and shown as such, if a clock was set back.
        let live = self.place.path(&Object::Named(self.kind, held.object.clone()));
        let again = unless_missing(live.symlink_metadata())?.filter(fs::Metadata::is_file);
        let again = again.map(|live| self.view.shows(&self.place, self.kind, &held.object, || Ok(live)));
        Ok((!again.transpose()?.unwrap_or(false)).then_some((held.object, size)))
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
