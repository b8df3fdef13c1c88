//! Packs: sealed blobs one after the other, then the sealed list of them, then its length.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::crypto::{CryptoError, MasterKey, OVERHEAD};
use crate::id::BlobId;
use crate::store::Buffer;

/// Bytes of the header's length at the end of a pack.
pub(super) const LENGTH_FIELD: usize = 4;
/// An entry of the header: type, length, id.
const PLAIN_ENTRY: usize = 1 + 4 + 32;
/// An entry of a compressed blob: type, length, length before compression, id.
const COMPRESSED_ENTRY: usize = PLAIN_ENTRY + 4;
/// Size of a pack without blobs: what sealing its header adds, and the header's length.
pub(super) const EMPTY_PACK: u64 = (OVERHEAD + LENGTH_FIELD) as u64;
/// restic refuses larger headers.
const LARGEST_HEADER: usize = 16 * 1024 * 1024;

/// The two types of blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobType {
    /// A piece of a file.
    Data,
    /// A directory.
    Tree,
}

impl fmt::Display for BlobType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data blob",
            Self::Tree => "tree blob",
        })
    }
}

/// A blob in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedBlob {
    /// Its type.
    pub blob_type: BlobType,
    /// Its id.
    pub id: BlobId,
    /// Where its sealed form begins.
    pub offset: u32,
    /// Length of its sealed form.
    pub length: u32,
    /// Length of its content if it is compressed.
    pub uncompressed_length: Option<u32>,
}

impl PackedBlob {
    /// How many bytes it adds to its pack: itself and its entry in the header.
    pub(super) fn span(&self) -> u64 {
        let entry = if self.uncompressed_length.is_some() { COMPRESSED_ENTRY } else { PLAIN_ENTRY };
        u64::from(self.length) + entry as u64
    }
}

/// Why bytes are not the header of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The pack is shorter than its header.
    #[error("the pack is too short")]
    TooShort,
    /// The header is empty or absurdly long.
    #[error("the length of its header is invalid")]
    InvalidLength,
    /// An entry is incomplete or of an unknown type.
    #[error("its header is malformed")]
    Malformed,
    /// The blobs don't fill the pack.
    #[error("its header does not fit its size")]
    SizeMismatch,
    /// The header was not sealed with our key.
    #[error("its header can't be opened: {0}")]
    Crypto(#[from] CryptoError),
}

/// Collects sealed blobs until there are enough for a pack.
#[derive(Default)]
pub(crate) struct PackBuilder {
    data: Buffer,
    blobs: Vec<PackedBlob>,
}

impl PackBuilder {
    /// An empty pack in an empty buffer.
    pub(crate) fn with_buffer(buffer: Buffer) -> Self {
        Self { data: buffer, blobs: Vec::new() }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Whether the pack with one more blob would have a header that restic refuses.
    pub(crate) fn header_is_full(&self) -> bool {
        OVERHEAD + LENGTH_FIELD + (self.blobs.len() + 1) * COMPRESSED_ENTRY > LARGEST_HEADER
    }

    /// Appends a sealed blob.
    pub(crate) fn push(
        &mut self,
        blob_type: BlobType,
        id: BlobId,
        sealed: &[u8],
        uncompressed_length: Option<u32>,
    ) -> Result<(), HeaderError> {
        let offset = u32::try_from(self.data.len()).map_err(|_| HeaderError::InvalidLength)?;
        let length = u32::try_from(sealed.len()).map_err(|_| HeaderError::InvalidLength)?;
        self.data.extend_from_slice(sealed);
        self.blobs.push(PackedBlob { blob_type, id, offset, length, uncompressed_length });
        Ok(())
    }

    /// Moves the blobs of another pack to the end of this one.
    pub(crate) fn append(&mut self, other: &Self) -> Result<(), HeaderError> {
        for blob in &other.blobs {
            let (start, length) = (blob.offset as usize, blob.length as usize);
            let sealed = other.data.get(start..start + length).ok_or(HeaderError::TooShort)?;
            self.push(blob.blob_type, blob.id, sealed, blob.uncompressed_length)?;
        }
        Ok(())
    }

    /// Appends the header; gives the pack's bytes and what is in it.
    pub(crate) fn finish(mut self, key: &MasterKey) -> Result<(Buffer, Vec<PackedBlob>), HeaderError> {
        let header = key.seal(&write_header(&self.blobs))?;
        let length = u32::try_from(header.len()).map_err(|_| HeaderError::InvalidLength)?;
        self.data.extend_from_slice(&header);
        self.data.extend_from_slice(&length.to_le_bytes());
        Ok((self.data, self.blobs))
    }
}

fn write_header(blobs: &[PackedBlob]) -> Vec<u8> {
    let mut header = Vec::with_capacity(blobs.len() * COMPRESSED_ENTRY);
    for blob in blobs {
        let code = match (blob.blob_type, blob.uncompressed_length) {
            (BlobType::Data, None) => 0,
            (BlobType::Tree, None) => 1,
            (BlobType::Data, Some(_)) => 2,
            (BlobType::Tree, Some(_)) => 3,
        };
        header.push(code);
        header.extend_from_slice(&blob.length.to_le_bytes());
        if let Some(length) = blob.uncompressed_length {
            header.extend_from_slice(&length.to_le_bytes());
        }
        header.extend_from_slice(blob.id.as_bytes());
    }
    header
}

/// How many bytes at the end of a pack of `size` bytes are its header with the length field, told by the last four bytes.
pub(crate) fn header_span(tail: &[u8], size: u64) -> Result<u64, HeaderError> {
    let field = tail.last_chunk::<LENGTH_FIELD>().ok_or(HeaderError::TooShort)?;
    let length = u32::from_le_bytes(*field) as usize;
    if !(OVERHEAD + PLAIN_ENTRY..=LARGEST_HEADER).contains(&length) {
        return Err(HeaderError::InvalidLength);
    }
    let span = (length + LENGTH_FIELD) as u64;
    if span > size { Err(HeaderError::TooShort) } else { Ok(span) }
}

/// What is in a pack of `size` bytes, from its end, which must contain the whole header.
///
/// # Errors
/// The header is damaged, sealed with another key, or does not fit the size.
pub fn read_header(key: &MasterKey, tail: &[u8], size: u64) -> Result<Vec<PackedBlob>, HeaderError> {
    let span = header_span(tail, size)?;
    let start = usize::try_from(span).ok().and_then(|span| tail.len().checked_sub(span));
    let sealed = &tail[start.ok_or(HeaderError::TooShort)?..tail.len() - LENGTH_FIELD];
    let blobs = parse_header(&key.open(sealed)?)?;
    let content: u64 = blobs.iter().map(|blob| u64::from(blob.length)).sum();
    if content + span == size { Ok(blobs) } else { Err(HeaderError::SizeMismatch) }
}

fn parse_header(mut header: &[u8]) -> Result<Vec<PackedBlob>, HeaderError> {
    let mut blobs = Vec::with_capacity(header.len() / PLAIN_ENTRY);
    let mut offset = 0u32;
    while let Some((&code, rest)) = header.split_first() {
        let (blob_type, compressed) = match code {
            0 => (BlobType::Data, false),
            1 => (BlobType::Tree, false),
            2 => (BlobType::Data, true),
            3 => (BlobType::Tree, true),
            _ => return Err(HeaderError::Malformed),
        };
        let number = |bytes: &mut &[u8]| {
            let (first, rest) = bytes.split_first_chunk().ok_or(HeaderError::Malformed)?;
            *bytes = rest;
            Ok::<_, HeaderError>(u32::from_le_bytes(*first))
        };
        let mut rest = rest;
        let length = number(&mut rest)?;
        let uncompressed_length = if compressed { Some(number(&mut rest)?) } else { None };
        let (id, rest) = rest.split_first_chunk().ok_or(HeaderError::Malformed)?;
        header = rest;
        blobs.push(PackedBlob { blob_type, id: BlobId(*id), offset, length, uncompressed_length });
        offset = offset.checked_add(length).ok_or(HeaderError::Malformed)?;
    }
    Ok(blobs)
}
