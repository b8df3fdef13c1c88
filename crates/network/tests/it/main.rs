//! The news of a real kernel, in a network namespace of its own.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the whole crate is a test; clippy takes only functions marked as tests for such"
)]

mod inside;

use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Set for the process within the namespace: whether it finds its own `/sys` there.
const SYSFS: &str = "KITH_NETWORK_TEST_SYSFS";

/// Tools for administrators are not in everybody's path.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether namespaces can be made here; if not, the reason is printed and the test should end. Where `CI=true` that is a
/// failure.
fn can_isolate() -> bool {
    let works = |program: &str, arguments: &[&str]| {
        Command::new(program)
            .args(arguments)
            .env("PATH", PATH)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let missing = if !works("unshare", &["--net", "--mount", "--", "true"]) {
        "network namespaces can't be used here (`unshare`, root)"
    } else if !works("ip", &["-V"]) {
        "there is no program `ip` here"
    } else {
        return true;
    };
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let left_out = std::env::var("KITH_TESTS_LEFT_OUT").unwrap_or_default();
    let named = left_out.split(',').any(|out| out.trim() == "namespaces");
    assert!(!ci || named, "{missing}, and CI=true: install it, or set KITH_TESTS_LEFT_OUT=namespaces");
    eprintln!("skipped: {missing}");
    false
}

/// Runs `inside::the_kernels_news` in new namespaces, which end with it.
fn isolated(prepare: &str, sysfs: &str) {
    if !can_isolate() {
        return;
    }
    // All namespaces share one lock in the kernel, and times are measured.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--", "sh", "-c"])
        .arg(format!("{prepare} && exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "inside::the_kernels_news", "--ignored", "--nocapture"])
        .env(SYSFS, sysfs)
        .env("PATH", PATH)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    for note in text.lines().filter(|line| line.starts_with("note: ")) {
        eprintln!("{note}");
    }
}

#[test]
fn every_change_is_told_within_two_seconds() {
    isolated("mount -t sysfs sysfs /sys", "own");
}

#[test]
fn every_change_is_told_without_sysfs_too() {
    isolated("mount -t tmpfs none /sys", "none");
}

#[test]
fn the_devices_of_another_namespace_lead_nobody_astray() {
    isolated("true", "another's");
}
