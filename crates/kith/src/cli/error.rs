//! Errors of the command line: a sentence, a hint, an exit code.

use std::process::ExitCode;

use kith_control::{ClientError, Failure, FailureKind};

/// Exit codes are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// 1
    Failed,
    /// 2
    Usage,
    /// 3
    Omissions,
    /// 4
    NotRunning,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(match code {
            Code::Failed => 1,
            Code::Usage => 2,
            Code::Omissions => 3,
            Code::NotRunning => 4,
        })
    }
}

/// What went wrong, for the person.
#[derive(Debug)]
pub(super) struct CliError {
    /// Decides the exit code.
    pub(super) code: Code,
    /// What failed and why; empty if everything has been said already.
    pub(super) message: String,
    /// What to do next.
    pub(super) hint: Option<String>,
}

/// What a command comes to.
pub(super) type CliResult<T = ()> = Result<T, CliError>;

impl CliError {
    /// A failure with a next step.
    pub(super) fn new(message: impl ToString, hint: &str) -> Self {
        Self { code: Code::Failed, message: message.to_string(), hint: Some(hint.to_owned()) }
    }

    /// Wrong use of the command line.
    pub(super) fn usage(message: impl ToString, hint: &str) -> Self {
        Self { code: Code::Usage, ..Self::new(message, hint) }
    }

    /// An exit code after everything has been said.
    pub(super) const fn said(code: Code) -> Self {
        Self { code, message: String::new(), hint: None }
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let code = if failure.kind == FailureKind::Invalid { Code::Usage } else { Code::Failed };
        Self { code, message: failure.message, hint: failure.hint }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Failure(failure) => failure.into(),
            ClientError::DaemonNotRunning { .. } => Self {
                code: Code::NotRunning,
                message: error.to_string(),
                hint: Some("start it with `kith daemon`, or `systemctl start kith`".to_owned()),
            },
            other => Self { code: Code::Failed, message: crate::daemon::with_sources(&other), hint: None },
        }
    }
}

/// Errors that carry their sources in one line.
macro_rules! from_errors {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self { code: Code::Failed, message: crate::daemon::with_sources(&error), hint: None }
            }
        })*
    };
}

from_errors!(
    crate::home::HomeError,
    crate::settings::SettingsError,
    crate::daemon::db::DbError,
    crate::daemon::keys::KeysError,
    std::io::Error,
    kith_archive::StoreError,
);
