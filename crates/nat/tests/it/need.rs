//! What a test needs of the machine.

use std::path::PathBuf;

/// Tests listed here (comma separated names of what they need) may be left out even where `CI=true`.
const LEFT_OUT: &str = "KITH_TESTS_LEFT_OUT";

/// Whether network namespaces can be made here and these programs run in them; if not, the reason is printed and the test
/// should end.
///
/// # Panics
/// If not and `CI=true`, unless the variable names what is missing: on the build server nothing is skipped unnoticed.
pub(crate) fn need_namespaces(tools: &[&str]) -> bool {
    let root = nix::unistd::geteuid().is_root();
    let root = judge("root", root, "network namespaces are made by the superuser only");
    root && tools.iter().all(|tool| judge(tool, there(tool), &format!("there is no program `{tool}` here")))
}

fn judge(name: &str, there: bool, why: &str) -> bool {
    if there {
        return true;
    }
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let left_out = std::env::var(LEFT_OUT).unwrap_or_default();
    assert!(
        !ci || left_out.split(',').any(|out| out.trim() == name),
        "{why}, and CI=true: install it, or set {LEFT_OUT}={name}"
    );
    eprintln!("skipped: {why}");
    false
}

fn there(tool: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::env::split_paths(&paths).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    paths.map(|path| path.join(tool)).any(|path| path.is_file())
}
