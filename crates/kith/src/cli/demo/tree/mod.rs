//! A folder with every kind of file there is, as backups meet them.

mod changes;
mod content;
mod special;
mod survey;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

pub(super) use self::changes::change;
pub(super) use self::survey::{Contents, survey};
use super::stop::Stop;

/// The same tree every time.
const SEED: u64 = 0x6b69_7468;

/// A generated folder.
pub(super) struct Made {
    pub(super) contents: Contents,
    /// Kinds that this file system or user can't make.
    pub(super) left_out: Vec<&'static str>,
}

/// Makes a folder whose files have `bytes` bytes, a little more than that with the small specimens. Blocks.
pub(super) fn generate(root: &Path, bytes: u64, stop: &Stop) -> io::Result<Made> {
    std::fs::create_dir(root)?;
    let mut maker = Maker { root, stop, random: Random(SEED), left_out: Vec::new() };
    maker.content(bytes)?;
    maker.special()?;
    Ok(Made { contents: survey(root, stop)?, left_out: maker.left_out })
}

/// Makes entries below a folder.
struct Maker<'a> {
    root: &'a Path,
    stop: &'a Stop,
    random: Random,
    left_out: Vec<&'static str>,
}

impl Maker<'_> {
    /// Something that not every file system and not every user can do. A full disk is a failure all the same.
    fn where_possible(&mut self, kind: &'static str, outcome: io::Result<()>) -> io::Result<()> {
        match outcome {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(error),
            Err(_not_here) => {
                if !self.left_out.contains(&kind) {
                    self.left_out.push(kind);
                }
                Ok(())
            }
        }
    }
}

/// SplitMix64: fast, and the same bytes on every computer.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    /// Some moment of the years 2004 to 2024, to the nanosecond.
    fn moment(&mut self) -> SystemTime {
        let seconds = 1_072_915_200 + self.below(20 * 365 * 86_400);
        SystemTime::UNIX_EPOCH + Duration::new(seconds, u32::try_from(self.below(1_000_000_000)).unwrap_or(0))
    }
}
