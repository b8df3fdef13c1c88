//! What the vault insists on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use kith_vault::{Accepting, Vault, VaultConfig};
use tokio::task::JoinSet;

use crate::support::{Fixture, bytes_of, call, files, owner, pack_path, sha256, until};

#[tokio::test]
async fn bytes_must_have_the_hash_in_their_name() {
    let f = Fixture::new().await;
    for kind in ["data", "index", "snapshots", "locks"] {
        let path = format!("/a/{kind}/{}", sha256(b"right"));
        f.post(&path, b"wrong").await.expect(400, "hash-mismatch");
        f.get(&path).await.expect(404, "not-found");
        f.post(&path, b"right").await.expect_ok();
    }
    assert_eq!(f.temporary_files(), 0);
    assert_eq!(f.usage(), (4 * 4096, 0));
}

#[tokio::test]
async fn sending_an_object_again_succeeds_and_changes_nothing() {
    let f = Fixture::new().await;
    let path = pack_path(b"bytes");
    f.post(&path, b"bytes").await.expect_ok();
    let before = std::fs::metadata(f.pack_file(b"bytes")).unwrap().modified().unwrap();
    f.post(&path, b"bytes").await.expect_ok();
    assert_eq!(std::fs::metadata(f.pack_file(b"bytes")).unwrap().modified().unwrap(), before);
    assert_eq!(f.usage(), (4096, 0));
    // A copy of another length is not the object: nobody is told that it is safe.
    f.post(&path, b"other bytes").await.expect(500, "storage-failed");
    assert_eq!(f.get(&path).await.expect_ok().body, "bytes");
}

#[tokio::test]
async fn config_is_written_once_and_never_deleted() {
    let f = Fixture::new().await;
    f.post("/a/config", b"first").await.expect_ok();
    f.post("/a/config", b"first").await.expect_ok();
    f.post("/a/config", b"other").await.expect(403, "write-once");
    f.delete("/a/config").await.expect(403, "write-once");
    assert_eq!(f.get("/a/config").await.expect_ok().body, "first");
    assert_eq!(f.usage(), (4096, 0));
    assert_eq!(f.temporary_files(), 0);
}

#[tokio::test]
async fn keys_are_not_taken_but_those_put_there_by_hand_are_served() {
    let f = Fixture::new().await;
    let path = format!("/a/keys/{}", sha256(b"key"));
    f.post(&path, b"key").await.expect(403, "keys-refused");
    assert_eq!(f.list("keys").await, []);
    std::fs::create_dir(f.archive().join("keys")).unwrap();
    std::fs::write(f.archive().join("keys").join(sha256(b"key")), b"key").unwrap();
    assert_eq!(f.list("keys").await, [(sha256(b"key"), 3)]);
    assert_eq!(f.get(&path).await.expect_ok().body, "key");
    f.delete(&path).await.expect(403, "keys-refused");
}

#[tokio::test]
async fn what_is_deleted_is_held_with_the_time_of_its_deletion() {
    let f = Fixture::new().await;
    let path = pack_path(b"bytes");
    f.post(&path, b"bytes").await.expect_ok();
    f.delete(&path).await.expect_ok();
    f.get(&path).await.expect(404, "not-found");
    f.delete(&path).await.expect(404, "not-found");
    assert_eq!(f.usage(), (0, 4096));
    // The same bytes again are a new object, and its deletion is another one.
    f.post(&path, b"bytes").await.expect_ok();
    assert_eq!(f.usage(), (4096, 4096));
    f.delete(&path).await.expect_ok();
    assert_eq!(f.usage(), (0, 8192));
    let snapshot = format!("/a/snapshots/{}", sha256(b"snapshot"));
    f.post(&snapshot, b"snapshot").await.expect_ok();
    f.delete(&snapshot).await.expect_ok();

    let held = files(&f.root().join("ALICE/held/a"));
    assert_eq!(held.len(), 3);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    for file in &held {
        let name = file.file_name().unwrap().to_str().unwrap();
        let [object, deleted, hold, arrived] = name.split('.').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(sha256(&std::fs::read(file).unwrap()), object);
        assert!(now.abs_diff(deleted.parse().unwrap()) < 60_000, "{name}");
        assert!(now.abs_diff(arrived.parse().unwrap()) < 60_000 && arrived < deleted, "{name}");
        assert!(hold.parse::<u64>().unwrap() < 60_000, "{name}");
    }
    let shard = &sha256(b"bytes")[..2];
    assert!(held[0].parent().unwrap().ends_with(format!("held/a/data/{shard}")), "{held:?}");
    assert!(held[2].parent().unwrap().ends_with("held/a/snapshots"), "{held:?}");
}

#[tokio::test]
async fn locks_are_deleted_at_once() {
    let f = Fixture::new().await;
    let path = format!("/a/locks/{}", sha256(b"lock"));
    f.post(&path, b"lock").await.expect_ok();
    f.delete(&path).await.expect_ok();
    assert_eq!(f.usage(), (0, 0));
    assert!(!f.root().join("ALICE/held").exists());
}

#[tokio::test]
async fn nothing_is_written_beyond_the_quota() {
    let f = Fixture::new().await;
    f.vault().set_quota(&f.owner, Some(10_000));
    f.post(&pack_path(&bytes_of(1, 8000)), &bytes_of(1, 8000)).await.expect_ok();
    let refused =
        f.post(&pack_path(&bytes_of(2, 4000)), &bytes_of(2, 4000)).await.expect(507, "quota-exceeded");
    assert!(refused.json()["message"].as_str().unwrap().contains("10000"), "{:?}", refused.body);
    // What was refused is not counted, and a failed upload gives back what it reserved.
    f.vault().set_quota(&f.owner, Some(12_288));
    f.post(&pack_path(b"x"), b"y").await.expect(400, "hash-mismatch");
    f.post(&pack_path(&bytes_of(2, 4000)), &bytes_of(2, 4000)).await.expect_ok();
    f.post(&pack_path(b"x"), b"x").await.expect(507, "quota-exceeded");
    // Without a lock stock restic could not even delete.
    f.post(&format!("/a/locks/{}", sha256(b"lock")), b"lock").await.expect_ok();
    f.vault().set_quota(&f.owner, None);
    f.post(&pack_path(b"x"), b"x").await.expect(507, "quota-exceeded");
    f.post("/new/?create=true", b"").await.expect(507, "quota-exceeded");
    assert_eq!(f.get(&pack_path(&bytes_of(1, 8000))).await.expect_ok().body.len(), 8000);
}

#[tokio::test]
async fn held_and_live_bytes_stay_below_twice_the_quota() {
    let f = Fixture::new().await;
    f.vault().set_quota(&f.owner, Some(3 * 4096));
    for seed in 0..6 {
        let bytes = bytes_of(seed, 100);
        f.post(&pack_path(&bytes), &bytes).await.expect_ok();
        f.delete(&pack_path(&bytes)).await.expect_ok();
    }
    assert_eq!(f.usage(), (0, 6 * 4096));
    let refused = f.post(&pack_path(b"x"), b"x").await.expect(507, "quota-exceeded");
    assert!(refused.json()["message"].as_str().unwrap().contains("held"), "{:?}", refused.body);
    assert_eq!(files(&f.root().join("ALICE/held")).len(), 6);
}

#[tokio::test]
async fn an_owner_who_is_not_accepted_can_only_read() {
    let f = Fixture::new().await;
    f.post("/a/config", b"config").await.expect_ok();
    f.post(&pack_path(b"x"), b"x").await.expect_ok();
    f.vault().set_accepting(&f.owner, Accepting::No);
    f.post(&pack_path(b"y"), b"y").await.expect(403, "not-accepted");
    f.post("/b/?create=true", b"").await.expect(403, "not-accepted");
    f.delete(&pack_path(b"x")).await.expect(403, "not-accepted");
    assert_eq!(f.get("/a/config").await.expect_ok().body, "config");
    assert_eq!(f.list("data").await.len(), 1);
    f.vault().set_accepting(&f.owner, Accepting::Yes);
    f.post(&pack_path(b"y"), b"y").await.expect_ok();
}

#[tokio::test]
async fn the_free_space_floor_is_kept() {
    let f = Fixture::new().await;
    assert!(f.vault().free_bytes().await.unwrap() > 0);
    let directory = tempfile::tempdir().unwrap();
    let config = VaultConfig { path: directory.path().to_owned(), free_space_floor: u64::MAX / 2 };
    let vault = Vault::open(config).await.unwrap();
    vault.set_quota(&f.owner, Some(1 << 20));
    call(&vault, &f.owner, "POST", "/a/?create=true", &[], b"").await.expect_ok();
    call(&vault, &f.owner, "POST", &pack_path(b"x"), &[], b"x").await.expect(507, "disk-full");
    assert_eq!(vault.usage(&f.owner).live_bytes, 0);
}

#[tokio::test]
async fn objects_larger_than_any_of_their_type_are_refused_unread() {
    let f = Fixture::new().await;
    let name = sha256(b"x");
    for (kind, most) in
        [("data", 256_u64 << 20), ("index", 64 << 20), ("snapshots", 16 << 20), ("locks", 64 << 10)]
    {
        let length = (most + 1).to_string();
        let headers = [("content-length", length.as_str())];
        f.call("POST", &format!("/a/{kind}/{name}"), &headers, b"x").await.expect(413, "too-large");
    }
    f.call("POST", "/a/config", &[("content-length", "65537")], b"x").await.expect(413, "too-large");
    f.call("POST", "/a/config", &[("content-length", "-1")], b"x").await.expect(411, "length-required");
    f.call("POST", "/a/config", &[("content-length", "99999999999999999999")], b"x")
        .await
        .expect(411, "length-required");
}

#[tokio::test]
async fn the_announced_length_must_be_the_true_one() {
    let f = Fixture::new().await;
    let path = pack_path(b"bytes");
    f.call("POST", &path, &[("content-length", "4")], b"bytes").await.expect(400, "bad-request");
    f.call("POST", &path, &[("content-length", "6")], b"bytes").await.expect(400, "bad-request");
    assert_eq!(f.temporary_files(), 0);
    assert_eq!(f.usage(), (0, 0));
    let f = f.reopen().await;
    assert_eq!(f.usage(), (0, 0));
}

/// A body that gives so many pieces and then breaks off, or never goes on.
struct Broken {
    pieces: usize,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    Fails,
    Hangs,
}

impl Body for Broken {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.pieces > 0 {
            self.pieces -= 1;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![7; 64 << 10])))));
        }
        match self.then {
            Then::Fails => Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into()))),
            Then::Hangs => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(100 << 20)
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing_behind() {
    let f = Fixture::new().await;
    for pieces in [0, 1, 8, 9, 50] {
        let request = Request::post(pack_path(b"x")).body(Broken { pieces, then: Then::Fails }).unwrap();
        let response = f.vault().handle(&f.owner, request).await;
        assert_eq!(response.status(), 400);
        assert_eq!(f.temporary_files(), 0);
    }
    f.vault().set_quota(&f.owner, Some(4096));
    f.post(&pack_path(b"x"), b"x").await.expect_ok();
}

#[tokio::test]
async fn an_upload_whose_connection_is_dropped_leaves_nothing_behind() {
    let f = Fixture::new().await;
    for pieces in [0, 1, 8, 50] {
        let request = Request::post(pack_path(b"x")).body(Broken { pieces, then: Then::Hangs }).unwrap();
        let (vault, owner) = (f.vault().clone(), f.owner.clone());
        let upload = tokio::spawn(async move { vault.handle(&owner, request).await });
        until(|| f.temporary_files() == 1).await;
        upload.abort();
        until(|| f.temporary_files() == 0).await;
    }
    f.vault().set_quota(&f.owner, Some(4096));
    // Reservations are given back when the work under way has noticed.
    while f.post(&pack_path(b"x"), b"x").await.status != 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(f.usage(), (4096, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_of_the_same_object_end_in_one() {
    let f = Fixture::new().await;
    let bytes = Bytes::from(bytes_of(5, 1 << 20));
    let path = pack_path(&bytes);
    let mut uploads = JoinSet::new();
    for _ in 0..24 {
        let (vault, owner) = (f.vault().clone(), f.owner.clone());
        let request = Request::post(&path).body(Full::new(bytes.clone())).unwrap();
        uploads.spawn(async move { vault.handle(&owner, request).await.status() });
    }
    while let Some(status) = uploads.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(f.usage(), (1 << 20, 0));
    assert_eq!(f.temporary_files(), 0);
    assert_eq!(f.list("data").await, [(sha256(&bytes), 1 << 20)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_uploads_deletions_and_reads_keep_the_count_right() {
    let f = Arc::new(Fixture::new().await);
    let mut work = JoinSet::new();
    for seed in 0..64 {
        let f = Arc::clone(&f);
        work.spawn(async move {
            let bytes = bytes_of(seed, 1000 * seed as usize);
            let kind = if seed % 8 == 0 { "index" } else { "data" };
            let path = format!("/a/{kind}/{}", sha256(&bytes));
            f.post(&path, &bytes).await.expect_ok();
            assert_eq!(f.get(&path).await.expect_ok().body, bytes);
            if seed % 3 == 0 {
                f.delete(&path).await.expect_ok();
            }
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap();
    }
    let usage = f.usage();
    assert!(usage.0 > 0 && usage.1 > 0);
    let f = Arc::into_inner(f).unwrap().reopen().await;
    assert_eq!(f.usage(), usage, "counting again gives the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_sixteen_requests_of_one_owner_wait_and_others_do_not() {
    let f = Fixture::new().await;
    let bytes = bytes_of(6, 2 << 20);
    let path = pack_path(&bytes);
    f.post(&path, &bytes).await.expect_ok();
    let get = || Request::get(&path).body(Empty::<Bytes>::new()).unwrap();
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(f.vault().handle(&f.owner, get()).await);
    }
    let (vault, alice, request) = (f.vault().clone(), f.owner.clone(), get());
    let waiting = tokio::spawn(async move { vault.handle(&alice, request).await.status() });
    let bob = owner("BOB");
    f.vault().set_quota(&bob, Some(1 << 20));
    call(f.vault(), &bob, "POST", "/b/?create=true", &[], b"").await.expect_ok();
    call(f.vault(), &bob, "POST", "/b/config", &[], b"config").await.expect_ok();
    assert!(!waiting.is_finished());
    let response = open.pop().unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), bytes);
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test]
async fn an_owner_has_at_most_64_archives() {
    let f = Fixture::new().await;
    for number in 1..64 {
        f.post(&format!("/archive-{number}/?create=true"), b"").await.expect_ok();
    }
    f.post("/one-more/?create=true", b"").await.expect(403, "too-many-archives");
    f.post("/a/?create=true", b"").await.expect_ok();
}
