//! Disks that are full, fail, belong to somebody else or come from the future.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use http::Request;
use http_body_util::StreamBody;
use kith_vault::{Incarnation, StateError, Vault, VaultError};

use crate::support::{
    Fixture, bytes_of, call, child, child_argument, files, open, owner, pack_path, sha256, succeeded,
};

/// A tiny file system in memory, unmounted when dropped.
struct Tmpfs {
    directory: tempfile::TempDir,
}

impl Tmpfs {
    /// `None`, with the reason printed, where this user may not mount.
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(directory.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { directory }),
            Ok(output) => {
                println!(
                    "skipped: no tmpfs can be mounted here: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                println!("skipped: there is no mount command: {error}");
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("vault")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazy, because a test that failed may still have files open.
        let unmounted = Command::new("umount").arg("-l").arg(self.directory.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

async fn fill(vault: &Vault, piece: usize) -> usize {
    for number in 0.. {
        let bytes = bytes_of(number as u64 + 100, piece);
        let answer = call(vault, &owner("ALICE"), "POST", &pack_path(&bytes), &[], &bytes).await;
        if answer.status != 200 {
            answer.expect(507, "disk-full");
            return number;
        }
    }
    unreachable!("a disk has an end")
}

#[tokio::test]
async fn a_full_disk_refuses_the_upload_and_loses_nothing() {
    let Some(disk) = Tmpfs::mount("4m") else { return };
    let (vault, alice) = (open(&disk.path()).await.unwrap(), owner("ALICE"));
    vault.set_quota(&alice, Some(1 << 30));
    call(&vault, &alice, "POST", "/a/?create=true", &[], b"").await.expect_ok();
    let stored = fill(&vault, 300_000).await;
    assert!(stored >= 10, "{stored}");
    assert!(matches!(vault.put_state(&alice, 1, vec![0; 1 << 20].into()).await, Err(StateError::DiskFull)));
    // Not a failure of the disk: deletions work, and what fits is taken.
    call(&vault, &alice, "DELETE", &pack_path(&bytes_of(100, 300_000)), &[], b"").await.expect_ok();
    call(&vault, &alice, "POST", &pack_path(b"small"), &[], b"small").await.expect_ok();
    for number in 1..stored as u64 {
        let bytes = bytes_of(number + 100, 300_000);
        let answer = call(&vault, &alice, "GET", &pack_path(&bytes), &[], b"").await.expect_ok();
        assert!(answer.body == bytes);
    }
    assert_eq!(files(&disk.path().join("tmp")), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_disk_that_somebody_else_fills_during_an_upload_refuses_it() {
    let Some(disk) = Tmpfs::mount("4m") else { return };
    let (vault, alice) = (open(&disk.path()).await.unwrap(), owner("ALICE"));
    vault.set_quota(&alice, Some(1 << 30));
    call(&vault, &alice, "POST", "/a/?create=true", &[], b"").await.expect_ok();
    let bytes = bytes_of(1, 3 << 20);
    let other = disk.directory.path().join("other");
    let pieces = bytes.chunks(64 << 10).map(Bytes::copy_from_slice).enumerate().collect::<Vec<_>>();
    let stream = pieces_with_a_surprise(pieces, other.clone());
    let request =
        Request::post(pack_path(&bytes)).header("content-length", bytes.len()).body(stream).unwrap();
    let response = vault.handle(&alice, request).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["kith-code"]),
        (507, &"disk-full".parse().unwrap())
    );
    assert_eq!(files(&disk.path().join("tmp")), Vec::<PathBuf>::new());
    assert_eq!(vault.usage(&alice).live_bytes, 0);
    std::fs::remove_file(other).unwrap();
    call(&vault, &alice, "POST", &pack_path(&bytes), &[], &bytes).await.expect_ok();
}

/// A body of these pieces; with the third one the disk is filled by another file.
fn pieces_with_a_surprise(
    pieces: Vec<(usize, Bytes)>,
    other: PathBuf,
) -> impl http_body::Body<Data = Bytes, Error = std::io::Error> + Send {
    let frames = pieces.into_iter().map(move |(number, piece)| {
        if number == 3 {
            std::fs::write(&other, vec![1; 2 << 20])?;
        }
        Ok(http_body::Frame::data(piece))
    });
    StreamBody::new(futures::stream::iter(frames))
}

#[tokio::test]
async fn a_disk_that_works_again_after_a_failure_is_not_trusted_before_the_vault_is_opened_again() {
    let f = Fixture::new().await;
    for bytes in [b"one", b"two"] {
        f.post(&pack_path(bytes), bytes).await.expect_ok();
    }
    f.delete(&pack_path(b"two")).await.expect_ok();
    let (held, aside) = (f.root().join("ALICE/held"), f.root().join("ALICE/aside"));
    std::fs::rename(&held, &aside).unwrap();
    std::fs::write(&held, b"where a directory was").unwrap();
    f.delete(&pack_path(b"one")).await.expect(500, "storage-failed");
    assert!(
        f.vault().failure().unwrap().starts_with("could not make a directory"),
        "{:?}",
        f.vault().failure()
    );
    std::fs::remove_file(&held).unwrap();
    std::fs::rename(&aside, &held).unwrap();
    let past = [("kith-as-of", "0")];
    let refused = f.delete(&pack_path(b"one")).await.expect(500, "storage-failed");
    assert!(refused.json()["message"].as_str().unwrap().contains("until Kith has been restarted"));
    f.post(&pack_path(b"two"), b"two").await.expect(500, "storage-failed");
    f.call("POST", "/a/?undelete", &past, b"").await.expect(500, "storage-failed");
    f.vault().writer(&f.owner, Incarnation::new(1, [1; 16])).await.unwrap_err();
    assert_eq!(f.get(&pack_path(b"one")).await.expect_ok().body, "one");
    assert_eq!(f.call("GET", "/a/data/", &past, b"").await.expect_ok().body, "[]");
    let f = f.reopen().await;
    assert_eq!(f.vault().failure(), None);
    f.call("POST", "/a/?undelete", &past, b"").await.expect_ok();
    assert_eq!(f.get(&pack_path(b"two")).await.expect_ok().body, "two");
    f.delete(&pack_path(b"one")).await.expect_ok();
}

#[test]
fn after_a_failed_write_an_archive_takes_no_changes_until_the_vault_is_opened_again() {
    let Some(path) = child_argument() else {
        let directory = tempfile::tempdir().unwrap();
        let child = child(
            "disk::after_a_failed_write_an_archive_takes_no_changes_until_the_vault_is_opened_again",
            directory.path(),
        );
        // In the child no file may grow beyond 64 or 128 KiB (shells differ in the unit): writing more fails with EFBIG.
        let output = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\""])
            .arg(child.get_program())
            .args(child.get_args())
            .env("KITH_VAULT_CHILD", directory.path())
            .output()
            .unwrap();
        let text = succeeded(&output);
        assert!(text.contains("the disk failed as planned"), "{text}");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (vault, alice) = (open(&path.join("vault")).await.unwrap(), owner("ALICE"));
        vault.set_quota(&alice, Some(1 << 30));
        call(&vault, &alice, "POST", "/a/?create=true", &[], b"").await.expect_ok();
        call(&vault, &alice, "POST", "/b/?create=true", &[], b"").await.expect_ok();
        call(&vault, &alice, "POST", &pack_path(b"x"), &[], b"x").await.expect_ok();
        let large = bytes_of(1, 1 << 20);
        call(&vault, &alice, "POST", &pack_path(&large), &[], &large).await.expect(500, "storage-failed");
        println!("the disk failed as planned");
        call(&vault, &alice, "POST", &pack_path(b"y"), &[], b"y").await.expect(500, "storage-failed");
        // Not even what is there is confirmed: it may not be durable.
        call(&vault, &alice, "POST", &pack_path(b"x"), &[], b"x").await.expect(500, "storage-failed");
        call(&vault, &alice, "POST", "/a/?create=true", &[], b"").await.expect(500, "storage-failed");
        call(&vault, &alice, "DELETE", &pack_path(b"x"), &[], b"").await.expect(500, "storage-failed");
        assert_eq!(call(&vault, &alice, "GET", &pack_path(b"x"), &[], b"").await.expect_ok().body, "x");
        // It is one disk.
        call(&vault, &alice, "POST", "/b/config", &[], b"another").await.expect(500, "storage-failed");
        assert!(vault.put_state(&alice, 1, Bytes::from_static(b"state")).await.is_err());
        assert!(vault.failure().unwrap().contains("could not write a file"), "{:?}", vault.failure());
        assert!(matches!(vault.sweep().await, Err(VaultError::Failed { .. })));
        assert_eq!(files(&path.join("vault/tmp")), Vec::<PathBuf>::new());
        drop(vault);
        let vault = open(&path.join("vault")).await.unwrap();
        vault.set_quota(&alice, Some(1 << 30));
        call(&vault, &alice, "POST", &pack_path(b"y"), &[], b"y").await.expect_ok();
    });
}

#[test]
fn a_large_pack_is_never_in_memory_as_a_whole() {
    const PIECES: usize = 3 << 10;
    let Some(path) = child_argument() else {
        if !Path::new("/proc/self/status").exists() {
            println!("skipped: this system does not tell the peak of a process's memory in /proc");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut child = child("disk::a_large_pack_is_never_in_memory_as_a_whole", directory.path());
        let text = succeeded(&child.output().unwrap());
        assert!(text.contains("peak measured"), "{text}");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (vault, alice) = (open(&path.join("vault")).await.unwrap(), owner("ALICE"));
        vault.set_quota(&alice, Some(1 << 30));
        call(&vault, &alice, "POST", "/a/?create=true", &[], b"").await.expect_ok();
        let piece = Bytes::from(bytes_of(1, 64 << 10));
        let name = {
            use sha2::{Digest, Sha256};
            let mut hasher = Sha256::new();
            (0..PIECES).for_each(|_| hasher.update(&piece));
            hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        // New memory for each piece, as from a network.
        let frames = (0..PIECES)
            .map(move |_| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::copy_from_slice(&piece))));
        let request = Request::post(format!("/a/data/{name}"))
            .header("content-length", PIECES << 16)
            .body(StreamBody::new(futures::stream::iter(frames)))
            .unwrap();
        assert_eq!(vault.handle(&alice, request).await.status(), 200);
        let request =
            Request::get(format!("/a/data/{name}")).body(http_body_util::Empty::<Bytes>::new()).unwrap();
        let mut body = vault.handle(&alice, request).await.into_body();
        let mut received = 0;
        while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
            received += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(received, PIECES << 16);
    });
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("peak measured: {kib} KiB");
    assert!(kib < 40 << 10, "{kib} KiB for a pack of 192 MiB");
}

#[tokio::test]
async fn two_daemons_do_not_share_a_vault() {
    let f = Fixture::new().await;
    assert!(matches!(open(&f.root()).await, Err(VaultError::InUse { .. })));
    let f = f.reopen().await;
    assert_eq!(f.vault().owners(), std::slice::from_ref(&f.owner));
}

#[tokio::test]
async fn a_folder_with_other_things_in_it_is_not_taken_for_a_vault() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("tmp")).unwrap();
    std::fs::write(directory.path().join("tmp/precious"), b"mine").unwrap();
    let error = open(directory.path()).await.unwrap_err();
    assert!(matches!(error, VaultError::NotAVault { .. }), "{error}");
    assert_eq!(files(directory.path()).len(), 1, "nothing was added or removed");
}

#[tokio::test]
async fn a_newer_format_is_refused_with_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let format = directory.path().join(".kith-vault");
    std::fs::write(&format, "kith-vault 3\n").unwrap();
    let error = open(directory.path()).await.unwrap_err();
    assert!(error.to_string().contains("install a newer Kith"), "{error}");
    std::fs::write(&format, "nonsense").unwrap();
    assert!(matches!(open(directory.path()).await, Err(VaultError::DamagedFormat { .. })));
}

#[tokio::test]
async fn an_interrupted_first_start_is_completed_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".kith-vault.lock"), b"").unwrap();
    std::fs::write(directory.path().join(".kith-vault.new"), b"kith-").unwrap();
    std::fs::create_dir(directory.path().join("lost+found")).unwrap();
    let vault = open(directory.path()).await.unwrap();
    assert_eq!(vault.owners(), []);
    assert_eq!(std::fs::read_to_string(directory.path().join(".kith-vault")).unwrap(), "kith-vault 2\n");
}

#[tokio::test]
async fn files_and_directories_are_private() {
    let f = Fixture::new().await;
    f.post("/a/config", b"config").await.expect_ok();
    f.post(&pack_path(b"x"), b"x").await.expect_ok();
    f.delete(&pack_path(b"x")).await.expect_ok();
    f.vault().put_state(&f.owner, 1, Bytes::from_static(b"state")).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let found = files(&f.root());
    assert_eq!(found.len(), 7, "{found:?}");
    for file in found {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        let mut directory = file.parent().unwrap();
        while directory.starts_with(f.root()) {
            assert_eq!(mode(directory), 0o700, "{}", directory.display());
            directory = directory.parent().unwrap();
        }
    }
}

#[tokio::test]
async fn foreign_files_are_left_alone_and_not_followed() {
    let f = Fixture::new().await;
    f.post("/a/config", b"config").await.expect_ok();
    let secret = f.directory.path().join("secret");
    std::fs::write(&secret, b"of somebody else").unwrap();
    let name = sha256(b"link");
    std::os::unix::fs::symlink(&secret, f.archive().join("index").join(&name)).unwrap();
    std::fs::write(f.archive().join("index/README"), b"a note").unwrap();
    std::fs::create_dir(f.root().join("lost+found")).unwrap();
    assert_eq!(f.list("index").await, []);
    f.call("HEAD", &format!("/a/index/{name}"), &[], b"").await.expect(404, "not-found");
    let answer = f.get(&format!("/a/index/{name}")).await;
    assert_ne!(answer.status, 200);
    let f = f.reopen().await;
    assert_eq!(f.usage(), (4096, 0));
    assert!(f.archive().join("index/README").exists() && f.root().join("lost+found").exists());
}
