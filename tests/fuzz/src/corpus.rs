//! The inputs that are kept.

use std::io;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Where the inputs of a target lie.
#[must_use]
pub fn corpus_directory(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The inputs of a target with the names of their files, in the order of these.
///
/// # Errors
/// If there is no such directory, or it can't be read.
pub fn corpus(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(corpus_directory(target))? {
        let entry = entry?;
        inputs.push((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?));
    }
    // A directory has no order of its own, and the same seed is to make the same inputs.
    inputs.sort();
    Ok(inputs)
}

/// The name of the file that an input is kept in which broke a target.
#[must_use]
pub fn crash_name(input: &[u8]) -> String {
    format!("crash-{}", HEXLOWER.encode(&Sha256::digest(input)[..6]))
}
