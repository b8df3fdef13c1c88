//! Fresh inputs: changed, joined, grown or wholly random. Pure.

use crate::random::Random;

/// Bytes that mean something in most languages.
const BYTES: &[u8] = b"\0\x01\x02\x7f\x80\xff\r\n\t <>&\"'/\\:;,.%?#=+-_[]{}()*0a~";
/// Numbers at which readers change their mind.
const NUMBERS: &[u32] = &[
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    15,
    16,
    24,
    60,
    127,
    128,
    255,
    256,
    1023,
    1024,
    1100,
    1101,
    4096,
    4242,
    32767,
    32768,
    65535,
    65536,
    86_400,
    86_401,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
];
/// Numbers as text.
const DIGITS: &[&str] = &[
    "0",
    "-1",
    "1",
    "00",
    "65535",
    "65536",
    "70000",
    "2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999",
    "1e999",
    "-0",
    "0.1",
    "0x10",
    "+5",
];
/// Most changes of one input.
const MOST_CHANGES: usize = 12;
/// Longest random piece that is put in, bytes.
const LONGEST_PIECE: usize = 64;
/// Most repetitions of a piece.
const MOST_REPETITIONS: usize = 256;

/// Makes inputs of a target.
#[derive(Clone, Debug)]
pub struct Mutator {
    random: Random,
    words: &'static [&'static str],
    longest: usize,
}

impl Mutator {
    /// The same seed makes the same inputs.
    #[must_use]
    pub const fn new(seed: u64, words: &'static [&'static str], longest: usize) -> Self {
        Self { random: Random::new(seed), words, longest }
    }

    /// A fresh input, most often one of `pool` changed.
    pub fn fresh(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = match self.random.below(24) {
            0 => {
                let length = self.random.small(self.longest + 1);
                self.random.bytes(length)
            }
            1 => self.grown(),
            _ => {
                let mut input = self.pick(pool).to_vec();
                for _ in 0..=self.random.small(MOST_CHANGES) {
                    self.change(&mut input, pool);
                }
                input
            }
        };
        input.truncate(self.longest);
        input
    }

    /// Words of the language in any order, with something between them or nothing.
    fn grown(&mut self) -> Vec<u8> {
        let mut input = Vec::new();
        for _ in 0..=self.random.small(64) {
            input.extend(self.word());
            if self.random.once_in(2) {
                input.push(self.byte());
            }
        }
        input
    }

    /// One change.
    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let at = self.random.below(input.len() + 1);
        match self.random.below(20) {
            0 => {
                let bit = 1 << self.random.below(8);
                alter(input, at, |byte| byte ^ bit);
            }
            1 => {
                let new = self.byte();
                alter(input, at, |_| new);
            }
            2 => {
                let step = u8::try_from(self.random.below(17)).unwrap_or(0);
                alter(input, at, |byte| byte.wrapping_add(step).wrapping_sub(8));
            }
            3 => alter(input, at, |byte| if byte.is_ascii_alphabetic() { byte ^ 0x20 } else { !byte }),
            4 => {
                let length = self.random.small(LONGEST_PIECE);
                let piece = self.random.bytes(length);
                insert(input, at, &piece);
            }
            5 => {
                let (byte, length) = (self.byte(), self.random.small(LONGEST_PIECE));
                let piece = vec![byte; length];
                insert(input, at, &piece);
            }
            6 | 7 => {
                let end = self.end(input, at);
                input.drain(at..end);
            }
            8 => {
                let piece = self.piece(input).to_vec();
                insert(input, at, &piece);
            }
            9 => {
                let piece = self.piece(input).to_vec();
                overwrite(input, at, &piece);
            }
            10 => {
                let times = self.random.small(MOST_REPETITIONS);
                let piece = self.piece(input);
                let most = self.longest / piece.len().max(1);
                let piece = piece.repeat(times.min(most));
                insert(input, at, &piece);
            }
            11 => input.truncate(at),
            12 => {
                // The beginning of one, the end of another.
                let other = self.pick(pool);
                let from = self.random.below(other.len() + 1);
                input.truncate(at);
                input.extend(&other[from..]);
            }
            13 => {
                let other = self.pick(pool);
                let piece = self.piece(other).to_vec();
                insert(input, at, &piece);
            }
            14 | 15 => {
                let word = self.word();
                insert(input, at, &word);
            }
            16 => {
                let word = self.word();
                overwrite(input, at, &word);
            }
            17 => {
                let number = self.number(input.len()).to_be_bytes();
                let width = [1, 2, 4][self.random.below(3)];
                overwrite(input, at, &number[4 - width..]);
            }
            18 => {
                let number = self.number(input.len()).to_le_bytes();
                let width = [1, 2, 4][self.random.below(3)];
                overwrite(input, at, &number[..width]);
            }
            _ => self.other_digits(input, at),
        }
        // A few changes of the worst kind must not take all memory in between.
        input.truncate(self.longest);
    }

    /// Another number in place of the next digits.
    fn other_digits(&mut self, input: &mut Vec<u8>, at: usize) {
        let Some(start) = input[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else {
            return;
        };
        let length = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = DIGITS[self.random.below(DIGITS.len())];
        input.splice(start..start + length, digits.bytes());
    }

    fn pick<'a>(&mut self, pool: &'a [Vec<u8>]) -> &'a [u8] {
        pool.get(self.random.below(pool.len())).map_or(&[], Vec::as_slice)
    }

    /// Where a piece that begins at `at` ends.
    fn end(&mut self, input: &[u8], at: usize) -> usize {
        at + self.random.small(input.len() - at + 1)
    }

    fn piece<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let at = self.random.below(input.len() + 1);
        let end = self.end(input, at);
        &input[at..end]
    }

    fn word(&mut self) -> Vec<u8> {
        match self.random.below(8) {
            0 => DIGITS[self.random.below(DIGITS.len())].into(),
            1 => vec![self.byte()],
            _ => self.random.one_of(self.words).unwrap_or_default().into(),
        }
    }

    fn byte(&mut self) -> u8 {
        BYTES[self.random.below(BYTES.len())]
    }

    /// A number, sometimes one that has to do with a length.
    fn number(&mut self, length: usize) -> u32 {
        let step = u32::try_from(self.random.below(3)).unwrap_or(0);
        match self.random.below(3) {
            0 => u32::try_from(length).unwrap_or(u32::MAX).wrapping_add(step).wrapping_sub(1),
            1 => NUMBERS[self.random.below(NUMBERS.len())].wrapping_add(step).wrapping_sub(1),
            _ => NUMBERS[self.random.below(NUMBERS.len())],
        }
    }
}

fn alter(input: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte = change(*byte);
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

fn overwrite(input: &mut [u8], at: usize, piece: &[u8]) {
    for (old, new) in input[at..].iter_mut().zip(piece) {
        *old = *new;
    }
}
