//! What a test needs of the machine, and what happens when it isn't there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Tests listed here (comma separated names of what they need) may be left out even where `CI=true`.
const LEFT_OUT: &str = "KITH_TESTS_LEFT_OUT";

/// Whether the program `tool` can be run here; if not, the reason is printed and the test should end.
///
/// # Panics
/// If it can't and `CI=true`, unless `KITH_TESTS_LEFT_OUT` names it: on the build server nothing is skipped unnoticed.
#[must_use]
pub fn need(tool: &str) -> bool {
    judge(tool, find(tool).is_some(), &format!("there is no program `{tool}` here"))
}

/// Whether a process may mount file systems that only itself sees; otherwise as [`need`] with the name `mounts`.
///
/// # Panics
/// See [`need`].
#[must_use]
pub fn need_mounts() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    let can = CAN.get_or_init(|| {
        find("unshare").is_some()
            && crate::Isolation::tmpfs(Path::new("/mnt"), 1)
                .command(Path::new("true"))
                .output()
                .is_ok_and(|output| output.status.success())
    });
    judge("mounts", *can, "mount namespaces (unshare) can't be used here")
}

/// Whether networks can be built here for the laboratory; otherwise as [`need`] with the name `lab`.
///
/// # Panics
/// See [`need`].
#[must_use]
pub fn need_lab() -> bool {
    static PROBLEM: OnceLock<Option<String>> = OnceLock::new();
    let problem = PROBLEM.get_or_init(lab_problem);
    judge("lab", problem.is_none(), problem.as_deref().unwrap_or_default())
}

/// What the laboratory runs.
const LAB_PROGRAMS: [&str; 7] = ["ip", "nft", "conntrack", "miniupnpd", "upnpc", "natpmpc", "setpriv"];

fn lab_problem() -> Option<String> {
    if !is_root() {
        return Some("networks can be built by the superuser only".to_owned());
    }
    if let Some(program) = LAB_PROGRAMS.into_iter().find(|program| find(program).is_none()) {
        return Some(format!("there is no program `{program}` here"));
    }
    let name = format!("kith-probe-{}", std::process::id());
    let netns = |verb: &str| Command::new(program("ip")).args(["netns", verb, &name]).output();
    match netns("add") {
        Ok(output) if output.status.success() => {
            let gone = netns("del").is_ok_and(|output| output.status.success());
            (!gone).then(|| "network namespaces can't be removed here".to_owned())
        }
        _ => Some("network namespaces can't be made here".to_owned()),
    }
}

/// How to call a program: its path, if it is anywhere; else its name, so that the failed call names it.
pub(crate) fn program(tool: &str) -> PathBuf {
    find(tool).unwrap_or_else(|| PathBuf::from(tool))
}

pub(crate) fn judge(name: &str, there: bool, why: &str) -> bool {
    if there {
        return true;
    }
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let left_out = std::env::var(LEFT_OUT).unwrap_or_default();
    assert!(
        !ci || left_out.split(',').any(|out| out.trim() == name),
        "{why}, and CI=true: install it, or set {LEFT_OUT}={name}"
    );
    say(&format!("skipped: {why}"));
    false
}

fn find(tool: &str) -> Option<PathBuf> {
    // Tools for administrators are not in everybody's path.
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::env::split_paths(&paths).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    paths.map(|path| path.join(tool)).find(|path| path.is_file())
}

/// Whether this process is the superuser's.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Prints a note of a test.
#[expect(clippy::print_stderr, reason = "this is where a test says why it was skipped, or what it measured")]
pub fn say(text: &str) {
    eprintln!("{text}");
}

/// Held by a test that loads the machine or measures times: only one of them runs at once, in all test processes.
///
/// # Panics
/// If the lock file can't be made.
#[must_use]
pub fn alone() -> File {
    let path = std::env::temp_dir().join(format!("kith-e2e-{}.lock", nix::unistd::geteuid()));
    let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    file.lock().unwrap();
    file
}
