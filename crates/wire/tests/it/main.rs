//! What a friend can cost. In a process of its own, whose memory nobody else uses.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "the whole crate is a test; clippy takes only functions marked as tests for such"
)]

use std::sync::Arc;

use http::{Request, Response};
use kith_wire::{Body, Link, LinkLimits, ServeFuture, Side, empty_body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// As many as are served, 48, would only take longer.
const STREAMS: u8 = 8;
const WINDOW: usize = 256 << 10;

/// Kilobytes of memory that this process has.
fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A frame of yamux: data, or a ping.
fn frame(kind: u8, flags: u8, stream: u8, length: u8, body: &[u8]) -> Vec<u8> {
    [&[0, kind, 0, flags, 0, 0, 0, stream, 0, 0, 0, length], body].concat()
}

#[tokio::test]
async fn a_friend_who_fills_every_window_with_tiny_frames_costs_little_more_than_their_bytes() {
    let (ours, mut his) = tokio::io::duplex(64 << 10);
    // Nobody reads the bodies.
    let service = |request: Request<Body>| -> ServeFuture {
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(request);
            Response::new(empty_body())
        })
    };
    let (link, driver) =
        Link::start(Box::new(ours), Side::Acceptor, Arc::new(service), LinkLimits::default());
    link.welcome();
    let driver = tokio::spawn(driver);
    let before = resident_kib();
    let head = b"POST /x HTTP/1.1\r\nhost: kith\r\ncontent-length: 1000000\r\n\r\n";
    for n in 0..STREAMS {
        let stream = 1 + 2 * n;
        his.write_all(&frame(0, 1, stream, head.len().try_into().unwrap(), head)).await.unwrap();
        let batch = frame(0, 0, stream, 1, b"x").repeat(1024);
        for _ in 0..WINDOW / 1024 - 1 {
            his.write_all(&batch).await.unwrap();
        }
    }
    // Once the ping is answered, all before it was read. Windows that open are passed over.
    his.write_all(&frame(2, 1, 0, 99, &[])).await.unwrap();
    let answer = frame(2, 2, 0, 99, &[]);
    let mut header = vec![0; answer.len()];
    while header != answer {
        his.read_exact(&mut header).await.unwrap();
    }
    let more = resident_kib() - before;
    assert!(!link.is_over());
    driver.abort();
    // 2 MiB came in. Kept one by one, they would take more than a hundred.
    assert!(more < 12 << 10, "{STREAMS} streams of 256 KiB cost {more} KiB");
}
