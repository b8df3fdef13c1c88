//! Kith as people use it: two daemons with one link between them over loopback, and the command line.

use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::corpus::Corpus;
use super::measure::{Measured, bytes_in, measure};
use super::restic::{Restic, restored};
use super::{Round, Scratch, Work};
use crate::{
    Computer, assert_same, memory_own_kib, memory_peak_kib, memory_resident_kib, pair, processor_seconds,
};

/// What an idle daemon with one friend has in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    pub(super) resident_bytes: u64,
    /// Of them what is not mapped from files, as the program itself is.
    pub(super) own_bytes: u64,
}

/// Two daemons are linked and left alone for so long: the memory of the larger one.
pub(super) fn idle(kith: &Path, patience: Duration) -> Idle {
    let [one, other] = ["one", "other"].map(|name| Computer::new(name, "").of_program(kith));
    one.start();
    other.start();
    pair(&one, &other);
    std::thread::sleep(patience);
    let most = |kib: fn(u32) -> u64| 1024 * kib(one.pid()).max(kib(other.pid()));
    Idle { resident_bytes: most(memory_resident_kib), own_bytes: most(memory_own_kib) }
}

/// Backs up twice to a friend and restores from him; the first time, what came of it is checked.
pub(super) fn run(
    scratch: &Scratch,
    corpus: &Corpus,
    kith: &Path,
    restic: &Restic,
    first: bool,
) -> Result<Round, String> {
    let target = scratch.fresh("restored")?;
    let [owner, keeper] = ["owner", "keeper"].map(|name| Computer::new(name, "").of_program(kith));
    owner.start();
    keeper.start();
    pair(&keeper, &owner);
    let source = corpus.path.display().to_string();
    owner.kith(&["set", "add", "all", &source, "--to", "keeper"]).ok();
    let daemons = [owner.pid(), keeper.pid()];
    let call = |arguments: &[&str]| -> Result<Measured, String> {
        let used = || daemons.iter().map(|pid| processor_seconds(*pid)).sum::<f64>();
        let before = used();
        let measured = measure(scratch.path(), &owner.command(arguments))?;
        let peaks = daemons.iter().map(|pid| memory_peak_kib(*pid) * 1024);
        Ok(Measured {
            seconds: measured.seconds,
            processor_seconds: measured.processor_seconds + used() - before,
            peak_bytes: peaks.fold(measured.peak_bytes, u64::max),
        })
    };
    let initial = call(&["backup"])?;
    let archive = keeper.archive_of(&owner);
    let repository_bytes = bytes_in(&archive);
    let no_change = call(&["backup"])?;
    let target_text = target.display().to_string();
    let restore = call(&["restore", "latest", "--target", &target_text])?;
    if first {
        assert_same(&corpus.path, &restored(&target, corpus));
        let key = scratch.fresh("key")?.join("key");
        let key_text = key.display().to_string();
        let exported = owner.kith(&["recovery", "restic-key", "keeper", "--out", &key_text]);
        let password = exported.ok().to_owned();
        owner.stop();
        keeper.stop();
        let keys = archive.join("keys");
        std::fs::create_dir_all(&keys).map_err(|error| error.to_string())?;
        let bytes = std::fs::read(&key).map_err(|error| error.to_string())?;
        let name: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(keys.join(name), bytes).map_err(|error| error.to_string())?;
        restic.check(scratch, &archive, &password)?;
    }
    drop((owner, keeper));
    scratch.remove("restored")?;
    let runs = [(Work::Initial, initial), (Work::NoChange, no_change), (Work::Restore, restore)];
    Ok(Round { runs, repository_bytes })
}
