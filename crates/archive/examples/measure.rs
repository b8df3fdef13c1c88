//! A benchmark: time and largest memory of two backups, two checks and a restore, on local disks.
//!
//! ```text
//! cargo run --release -p kith-archive --example measure -- SOURCE WORK
//! ```
//!
//! `SOURCE` is what is backed up. `WORK` must not exist; it gets the archive and the restored files, and can be deleted
//! afterwards. The daemon runs with `MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=1048576 MALLOC_TRIM_THRESHOLD_=524288`: set
//! these to measure the memory that it needs. The largest size is that of the whole run until then.
#![allow(clippy::print_stdout, reason = "a program to measure with")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use kith_archive::check::{CheckDepth, check};
use kith_archive::restore::{RestoreRequest, restore};
use kith_archive::{BackupRequest, LocalStore, MasterKey, Polynomial, Repository, backup};
use tokio_util::sync::CancellationToken;

fn tell(what: &str, since: Instant, outcome: &str) {
    // Where the system tells.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let largest = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    println!("{what:<22} {:6.2} s  {outcome}  {largest}", since.elapsed().as_secs_f64());
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(source), Some(work)) = (arguments.next(), arguments.next()) else {
        return Err("usage: measure SOURCE WORK".into());
    };
    let store = Arc::new(LocalStore::create(work.join("archive"))?);
    let key = Arc::new(MasterKey::from_bytes(&[9; 64])?);
    let repository = Arc::new(Repository::init(store, key, Polynomial::derive(&[1; 32])).await?);
    let none = CancellationToken::new;
    let mut newest = None;
    for what in ["first backup", "second backup"] {
        let start = Instant::now();
        let request = BackupRequest::new(vec![source.clone()], "host", "user");
        let report = backup(Arc::clone(&repository), request, |_| (), none()).await?;
        tell(what, start, &format!("{} of {} bytes stored", report.bytes_stored, report.bytes_processed));
        newest = Some(report.snapshot);
    }
    for (what, depth) in [("check", CheckDepth::Structure), ("check of all data", CheckDepth::ReadData)] {
        let start = Instant::now();
        let report = check(Arc::clone(&repository), depth, |_| (), none()).await?;
        tell(what, start, &format!("{} packs, {} findings", report.packs, report.findings.total));
    }
    if let Some(snapshot) = newest {
        let start = Instant::now();
        let request = RestoreRequest::new(repository.load_snapshot(&snapshot).await?, work.join("restored"));
        let report = restore(repository, request, |_| (), none()).await?;
        tell("restore", start, &format!("{} files, {} bytes", report.files, report.bytes));
    }
    Ok(())
}
