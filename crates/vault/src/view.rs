//! The archive as it is, or as it was: with the header `kith-as-of` a reader sees what was there at that time by
//! this computer's record. What was deleted later is served from where it is held, what came later is hidden.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName};

use crate::archive::Place;
use crate::held::{self, HeldFile, HeldName};
use crate::layout::unix_milliseconds;
use crate::names::{Object, ObjectName, ObjectType};
use crate::refusal::{Code, Refusal};

/// The request header that asks for an archive as it was: decimal milliseconds since 1970-01-01 UTC, by the clock of
/// the computer that keeps the archive.
pub const AS_OF_HEADER: HeaderName = HeaderName::from_static("kith-as-of");

/// Which state of an archive is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Now,
    /// At this time, in milliseconds since 1970-01-01 UTC.
    AsOf(u64),
}

impl View {
    /// What the headers of a request ask for.
    pub(crate) fn requested(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(AS_OF_HEADER).iter();
        let Some(value) = values.next() else { return Ok(Self::Now) };
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|c| c.is_ascii_digit()));
        match (digits.and_then(|text| text.parse().ok()), values.next()) {
            (Some(at), None) => Ok(Self::AsOf(at)),
            _ => Err(Refusal::new(
                Code::BadRequest,
                "kith-as-of is given once, in decimal milliseconds since 1970-01-01 UTC",
            )),
        }
    }

    /// Shows an object that is there.
    pub(crate) fn shows(
        self,
        place: &Place,
        kind: ObjectType,
        name: &ObjectName,
        file: impl FnOnce() -> io::Result<Metadata>,
    ) -> io::Result<bool> {
        Ok(match (self, kind) {
            // Keys were put there by hand: nobody recorded when.
            (Self::Now, _) | (Self::AsOf(_), ObjectType::Keys) => true,
            // The locks of then hinder nobody now.
            (Self::AsOf(_), ObjectType::Locks) => false,
            (Self::AsOf(at), _) => place.arrived(kind, name, &file()?) <= at,
        })
    }

    /// Shows a held object; `file` tells when it was last changed.
    pub(crate) fn shows_held(
        self,
        held: &HeldName,
        file: impl FnOnce() -> io::Result<Metadata>,
    ) -> io::Result<bool> {
        let Self::AsOf(at) = self else { return Ok(false) };
        if at >= held.deleted {
            return Ok(false);
        }
        let arrived = match held.stamp {
            Some(stamp) => stamp.arrived,
            None => file()?.modified().map_or(0, unix_milliseconds),
        };
        Ok(arrived <= at)
    }
}

impl Place {
    /// The file that is an object in this view; `None` if there is none. Blocking.
    pub(crate) fn locate(&self, object: &Object, view: View) -> io::Result<Option<PathBuf>> {
        let path = self.path(object);
        let (View::AsOf(_), Object::Named(kind, name)) = (view, object) else { return Ok(Some(path)) };
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_file() => {
                if view.shows(self, *kind, name, || Ok(metadata))? {
                    return Ok(Some(path));
                }
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if !ObjectType::HELD.contains(kind) {
            return Ok(None);
        }
        let base = self.held_path(*kind, &HeldName { object: name.clone(), deleted: 0, stamp: None });
        let Some(directory) = base.parent() else { return Ok(None) };
        locate_held(directory, name, view)
    }
}

fn locate_held(directory: &Path, name: &ObjectName, view: View) -> io::Result<Option<PathBuf>> {
    let mut found = None;
    held::visit(directory, |HeldFile { name: held, path }| {
        if held.object == *name && view.shows_held(&held, || path.symlink_metadata())? {
            found = Some(path);
        }
        Ok::<_, io::Error>(())
    })?;
    Ok(found)
}
