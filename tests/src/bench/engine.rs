//! Kith's archive engine over a local directory.
//!
//! The program backs up to friends only, so there is no command for this: what is run is the example `engine` of the
//! archive crate, which makes the engine's own calls with the settings that the daemon uses. Restores are the program's own
//! as well: `kith restore --repository` makes the same call.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::corpus::Corpus;
use super::measure::{bytes_in, measure};
use super::restic::{PASSWORD, Restic, restored};
use super::{Round, Scratch, Work};
use crate::assert_same;

/// How the program starts itself, see its `allocator`.
const ALLOCATOR: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "1048576"), ("MALLOC_TRIM_THRESHOLD_", "524288")];

/// The program.
pub(super) struct Engine {
    program: PathBuf,
}

impl Engine {
    /// Builds it beside this program, if need be.
    pub(super) fn build() -> Result<Self, String> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "-p",
            "kith-archive",
            "--example",
            "engine",
        ]);
        let bench = std::env::current_exe().map_err(|error| error.to_string())?;
        let release = bench.parent().ok_or("this program lies nowhere")?;
        let target = release.parent().ok_or("this program lies nowhere")?;
        cargo.env("CARGO_TARGET_DIR", target).current_dir(env!("CARGO_MANIFEST_DIR"));
        match cargo.status() {
            Ok(status) if status.success() => {}
            outcome => return Err(format!("the engine could not be built ({outcome:?}): {cargo:?}")),
        }
        Ok(Self { program: target.join("release/examples/engine") })
    }

    pub(super) fn command(&self, arguments: &[&str], paths: &[&Path]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(paths).envs(ALLOCATOR);
        command
    }

    /// Backs up twice and restores; the first time, what came of it is checked.
    pub(super) fn run(
        &self,
        scratch: &Scratch,
        corpus: &Corpus,
        restic: &Restic,
        first: bool,
    ) -> Result<Round, String> {
        let repository = scratch.fresh("kith")?;
        let target = scratch.fresh("restored")?;
        let call = |what: &str, paths: &[&Path]| measure(scratch.path(), &self.command(&[what], paths));
        call("init", &[&repository])?;
        let initial = call("backup", &[&repository, &corpus.path])?;
        let repository_bytes = bytes_in(&repository);
        let no_change = call("backup", &[&repository, &corpus.path])?;
        let restore = call("restore", &[&repository, &target])?;
        if first {
            assert_same(&corpus.path, &restored(&target, corpus));
            restic.check(scratch, &repository, PASSWORD)?;
        }
        scratch.remove("restored")?;
        scratch.remove("kith")?;
        let runs = [(Work::Initial, initial), (Work::NoChange, no_change), (Work::Restore, restore)];
        Ok(Round { runs, repository_bytes })
    }
}
