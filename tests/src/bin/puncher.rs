//! One end of punches, for tests that let two of them meet in the lab: `puncher caller|callee FRIEND FIRST_PORT COUNT BEGIN_MS LONGEST_MS`.
//!
//! It punches from each of COUNT ports on, FIRST_PORT being the first, to the same port of FRIEND, an IP address. All begin at BEGIN_MS, in
//! milliseconds since 1970, so that two ends on one machine begin together. For each it says a line: the port, and `met MS WAY` or
//! `failed WHY`. A punch counts as met when the two have proved who they are and a word went there and back.
//!
//! `puncher carrier PORT` tells whoever asks from where his port is seen, and `puncher observe CARRIER PORT` asks it: it says the address.

#![allow(clippy::print_stdout, reason = "this is what it is for")]
#![allow(clippy::unwrap_used, reason = "a part of a test")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Request;
use kith_identity::tls::{self, Admission};
use kith_identity::{DeviceId, DialInKey, DialInRing, Identity, IdentitySeed};
use kith_peer::reach::{Meeting, Part, PunchPlan, PunchPort, Role, Secured, observe, punch};
use kith_peer::{Asker, Outbound};
use kith_wire::{Body, Link, LinkLimits, Observed, ServeFuture, Side};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

const CALLER: u8 = 1;
const CALLEE: u8 = 2;
const WORD: &[u8; 4] = b"word";
/// For the word, after the two have met.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["carrier", port] => carry(port.parse().unwrap()).await,
        ["observe", carrier, port] => ask(carrier.parse().unwrap(), port.parse().unwrap()).await,
        [role @ ("caller" | "callee"), friend, first, count, begin, longest] => {
            let milliseconds = |text: &str| Duration::from_millis(text.parse().unwrap());
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let begin = Instant::now() + milliseconds(begin).saturating_sub(now);
            let until = begin + milliseconds(longest);
            let friend: IpAddr = friend.parse().unwrap();
            let (first, count): (u16, u16) = (first.parse().unwrap(), count.parse().unwrap());
            let mut punches = JoinSet::new();
            for port in first..first + count {
                let plan = PunchPlan { targets: vec![SocketAddr::new(friend, port)], begin, until };
                let part = if role == "caller" { caller() } else { callee() };
                punches.spawn(async move { format!("{port} {}", one(port, friend, plan, part).await) });
            }
            while let Some(line) = punches.join_next().await {
                println!("{}", line.unwrap());
            }
        }
        _ => panic!("see the source for what it takes"),
    }
}

fn identity(byte: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap())
}

fn key() -> DialInKey {
    DialInKey::from_bytes([7; 32])
}

fn caller() -> Part {
    let role = Role::Client { keys: vec![key()] };
    Part { identity: identity(CALLER), friend: identity(CALLEE).device_id(), role }
}

fn callee() -> Part {
    let ring = DialInRing::new([&key()]);
    let role = Role::Server { recognises: Arc::new(move |tag| ring.recognises(tag)) };
    Part { identity: identity(CALLEE), friend: identity(CALLER).device_id(), role }
}

fn port_of_our_own(port: u16, friend: IpAddr) -> PunchPort {
    let ip = if friend.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    PunchPort::fresh(ip, &[port..=port]).unwrap()
}

/// What comes of one punch.
async fn one(port: u16, friend: IpAddr, plan: PunchPlan, part: Part) -> String {
    let (begin, until) = (plan.begin, plan.until);
    let speaks_first = matches!(part.role, Role::Client { .. });
    let port = port_of_our_own(port, friend);
    let mut meeting = Meeting::new(punch(&Outbound::default(), &port, &plan, None).unwrap(), part);
    while let Some(met) = meeting.next().await {
        let took = begin.elapsed().as_millis();
        if let Some(way) = exchange(met, speaks_first).await {
            return format!("met {took} {way}");
        }
        if Instant::now() >= until {
            break;
        }
    }
    let failures: Vec<String> = meeting.failures().map(ToString::to_string).collect();
    format!("failed {:?} {failures:?}", meeting.outcomes())
}

/// A word there and back.
async fn exchange(met: Secured, speaks_first: bool) -> Option<String> {
    let Secured { mut stream, remote, .. } = met;
    let words = async {
        let mut heard = [0; WORD.len()];
        if speaks_first {
            stream.write_all(WORD).await?;
            stream.flush().await?;
        }
        stream.read_exact(&mut heard).await?;
        if !speaks_first {
            stream.write_all(WORD).await?;
            stream.flush().await?;
            // Until the other end has it.
            stream.read_u8().await.ok();
        }
        std::io::Result::Ok(&heard == WORD)
    };
    match timeout(PATIENCE, words).await {
        Ok(Ok(true)) => Some(remote.to_string()),
        _ => None,
    }
}

struct Everybody;

impl Admission for Everybody {
    fn friend(&self, _id: &DeviceId) -> bool {
        true
    }

    fn invite(&self, _one_time_id: &DeviceId) -> bool {
        false
    }
}

async fn carry(port: u16) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.unwrap();
    let acceptor = TlsAcceptor::from(tls::server_config(&identity(CALLEE), Arc::new(Everybody)));
    loop {
        let (stream, remote) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let serve = move |request: Request<Body>| -> ServeFuture {
                Box::pin(std::future::ready(Observed::answer(request.method(), Some(remote))))
            };
            let (_link, driver) =
                Link::start(Box::new(stream), Side::Acceptor, Arc::new(serve), LinkLimits::default());
            driver.await;
        });
    }
}

async fn ask(carrier: SocketAddr, port: u16) {
    let (us, keys, outbound) = (identity(CALLER), [key()], Outbound::default());
    let asker = Asker { identity: &us, keys: &keys, outbound: &outbound };
    let port = port_of_our_own(port, carrier.ip());
    // Twice: what the first question leaves behind is in nobody's way.
    for _ in 0..2 {
        let carrier_id = identity(CALLEE).device_id();
        let observed = Box::pin(observe(asker, carrier_id, carrier, &port, PATIENCE)).await.unwrap();
        println!("{}", observed.address());
        observed.end().await;
    }
}
