//! The stages of a first backup, one after the other, on one thread.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kith_archive::chunker::Chunker;
use kith_archive::crypto::OVERHEAD;
use kith_archive::{BlobId, FileId, MasterKey, Polynomial};
use nix::time::{ClockId, clock_gettime};

/// Bytes of a pack.
const PACK: usize = 16 << 20;

/// Processor time of a stage, by name, in the order of the work.
#[derive(Default)]
struct Clock {
    stages: Vec<(&'static str, Duration)>,
}

impl Clock {
    fn measure<T>(&mut self, stage: &'static str, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
        let begin = now()?;
        let done = work();
        let time = now()?.saturating_sub(begin);
        match self.stages.iter_mut().find(|(name, _)| *name == stage) {
            Some((_, sum)) => *sum += time,
            None => self.stages.push((stage, time)),
        }
        done
    }
}

/// Does all the work of a first backup of `source` but the lists of folders, and writes the packs below `directory`.
pub(super) fn measure(
    source: &Path,
    directory: &Path,
    key: &MasterKey,
) -> io::Result<Vec<(&'static str, Duration)>> {
    let mut clock = Clock::default();
    let chunker = Chunker::new(Polynomial::derive(&[1; 32]));
    let mut compressor = zstd::bulk::Compressor::new(3)?;
    let files = clock.measure("walking and looking at every entry", || walk(source))?;
    let (mut content, mut compressed, mut pack) = (Vec::new(), Vec::new(), Vec::with_capacity(2 * PACK));
    let mut packs = 0;
    for (path, size) in files {
        clock.measure("opening and reading files", || {
            content.clear();
            // A file of another size than it had is of no interest here.
            content.reserve(usize::try_from(size).unwrap_or(0) + 1);
            File::open(&path)?.read_to_end(&mut content)
        })?;
        let mut rest = content.as_slice();
        while !rest.is_empty() {
            let length = clock
                .measure("finding where to cut (Rabin)", || Ok(chunker.cut(rest, 0).unwrap_or(rest.len())))?;
            let (chunk, after) = rest.split_at(length);
            rest = after;
            clock.measure("SHA-256 of blobs", || Ok(BlobId::of(chunk)))?;
            compressed.resize(zstd::zstd_safe::compress_bound(chunk.len()), 0);
            let smaller = clock.measure("compressing (zstd)", || {
                compressor.compress_to_buffer(chunk, compressed.as_mut_slice())
            })?;
            let plain = if smaller < chunk.len() { &compressed[..smaller] } else { chunk };
            let sealed = clock.measure("sealing (AES-256-CTR, Poly1305)", || {
                key.seal(plain).map_err(|error| io::Error::other(error.to_string()))
            })?;
            debug_assert_eq!(sealed.len(), plain.len() + OVERHEAD);
            clock.measure("copying into packs", || {
                pack.extend_from_slice(&sealed);
                Ok(())
            })?;
            if pack.len() >= PACK {
                finish(&mut clock, directory, &mut pack, &mut packs)?;
            }
        }
    }
    finish(&mut clock, directory, &mut pack, &mut packs)?;
    Ok(clock.stages)
}

fn finish(clock: &mut Clock, directory: &Path, pack: &mut Vec<u8>, packs: &mut usize) -> io::Result<()> {
    clock.measure("SHA-256 of packs", || Ok(FileId::of(pack)))?;
    *packs += 1;
    clock.measure("writing and syncing packs", || {
        let mut file = File::create(directory.join(packs.to_string()))?;
        file.write_all(pack)?;
        file.sync_all()
    })?;
    pack.clear();
    Ok(())
}

fn walk(source: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    let mut open = vec![source.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let metadata = path.symlink_metadata()?;
            if metadata.is_dir() {
                open.push(path);
            } else if metadata.is_file() {
                files.push((path, metadata.len()));
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}
