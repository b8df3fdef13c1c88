//! Writes verified content into files, and finishes files whose content is complete.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use nix::fcntl::OFlag;

use super::batch::{FileWork, Files, Part, State};
use super::error::{EntryError, entry, entry_io};
use super::events::add;
use super::metadata;
use super::target;

const CREATE: &str = "it can't be created";
const WRITE: &str = "it can't be written";

/// Zeros of this length, at multiples of it, become holes.
const HOLE: usize = 4096;
static ZEROS: [u8; HOLE] = [0; HOLE];

/// Writes parts. The file of the last part stays open, because the next part is often of the same file; so every thread
/// has one open file at most.
#[derive(Default)]
pub(super) struct Writer {
    open: Option<(u32, File)>,
}

impl Writer {
    /// Writes content to all its places. `parts` all have the blob whose content it is.
    pub(super) fn write(&mut self, files: &Files, parts: &[Part], content: &[u8]) {
        for part in parts {
            if files.context.is_stopped() {
                return;
            }
            let Some(file) = files.list.get(part.file as usize) else { continue };
            if content.len() != part.length as usize {
                give_up(files, file, format_args!("{} has not the length that the index says", part.blob.id));
                continue;
            }
            match self.write_part(files, file, part, content) {
                Ok(true) if file.remaining.fetch_sub(1, AcqRel) == 1 => self.finish(files, part.file, file),
                Ok(_) => {}
                Err(error) => self.fail(files, file, error),
            }
        }
    }

    /// Creates a file without content.
    pub(super) fn create_empty(&mut self, files: &Files, number: u32) {
        let Some(file) = files.list.get(number as usize) else { return };
        match self.open(files, number, file) {
            Ok(_) => self.finish(files, number, file),
            Err(error) => self.fail(files, file, error),
        }
    }

    /// False if the file needs nothing any more.
    fn write_part(
        &mut self,
        files: &Files,
        file: &FileWork,
        part: &Part,
        content: &[u8],
    ) -> Result<bool, EntryError> {
        let Some(open) = self.open(files, part.file, file)? else { return Ok(false) };
        if write_with_holes(open, part.at, content).map_err(entry_io(WRITE))? {
            file.holes.store(true, Relaxed);
        }
        add(&files.context.counters.done_bytes, content.len() as u64);
        Ok(true)
    }

    /// The open file, nothing if it needs nothing any more.
    fn open(&mut self, files: &Files, number: u32, file: &FileWork) -> Result<Option<&File>, EntryError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            self.open = None;
            let target = &files.context.target;
            let mut state = file.state();
            let opened = match &*state {
                State::Waiting => {
                    let descriptor = target.descriptor(&file.directory).map_err(entry(CREATE))?;
                    let name = target.temporary_name();
                    let created = target::create(&*descriptor, &name).map_err(entry(CREATE))?;
                    *state = State::Open(name);
                    created
                }
                State::Open(name) => {
                    let descriptor = target.descriptor(&file.directory).map_err(entry(WRITE))?;
                    target::open(&*descriptor, name, OFlag::O_WRONLY).map_err(entry(WRITE))?
                }
                State::Done | State::Failed => return Ok(None),
            };
            drop(state);
            files.context.counters.set_current(|| file.path());
            self.open = Some((number, opened));
        }
        Ok(self.open.as_ref().map(|(_, file)| file))
    }

    /// All content is written: metadata, then the final name.
    fn finish(&mut self, files: &Files, number: u32, file: &FileWork) {
        let context = &files.context;
        match self.try_finish(files, number, file) {
            Ok(Some(length)) => {
                if let Some(first) = &file.first {
                    first.done.store(true, Relaxed);
                }
                add(&context.counters.files, 1);
                add(&context.counters.bytes, length);
                add(&context.counters.done_files, 1);
            }
            Ok(None) => {}
            Err(error) => self.fail(files, file, error),
        }
        self.open = None;
    }

    /// The length of the file; nothing if it needs nothing any more.
    fn try_finish(&mut self, files: &Files, number: u32, file: &FileWork) -> Result<Option<u64>, EntryError> {
        let length = file.length.load(Relaxed);
        let Some(open) = self.open(files, number, file)? else { return Ok(None) };
        if file.holes.load(Relaxed) {
            open.set_len(length).map_err(entry_io(WRITE))?;
        }
        metadata::set_on_file(&files.context, open, &file.node, || file.path());
        let descriptor = files.context.target.descriptor(&file.directory).map_err(entry(CREATE))?;
        let State::Open(temporary) = std::mem::replace(&mut *file.state(), State::Done) else {
            return Ok(None);
        };
        target::finish(&*descriptor, &temporary, &file.node.name, file.placing).map_err(entry(CREATE))?;
        Ok(Some(length))
    }

    fn fail(&mut self, files: &Files, file: &FileWork, error: EntryError) {
        self.open = None;
        if file.give_up(&files.context) {
            files.context.fail_entry(file.path(), error);
        }
    }
}

/// A file can't be restored because of what the repository has.
pub(super) fn give_up(files: &Files, file: &FileWork, reason: impl ToString) {
    if file.give_up(&files.context) {
        files.context.fail(file.path(), reason);
    }
}

/// Writes content into a new file and leaves out zeros. True if it left out something.
fn write_with_holes(file: &File, at: u64, content: &[u8]) -> io::Result<bool> {
    let (mut holes, mut start, mut end) = (false, 0, 0);
    while end < content.len() {
        // Up to the next multiple in the file.
        let position = usize::try_from((at + end as u64) % HOLE as u64).unwrap_or(0);
        let length = (HOLE - position).min(content.len() - end);
        let block = &content[end..end + length];
        if block[0] == 0 && block == &ZEROS[..length] {
            holes = true;
            write(file, at, start, &content[start..end])?;
            start = end + length;
        }
        end += length;
    }
    write(file, at, start, &content[start..])?;
    Ok(holes)
}

fn write(file: &File, at: u64, start: usize, content: &[u8]) -> io::Result<()> {
    if content.is_empty() { Ok(()) } else { file.write_all_at(content, at + start as u64) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn check(parts: &[(u64, Vec<u8>)], expected_holes: bool) -> u64 {
        let file = tempfile::tempfile().unwrap();
        let mut expected = Vec::new();
        let mut holes = false;
        for (at, content) in parts {
            holes |= write_with_holes(&file, *at, content).unwrap();
            expected.resize(*at as usize, 0);
            expected.extend_from_slice(content);
        }
        assert_eq!(holes, expected_holes);
        file.set_len(expected.len() as u64).unwrap();
        let mut found = vec![1; expected.len()];
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found == expected);
        file.metadata().unwrap().blocks() * 512
    }

    #[test]
    fn content_without_zeros_is_written_whole() {
        check(&[(0, vec![7; 10_000]), (10_000, vec![8; 5000])], false);
    }

    #[test]
    fn zeros_become_holes_wherever_blobs_are_cut() {
        let mut content = vec![1; 5000];
        content.extend(vec![0; 200_000]);
        content.extend(vec![2; 3000]);
        let (a, b) = content.split_at(70_001);
        let allocated = check(&[(0, a.to_vec()), (70_001, b.to_vec())], true);
        assert!(allocated < 64 * 1024, "{allocated} bytes are allocated");
        check(&[(0, vec![0; 100_000])], true);
        check(&[(0, vec![0; 3]), (3, vec![0, 0, 5, 0])], true);
    }

    #[test]
    fn nothing_is_written_for_nothing() {
        check(&[(0, Vec::new())], false);
    }
}
