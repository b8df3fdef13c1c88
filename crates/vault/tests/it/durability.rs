//! The order of writes, as the kernel saw it: killing a process can't show a missing sync, its system calls can.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;

use crate::support::{call, child, child_argument, open, owner, pack_path, sha256};

const TEST: &str = "durability::every_write_is_durable_before_it_is_acknowledged";

/// The system calls of a child that does the work of this test, one per line, with paths for descriptors.
fn trace(vault: &Path) -> Option<Vec<String>> {
    let log = vault.with_extension("strace");
    let child = child(TEST, vault);
    let traced = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-s",
            "100",
            "-e",
            "trace=fsync,fdatasync,syncfs,rename,renameat,renameat2,mkdir,mkdirat,unlink,write",
        ])
        .arg("-o")
        .arg(&log)
        .arg(child.get_program())
        .args(child.get_args())
        .env("KITH_VAULT_CHILD", vault)
        .output();
    match traced {
        Ok(output) if output.status.success() => {}
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("ptrace") => {
            println!("skipped: tracing is not permitted here");
            return None;
        }
        Ok(output) => panic!("{output:?}"),
        Err(error) => {
            println!("skipped: there is no strace: {error}");
            return None;
        }
    }
    let text = std::fs::read_to_string(log).unwrap().replace(vault.to_str().unwrap(), "");
    // "<unfinished ...>" lines carry the arguments but not the end of a call, and the end is what counts.
    let mut pending = std::collections::HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (process, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix("<unfinished ...>") {
            pending.insert(process.to_owned(), begun.trim_end().to_owned());
        } else if let Some((_, end)) = call.strip_prefix("<... ").and_then(|rest| rest.split_once("resumed>"))
        {
            calls.push(pending.remove(process).unwrap_or_default() + end);
        } else {
            calls.push(call.to_owned());
        }
    }
    Some(calls)
}

/// Checks that calls containing these texts follow each other in this order between two marks, and returns the rest.
#[track_caller]
fn in_order<'a>(calls: &'a [String], mark: &str, expected: &[&str]) -> &'a [String] {
    let end = calls.iter().position(|call| call.starts_with("write(1") && call.contains(mark)).unwrap();
    let (step, rest) = calls.split_at(end);
    let mut position = 0;
    for text in expected {
        let found = step[position..].iter().position(|call| text.split('*').all(|part| call.contains(part)));
        position += found.unwrap_or_else(|| panic!("before {mark}: {text} is missing in {step:#?}")) + 1;
    }
    rest
}

#[test]
fn every_write_is_durable_before_it_is_acknowledged() {
    if let Some(path) = child_argument() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work(&path));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vault");
    let Some(calls) = trace(&path) else { return };
    assert!(!path.join(".kith-vault.in-use").exists());
    assert!(!calls.iter().any(|call| call.starts_with("syncfs")), "a new vault needs none");
    let (pack, snapshot) = (sha256(b"pack"), sha256(b"snapshot"));
    let shard = &pack[..2];

    let calls =
        in_order(&calls, "MARK opened", &["fsync(*.kith-vault.new>", "rename(*.kith-vault\"", "fsync(*<>"]);
    let calls = in_order(
        calls,
        "MARK created",
        &[
            "mkdir(\"/ALICE\"",
            "fsync(*<>",
            "mkdir(\"/ALICE/a\"",
            "fsync(*</ALICE>",
            "mkdir(\"/ALICE/a/locks\"",
            "fsync(*</ALICE/a>",
        ],
    );
    let calls = in_order(
        calls,
        "MARK pack",
        &[
            "write(*</tmp/0>, \"pack\"",
            "fsync(*</tmp/0>",
            &format!("mkdir(\"/ALICE/a/data/{shard}\""),
            "fsync(*</ALICE/a/data>",
            &format!("renameat2(*\"/tmp/0\"*\"/ALICE/a/data/{shard}/{pack}\", RENAME_NOREPLACE"),
            &format!("fsync(*</ALICE/a/data/{shard}>"),
        ],
    );
    let calls = in_order(
        calls,
        "MARK snapshot",
        &[
            "fsync(*</tmp/1>",
            &format!("renameat2(*/ALICE/a/snapshots/{snapshot}\""),
            "fsync(*</ALICE/a/snapshots>",
        ],
    );
    let calls = in_order(
        calls,
        "MARK deleted",
        &[
            "mkdir(\"/ALICE/held\"",
            "fsync(*</ALICE>",
            "mkdir(\"/ALICE/held/a/data\"",
            "fsync(*</ALICE/held/a>",
            &format!("renameat2(*/ALICE/a/data/{shard}/{pack}\"*/ALICE/held/a/data/{shard}/{pack}."),
            &format!("fsync(*</ALICE/held/a/data/{shard}>"),
            &format!("fsync(*</ALICE/a/data/{shard}>"),
        ],
    );
    in_order(
        calls,
        "MARK state",
        &[
            "mkdir(\"/ALICE/state\"",
            "fsync(*</ALICE>",
            "fsync(*</tmp/2>",
            "renameat2(*/ALICE/state/000",
            "fsync(*</ALICE/state>",
        ],
    );
}

#[test]
fn a_start_after_a_kill_makes_durable_what_is_visible() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vault");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join(".kith-vault"), "kith-vault 2\n").unwrap();
    std::fs::write(path.join(".kith-vault.in-use"), "").unwrap();
    let Some(calls) = trace(&path) else { return };
    in_order(&calls, "MARK opened", &["syncfs(*<>"]);
    assert!(!path.join(".kith-vault.in-use").exists());
}

async fn work(path: &Path) {
    let (vault, alice) = (open(path).await.unwrap(), owner("ALICE"));
    println!("MARK opened");
    vault.set_quota(&alice, Some(1 << 20));
    call(&vault, &alice, "POST", "/a/?create=true", &[], b"").await.expect_ok();
    println!("MARK created");
    call(&vault, &alice, "POST", &pack_path(b"pack"), &[], b"pack").await.expect_ok();
    println!("MARK pack");
    let snapshot = format!("/a/snapshots/{}", sha256(b"snapshot"));
    call(&vault, &alice, "POST", &snapshot, &[], b"snapshot").await.expect_ok();
    println!("MARK snapshot");
    call(&vault, &alice, "DELETE", &pack_path(b"pack"), &[], b"").await.expect_ok();
    println!("MARK deleted");
    vault.put_state(&alice, 1, Bytes::from_static(b"state")).await.unwrap();
    println!("MARK state");
}
