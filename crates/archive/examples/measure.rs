//! Measures two backups of a directory into a new local repository: `measure SOURCE REPOSITORY`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program to measure with")]

use std::sync::Arc;
use std::time::Instant;

use kith_archive::{BackupRequest, LocalStore, MasterKey, Polynomial, Repository, backup};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (source, target) = (arguments.next().unwrap(), arguments.next().unwrap());
    let store = Arc::new(LocalStore::create(target).unwrap());
    let key = Arc::new(MasterKey::from_bytes(&[9; 64]).unwrap());
    let repository = Arc::new(Repository::init(store, key, Polynomial::derive(&[1; 32])).await.unwrap());
    for run in ["first", "again"] {
        let start = Instant::now();
        let request = BackupRequest::new(vec![source.clone().into()], "host", "user");
        let report =
            backup(Arc::clone(&repository), request, |_| (), CancellationToken::new()).await.unwrap();
        println!("{run}: {:.2} s, {} bytes stored", start.elapsed().as_secs_f64(), report.bytes_stored);
    }
    // The largest resident size, where the system tells.
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
    }
}
