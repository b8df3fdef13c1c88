//! The archive engine over a local directory, one step per call, to be measured.
//!
//! ```text
//! cargo run --release -p kith-archive --example engine -- init DIR
//! cargo run --release -p kith-archive --example engine -- backup DIR SOURCE
//! cargo run --release -p kith-archive --example engine -- restore DIR TARGET
//! cargo run --release -p kith-archive --example engine -- check DIR
//! cargo run --release -p kith-archive --example engine -- stages SOURCE DIR
//! ```
//!
//! These are the engine's own calls with the settings that the daemon uses: every pack synced before it is acknowledged,
//! every blob verified, the default limits. The key is fixed, for the daemon too has its keys in files and derives
//! nothing from a password. `init` adds a key file with the password `benchmark`, so that stock restic opens the archive.
//! `stages` does what a first backup does, one stage after the other on one thread, and says the processor seconds of each.
//! The daemon's program starts itself with `MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=1048576
//! MALLOC_TRIM_THRESHOLD_=524288`: set these to measure the memory that it needs.
#![allow(clippy::print_stdout, reason = "a program to measure with")]

mod stages;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use kith_archive::check::{CheckDepth, check};
use kith_archive::crypto::KeyFile;
use kith_archive::restore::{RestoreRequest, restore};
use kith_archive::{BackupRequest, FileKind, LocalStore, MasterKey, Polynomial, Repository, Store, backup};
use tokio_util::sync::CancellationToken;

const USAGE: &str =
    "usage: engine init DIR | backup DIR SOURCE | restore DIR TARGET | check DIR | stages SOURCE DIR";

// As many async threads as the daemon has.
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let key = Arc::new(MasterKey::from_bytes(&[9; 64])?);
    let open = async |directory: &str, key| {
        let store = Arc::new(LocalStore::open(directory)?);
        Ok::<_, Box<dyn Error>>(Arc::new(Repository::open(store, key).await?))
    };
    let none = CancellationToken::new();
    match arguments[..] {
        ["init", directory] => {
            let store = Arc::new(LocalStore::create(directory)?);
            let file = KeyFile::export(&key, "benchmark", Timestamp::now())?;
            store.save(FileKind::Key, &file.name, file.bytes.into()).await?;
            Repository::init(store, key, Polynomial::derive(&[1; 32])).await?;
        }
        ["backup", directory, source] => {
            let request = BackupRequest::new(vec![PathBuf::from(source)], "host", "user");
            let report = backup(open(directory, key).await?, request, |_| (), none).await?;
            if !report.is_complete() {
                return Err(format!("{} files were not stored", report.skipped_total).into());
            }
            println!("{} of {} bytes stored", report.bytes_stored, report.bytes_processed);
        }
        ["restore", directory, target] => {
            let repository = open(directory, key).await?;
            let newest = repository.snapshots().await?.snapshots.pop().ok_or("there is no snapshot")?;
            let report = restore(repository, RestoreRequest::new(newest, target), |_| (), none).await?;
            if !report.is_complete() {
                return Err(format!("{} entries were not restored", report.failed.total).into());
            }
            println!("{} files, {} bytes", report.files, report.bytes);
        }
        ["check", directory] => {
            let report = check(open(directory, key).await?, CheckDepth::ReadData, |_| (), none).await?;
            if !report.is_clean() {
                return Err(format!("{} faults", report.findings.total).into());
            }
            println!("{} packs", report.packs);
        }
        ["stages", source, directory] => {
            let (source, directory) = (PathBuf::from(source), PathBuf::from(directory));
            let stages = tokio::task::spawn_blocking(move || stages::measure(&source, &directory, &key));
            for (stage, time) in stages.await?? {
                println!("{:.3} {stage}", time.as_secs_f64());
            }
            return Ok(());
        }
        _ => return Err(USAGE.into()),
    }
    println!("{:.3} s", begin.elapsed().as_secs_f64());
    Ok(())
}
