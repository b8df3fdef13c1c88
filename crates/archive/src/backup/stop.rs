//! How the threads of a backup end early: because it was cancelled, or because one of them failed.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::BackupError;

/// The backup is ending; whoever sees this returns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopped;

/// Shared by all threads of a backup.
pub(super) struct Stop {
    token: CancellationToken,
    failure: Mutex<Option<BackupError>>,
}

impl Stop {
    /// Stops when `token` is cancelled, which the first failure does too.
    pub(super) fn new(token: CancellationToken) -> Self {
        Self { token, failure: Mutex::default() }
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Ends the backup with an error. Only the first one is kept.
    pub(super) fn fail(&self, error: impl Into<BackupError>) -> Stopped {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.token.is_cancelled() {
            failure.get_or_insert(error.into());
        }
        drop(failure);
        self.token.cancel();
        Stopped
    }

    pub(super) fn check(&self) -> Result<(), Stopped> {
        if self.token.is_cancelled() { Err(Stopped) } else { Ok(()) }
    }

    /// Why it stopped.
    pub(super) fn reason(&self) -> BackupError {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.unwrap_or(BackupError::Cancelled)
    }
}
