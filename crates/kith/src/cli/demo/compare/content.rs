//! Content of files, byte by byte, and their holes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use super::{Pair, Walk, What};

const BUFFER: usize = 256 * 1024;
/// Bytes of data by which a copy may exceed a sparse original: holes are found in whole blocks only.
const HOLE_SLACK: u64 = 64 * 1024;
/// The same as a part of the size.
const HOLE_SLACK_PART: u64 = 16;

impl Walk<'_> {
    pub(super) fn content(&mut self, pair: &Pair<'_>) -> io::Result<()> {
        let (before, after) = (pair.before.size(), pair.after.size());
        if before != after {
            self.found(pair.relative, What::Size { before, after });
            return Ok(());
        }
        let (source, restored) = match (File::open(&pair.source), File::open(&pair.restored)) {
            (Ok(source), Ok(restored)) => (source, restored),
            (Err(error), _) => {
                self.unreadable(pair.relative, &error);
                return Ok(());
            }
            (_, Err(error)) => {
                self.found(pair.relative, What::Unreadable(format!("the copy: {error}")));
                return Ok(());
            }
        };
        match self.first_difference(&source, &restored)? {
            Ok(None) => self.result.bytes += before,
            Ok(Some(at)) => self.found(pair.relative, What::Content { at }),
            Err(error) => self.found(pair.relative, What::Unreadable(error.to_string())),
        }
        let (Some(source), Some(restored)) = (data_bytes(&source, before), data_bytes(&restored, before))
        else {
            return Ok(());
        };
        if source < before {
            self.result.sparse_files += 1;
            if restored > source.saturating_add(before / HOLE_SLACK_PART).saturating_add(HOLE_SLACK) {
                self.found(pair.relative, What::Holes { before: source, after: restored });
            }
        }
        Ok(())
    }

    /// The outer error ends the comparison.
    fn first_difference(&self, mut one: &File, mut other: &File) -> io::Result<io::Result<Option<u64>>> {
        let (mut left, mut right) = (vec![0; BUFFER], vec![0; BUFFER]);
        let mut at = 0_u64;
        loop {
            self.stop.check()?;
            let (a, b) = match (fill(&mut one, &mut left), fill(&mut other, &mut right)) {
                (Ok(a), Ok(b)) => (a, b),
                (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
            };
            if left[..a] != right[..b] {
                let same = left[..a].iter().zip(&right[..b]).take_while(|(a, b)| a == b).count();
                return Ok(Ok(Some(at + same as u64)));
            }
            if a < BUFFER {
                return Ok(Ok(None));
            }
            at += a as u64;
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Bytes that are not in holes; nothing where the system can't tell. Allocated blocks would not do: file systems that
/// compress have fewer without any hole.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn data_bytes(file: &File, size: u64) -> Option<u64> {
    use nix::errno::Errno;
    use nix::unistd::{Whence, lseek};
    let size = i64::try_from(size).ok()?;
    let (mut at, mut data) = (0_i64, 0_i64);
    while at < size {
        let begin = match lseek(file, at, Whence::SeekData) {
            Ok(begin) => begin,
            Err(Errno::ENXIO) => break,
            Err(_unsupported) => return None,
        };
        let end = lseek(file, begin, Whence::SeekHole).ok()?.min(size);
        data += (end - begin).max(0);
        at = end.max(at + 1);
    }
    u64::try_from(data).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn data_bytes(_: &File, _: u64) -> Option<u64> {
    None
}
