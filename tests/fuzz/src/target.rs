//! What is fuzzed.

use crate::outcome::Outcome;

/// A reader of bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its directory in the corpus.
    pub name: &'static str,
    /// The longest input that is made, bytes.
    pub longest: usize,
    /// Words of its language, to be put into inputs.
    pub words: &'static [&'static str],
    /// Of 10,000 fresh inputs the reader takes so many at least, and at most. That is how a target shows that it is reached.
    pub share: [u64; 2],
    /// Reads an input, checks what was promised, and tells what came out. Panics if something that was promised is not so.
    pub read: fn(&[u8]) -> Outcome,
}
