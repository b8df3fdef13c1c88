//! Stock restic, to a local directory and to a REST server.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::corpus::Corpus;
use super::measure::{Measured, bytes_in, measure};
use super::{Round, Scratch, Work};
use crate::{assert_same, free_port, wait_until};

/// Of every repository here.
pub(super) const PASSWORD: &str = "benchmark";

/// The programs.
pub(super) struct Restic {
    pub(super) version: String,
    pub(super) rclone_version: Option<String>,
}

impl Restic {
    /// Makes sure that they are there.
    pub(super) fn find(network: bool) -> Result<Self, String> {
        let version = version("restic")?;
        let rclone_version = if network { Some(self::version("rclone")?) } else { None };
        Ok(Self { version, rclone_version })
    }

    /// Backs up to a local directory, twice, and restores.
    pub(super) fn local(&self, scratch: &Scratch, corpus: &Corpus, first: bool) -> Result<Round, String> {
        let repository = scratch.fresh("restic")?;
        let round = rounds(scratch, corpus, &repository.display().to_string(), &repository, first)?;
        scratch.remove("restic")?;
        Ok(round)
    }

    /// The same over HTTP, to rclone's REST server on the same computer, without TLS.
    pub(super) fn network(&self, scratch: &Scratch, corpus: &Corpus) -> Result<Round, String> {
        let repository = scratch.fresh("restic")?;
        let port = free_port();
        let address = format!("127.0.0.1:{}", port.number());
        let mut serve = Command::new("rclone");
        serve.args(["serve", "restic", "--addr", &address]).arg(&repository);
        serve.env("RCLONE_CONFIG", scratch.path().join("rclone.conf"));
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = serve.spawn().map_err(|error| format!("rclone does not start: {error}"))?;
        let server = Ending(server);
        wait_until("rclone to serve", Duration::from_secs(20), || TcpStream::connect(&address).is_ok());
        let round = rounds(scratch, corpus, &format!("rest:http://{address}/"), &repository, false)?;
        drop(server);
        scratch.remove("restic")?;
        Ok(round)
    }

    /// Has a repository checked, with all of its data.
    pub(super) fn check(&self, scratch: &Scratch, repository: &Path, password: &str) -> Result<(), String> {
        let mut check = restic(scratch, &repository.display().to_string());
        check.env("RESTIC_PASSWORD", password).args(["check", "--read-data"]);
        measure(scratch.path(), &check).map(drop)
    }
}

fn version(program: &str) -> Result<String, String> {
    let missing = format!("the benchmark needs {program}: it is a package of that name on Debian");
    let output = Command::new(program).arg("version").output().map_err(|_| missing)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn restic(scratch: &Scratch, repository: &str) -> Command {
    let mut restic = Command::new("restic");
    restic.args(["-r", repository]).env("RESTIC_PASSWORD", PASSWORD);
    restic.env("XDG_CACHE_HOME", scratch.path().join("restic-cache"));
    restic
}

/// From making the repository to restoring from it. The time for deriving the key, which every call of restic takes anew, is
/// subtracted.
fn rounds(
    scratch: &Scratch,
    corpus: &Corpus,
    repository: &str,
    directory: &Path,
    compare: bool,
) -> Result<Round, String> {
    scratch.remove("restic-cache")?;
    let target = scratch.fresh("restored")?;
    let call = |arguments: &[&str]| {
        let mut command = restic(scratch, repository);
        command.args(arguments);
        measure(scratch.path(), &command)
    };
    let (source, target_text) = (corpus.path.display().to_string(), target.display().to_string());
    call(&["init"])?;
    let derivation = call(&["cat", "config"])?;
    let without = |measured: Measured| Measured {
        seconds: (measured.seconds - derivation.seconds).max(0.0),
        processor_seconds: (measured.processor_seconds - derivation.processor_seconds).max(0.0),
        ..measured
    };
    let initial = without(call(&["backup", &source])?);
    let repository_bytes = bytes_in(directory);
    let no_change = without(call(&["backup", &source])?);
    let restore = without(call(&["restore", "latest", "--target", &target_text])?);
    if compare {
        assert_same(&corpus.path, &restored(&target, corpus));
    }
    scratch.remove("restored")?;
    scratch.remove("restic-cache")?;
    let runs = [(Work::Initial, initial), (Work::NoChange, no_change), (Work::Restore, restore)];
    Ok(Round { runs, repository_bytes })
}

/// Where a corpus lies below the directory that it was restored to: with its full path, in both programs.
pub(super) fn restored(target: &Path, corpus: &Corpus) -> PathBuf {
    target.join(corpus.path.strip_prefix("/").unwrap_or(&corpus.path))
}

/// A server that ends with this value.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
