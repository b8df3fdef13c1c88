//! Numbers that look random and are the same for the same seed.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        // The lower bits are as good as the upper ones, and no number used here needs more than 32.
        let number = usize::try_from(self.number() >> 32).unwrap_or(0);
        if end == 0 { 0 } else { number % end }
    }

    /// A number below `end`, as often below 16 as above 1,000.
    pub fn small(&mut self, end: usize) -> usize {
        let bits = usize::try_from(end.max(1).ilog2()).unwrap_or(0) + 1;
        let shift = self.below(bits) + 1;
        self.below(end.min(1 << shift))
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn one_of<'a, T: ?Sized>(&mut self, several: &[&'a T]) -> Option<&'a T> {
        several.get(self.below(several.len())).copied()
    }

    /// Bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.number().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
