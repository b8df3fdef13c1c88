//! Names of what was deleted and is still held, and walking over them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::archive::Place;
use crate::layout::directories;
use crate::names::{ObjectName, ObjectType};

/// What the name of a held file tells: `<name>.<deleted>.<hold>.<arrived>`; in format 1 `<name>.<deleted>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldName {
    pub(crate) object: ObjectName,
    /// When it was deleted, by the wall clock: milliseconds since 1970-01-01 UTC.
    pub(crate) deleted: u64,
    /// Missing where a deletion by an earlier version has not been looked at yet.
    pub(crate) stamp: Option<Stamp>,
}

/// What format 2 adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When it was deleted, in milliseconds of hold time.
    pub(crate) hold: u64,
    /// When it had arrived, by the wall clock.
    pub(crate) arrived: u64,
}

impl HeldName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (object, times) = name.split_once('.')?;
        let object = ObjectName::parse(object).ok()?;
        let mut numbers = times.split('.').map(number);
        let deleted = numbers.next()??;
        let stamp = match (numbers.next(), numbers.next(), numbers.next()) {
            (None, None, None) => None,
            (Some(hold), Some(arrived), None) => Some(Stamp { hold: hold?, arrived: arrived? }),
            _ => return None,
        };
        Some(Self { object, deleted, stamp })
    }

    pub(crate) fn to_text(&self) -> String {
        let Self { object, deleted, stamp } = self;
        match stamp {
            Some(Stamp { hold, arrived }) => format!("{object}.{deleted}.{hold}.{arrived}"),
            None => format!("{object}.{deleted}"),
        }
    }
}

/// A decimal number of 1 to 20 digits.
fn number(text: &str) -> Option<u64> {
    let digits = (1..=20).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A held file.
pub(crate) struct HeldFile {
    pub(crate) name: HeldName,
    pub(crate) path: PathBuf,
}

impl Place {
    /// The directories that may have held objects of a type.
    pub(crate) fn held_directories(&self, kind: ObjectType) -> Vec<PathBuf> {
        let base = self.disk.layout.held(&self.owner.name).join(self.archive.name.as_str());
        shards(base.join(kind.as_str()), kind)
    }

    /// Where a held object belongs.
    pub(crate) fn held_path(&self, kind: ObjectType, name: &HeldName) -> PathBuf {
        let mut path = self.disk.layout.held(&self.owner.name).join(self.archive.name.as_str());
        path.extend(directories(kind, &name.object));
        path.push(name.to_text());
        path
    }
}

/// The directories in which objects of a type lie, below that of the type.
pub(crate) fn shards(directory: PathBuf, kind: ObjectType) -> Vec<PathBuf> {
    match kind {
        ObjectType::Data => (0..=255).map(|shard| directory.join(format!("{shard:02x}"))).collect(),
        _ => vec![directory],
    }
}

/// Goes through the held files of a directory until told to stop; none if it does not exist.
pub(crate) fn visit<E: From<io::Error>>(
    directory: &Path,
    mut visit: impl FnMut(HeldFile) -> Result<(), E>,
) -> Result<(), E> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(HeldName::parse)
            && entry.file_type()?.is_file()
        {
            visit(HeldFile { name, path: entry.path() })?;
        }
    }
    Ok(())
}
