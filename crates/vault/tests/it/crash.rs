//! A daemon that dies at any moment loses nothing acknowledged and shows nothing half-written.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use kith_vault::Vault;
use tokio::task::JoinSet;

use crate::support::{Fixture, bytes_of, call, child, child_argument, files, open, owner, sha256};

#[tokio::test]
async fn leftovers_of_unfinished_uploads_are_removed_at_start() {
    let f = Fixture::new().await;
    f.post("/a/config", b"config").await.expect_ok();
    std::fs::write(f.root().join("tmp/0"), b"half a pa").unwrap();
    std::fs::write(f.root().join("tmp/77"), b"").unwrap();
    let f = f.reopen().await;
    assert_eq!(f.temporary_files(), 0);
    assert_eq!(f.usage(), (4096, 0));
    assert_eq!(f.get("/a/config").await.expect_ok().body, "config");
}

/// Uploads and deletes without end, saying what was acknowledged.
async fn work_until_killed(vault: Vault) {
    let alice = owner("ALICE");
    vault.set_quota(&alice, Some(1 << 40));
    call(&vault, &alice, "POST", "/a/?create=true", &[], b"").await.expect_ok();
    let start: u64 = std::process::id().into();
    let mut workers = JoinSet::new();
    for worker in 0..4 {
        let (vault, alice) = (vault.clone(), alice.clone());
        workers.spawn(async move {
            for number in 0.. {
                let bytes = bytes_of((start << 32) + (worker << 24) + number, 200_000 + 7 * number as usize);
                let kind = if number % 5 == 4 { "snapshots" } else { "data" };
                let path = format!("/a/{kind}/{}", sha256(&bytes));
                call(&vault, &alice, "POST", &path, &[], &bytes).await.expect_ok();
                println!("\nstored {} {kind}", sha256(&bytes));
                if number % 7 == 6 {
                    call(&vault, &alice, "DELETE", &path, &[], b"").await.expect_ok();
                }
                std::io::stdout().flush().unwrap();
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
}

#[test]
fn killing_the_daemon_at_any_moment_loses_nothing_acknowledged() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(path) = child_argument() {
        let vault = runtime.block_on(open(&path)).unwrap();
        runtime.block_on(work_until_killed(vault));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vault");
    let mut acknowledged = Vec::new();
    for round in 0..8 {
        let mut child = child("crash::killing_the_daemon_at_any_moment_loses_nothing_acknowledged", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut read = |most: usize| {
            let stored =
                lines.by_ref().filter_map(|line| line.unwrap().strip_prefix("stored ").map(str::to_owned));
            stored.take(most).collect::<Vec<_>>()
        };
        acknowledged.extend(read(3 + 5 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died counts, too; the last line may be cut.
        acknowledged.extend(read(usize::MAX).into_iter().filter(|line| line.len() > 66));

        let held: Vec<String> = files(&path.join("ALICE/held")).iter().map(|file| file_name(file)).collect();
        for line in &acknowledged {
            let (name, kind) = line.split_once(' ').unwrap();
            let kind =
                if kind.starts_with('d') { format!("data/{}", &name[..2]) } else { "snapshots".to_owned() };
            let live = path.join("ALICE/a").join(kind).join(name);
            assert!(live.exists() || held.iter().any(|file| file.starts_with(name)), "{name} is lost");
        }
        let mut everything = files(&path.join("ALICE"));
        everything.retain(|file| !file.starts_with(path.join("ALICE/.record")));
        assert!(everything.len() >= acknowledged.len());
        for file in everything {
            let name = file_name(&file);
            assert_eq!(sha256(&std::fs::read(&file).unwrap()), name[..64], "{} is damaged", file.display());
        }
        let vault = runtime.block_on(open(&path)).unwrap();
        assert_eq!(files(&path.join("tmp")).len(), 0);
        drop(vault);
    }
    assert!(acknowledged.len() > 100);
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
