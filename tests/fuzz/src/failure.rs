//! What is said when a target breaks.

use std::fmt;

use data_encoding::HEXLOWER;

/// Most bytes of an input that are printed.
const MOST_PRINTED: usize = 4096;

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of the corpus, by its name.
    Corpus(String),
    /// A fresh one.
    Fresh {
        /// The seed of the run.
        seed: u64,
        /// Which one of the run, from 1.
        number: u64,
    },
}

/// A target that broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub target: &'static str,
    /// The input that did it.
    pub input: Vec<u8>,
    /// Where the input comes from.
    pub origin: Origin,
    /// What happened.
    pub what: String,
    /// Whether it was a panic: then it comes at once, and the input can be made smaller.
    pub panicked: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, input, origin, what, .. } = self;
        writeln!(f, "{target}: {what}")?;
        match origin {
            Origin::Corpus(file) => writeln!(f, "at corpus/{target}/{file}")?,
            Origin::Fresh { seed, number } => {
                writeln!(
                    f,
                    "at fresh input {number}; again: KITH_FUZZ_SEED={seed} KITH_FUZZ_INPUTS={number} cargo test -p fuzz"
                )?;
                writeln!(
                    f,
                    "once understood, keep it as tests/fuzz/corpus/{target}/{}",
                    crate::crash_name(input)
                )?;
            }
        }
        let printed = &input[..input.len().min(MOST_PRINTED)];
        write!(f, "{} bytes: {}", input.len(), HEXLOWER.encode(printed))?;
        if printed.len() < input.len() {
            write!(f, "...")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
