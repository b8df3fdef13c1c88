//! We and the yamux that others use understand each other, whoever opens.

use std::sync::Arc;

use futures::future::poll_fn as poll;
use futures::{AsyncReadExt, AsyncWriteExt};
use http::{Request, Response};
use tokio_util::compat::TokioAsyncReadCompatExt;
use tokio_util::task::AbortOnDropHandle;

use crate::link::{Link, LinkLimits, ServeFuture, Side};
use crate::{Body, bytes_body, collect};

const BYTES: usize = 3 << 20;

fn echo(request: Request<Body>) -> ServeFuture {
    Box::pin(async move { Response::new(bytes_body(collect(request.into_body(), BYTES).await.unwrap())) })
}

fn pattern() -> Vec<u8> {
    (0..BYTES as u32).flat_map(|n| n.to_le_bytes()).take(BYTES).collect()
}

async fn we_and_a_stock_yamux(ours: Side, theirs: yamux::Mode) {
    let (a, b) = tokio::io::duplex(100_000);
    let (link, driver) = Link::start(Box::new(a), ours, Arc::new(echo), LinkLimits::default());
    link.welcome();
    let _driver = AbortOnDropHandle::new(tokio::spawn(driver));
    let mut stock = yamux::Connection::new(b.compat(), yamux::Config::default(), theirs);

    // Theirs: one exchange by hand.
    let mut stream = poll(|cx| stock.poll_new_outbound(cx)).await.unwrap();
    let asking = tokio::spawn(async move {
        let head =
            format!("POST /x HTTP/1.1\r\nhost: kith\r\nconnection: close\r\ncontent-length: {BYTES}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&pattern()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    });
    // What we open is answered with what we send, as it is: the head of a response first.
    let answering = tokio::spawn(async move {
        while let Some(Ok(mut stream)) = poll(|cx| stock.poll_next_inbound(cx)).await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                let mut buffer = vec![0; 50_000];
                while !request.windows(4).any(|end| end == b"\r\n\r\n") || request.len() < BYTES {
                    let read = stream.read(&mut buffer).await.unwrap();
                    assert!(read > 0);
                    request.extend_from_slice(&buffer[..read]);
                }
                let body = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
                while request.len() < body + BYTES {
                    let read = stream.read(&mut buffer).await.unwrap();
                    request.extend_from_slice(&buffer[..read]);
                }
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&request[body..]).await.unwrap();
                stream.close().await.unwrap();
            });
        }
    });
    let request = || Request::post("/x").body(bytes_body(pattern())).unwrap();
    for _ in 0..3 {
        let answer = link.request(request()).await.unwrap();
        assert!(collect(answer.into_body(), BYTES).await.unwrap() == pattern());
    }
    let answer = asking.await.unwrap();
    assert!(answer.ends_with(&pattern()), "{}", answer.len());
    link.close("done");
    answering.await.unwrap();
}

#[tokio::test]
async fn we_dial_a_stock_yamux() {
    we_and_a_stock_yamux(Side::Dialer, yamux::Mode::Server).await;
}

#[tokio::test]
async fn a_stock_yamux_dials_us() {
    we_and_a_stock_yamux(Side::Acceptor, yamux::Mode::Client).await;
}
