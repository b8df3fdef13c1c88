//! Content-defined chunking: where files are cut, identical to restic's chunker.
//!
//! A Rabin fingerprint runs over a window of 64 bytes; a file is cut where its low 20 bits are zero, at the earliest
//! after 512 KiB, at the latest after 8 MiB. Since the first fingerprint that counts depends on the 64 bytes before it
//! only, cut points are a pure function of the bytes since the last cut ([`Chunker::cut`]), and fingerprints of several
//! places can be computed at the same time.

mod polynomial;
#[cfg(test)]
mod tests;

pub use polynomial::{Polynomial, PolynomialError};

/// Bytes in the window.
const WINDOW: usize = 64;
/// No chunk but a file's last is smaller.
pub const MIN_SIZE: usize = 512 * 1024;
/// No chunk is larger.
pub const MAX_SIZE: usize = 8 * 1024 * 1024;
/// A cut where these bits of the fingerprint are zero: a chunk of 1 MiB beyond the minimum on average.
const MASK: u64 = (1 << 20) - 1;
/// The fingerprint has 53 bits, the top eight of them choose the reduction.
const TOP_SHIFT: u32 = 53 - 8;
/// Fingerprints computed at the same time, which hides the latency of the table look-ups.
const LANES: usize = 4;
/// Places each lane looks at before the lanes are compared. Small, as what lies after the cut is looked at in vain.
const LANE_LENGTH: usize = 8 * 1024;

/// Finds cut points for one polynomial.
pub struct Chunker {
    tables: Box<Tables>,
}

struct Tables {
    /// What a byte contributes to the fingerprint when it leaves the window.
    out: [u64; 256],
    /// For each value of the top eight bits: what cancels them and reduces the fingerprint.
    reduce: [u64; 256],
}

impl Chunker {
    /// Builds the tables for a polynomial.
    #[must_use]
    pub fn new(polynomial: Polynomial) -> Self {
        let p = polynomial.bits();
        let mut tables = Box::new(Tables { out: [0; 256], reduce: [0; 256] });
        for (byte, (out, reduce)) in (0u64..).zip(tables.out.iter_mut().zip(tables.reduce.iter_mut())) {
            let mut hash = byte;
            for _ in 0..WINDOW - 1 {
                hash = polynomial::remainder(hash << 8, p);
            }
            *out = hash;
            *reduce = polynomial::remainder(byte << 53, p) | (byte << 53);
        }
        Self { tables }
    }

    /// The length of the chunk at the beginning of `data`, or `None` if more data is needed to tell (at the end of the
    /// file, all of `data` is then the last chunk).
    ///
    /// `data` begins at the file's beginning or at the last cut. `searched` is the length of `data` at the previous call
    /// for the same chunk, or 0: what was looked at is not looked at again.
    #[must_use]
    pub fn cut(&self, data: &[u8], searched: usize) -> Option<usize> {
        let end = data.len().min(MAX_SIZE);
        // A cut "at n" is one with n bytes before it; MIN_SIZE is the first possible one.
        let mut from = MIN_SIZE.max(searched + 1);
        while from + LANES * LANE_LENGTH <= end {
            if let Some(found) = self.search_lanes(data, from) {
                return Some(found);
            }
            from += LANES * LANE_LENGTH;
        }
        if from <= end
            && let Some(found) = self.search(data, from, end)
        {
            return Some(found);
        }
        (data.len() >= MAX_SIZE).then_some(MAX_SIZE)
    }

    /// The first cut from `from` to `to`, both included.
    fn search(&self, data: &[u8], from: usize, to: usize) -> Option<usize> {
        let mut digest = self.digest_before(data, from);
        let entering = &data[from - 1..to];
        let leaving = &data[from - 1 - WINDOW..to - WINDOW];
        for (offset, (&new, &old)) in entering.iter().zip(leaving).enumerate() {
            digest = self.slide(digest, old, new);
            if digest & MASK == 0 {
                return Some(from + offset);
            }
        }
        None
    }

    /// The first cut among the `LANES * LANE_LENGTH` places from `from` on.
    fn search_lanes(&self, data: &[u8], from: usize) -> Option<usize> {
        let mut digests: [u64; LANES] =
            std::array::from_fn(|lane| self.digest_before(data, from + lane * LANE_LENGTH));
        let new: [&[u8; LANE_LENGTH]; LANES] =
            std::array::from_fn(|lane| piece(data, from - 1 + lane * LANE_LENGTH));
        let old: [&[u8; LANE_LENGTH]; LANES] =
            std::array::from_fn(|lane| piece(data, from - 1 - WINDOW + lane * LANE_LENGTH));
        let mut first: [Option<usize>; LANES] = [None; LANES];
        for offset in 0..LANE_LENGTH {
            for lane in 0..LANES {
                digests[lane] = self.slide(digests[lane], old[lane][offset], new[lane][offset]);
            }
            // One test for all lanes: a hit is rare.
            if digests.iter().any(|digest| digest & MASK == 0) {
                for lane in 0..LANES {
                    if digests[lane] & MASK == 0 && first[lane].is_none() {
                        first[lane] = Some(from + lane * LANE_LENGTH + offset);
                    }
                }
                // Nothing can come before a hit in the first lane.
                if first[0].is_some() {
                    break;
                }
            }
        }
        first.into_iter().flatten().next()
    }

    /// The fingerprint of the 64 bytes that end one byte before `cut`.
    fn digest_before(&self, data: &[u8], cut: usize) -> u64 {
        data[cut - 1 - WINDOW..cut - 1].iter().fold(0, |digest, &byte| self.append(digest, byte))
    }

    #[inline(always)]
    fn slide(&self, digest: u64, old: u8, new: u8) -> u64 {
        self.append(digest ^ self.tables.out[usize::from(old)], new)
    }

    #[inline(always)]
    fn append(&self, digest: u64, byte: u8) -> u64 {
        // The digest has 53 bits, so its top eight are an index below 256.
        let top = (digest >> TOP_SHIFT) as u8;
        ((digest << 8) | u64::from(byte)) ^ self.tables.reduce[usize::from(top)]
    }
}

/// `LANE_LENGTH` bytes from `at` on, whose presence the caller has made sure of.
fn piece(data: &[u8], at: usize) -> &[u8; LANE_LENGTH] {
    data[at..].first_chunk().unwrap_or(&[0; LANE_LENGTH])
}
