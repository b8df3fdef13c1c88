//! When objects arrived: a journal per archive, beside the times of the files, which a careless copy loses.
//!
//! One line per object, begun by its line break, so that a torn line spoils only itself. The last line of a
//! name counts. The vault sets the time of the file to the same moment before the first sync, so that the journal need not be
//! durable before an object is acknowledged. The earlier of both counts: a copy makes a file's time later, and a line that a crash
//! took leaves one of an earlier copy of the same object. Where they differ, too much of the past is seen and never too little.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::warn;

use crate::archive::{Place, failed_disk};
use crate::disk::{ReplaceError, Severity, replace};
use crate::layout::unix_milliseconds;
use crate::medium::MediumFile;
use crate::names::{Object, ObjectName, ObjectType};
use crate::refusal::Refusal;

/// So many objects are kept in memory at most, 64 bytes each; beyond that the times of the files serve.
const MAX_KNOWN: usize = 1 << 20;

/// A journal below this size is never written anew.
const SMALL: u64 = 1 << 20;

/// No line is longer; what is, is damaged.
const MAX_LINE: u64 = 128;

pub(crate) type Key = (ObjectType, [u8; 32]);

/// The journal of one archive.
#[derive(Default)]
pub(crate) struct Arrivals {
    journal: Mutex<Journal>,
}

#[derive(Default)]
struct Journal {
    /// Open at its end, once something was written.
    file: Option<Box<dyn MediumFile>>,
    /// Something was written since the last sync.
    unsynced: bool,
    /// What it says, if it was needed lately.
    known: Option<HashMap<Key, u64>>,
    /// Its size after it was last written anew.
    compacted: u64,
}

impl Arrivals {
    fn lock(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees the memory; it is read again when needed.
    pub(crate) fn forget(&self) {
        self.lock().known = None;
    }
}

impl Place {
    /// When an object that is there had arrived, in milliseconds since 1970-01-01 UTC. Blocking.
    pub(crate) fn arrived(&self, kind: ObjectType, name: &ObjectName, file: &Metadata) -> u64 {
        let mut journal = self.archive.arrivals.lock();
        let known = journal.known.get_or_insert_with(|| self.read_arrivals());
        let noted = known.get(&(kind, name.digest())).copied().unwrap_or(u64::MAX);
        noted.min(file.modified().map_or(0, unix_milliseconds))
    }

    /// Notes when objects arrived that are in their places. Blocking.
    pub(crate) fn note_arrivals(
        &self,
        kind: ObjectType,
        objects: &[(ObjectName, u64)],
    ) -> Result<(), Refusal> {
        let mut lines = String::with_capacity(objects.len() * 96);
        for (name, arrived) in objects {
            lines += &line(*arrived, kind, name);
            self.archive.note_arrival(*arrived);
        }
        let mut journal = self.archive.arrivals.lock();
        if let Some(known) = &mut journal.known {
            known.extend(objects.iter().map(|(name, arrived)| ((kind, name.digest()), *arrived)));
        }
        journal.unsynced = true;
        let written = || {
            let file = match &mut journal.file {
                Some(file) => file,
                none => none.insert(self.open_journal()?),
            };
            file.write_all(lines.as_bytes())
        };
        match { written }() {
            Ok(()) => Ok(()),
            Err(error) => match self.disk.judge("note an arrival", &error) {
                _ if self.disk.has_failed() => Err(failed_disk("note an arrival")),
                // The files' own times say the same.
                Severity::Full | Severity::Busy | Severity::Failed => {
                    warn!(owner = %self.owner.name, archive = %self.archive.name, %error, "an arrival was not noted");
                    Ok(())
                }
            },
        }
    }

    fn open_journal(&self) -> io::Result<Box<dyn MediumFile>> {
        {
            let _directories = self.owner.directories();
            self.disk.make_directories(&self.disk.layout.record(&self.owner.name))?;
        }
        self.disk.medium.append(&self.disk.layout.arrivals(&self.owner.name, &self.archive.name))
    }

    /// Makes durable what was noted. Blocking.
    pub(crate) fn sync_arrivals(&self) {
        let mut journal = self.archive.arrivals.lock();
        if !journal.unsynced || self.disk.has_failed() {
            return;
        }
        if let Some(file) = &journal.file {
            let record = self.disk.layout.record(&self.owner.name);
            // A failure gives the disk up, and says so.
            let synced = self.disk.sync_file(file.as_ref()).and_then(|()| self.disk.sync_directory(&record));
            journal.unsynced = synced.is_err();
        }
    }

    /// Reads the journal; what can't be read is left to the times of the files.
    fn read_arrivals(&self) -> HashMap<Key, u64> {
        let path = self.disk.layout.arrivals(&self.owner.name, &self.archive.name);
        let mut known = HashMap::new();
        let read = File::open(&path).and_then(|file| {
            let mut reader = BufReader::new(file);
            let mut line = Vec::new();
            while io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line)? > 0 {
                if let Some((key, arrived)) = parse(&line)
                    && (known.len() < MAX_KNOWN || known.contains_key(&key))
                {
                    known.insert(key, arrived);
                }
                line.clear();
            }
            Ok(())
        });
        if let Err(error) = read
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(path = %path.display(), %error, "a record of arrivals can't be read: the files' times are used");
        }
        known
    }

    /// Writes the journal anew without what is gone, if it has grown much. Blocking.
    pub(crate) fn compact_arrivals(&self) {
        let path = self.disk.layout.arrivals(&self.owner.name, &self.archive.name);
        let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let mut journal = self.archive.arrivals.lock();
        if size <= SMALL.max(journal.compacted.saturating_mul(2)) || self.disk.has_failed() {
            return;
        }
        let mut known = journal.known.take().unwrap_or_else(|| self.read_arrivals());
        if known.len() >= MAX_KNOWN {
            return;
        }
        let mut text = String::new();
        known.retain(|(kind, digest), arrived| {
            let name = ObjectName::from_digest(digest);
            let stays = self.path(&Object::Named(*kind, name.clone())).symlink_metadata().is_ok();
            if stays {
                text += &line(*arrived, *kind, &name);
            }
            stays
        });
        match replace(self.disk.medium.as_ref(), &path, &text) {
            Ok(()) => {
                journal.file = None;
                journal.unsynced = false;
                journal.compacted = text.len() as u64;
            }
            Err(ReplaceError::Sync(error)) => self.disk.fail("write a record of arrivals anew", &error),
            Err(ReplaceError::Write(error)) => {
                self.disk.judge("write a record of arrivals anew", &error);
            }
        }
    }
}

fn line(arrived: u64, kind: ObjectType, name: &ObjectName) -> String {
    format!("\n{arrived} {}/{name}", kind.as_str())
}

/// One line; `None` for an empty, torn or damaged one.
pub(crate) fn parse(line: &[u8]) -> Option<(Key, u64)> {
    let line = std::str::from_utf8(line).ok()?.trim_end_matches('\n');
    let (arrived, object) = line.split_once(' ')?;
    let (kind, name) = object.split_once('/')?;
    Some(((ObjectType::parse(kind)?, ObjectName::parse(name).ok()?.digest()), arrived.parse().ok()?))
}
