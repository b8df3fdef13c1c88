//! What a link carries, and what that costs at each end: `cargo run --release -p kith-peer --example throughput`.
//!
//! Arguments: how many GB (2), MiB of a body (16), requests at once (2). Two processes, one TCP connection on the loopback
//! interface: bodies over HTTP over streams over TLS, thrown away at the other end. No disk, no hashing.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement ends where something is not as it should be, and says what it found"
)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::{Request, Response};
use kith_identity::tls::{self, Admission};
use kith_identity::{DeviceId, Identity, IdentitySeed};
use kith_wire::{Body, Link, LinkLimits, ServeFuture, Side, boxed, empty_body};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a piece of a body, as uploads have them.
const PIECE: usize = 64 * 1024;

struct Everybody;

impl Admission for Everybody {
    fn friend(&self, _id: &DeviceId) -> bool {
        true
    }

    fn invite(&self, _one_time_id: &DeviceId) -> bool {
        false
    }
}

fn identity(byte: u8) -> Identity {
    Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap()
}

/// A body of zeros.
struct Zeros {
    left: usize,
    piece: bytes::Bytes,
}

impl http_body::Body for Zeros {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        let part = self.left.min(PIECE);
        self.left -= part;
        std::task::Poll::Ready((part > 0).then(|| Ok(http_body::Frame::data(self.piece.slice(..part)))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left as u64)
    }
}

/// Seconds of a core that this process has used.
fn core_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    // Fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let config = tls::server_config(&identity(2), Arc::new(Everybody));
    let (stream, _) = listener.accept().await.unwrap();
    stream.set_nodelay(true).unwrap();
    kith_peer::widen(&stream);
    let stream = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.unwrap();
    let received = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&received);
    let service = Arc::new(move |request: Request<Body>| -> ServeFuture {
        let received = Arc::clone(&counted);
        Box::pin(async move {
            let mut body = request.into_body();
            while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
                received.fetch_add(frame.unwrap().into_data().unwrap().len() as u64, Ordering::Relaxed);
            }
            Response::new(empty_body())
        })
    });
    let (link, driver) = Link::start(Box::new(stream), Side::Acceptor, service, LinkLimits::default());
    link.welcome();
    driver.await;
    let gigabytes = received.load(Ordering::Relaxed) as f64 / 1e9;
    println!("receiver: {:.2} core-seconds per GB", core_seconds() / gigabytes);
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if(|arg| arg == "serve").is_some() {
        return serve().await;
    }
    let mut number = |default: usize| args.next().map_or(default, |arg| arg.parse().unwrap());
    let (gigabytes, mebibytes, at_once) = (number(2), number(16), number(2));
    let mut server =
        Command::new(std::env::current_exe().unwrap()).arg("serve").stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    let address = said.next().unwrap().unwrap();
    let stream = TcpStream::connect(&address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    kith_peer::widen(&stream);
    let config = tls::client_config_any(&identity(1));
    let connecting = tokio_rustls::TlsConnector::from(config).connect(tls::placeholder_name(), stream);
    let stream = connecting.await.unwrap();
    let nobody = Arc::new(|_: Request<Body>| -> ServeFuture { Box::pin(std::future::pending()) });
    let (link, driver) = Link::start(Box::new(stream), Side::Dialer, nobody, LinkLimits::default());
    let driver = tokio::spawn(driver);

    let body_bytes = mebibytes << 20;
    let bodies = (gigabytes * 1_000_000_000).div_ceil(body_bytes);
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let senders = (0..at_once).map(|_| {
        let (link, next) = (link.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < bodies as u64 {
                let zeros = Zeros { left: body_bytes, piece: vec![0; PIECE].into() };
                let answer = link.request(Request::post("/").body(boxed(zeros)).unwrap()).await.unwrap();
                assert!(answer.status().is_success());
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let took = begun.elapsed().as_secs_f64();
    let sent = (bodies * body_bytes) as f64 / 1e9;
    println!("{sent:.2} GB in {took:.2} s: {:.2} GB/s", sent / took);
    println!("sender: {:.2} core-seconds per GB", core_seconds() / sent);
    link.close("done");
    driver.await.unwrap();
    said.for_each(|line| println!("{}", line.unwrap()));
    server.wait().unwrap();
}
