//! The protocol, request by request.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Fixture, Server, bytes_of, owner, pack_path, sha256};

#[tokio::test]
async fn an_object_is_stored_told_listed_and_read_back() {
    let f = Fixture::new().await;
    let bytes = bytes_of(1, 700_001);
    let path = pack_path(&bytes);
    f.call("HEAD", &path, &[], b"").await.expect(404, "not-found");
    f.post(&path, &bytes).await.expect_ok();
    let head = f.call("HEAD", &path, &[], b"").await.expect_ok();
    assert_eq!(head.headers["content-length"], "700001");
    assert!(head.body.is_empty());
    let whole = f.get(&path).await.expect_ok();
    assert_eq!(whole.headers["content-length"], "700001");
    assert!(whole.body == bytes);
    assert_eq!(f.list("data").await, [(sha256(&bytes), 700_001)]);
    let listed = f.get("/a/data/").await.expect_ok();
    assert_eq!(listed.headers["content-type"], "application/vnd.x.restic.rest.v1");
    assert_eq!(listed.json(), serde_json::json!([sha256(&bytes)]));
    assert!(std::fs::read(f.pack_file(&bytes)).unwrap() == bytes);
}

#[tokio::test]
async fn part_of_an_object_is_sent_when_asked_for() {
    let f = Fixture::new().await;
    let bytes = bytes_of(2, 600_000);
    let path = pack_path(&bytes);
    f.post(&path, &bytes).await.expect_ok();
    let part = f.call("GET", &path, &[("range", "bytes=1000-399999")], b"").await;
    assert_eq!(part.status, 206);
    assert_eq!(part.headers["content-range"], "bytes 1000-399999/600000");
    assert_eq!(part.headers["content-length"], "399000");
    assert!(part.body == bytes[1000..400_000]);
    let tail = f.call("GET", &path, &[("range", "bytes=599990-")], b"").await;
    assert_eq!(tail.body, &bytes[599_990..]);
    let outside = f.call("GET", &path, &[("range", "bytes=600000-")], b"").await.expect(416, "bad-range");
    assert_eq!(outside.headers["content-range"], "bytes */600000");
}

#[tokio::test]
async fn a_type_without_objects_is_an_empty_list() {
    let f = Fixture::new().await;
    for kind in ["data", "index", "snapshots", "locks", "keys"] {
        assert_eq!(f.list(kind).await, []);
        assert_eq!(f.get(&format!("/a/{kind}/")).await.expect_ok().body, "[]");
    }
}

#[tokio::test]
async fn a_list_of_many_objects_is_complete() {
    let f = Fixture::new().await;
    let mut expected = Vec::new();
    let directory = f.archive().join("snapshots");
    for number in 0..3000_u32 {
        let name = sha256(&number.to_le_bytes());
        std::fs::write(directory.join(&name), number.to_string()).unwrap();
        expected.push((name, number.to_string().len() as u64));
    }
    expected.sort();
    assert_eq!(f.list("snapshots").await, expected);
}

#[tokio::test]
async fn an_archive_has_to_be_created_first_and_may_be_created_again() {
    let f = Fixture::new().await;
    for (method, path) in
        [("GET", "/b/data/"), ("HEAD", "/b/config"), ("POST", "/b/config"), ("GET", "/b/config")]
    {
        f.call(method, path, &[], b"x").await.expect(404, "not-found");
    }
    f.post("/b/?create=true", b"").await.expect_ok();
    f.post("/b/?create=true", b"").await.expect_ok();
    assert_eq!(f.get("/b/data/").await.expect_ok().body, "[]");
    let names: Vec<_> = f.vault().archives(&f.owner).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(!f.root().join("ALICE/b/keys").exists());
}

#[tokio::test]
async fn owners_do_not_see_each_other() {
    let f = Fixture::new().await;
    f.post("/a/config", b"alice").await.expect_ok();
    let bob = owner("BOB");
    let answer = crate::support::call(f.vault(), &bob, "GET", "/a/config", &[], b"").await;
    answer.expect(404, "not-found");
}

#[tokio::test]
async fn wrong_methods_name_the_right_ones() {
    let f = Fixture::new().await;
    let answer = f.call("PUT", "/a/config", &[], b"").await.expect(405, "method-not-allowed");
    assert_eq!(answer.headers["allow"], "HEAD, GET, POST, DELETE");
    f.get("/a/data/../config").await.expect(400, "bad-name");
    f.delete("/a/").await.expect(403, "not-allowed");
}

/// One exchange over a socket, exactly as written.
fn exchange(port: u16, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_a_head_tells_the_length_and_a_refused_sender_hears_why() {
    let f = Fixture::new().await;
    f.post("/a/config", b"1234567").await.expect_ok();
    let server = Server::start(f.vault(), &f.owner).await;
    let port = server.port;
    let work = tokio::task::spawn_blocking(move || {
        let head = exchange(port, "HEAD /a/config HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.to_lowercase().contains("content-length: 7\r\n"), "{head}");

        let chunked = "POST /a/config HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = exchange(port, chunked, b"3\r\nabc\r\n0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 411"), "{answer}");

        // Far more than socket buffers hold: without being read on, the sender would see a reset.
        let body = bytes_of(3, 48 << 20);
        let large = format!(
            "POST /b{} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            &pack_path(&body)[2..],
            body.len()
        );
        let answer = exchange(port, &large, &body);
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(answer.contains("not-found"), "{answer}");

        let cut = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n", pack_path(b"x"));
        let answer = exchange(port, &cut, b"only so much");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    });
    work.await.unwrap();
    crate::support::until(|| f.temporary_files() == 0).await;
    assert_eq!(f.list("data").await, []);
}
