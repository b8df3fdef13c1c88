//! Calling `ip` and `nft`, many commands at once: starting a program costs more than what it does here.

use std::process::Command;

use crate::need::program;
use crate::run_with;

use super::namespace::Namespace;

/// Runs lines of `ip` in the machine's own namespace: only such as make and remove namespaces.
#[track_caller]
pub(super) fn batch(lines: &str) {
    call(Command::new(program("ip")).args(["-batch", "-"]), lines);
}

/// Runs lines of `ip` in a namespace.
#[track_caller]
pub(super) fn batch_in(namespace: &Namespace, lines: &str) {
    call(Command::new(program("ip")).args(["-n", namespace.name(), "-batch", "-"]), lines);
}

/// Runs a script of `nft` in a namespace, all of it or nothing.
#[track_caller]
pub(super) fn nft(namespace: &Namespace, script: &str) {
    call(namespace.command("nft").args(["-f", "-"]), script);
}

#[track_caller]
fn call(command: &mut Command, input: &str) {
    let outcome = run_with(command, input.as_bytes());
    assert!(outcome.code == 0, "{outcome}\n--- input\n{input}");
}
