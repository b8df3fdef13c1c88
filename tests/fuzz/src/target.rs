//! What is fuzzed.

/// A reader of bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its directory in the corpus.
    pub name: &'static str,
    /// The longest input that is made, bytes.
    pub longest: usize,
    /// Words of its language, to be put into inputs.
    pub words: &'static [&'static str],
    /// Reads an input, checks what was promised, and tells the form of what came out (see [`outcome`](crate::outcome)). Panics if
    /// something that was promised is not so.
    pub read: fn(&[u8]) -> u64,
}
