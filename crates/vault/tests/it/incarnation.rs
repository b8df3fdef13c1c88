//! Two installations of one computer: the newer writes, the older reads.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt;
use http::Request;
use http_body_util::{BodyExt, Full};
use kith_vault::{CODE_HEADER, Incarnation, NameError, StateError, VaultError, Writer};

use crate::simulated::TestClock;
use crate::support::{Fixture, pack_path, sha256};

const BEGIN: u64 = 1_700_000_000_000;

fn installation(number: u64, id: u8) -> Incarnation {
    Incarnation::new(number, [id; 16])
}

impl Fixture {
    async fn from(
        &self,
        writer: Incarnation,
        method: &str,
        path: &str,
        body: &'static [u8],
    ) -> (u16, String) {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-length", body.len()).body(Full::new(Bytes::from_static(body)));
        let response = self.vault().handle_from(&self.owner, writer, request.unwrap()).await;
        let code = response.headers().get(CODE_HEADER).map(|code| code.to_str().unwrap().to_owned());
        if code.as_deref() == Some("superseded") {
            assert_eq!(response.headers()["kith-superseded-since"], (BEGIN + 5000).to_string());
        }
        let status = response.status().as_u16();
        drop(response.into_body().collect().await.unwrap());
        (status, code.unwrap_or_default())
    }
}

#[tokio::test]
async fn the_older_installation_reads_and_no_more() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    let (old, new) = (installation(3, 1), installation(4, 2));
    assert_eq!(f.vault().newest_incarnation(&f.owner), None);
    assert_eq!(f.vault().writer(&f.owner, old).await.unwrap(), Writer::Current);
    assert_eq!(f.from(old, "POST", &pack_path(b"one"), b"one").await, (200, String::new()));
    clock.pass(5000);
    assert_eq!(f.vault().writer(&f.owner, new).await.unwrap(), Writer::Current);
    clock.pass(5000);
    let since = UNIX_EPOCH + Duration::from_millis(BEGIN + 5000);
    for _ in 0..2 {
        assert_eq!(f.vault().writer(&f.owner, old).await.unwrap(), Writer::Superseded { since });
        assert_eq!(f.vault().newest_incarnation(&f.owner), Some((new, since)));
        let refused = (409, "superseded".to_owned());
        let lock = format!("/a/locks/{}", sha256(b"lock"));
        for (method, path, body) in [
            ("POST", pack_path(b"two"), &b"two"[..]),
            ("POST", pack_path(b"one"), b"one"),
            ("POST", "/a/config".to_owned(), b"config"),
            ("POST", lock, b"lock"),
            ("POST", "/b/?create=true".to_owned(), b""),
            ("DELETE", pack_path(b"one"), b""),
        ] {
            assert_eq!(f.from(old, method, &path, body).await, refused, "{method} {path}");
        }
        let state = f.vault().put_state_from(&f.owner, old, 1, Bytes::from_static(b"state")).await;
        assert!(matches!(state, Err(StateError::Superseded { since: at }) if at == since));
        assert_eq!(f.from(old, "GET", &pack_path(b"one"), b"").await.0, 200);
        assert_eq!(f.from(old, "GET", "/a/data/", b"").await.0, 200);
        assert_eq!(f.from(new, "GET", "/a/data/", b"").await.0, 200);
        // It is remembered.
        f.stop();
        f.start(&clock).await;
    }
    assert_eq!(f.from(new, "DELETE", &pack_path(b"one"), b"").await.0, 200);
    assert_eq!(f.from(new, "POST", &pack_path(b"two"), b"two").await.0, 200);
    f.vault().put_state_from(&f.owner, new, 1, Bytes::from_static(b"state")).await.unwrap();
    // Whoever is not named is not judged.
    f.post(&pack_path(b"three"), b"three").await.expect_ok();
}

#[tokio::test]
async fn the_older_installation_can_not_undelete_either() {
    let f = Fixture::new().await;
    f.vault().writer(&f.owner, installation(2, 2)).await.unwrap();
    let request =
        Request::post("/a/?undelete").header("kith-as-of", "0").body(Full::new(Bytes::new())).unwrap();
    let response = f.vault().handle_from(&f.owner, installation(1, 1), request).await;
    assert_eq!(response.status(), 409);
}

#[tokio::test]
async fn of_two_installations_with_one_number_the_greater_id_writes_whoever_came_first() {
    let (less, greater) = (installation(1, 1), installation(1, 2));
    for order in [[less, greater], [greater, less]] {
        let clock = TestClock::at(BEGIN);
        let mut f = Fixture::by(&clock).await;
        for one in order {
            f.vault().writer(&f.owner, one).await.unwrap();
        }
        for _ in 0..2 {
            assert_eq!(f.vault().writer(&f.owner, greater).await.unwrap(), Writer::Current);
            assert!(matches!(f.vault().writer(&f.owner, less).await.unwrap(), Writer::Superseded { .. }));
            f.stop();
            f.start(&clock).await;
        }
        // Another recovery puts it right.
        assert_eq!(f.vault().writer(&f.owner, installation(2, 1)).await.unwrap(), Writer::Current);
        assert!(matches!(f.vault().writer(&f.owner, greater).await.unwrap(), Writer::Superseded { .. }));
    }
}

#[tokio::test]
async fn an_upload_of_the_older_one_that_was_under_way_does_not_land() {
    let f = Fixture::new().await;
    let (old, new) = (installation(1, 1), installation(2, 2));
    f.vault().writer(&f.owner, old).await.unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<http_body::Frame<Bytes>, std::io::Error>>(1);
    let stream = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|frame| (frame, receiver))
    });
    let body = http_body_util::StreamBody::new(Box::pin(stream.fuse()));
    let request = Request::post(pack_path(b"one")).header("content-length", 3).body(body).unwrap();
    let (vault, owner) = (f.vault().clone(), f.owner.clone());
    let upload = tokio::spawn(async move { vault.handle_from(&owner, old, request).await.status() });
    sender.send(Ok(http_body::Frame::data(Bytes::from_static(b"on")))).await.unwrap();
    crate::support::until(|| f.temporary_files() == 1).await;
    f.vault().writer(&f.owner, new).await.unwrap();
    sender.send(Ok(http_body::Frame::data(Bytes::from_static(b"e")))).await.unwrap();
    drop(sender);
    assert_eq!(upload.await.unwrap(), 409);
    assert_eq!((f.list("data").await, f.temporary_files(), f.usage()), (vec![], 0, (0, 0)));
}

#[tokio::test]
async fn a_number_that_no_recovery_gives_is_not_believed() {
    let f = Fixture::new().await;
    let thief = |number| Incarnation::new(number, [0xff; 16]);
    let writer = thief(u64::MAX);
    assert_eq!(f.vault().writer(&f.owner, writer).await.unwrap(), Writer::Implausible);
    assert!(!f.vault().may_write(&f.owner, writer));
    assert_eq!(f.from(writer, "POST", &pack_path(b"x"), b"x").await, (403, "not-accepted".to_owned()));
    let state = f.vault().put_state_from(&f.owner, writer, 1, Bytes::new()).await;
    assert!(matches!(state, Err(StateError::NotAccepted)));
    assert_eq!(f.from(writer, "GET", "/a/data/", b"").await.0, 200);
    assert_eq!(f.vault().newest_incarnation(&f.owner), None);
    let ours = installation(5, 1);
    assert!(f.vault().may_write(&f.owner, ours));
    f.vault().writer(&f.owner, ours).await.unwrap();
    for number in [u64::MAX, 6 + (1 << 32)] {
        let writer = thief(number);
        assert_eq!(f.vault().writer(&f.owner, writer).await.unwrap(), Writer::Implausible);
        assert_eq!(f.from(writer, "POST", &pack_path(b"x"), b"x").await, (403, "not-accepted".to_owned()));
    }
    assert_eq!(f.vault().newest_incarnation(&f.owner).unwrap().0, ours);
    assert_eq!(f.from(ours, "POST", &pack_path(b"one"), b"one").await, (200, String::new()));
    // Whatever is believed leaves room for the next recovery.
    f.vault().writer(&f.owner, thief(5 + (1 << 32))).await.unwrap();
    let recovered = installation(6 + (1 << 32), 1);
    assert_eq!(f.vault().writer(&f.owner, recovered).await.unwrap(), Writer::Current);
    assert_eq!(f.from(recovered, "POST", &pack_path(b"two"), b"two").await, (200, String::new()));
}

#[tokio::test]
async fn a_damaged_record_locks_nobody_out() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    let new = installation(7, 1);
    f.vault().writer(&f.owner, new).await.unwrap();
    let file = f.root().join("ALICE/.record/incarnation");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, format!("incarnation 1\n7 {} {BEGIN}\n", "01".repeat(16)));
    for damage in ["", "incarnation 0\n7 x 0\n", "incarnation 1\n7 01 0\n", &text[..text.len() - 1]] {
        f.stop();
        std::fs::write(&file, damage).unwrap();
        f.start(&clock).await;
        assert_eq!(f.vault().newest_incarnation(&f.owner), None, "{damage:?}");
        assert_eq!(f.vault().writer(&f.owner, new).await.unwrap(), Writer::Current);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
}

#[tokio::test]
async fn a_record_of_a_later_kith_is_left_alone_and_until_it_can_be_read_nobody_writes() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    let (old, new) = (installation(6, 2), installation(7, 1));
    clock.pass(5000);
    f.vault().writer(&f.owner, new).await.unwrap();
    assert_eq!(f.from(new, "POST", &pack_path(b"one"), b"one").await.0, 200);
    let file = f.root().join("ALICE/.record/incarnation");
    let known = std::fs::read_to_string(&file).unwrap();
    for newer in ["incarnation 2\nwhatever it is\n", "incarnation 4000000000\n"] {
        f.stop();
        std::fs::write(&file, newer).unwrap();
        f.start(&clock).await;
        assert_eq!(f.vault().newest_incarnation(&f.owner), None);
        for writer in [old, new, installation(8, 3)] {
            let refused = f.vault().writer(&f.owner, writer).await.unwrap_err();
            let sentence = refused.to_string();
            assert!(matches!(refused, VaultError::NewerRecord { known: 1, .. }), "{sentence}");
            assert!(sentence.contains("install a newer Kith") && sentence.contains(".record/incarnation"));
            let lock = format!("/a/locks/{}", sha256(b"lock"));
            for (method, path, body) in [
                ("POST", pack_path(b"two"), &b"two"[..]),
                ("POST", lock, b"lock"),
                ("POST", "/b/?create=true".into(), b""),
                ("DELETE", pack_path(b"one"), b""),
            ] {
                let refused = (403, "not-accepted".to_owned());
                assert_eq!(f.from(writer, method, &path, body).await, refused, "{method} {path}");
            }
            let state = f.vault().put_state_from(&f.owner, writer, 1, Bytes::from_static(b"state")).await;
            assert!(matches!(state, Err(StateError::NewerRecord { known: 1, .. })), "{state:?}");
            assert_eq!(f.from(writer, "GET", &pack_path(b"one"), b"").await, (200, String::new()));
        }
        // Whoever is not named is no way around it, and reads why.
        let answer = f.post(&pack_path(b"three"), b"three").await.expect(403, "not-accepted");
        assert!(answer.json()["message"].as_str().unwrap().contains("newer Kith"), "{:?}", answer.body);
        assert_eq!(f.list("data").await.len(), 1);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), newer);
    }
    // The newer Kith is back, or what it wrote can be read again.
    f.stop();
    std::fs::write(&file, known).unwrap();
    f.start(&clock).await;
    assert_eq!(f.from(new, "POST", &pack_path(b"two"), b"two").await.0, 200);
    assert_eq!(f.from(old, "POST", &pack_path(b"three"), b"three").await.0, 409);
}

#[test]
fn an_installation_is_read_as_a_hello_tells_it() {
    let read = Incarnation::parse(5, "000102030405060708090A0b0c0d0e0f").unwrap();
    assert_eq!(read.installation(), std::array::from_fn(|byte| byte as u8));
    assert_eq!((read.number(), read.to_string()), (5, "5 000102030405060708090a0b0c0d0e0f".to_owned()));
    for bad in ["", "00", "+0000000000000000000000000000000", "g0000000000000000000000000000000"] {
        assert_eq!(Incarnation::parse(5, bad), Err(NameError::Installation));
    }
}

/// Both want the same locks, and the friend chooses when: neither may wait for the other for ever.
#[test]
fn archives_are_made_while_newer_installations_take_over() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let done = runtime.block_on(async {
        let clock = TestClock::at(BEGIN);
        let f = Fixture::by(&clock).await;
        let rounds = async {
            for number in 1..=300 {
                let newer = installation(number, 1);
                let paths: Vec<_> = (0..8).map(|archive| format!("/x{archive}/?create=true")).collect();
                let made =
                    futures::future::join_all(paths.iter().map(|path| f.from(newer, "POST", path, b"")));
                let (taken, made) = tokio::join!(f.vault().writer(&f.owner, newer), made);
                assert_eq!(taken.unwrap(), Writer::Current);
                assert!(made.iter().all(|(status, _)| *status == 200), "{made:?}");
            }
        };
        tokio::time::timeout(Duration::from_secs(120), rounds).await.is_ok()
    });
    // Threads that wait for each other would be waited for.
    runtime.shutdown_background();
    assert!(done, "an archive that is made and an installation that takes over wait for each other");
}
