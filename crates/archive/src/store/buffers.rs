//! Memory for what goes to a store and comes from it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Shorter buffers come from the heap, which uses its memory again by itself.
const SMALLEST: usize = 128 * 1024;
/// Larger ones are too rare to be kept.
const LARGEST: usize = 32 * 1024 * 1024;
/// No buffer that is kept is smaller. What is not used of it stays untouched and takes no memory.
const LEAST_ROOM: usize = 4 * 1024 * 1024;
/// So many are kept.
const MOST_KEPT: usize = 10;

/// Buffers that are used again and again: fresh memory costs a page fault for every 4 KiB of it, and for buffers of megabytes
/// that is more than deciphering what lies in them.
///
/// When none is in use, none is kept.
#[derive(Debug, Clone, Default)]
pub struct Buffers {
    pool: Arc<Mutex<Pool>>,
}

#[derive(Debug, Default)]
struct Pool {
    in_use: usize,
    kept: Vec<Vec<u8>>,
}

impl Buffers {
    /// An empty buffer with room for at least so many bytes.
    #[must_use]
    pub fn take(&self, room: usize) -> Buffer {
        if !(SMALLEST..=LARGEST).contains(&room) {
            return Buffer { bytes: Vec::with_capacity(room), pool: None };
        }
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.in_use += 1;
        let large_enough = pool.kept.iter().enumerate().filter(|(_, kept)| kept.capacity() >= room);
        let smallest = large_enough.min_by_key(|(_, kept)| kept.capacity()).map(|(number, _)| number);
        let kept = smallest.map(|number| pool.kept.swap_remove(number));
        drop(pool);
        let mut bytes = kept.unwrap_or_else(|| Vec::with_capacity(room.next_power_of_two().max(LEAST_ROOM)));
        bytes.clear();
        Buffer { bytes, pool: Some(Arc::clone(&self.pool)) }
    }
}

/// Bytes whose memory goes back to where it came from. As [`Bytes`] they cost no copy.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    pool: Option<Arc<Mutex<Pool>>>,
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Self {
        Self::from_owner(buffer)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.in_use -= 1;
        if pool.in_use == 0 {
            pool.kept = Vec::new();
        } else if pool.kept.len() < MOST_KEPT && self.bytes.capacity() <= LARGEST {
            pool.kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn kept(buffers: &Buffers) -> usize {
        buffers.pool.lock().unwrap().kept.len()
    }

    #[test]
    fn memory_is_used_again_while_any_is_in_use() {
        let buffers = Buffers::default();
        let other = buffers.take(MIB);
        let mut first = buffers.take(3 * MIB);
        first.extend_from_slice(&[1, 2, 3]);
        let place = first.as_ptr();
        let bytes = Bytes::from(first);
        let part = bytes.slice(1..);
        drop(bytes);
        assert_eq!(kept(&buffers), 0, "a part of it is still needed");
        assert_eq!(part, [2, 3][..]);
        drop(part);
        let second = buffers.take(4 * MIB);
        assert_eq!((second.as_ptr(), second.len()), (place, 0));
        drop((second, other));
        assert_eq!(kept(&buffers), 0, "nobody needs any");
    }

    #[test]
    fn there_is_room_for_what_was_asked_for_and_the_smallest_that_fits_is_taken() {
        let buffers = Buffers::default();
        let _other = buffers.take(MIB);
        let [large, small] = [20 * MIB, 2 * MIB].map(|room| buffers.take(room));
        let places = [large.as_ptr(), small.as_ptr()];
        drop((large, small));
        let again = [MIB, 9 * MIB, 9 * MIB].map(|room| {
            let buffer = buffers.take(room);
            assert!(buffer.capacity() >= room);
            buffer
        });
        assert_eq!(again[0].as_ptr(), places[1]);
        assert_eq!(again[1].as_ptr(), places[0]);
    }

    #[test]
    fn few_are_kept_and_none_that_is_huge() {
        let buffers = Buffers::default();
        let other = buffers.take(MIB);
        drop((0..2 * MOST_KEPT).map(|_| buffers.take(MIB)).collect::<Vec<_>>());
        assert_eq!(kept(&buffers), MOST_KEPT);
        drop(other);
        let other = buffers.take(MIB);
        drop([buffers.take(LARGEST + 1), buffers.take(SMALLEST - 1)]);
        let mut grown = buffers.take(MIB);
        grown.reserve(LARGEST + 1);
        drop(grown);
        assert_eq!(kept(&buffers), 0);
        drop(other);
    }
}
