//! What ends a check early.

use crate::repository::RepositoryError;

/// Why a check ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The archive can't be read at all.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// It was cancelled.
    #[error("the check was cancelled")]
    Cancelled,
    /// The program ends.
    #[error("the check was interrupted")]
    Interrupted,
}
