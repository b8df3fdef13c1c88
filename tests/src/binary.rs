//! The program under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The program under test: what `KITH_BIN` names, else the one of this build, which is made when it is missing or older
/// than its sources.
///
/// # Panics
/// If there is none.
pub fn kith_binary() -> &'static Path {
    // What went wrong is kept too: a build that fails is not tried again by every test.
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BINARY.get_or_init(|| find(&build_directory())).as_ref().unwrap_or_else(|problem| panic!("{problem}"))
}

/// The program as it is shipped: what `KITH_BIN` names, else that of the release profile, which is made when it is missing
/// or older than its sources. For benchmarks.
///
/// # Panics
/// If there is none.
pub fn release_binary() -> &'static Path {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let release = || build_directory().with_file_name("release");
    BINARY.get_or_init(|| find(&release())).as_ref().unwrap_or_else(|problem| panic!("{problem}"))
}

/// Where this test was built: `<target>/<profile>`.
fn build_directory() -> PathBuf {
    // A test is <target>/<profile>/deps/it-0123, a program <target>/<profile>/far.
    let program = std::env::current_exe().unwrap();
    let directory = program.parent().unwrap();
    if directory.ends_with("deps") { directory.parent().unwrap().to_owned() } else { directory.to_owned() }
}

fn find(directory: &Path) -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("KITH_BIN") {
        let named = std::path::absolute(named).unwrap();
        if !named.is_file() {
            return Err(format!("KITH_BIN names {}, which is no file", named.display()));
        }
        return Ok(named);
    }
    let binary = directory.join("kith");
    let built = binary.metadata().and_then(|meta| meta.modified()).ok();
    if built.is_none_or(|built| built < newest_source()) {
        build(directory)?;
    }
    if !binary.is_file() {
        return Err(format!(
            "there is no program at {}: build it with `cargo build -p kith`, or name one with KITH_BIN",
            binary.display()
        ));
    }
    Ok(binary)
}

fn build(directory: &Path) -> Result<(), String> {
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let args = ["build", "--quiet", "--locked", "--package", "kith", "--profile", profile];
    command.args(args).current_dir(workspace());
    if let Some(target) = directory.parent() {
        command.env("CARGO_TARGET_DIR", target);
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        outcome => Err(format!("the program under test could not be built ({outcome:?}): {command:?}")),
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn newest_source() -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut open = ["crates", "Cargo.lock", "Cargo.toml"].map(|name| workspace().join(name)).to_vec();
    while let Some(path) = open.pop() {
        let Ok(meta) = path.symlink_metadata() else { continue };
        if meta.is_dir() {
            // Tests and examples are no part of the program.
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !matches!(name, "tests" | "examples" | "benches") {
                open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if let Ok(modified) = meta.modified()
            && !path.ends_with("tests.rs")
        {
            newest = newest.max(modified);
        }
    }
    newest
}
