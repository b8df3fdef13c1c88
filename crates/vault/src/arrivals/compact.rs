//! Writes a journal anew, of any length, with little memory: in passes, each over a part of the names.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;

use super::{Key, line};
use crate::archive::Place;
use crate::disk::{ReplaceError, replace_with};
use crate::medium::MediumFile;
use crate::names::{Object, ObjectName};

/// A journal below this size is never written anew.
const SMALL: u64 = 1 << 20;
/// About so many objects are in memory in each pass.
const PASS: u64 = 1 << 16;
/// No line is shorter.
const SHORTEST_LINE: u64 = 72;
/// Bytes that are written at once.
const PIECE: usize = 1 << 16;

impl Place {
    /// Writes the journal anew without what is gone and what is said twice, if it has grown much. Blocking.
    pub(crate) fn compact_arrivals(&self) {
        let path = self.disk.layout.arrivals(&self.owner.name, &self.archive.name);
        let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let mut journal = self.archive.arrivals.lock();
        if size <= SMALL.max(journal.compacted.saturating_mul(2)) || self.disk.has_failed() {
            return;
        }
        // Nobody can choose names so that they meet in one pass.
        let hasher = RandomState::new();
        let passes = (size / SHORTEST_LINE / PASS).max(1);
        let mut written = 0;
        let write = |file: &mut dyn MediumFile| {
            (0..passes).try_for_each(|pass| {
                let is_meant = |key: &Key| hasher.hash_one(key) % passes == pass;
                written += self.write_pass(file, is_meant)?;
                Ok(())
            })
        };
        match replace_with(self.disk.medium.as_ref(), &path, write) {
            Ok(()) => {
                journal.file = None;
                journal.unsynced = false;
                journal.compacted = written;
            }
            Err(ReplaceError::Sync(error)) => self.disk.fail("write a record of arrivals anew", &error),
            Err(ReplaceError::Write(error)) => {
                self.disk.judge("write a record of arrivals anew", &error);
            }
        }
    }

    /// Writes what the journal says of some objects that are there; gives the number of bytes.
    fn write_pass(&self, file: &mut dyn MediumFile, is_meant: impl Fn(&Key) -> bool) -> io::Result<u64> {
        let mut known: HashMap<Key, u64> = HashMap::new();
        self.read_journal(|key, arrived| {
            if is_meant(&key) {
                known.insert(key, arrived);
            }
        })?;
        let (mut text, mut written) = (String::new(), 0);
        for ((kind, digest), arrived) in known {
            let name = ObjectName::from_digest(&digest);
            if self.path(&Object::Named(kind, name.clone())).symlink_metadata().is_ok() {
                text += &line(arrived, kind, &name);
            }
            if text.len() >= PIECE {
                file.write_all(text.as_bytes())?;
                written += text.len() as u64;
                text.clear();
            }
        }
        if !text.is_empty() {
            file.write_all(text.as_bytes())?;
        }
        Ok(written + text.len() as u64)
    }
}
