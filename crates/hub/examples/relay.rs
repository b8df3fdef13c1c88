//! How much a relay passes on, beside what `socat` does between the same two ends (or, where it is not installed, a loop of its kind).
//!
//! `cargo run --release -p kith-hub --example relay -- [MEGABYTES] [ROUNDS]`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement shows what it measured, and ends where it can't"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::Request;
use kith_hub::{Courier, RelayRules, Rendezvous, Rules};
use kith_identity::{DeviceId, PairTag};
use kith_wire::{Post, RELAY_READY, RelayLeg, RelayRequest, collect, json_body, paths};

struct Nobody;

impl Courier for Nobody {
    fn carry(&self, _: &DeviceId, _: Post) -> BoxFuture<'static, bool> {
        Box::pin(std::future::ready(false))
    }
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<usize>().unwrap());
    let (megabytes, rounds) = (numbers.next().unwrap_or(1000), numbers.next().unwrap_or(3));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let relay = RelayRules { user_bytes_per_day: None, ..RelayRules::of_friend() };
    let rules = Rules { relay: Some(relay), ..Rules::of_friend() };
    let rendezvous = runtime.block_on(async { Rendezvous::new(rules, Arc::new(Nobody)) });
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let ends = relayed(&runtime, &rendezvous, u8::try_from(round).unwrap());
        let relayed = rate(ends, megabytes);
        let (name, ends, joining) = joined_by_another();
        let other = rate(ends, megabytes);
        drop(joining);
        println!("relay {relayed:.0} MB/s, {name} {other:.0} MB/s");
        ratios.push(relayed / other);
    }
    ratios.sort_by(f64::total_cmp);
    println!("the relay passes on {:.2} times as much (median)", ratios[ratios.len() / 2]);
}

/// Megabytes in a second from one end to the other.
#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn rate([mut from, mut to]: [TcpStream; 2], megabytes: usize) -> f64 {
    let bytes = vec![7; 256 * 1024];
    let total = megabytes * 1_000_000;
    let begun = Instant::now();
    let sending = std::thread::spawn(move || {
        let mut left = total;
        while left > 0 {
            let now = left.min(bytes.len());
            from.write_all(&bytes[..now]).unwrap();
            left -= now;
        }
        from
    });
    let (mut came, mut buffer) = (0, vec![0; 256 * 1024]);
    while came < total {
        came += to.read(&mut buffer).unwrap();
    }
    drop(sending.join().unwrap());
    megabytes as f64 / begun.elapsed().as_secs_f64()
}

/// The far ends of a session.
fn relayed(runtime: &tokio::runtime::Runtime, rendezvous: &Rendezvous, session: u8) -> [TcpStream; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ends = [1, 2].map(|user| {
        let message = RelayRequest { session: PairTag::from_bytes([session; 16]) };
        let request = Request::post(paths::RELAY).body(json_body(&message).unwrap()).unwrap();
        runtime.block_on(async {
            let answer = rendezvous.serve(DeviceId::from_bytes([user; 32]), request).await;
            let leg = collect(answer.into_body(), 4096).await.unwrap();
            let leg: RelayLeg = serde_json::from_slice(&leg).unwrap();
            let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let near = listener.accept().unwrap().0;
            near.set_nonblocking(true).unwrap();
            rendezvous.take_leg(&leg.tag().unwrap(), tokio::net::TcpStream::from_std(near).unwrap());
            far
        })
    });
    for end in &mut ends {
        let mut ready = [0; 8];
        end.read_exact(&mut ready).unwrap();
        assert_eq!(&ready, RELAY_READY);
    }
    ends
}

/// Ends when it is dropped.
struct Joining(Option<Child>);

impl Drop for Joining {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The same ends, joined by another program.
fn joined_by_another() -> (&'static str, [TcpStream; 2], Joining) {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = target.local_addr().unwrap();
    let place = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let spawned = Command::new("socat")
        .args([
            format!("TCP-LISTEN:{},bind=127.0.0.1,reuseaddr", place.port()),
            format!("TCP:127.0.0.1:{}", at.port()),
        ])
        .stdin(Stdio::null())
        .spawn();
    if let Ok(child) = spawned {
        let joining = Joining(Some(child));
        let from = loop {
            match TcpStream::connect(place) {
                Ok(from) => break from,
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        return ("socat", [from, target.accept().unwrap().0], joining);
    }
    // One thread that reads what there is, up to 8 KiB as socat does, and writes it.
    let middle = TcpListener::bind(place).unwrap();
    let from = TcpStream::connect(place).unwrap();
    let mut near = middle.accept().unwrap().0;
    let mut onward = TcpStream::connect(at).unwrap();
    let to = target.accept().unwrap().0;
    std::thread::spawn(move || {
        let mut buffer = vec![0; 8192];
        while let Ok(length) = near.read(&mut buffer)
            && length > 0
            && onward.write_all(&buffer[..length]).is_ok()
        {}
    });
    ("a loop like socat's (not installed)", [from, to], Joining(None))
}
