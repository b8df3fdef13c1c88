//! Measures a restore of the newest snapshot, and a check: `measure_restore REPOSITORY TARGET`. The password of a
//! repository of restic is taken from `RESTIC_PASSWORD`; without one it is what `measure` made.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program to measure with")]

use std::sync::Arc;
use std::time::Instant;

use kith_archive::check::{CheckDepth, check};
use kith_archive::restore::{RestoreRequest, restore};
use kith_archive::store::LocalStore;
use kith_archive::{MasterKey, Repository};
use tokio_util::sync::CancellationToken;

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned()
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (repository, target) = (arguments.next().unwrap(), arguments.next().unwrap());
    let start = Instant::now();
    let store = Arc::new(LocalStore::open(&repository).unwrap());
    let key = match std::env::var("RESTIC_PASSWORD") {
        Ok(password) => kith_archive::crypto::open_with_password(&*store, &password).await.unwrap(),
        Err(_) => MasterKey::from_bytes(&[9; 64]).unwrap(),
    };
    let repository = Arc::new(Repository::open(store, Arc::new(key)).await.unwrap());
    let snapshot = repository.snapshots().await.unwrap().snapshots.pop().unwrap();
    let opened = start.elapsed().as_secs_f64();
    let request = RestoreRequest::new(snapshot, target);
    let report = restore(Arc::clone(&repository), request, |_| (), CancellationToken::new()).await.unwrap();
    println!(
        "restore {:.2} s, of it opening {opened:.2} s: {} files {} bytes {} directories, {} failed  {}",
        start.elapsed().as_secs_f64(),
        report.files,
        report.bytes,
        report.directories,
        report.failed.total,
        peak(),
    );
    for depth in [CheckDepth::Structure, CheckDepth::ReadData] {
        let report = check(Arc::clone(&repository), depth, |_| (), CancellationToken::new()).await.unwrap();
        println!(
            "check {depth:?} {:.2} s: {} packs {} trees {} findings  {}",
            report.duration.as_secs_f64(),
            report.packs_read,
            report.trees,
            report.findings.total,
            peak(),
        );
    }
}
