use std::time::Duration;

use tokio::time::Instant;

use super::super::{Upnp, description};
use super::fake::{Fake, IP1, Say, done, map, router};
use crate::{Answer, Request};

/// Its name, what is said, and what that comes to.
type Attack = (&'static str, fn() -> Say, &'static str);

/// What a device may do to a GET or POST, and whether that counts as silence, closing or nonsense.
fn attacks() -> Vec<Attack> {
    fn head(fields: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}").into_bytes()
    }
    fn length(length: usize) -> String {
        format!("Content-Length: {length}\r\n")
    }
    vec![
        ("no answer", || Say::ThenHang(vec![]), "silent"),
        ("half a head", || Say::ThenHang(b"HTTP/1.1 200 OK\r\nA: ".to_vec()), "silent"),
        ("half a body", || Say::ThenHang(head(&length(100), "<root>")), "silent"),
        ("one byte a second", || Say::Drip(head(&length(6), "<root>")), "silent"),
        (
            "a drip without end",
            || Say::Drip(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(100_000)).into_bytes()),
            "silent",
        ),
        ("closed at once", || Say::Raw(vec![]), "closed"),
        (
            "10 MB with a length",
            || Say::Raw([head(&length(10_000_000), ""), vec![b'<'; 10_000_000]].concat()),
            "nonsense",
        ),
        ("without an end", || Say::Flood(head("", &"<a>".repeat(5000))), "nonsense"),
        (
            "a claimed length",
            || Say::ThenHang(head("Content-Length: 18446744073709551615\r\n", "")),
            "nonsense",
        ),
        (
            "two lengths",
            || Say::Raw(head("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!")),
            "nonsense",
        ),
        ("a negative length", || Say::Raw(head("Content-Length: -5\r\n", "hello")), "nonsense"),
        (
            "garbage in chunks",
            || Say::Raw(head("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n")),
            "nonsense",
        ),
        (
            "a huge chunk",
            || Say::Raw(head("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nhello")),
            "nonsense",
        ),
        ("HTTP/0.9", || Say::Raw(b"<root><device></device></root>".to_vec()), "nonsense"),
        (
            "a huge head",
            || Say::Flood(b"X-Field: 0123456789012345678901234567890123456789\r\n".to_vec()),
            "nonsense",
        ),
        ("a huge field", || Say::Raw(head(&format!("X: {}\r\n", "x".repeat(100_000)), "")), "nonsense"),
        ("many fields", || Say::Raw(head(&"X: y\r\n".repeat(500), "")), "nonsense"),
        (
            "a redirect",
            || {
                Say::Raw(
                    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
                        .to_vec(),
                )
            },
            "nonsense",
        ),
        ("a teapot", || Say::Raw(b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n".to_vec()), "nonsense"),
        ("another protocol", || Say::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec()), "nonsense"),
        ("continue for ever", || Say::Flood(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()), "closed"),
        ("an empty body", || Say::Body(vec![]), "nonsense"),
        ("no XML", || Say::Body(b"\xff\xfe\x00\x80 no".to_vec()), "nonsense"),
        ("a page", || Say::Body(b"<html><body>Log in</body></html>".to_vec()), "nonsense"),
        ("an unknown length and an early end", || Say::Raw(head("", "<root><device>")), "nonsense"),
        ("a bomb", || Say::Body(bomb()), "nonsense"),
        ("deep nesting", || Say::Body("<a>".repeat(20_000).into_bytes()), "nonsense"),
        (
            "a wide element",
            || Say::Body(format!("<root {}/>", "a='b' ".repeat(9000)).into_bytes()),
            "nonsense",
        ),
        (
            "an unclosed comment",
            || Say::Body(format!("<root><!-- {}", "-".repeat(60_000)).into_bytes()),
            "nonsense",
        ),
    ]
}

fn bomb() -> Vec<u8> {
    let mut text = "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY l0 \"lol\">".to_owned();
    for level in 1..10 {
        let inner = format!("&l{};", level - 1).repeat(10);
        text += &format!("<!ENTITY l{level} \"{inner}\">");
    }
    (text + "]><root>&l9;</root>").into_bytes()
}

fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Silent => "silent",
        Answer::Closed => "closed",
        Answer::Nonsense(why) if !why.is_empty() && why.len() < 200 => "nonsense",
        _ => "something else",
    }
}

/// Bytes that a device may get rid of at most: what buffers of the system on the way hold.
const MOST_TAKEN: usize = 9_000_000;

#[tokio::test(start_paused = true)]
async fn no_description_costs_more_than_seconds_and_a_bounded_memory() {
    let mut wrong = Vec::new();
    for (name, say, expected) in attacks() {
        let fake = Fake::start("127.0.0.1", move |_| say()).await;
        let begin = Instant::now();
        let answer = fake.ask(&Upnp::default(), Request::Discover).await;
        // A device that answered the search is there, even if nothing comes after that.
        let expected = if expected == "silent" { "nonsense" } else { expected };
        if word(&answer) != expected {
            wrong.push(format!("{name}: {answer:?}, not {expected}"));
        }
        assert!(begin.elapsed() <= Duration::from_secs(8), "{name} took {:?}", begin.elapsed());
        assert!(*fake.written.lock().unwrap() < MOST_TAKEN, "{name}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(start_paused = true)]
async fn no_answer_to_a_request_costs_more_than_seconds_and_a_bounded_memory() {
    let mut wrong = Vec::new();
    for (name, say, expected) in attacks() {
        let fake = Fake::start("127.0.0.1", router(IP1, move |_| say())).await;
        let upnp = fake.found().await;
        for request in [Request::Map(map(4242)), Request::ReadBack { external_port: 1 }] {
            let upnp_before = upnp.devices.lock().unwrap().clone();
            let begin = Instant::now();
            let answer = fake.ask(&upnp, request).await;
            if word(&answer) != expected {
                wrong.push(format!("{name}: {answer:?}, not {expected}"));
            }
            assert!(begin.elapsed() <= Duration::from_secs(5), "{name} took {:?}", begin.elapsed());
            *upnp.devices.lock().unwrap() = upnp_before;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_mapping_whose_read_back_is_attacked_is_there_all_the_same() {
    for (name, say, _) in attacks() {
        let fake = Fake::start(
            "127.0.0.1",
            router(IP1, move |asked| match asked.action.as_str() {
                "AddPortMapping" => done(asked, &[]),
                _ => say(),
            }),
        );
        let fake = fake.await;
        let upnp = fake.found().await;
        let answer = fake.ask(&upnp, Request::Map(map(4242))).await;
        assert!(matches!(answer, Answer::Mapped(_)), "{name}: {answer:?}");
    }
}

#[test]
fn the_bomb_would_be_one() {
    assert_eq!(description::parse(&bomb()), Err(description::Malformed::Doctype));
}
