//! Failures for the person.

use kith_control::{Failure, FailureKind};

/// A failure with a next step.
pub(super) fn failure(kind: FailureKind, message: impl ToString, hint: &str) -> Failure {
    Failure { kind, message: message.to_string(), hint: Some(hint.to_owned()) }
}

/// A failure whose message says all there is.
pub(super) fn failed(error: impl std::error::Error) -> Failure {
    Failure { kind: FailureKind::Failed, message: with_sources(&error), hint: None }
}

/// An error and what caused it, in one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Transparent errors repeat what the outer one said.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}
