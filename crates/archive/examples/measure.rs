//! Measures a backup into a new local repository: `measure SOURCE REPOSITORY`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program to measure with")]

use std::sync::Arc;
use std::time::Instant;

use kith_archive::store::LocalStore;
use kith_archive::{BackupRequest, MasterKey, Polynomial, Repository, backup};
use tokio_util::sync::CancellationToken;

fn tell(event: backup::Event) {
    if std::env::var_os("VERBOSE").is_some() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let rss = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        match event {
            backup::Event::Progress(p) => println!(
                "{rss} done {} stored {} found {:?} {}",
                p.done.bytes, p.stored_bytes, p.found, p.found_all
            ),
            other => println!("{rss} {other:?}"),
        }
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (source, target) = (arguments.next().unwrap(), arguments.next().unwrap());
    let key = Arc::new(MasterKey::from_bytes(&[9; 64]).unwrap());
    for _ in 0..2 {
        let start = Instant::now();
        let store = Arc::new(LocalStore::create(&target).unwrap());
        let opened = Repository::open(store.clone(), key.clone()).await;
        let repository = match opened {
            Ok(repository) => repository,
            Err(_) => Repository::init(store, key.clone(), Polynomial::derive(&[1; 32])).await.unwrap(),
        };
        let request = BackupRequest::new(vec![source.clone().into()], "host", "user");
        let report = backup(Arc::new(repository), request, tell, CancellationToken::new()).await.unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
        println!(
            "{:.2} s  new {} changed {} unmodified {}  {} blobs {} trees  added {} stored {}  {peak}",
            start.elapsed().as_secs_f64(),
            report.files_new,
            report.files_changed,
            report.files_unmodified,
            report.data_blobs,
            report.tree_blobs,
            report.bytes_added,
            report.bytes_stored
        );
    }
}
