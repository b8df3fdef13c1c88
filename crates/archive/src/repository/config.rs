//! The config of a repository.

use serde::{Deserialize, Serialize};

use crate::chunker::Polynomial;

/// The version we write. Version 1 (without compression) can be read.
pub(super) const VERSION: u32 = 2;

/// What is fixed for a repository when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Version of the format.
    pub version: u32,
    /// A random id, 64 hexadecimal digits.
    pub id: String,
    /// Decides where files are cut.
    pub chunker_polynomial: Polynomial,
}
