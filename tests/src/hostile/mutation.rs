//! Damage from a seed: the same seed, request and count give the same damage, in whatever order requests come.

use std::hash::{Hash, Hasher};

use bytes::Bytes;

use super::asked::Asked;
use crate::Random;

/// One thing that was done to a body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// A bit is the other way round.
    Flip {
        /// Where.
        at: usize,
        /// Which.
        bit: u8,
    },
    /// Bytes are others.
    Overwrite {
        /// Where.
        at: usize,
        /// How many.
        length: usize,
    },
    /// Bytes of one place stand at another, too.
    Copy {
        /// From where.
        from: usize,
        /// To where.
        to: usize,
        /// How many.
        length: usize,
    },
    /// The end is missing.
    Truncate {
        /// What is left.
        length: usize,
    },
    /// There is more.
    Extend {
        /// How much more.
        length: usize,
    },
    /// A byte is missing, and all behind it is moved.
    Drop {
        /// Which.
        at: usize,
    },
}

/// Makes mutations.
#[derive(Clone, Copy, Debug)]
pub struct Mutator {
    seed: u64,
}

impl Mutator {
    /// From this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The numbers for one request.
    #[must_use]
    pub fn chance(&self, asked: &Asked) -> Random {
        // FNV-1a: the standard library's hashes may change with its version.
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325 ^ self.seed);
        asked.hash(&mut hash);
        Random::new(hash.finish())
    }

    /// Changes bodies of the same length in `places` spread over them; gives back what was done, at least one thing.
    pub fn damage(&self, asked: &Asked, body: &Bytes, places: usize) -> (Bytes, Vec<Mutation>) {
        let mut chance = self.chance(asked);
        let mut bytes = body.to_vec();
        let mut done = Vec::new();
        let stride = (bytes.len() / places.max(1)).max(1);
        for place in 0..places.max(1) {
            let from = place * stride;
            if from >= bytes.len() {
                break;
            }
            let width = stride.min(bytes.len() - from);
            let at = from + below(&mut chance, width);
            let mutation = match chance.below(8) {
                0..5 => Mutation::Flip { at, bit: u8::try_from(chance.below(8)).unwrap() },
                5..7 => Mutation::Overwrite { at, length: 1 + below(&mut chance, 64) },
                _ => Mutation::Copy {
                    from: below(&mut chance, bytes.len()),
                    to: at,
                    length: 1 + below(&mut chance, 4096.min(width)),
                },
            };
            mutation.apply(&mut bytes, &mut chance);
            done.push(mutation);
        }
        (bytes.into(), done)
    }

    /// Changes a body in one place, its length perhaps too.
    pub fn damage_once(&self, asked: &Asked, body: &Bytes) -> (Bytes, Mutation) {
        let mut chance = self.chance(asked);
        let mut bytes = body.to_vec();
        let length = bytes.len().max(1);
        let mutation = match chance.below(8) {
            0..3 => {
                Mutation::Flip { at: below(&mut chance, length), bit: u8::try_from(chance.below(8)).unwrap() }
            }
            3 => Mutation::Overwrite { at: below(&mut chance, length), length: 1 + below(&mut chance, 64) },
            4 => Mutation::Copy {
                from: below(&mut chance, length),
                to: below(&mut chance, length),
                length: 1 + below(&mut chance, length),
            },
            5 => Mutation::Truncate { length: below(&mut chance, length) },
            6 => Mutation::Extend { length: 1 + below(&mut chance, 4096) },
            _ => Mutation::Drop { at: below(&mut chance, length) },
        };
        mutation.apply(&mut bytes, &mut chance);
        (bytes.into(), mutation)
    }
}

impl Mutation {
    /// Does it. Whatever was meant to change is another afterwards, if there is a byte.
    fn apply(&self, bytes: &mut Vec<u8>, chance: &mut Random) {
        match *self {
            Self::Flip { at, bit } => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Overwrite { at, length } => {
                for byte in bytes.iter_mut().skip(at).take(length) {
                    *byte ^= 1 + u8::try_from(chance.below(255)).unwrap();
                }
            }
            Self::Copy { from, to, length } => {
                let length = length.min(bytes.len().saturating_sub(from.max(to)));
                let piece = bytes[from.min(bytes.len())..].iter().take(length).copied().collect::<Vec<_>>();
                if bytes.get(to..to + length) == Some(&piece[..]) {
                    if let Some(byte) = bytes.get_mut(to) {
                        *byte ^= 0x55;
                    }
                } else if let Some(place) = bytes.get_mut(to..to + length) {
                    place.copy_from_slice(&piece);
                }
            }
            Self::Truncate { length } => bytes.truncate(length),
            Self::Extend { length } => bytes.extend(chance.bytes(length)),
            Self::Drop { at } => {
                if at < bytes.len() {
                    bytes.remove(at);
                }
            }
        }
    }
}

fn below(chance: &mut Random, end: usize) -> usize {
    usize::try_from(chance.below(end.max(1) as u64)).unwrap()
}

struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
