//! When objects arrived: a journal per archive, beside the times of the files, which a careless copy loses.
//!
//! One line per object, begun by its line break, so that a torn line spoils only itself. The last line of a
//! name counts. The vault sets the time of the file to the same moment before the first sync, so that the journal need not be
//! durable before an object is acknowledged. The earlier of both counts: a copy makes a file's time later, and a line that a crash
//! took leaves one of an earlier copy of the same object. Where they differ, too much of the past is seen and never too little.

mod compact;
mod known;

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::warn;

use crate::archive::{Place, failed_disk};
use crate::disk::Severity;
use crate::layout::unix_milliseconds;
use crate::medium::MediumFile;
use crate::names::{ObjectName, ObjectType};
use crate::refusal::Refusal;

pub(crate) use known::{Budget, MOST_KNOWN, MOST_KNOWN_OF_OWNER};

use known::Known;

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
    known: Option<Known>,
    /// Its size after it was last written anew.
    compacted: u64,
}

impl Arrivals {
    fn lock(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What bounds the memory of all journals.
    fn budgets(&self) -> [&Budget; 2] {
        [&self.disk.arrivals, &self.owner.arrivals]
    }

    /// Frees the memory; it is read again when needed.
    pub(crate) fn forget_arrivals(&self) {
        if let Some(known) = self.archive.arrivals.lock().known.take() {
            known.free(self.budgets());
        }
    }

    /// When an object that is there had arrived, in milliseconds since 1970-01-01 UTC. Blocking.
    pub(crate) fn arrived(&self, kind: ObjectType, name: &ObjectName, file: &Metadata) -> u64 {
        let mut journal = self.archive.arrivals.lock();
        let known = journal.known.get_or_insert_with(|| self.read_arrivals());
        let noted = known.get(&(kind, name.digest())).unwrap_or(u64::MAX);
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
            for (name, arrived) in objects {
                known.insert(self.budgets(), (kind, name.digest()), *arrived);
            }
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
    fn read_arrivals(&self) -> Known {
        let mut known = Known::default();
        let read = self.read_journal(|key, arrived| known.insert(self.budgets(), key, arrived));
        if let Err(error) = read
            && error.kind() != io::ErrorKind::NotFound
        {
            let path = self.disk.layout.arrivals(&self.owner.name, &self.archive.name);
            warn!(path = %path.display(), %error, "a record of arrivals can't be read: the files' times are used");
        }
        known
    }

    fn read_journal(&self, mut note: impl FnMut(Key, u64)) -> io::Result<()> {
        let path = self.disk.layout.arrivals(&self.owner.name, &self.archive.name);
        let mut reader = BufReader::new(File::open(&path)?);
        let mut line = Vec::new();
        while io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line)? > 0 {
            if let Some((key, arrived)) = parse(&line) {
                note(key, arrived);
            }
            line.clear();
        }
        Ok(())
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
