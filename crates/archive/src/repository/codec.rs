//! From content to what is stored, and back: compression and sealing. No input and output here.

use std::cell::RefCell;
use std::io::Read;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use super::error::RepositoryError;
use super::pack::PackedBlob;
use crate::chunker::MAX_SIZE;
use crate::crypto::{IV_LENGTH, MasterKey, OVERHEAD};
use crate::id::BlobId;

/// The level of zstd that restic's default corresponds to.
const LEVEL: i32 = 3;
/// Sizes of the compressor's two tables (powers of two, entries of 4 bytes) for blobs. The level's own, up to 17 and 16, don't
/// fit the processor's nearest caches: these take a tenth less time for half a percent more bytes.
const HASH_LOG: u32 = 15;
const CHAIN_LOG: u32 = 14;
/// Whether a blob of at least this length gets smaller is first tried with samples: compressing photos and films in vain takes
/// as long as hashing them.
const SAMPLED_FROM: usize = 256 * 1024;
const SAMPLES: usize = 8;
const SAMPLE: usize = 8 * 1024;
/// The first byte of a compressed file that is not a pack.
const COMPRESSED_FILE: u8 = 2;
/// Room for the largest chunk, compressed in vain and sealed: zstd may need 1/256 more than it was given.
const USUAL_ROOM: usize = MAX_SIZE + MAX_SIZE / 128;
/// So much of it is kept: one chunk in thirty needs more.
const MOST_KEPT: usize = 4 * 1024 * 1024;
/// No index or snapshot is larger than this when it is unpacked.
const LARGEST_FILE: u64 = 512 * 1024 * 1024;
/// No blob is larger than this: data blobs have 8 MiB at most, the trees of huge directories more.
pub(crate) const LARGEST_BLOB: u32 = 1024 * 1024 * 1024;

/// Compresses and seals blobs, with buffers that are used again.
pub(crate) struct BlobSealer {
    compressor: Compressor<'static>,
    buffer: Vec<u8>,
    /// How much of the buffer was touched at most.
    used: usize,
}

impl BlobSealer {
    pub(crate) fn new() -> Result<Self, RepositoryError> {
        let make = || {
            let mut compressor = Compressor::new(LEVEL)?;
            compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
            compressor.set_parameter(CParameter::ChainLog(CHAIN_LOG))?;
            Ok(compressor)
        };
        let compressor =
            make().map_err(|_: std::io::Error| RepositoryError::Internal("compression can't be set up"))?;
        Ok(Self { compressor, buffer: Vec::new(), used: 0 })
    }

    /// The sealed form of a blob, and its plain length if it was compressed. Content that does not get smaller is stored
    /// as it is.
    pub(crate) fn seal(
        &mut self,
        key: &MasterKey,
        content: &[u8],
    ) -> Result<(&[u8], Option<u32>), RepositoryError> {
        let needed = zstd::zstd_safe::compress_bound(content.len()) + OVERHEAD;
        if self.buffer.len() < needed {
            // What is not used of it stays untouched and takes no memory, so it is made for any chunk at once.
            self.buffer = vec![0; needed.max(USUAL_ROOM)];
            self.used = 0;
        }
        self.used = self.used.max(needed);
        let compressed =
            if self.seems_incompressible(content)? { content.len() } else { self.compress(content)? };
        let length = u32::try_from(content.len()).ok().filter(|&length| length > 0);
        let uncompressed_length = if compressed < content.len() { length } else { None };
        let plain = if uncompressed_length.is_some() {
            compressed
        } else {
            self.buffer[IV_LENGTH..IV_LENGTH + content.len()].copy_from_slice(content);
            content.len()
        };
        let sealed = &mut self.buffer[..plain + OVERHEAD];
        key.seal_in_place(sealed).map_err(RepositoryError::Seal)?;
        Ok((sealed, uncompressed_length))
    }

    /// Compresses to where the sealed content will lie; gives the length.
    fn compress(&mut self, content: &[u8]) -> Result<usize, RepositoryError> {
        self.compressor
            .compress_to_buffer(content, &mut self.buffer[IV_LENGTH..])
            .map_err(|_| RepositoryError::Internal("compression failed"))
    }

    /// Whether none of some pieces, evenly spread over a large blob, gets smaller by a hundredth.
    fn seems_incompressible(&mut self, content: &[u8]) -> Result<bool, RepositoryError> {
        if content.len() < SAMPLED_FROM {
            return Ok(false);
        }
        let apart = (content.len() - SAMPLE) / (SAMPLES - 1);
        for start in (0..SAMPLES).map(|number| number * apart) {
            if self.compress(&content[start..start + SAMPLE])? < SAMPLE - SAMPLE / 100 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives back the memory of a blob that was larger than most: every thread would keep it.
    pub(crate) fn shrink(&mut self) {
        if self.used > MOST_KEPT {
            (self.buffer, self.used) = (Vec::new(), 0);
        }
    }
}

/// Opens and decompresses blobs, with buffers that are used again.
#[derive(Default)]
pub(crate) struct BlobOpener {
    plain: Vec<u8>,
    unpacked: Vec<u8>,
}

impl BlobOpener {
    /// The content of a blob from its sealed form, compared with its id.
    pub(crate) fn open(
        &mut self,
        key: &MasterKey,
        blob: &PackedBlob,
        sealed: &[u8],
    ) -> Result<&[u8], RepositoryError> {
        self.open_to_vec(key, blob, sealed).map(|content| content.as_slice())
    }

    fn open_to_vec(
        &mut self,
        key: &MasterKey,
        blob: &PackedBlob,
        sealed: &[u8],
    ) -> Result<&mut Vec<u8>, RepositoryError> {
        let damaged = |reason: &dyn ToString| {
            RepositoryError::damaged(format_args!("{} {}", blob.blob_type, blob.id), reason.to_string())
        };
        key.open_into(sealed, &mut self.plain).map_err(|error| damaged(&error))?;
        let content = match blob.uncompressed_length {
            None => &mut self.plain,
            Some(length) if length > LARGEST_BLOB => return Err(damaged(&"it claims an absurd length")),
            Some(length) => {
                decompress(&self.plain, length as usize, &mut self.unpacked)
                    .map_err(|error| damaged(&error))?;
                &mut self.unpacked
            }
        };
        if BlobId::of(content) != blob.id {
            return Err(damaged(&"its content is not what its id says"));
        }
        Ok(content)
    }
}

/// The content of a blob from its sealed form, compared with its id.
pub(crate) fn open_blob(
    key: &MasterKey,
    blob: &PackedBlob,
    sealed: &[u8],
) -> Result<Vec<u8>, RepositoryError> {
    BlobOpener::default().open_to_vec(key, blob, sealed).map(std::mem::take)
}

thread_local! {
    /// Setting one up takes longer than decompressing a small file.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Puts at most `most` bytes into `content`, in the place of what was there.
fn decompress(compressed: &[u8], most: usize, content: &mut Vec<u8>) -> std::io::Result<()> {
    content.clear();
    if content.capacity() < most {
        // Nothing is to be copied to the larger one.
        *content = Vec::with_capacity(most);
    }
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let mut decompressor = slot.take().map_or_else(Decompressor::new, Ok)?;
        decompressor.decompress_to_buffer(compressed, content)?;
        // After an error it is not used again.
        *slot = Some(decompressor);
        if content.len() > most {
            return Err(std::io::Error::other("it is longer than it claims"));
        }
        Ok(())
    })
}

/// The sealed form of an index or a snapshot.
pub(crate) fn seal_file(key: &MasterKey, json: &[u8]) -> Result<Vec<u8>, RepositoryError> {
    let compressed =
        zstd::bulk::compress(json, LEVEL).map_err(|_| RepositoryError::Internal("compression failed"))?;
    let mut sealed = vec![0; compressed.len() + 1 + OVERHEAD];
    sealed[IV_LENGTH] = COMPRESSED_FILE;
    sealed[IV_LENGTH + 1..][..compressed.len()].copy_from_slice(&compressed);
    key.seal_in_place(&mut sealed).map_err(RepositoryError::Seal)?;
    Ok(sealed)
}

/// The JSON of an index or a snapshot.
pub(crate) fn open_file(
    key: &MasterKey,
    what: &dyn ToString,
    sealed: &[u8],
) -> Result<Vec<u8>, RepositoryError> {
    let plain = key.open(sealed).map_err(|error| RepositoryError::damaged(what.to_string(), error))?;
    match plain.split_first() {
        // Version 1 of the format, and what restic wrote before compression.
        Some((b'{' | b'[', _)) => Ok(plain),
        Some((&COMPRESSED_FILE, compressed)) => {
            let mut json = Vec::new();
            let read = zstd::stream::read::Decoder::with_buffer(compressed)
                .and_then(|decoder| decoder.take(LARGEST_FILE + 1).read_to_end(&mut json));
            match read {
                Ok(_) if json.len() as u64 <= LARGEST_FILE => Ok(json),
                Ok(_) => Err(RepositoryError::damaged(what.to_string(), "it is far too large")),
                Err(error) => Err(RepositoryError::damaged(what.to_string(), error)),
            }
        }
        _ => Err(RepositoryError::damaged(what.to_string(), "its encoding is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        getrandom::fill(&mut bytes).unwrap();
        bytes
    }

    fn check(content: &[u8], expected_compressed: bool) {
        let key = MasterKey::from_bytes(&[3; 64]).unwrap();
        let mut sealer = BlobSealer::new().unwrap();
        let (sealed, uncompressed_length) = sealer.seal(&key, content).unwrap();
        assert_eq!(uncompressed_length.is_some(), expected_compressed, "{} bytes", content.len());
        let blob = PackedBlob {
            blob_type: crate::BlobType::Data,
            id: BlobId::of(content),
            offset: 0,
            length: u32::try_from(sealed.len()).unwrap(),
            uncompressed_length,
        };
        assert!(open_blob(&key, &blob, sealed).unwrap() == content);
    }

    #[test]
    fn what_gets_smaller_anywhere_is_compressed_and_noise_is_stored_as_it_is() {
        for length in [1, 100, SAMPLED_FROM - 1, SAMPLED_FROM, SAMPLED_FROM + 1, 3_000_001] {
            check(&noise(length), false);
            check(&vec![7; length], length > 50);
        }
        for at in [0, 400_000, 830_000] {
            let mut content = noise(1_000_000);
            content[at..at + 170_000].fill(b'a');
            check(&content, true);
        }
        check(&[], false);
    }
}
