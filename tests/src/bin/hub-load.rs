//! How a hub bears many computers: what it has in memory when so many are registered and idle, and how soon they are all back after it was
//! killed and started again. Every computer is real: its own identity, TLS, link, hello and registration. For benchmarks, not for tests.
//!
//! `hub-load [COMPUTERS] [RECORDS]`, by default 10,000 computers with 3 records and 9 awaited tags each. `KITH_BIN` names another program.

#![allow(clippy::unwrap_used, reason = "a benchmark ends where something is not as it should be")]
#![allow(clippy::print_stdout, reason = "prints its results")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::hubs::{Client, HubProcess, identity};
use e2e::{Random, processor_seconds, release_binary};
use kith_identity::{Identity, PairTag, Sealed};
use kith_wire::{Deposit, HubAddress, Registration};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::task::JoinSet;

/// Bytes of a sealed record with some addresses in it.
const RECORD: usize = 1_100;
/// For how long the idle hub is looked at.
const IDLE: Duration = Duration::from_secs(20);
/// Dials that led to nothing.
static FAILED: AtomicUsize = AtomicUsize::new(0);
/// Longest wait for all to be back.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::main(worker_threads = 2)]
async fn main() {
    let argument =
        |n, default| std::env::args().nth(n).map_or(default, |text: String| text.parse::<usize>().unwrap());
    let (computers, records) = (argument(1, 10_000), argument(2, 3));
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert!(hard > computers as u64 + 100, "{hard} open files are allowed: too few");

    let mut hub =
        HubProcess::new(&format!("most-computers = {}\n", computers.max(1))).of_program(release_binary());
    hub.start();
    let empty = hub.resident_bytes();
    println!("hub: {} MiB without a computer", empty >> 20);

    let there = Arc::new(AtomicUsize::new(0));
    let (begun, work) = (Instant::now(), Work::so_far(&hub));
    let mut tasks = JoinSet::new();
    for number in 0..computers {
        let (there, hub) = (there.clone(), hub.address());
        tasks.spawn(async move { live(number as u64, records, &hub, &there).await });
    }
    let course = wait(&there, computers, begun).await;
    println!(
        "all {computers} came at once: registered after {:.1} s ({course}); {}",
        begun.elapsed().as_secs_f64(),
        Work::so_far(&hub).since(&work)
    );
    tokio::time::sleep(IDLE).await;
    let idle = hub.resident_bytes();
    println!(
        "idle: {:.1} MB resident, {:.1} kB for each computer with {records} records",
        idle as f64 / 1e6,
        (idle - empty) as f64 / 1e3 / computers as f64
    );
    assert_eq!(hub.number("computers"), Some(computers as u64));

    for round in 1..=3 {
        let mut work = Work::so_far(&hub);
        hub.kill();
        work.hub = 0.0;
        let begun = Instant::now();
        hub.start();
        let started = begun.elapsed();
        // The last of them may not have heard yet that the hub was away.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let course = wait(&there, computers, begun).await;
        println!(
            "killed and started again ({round}): all back after {:.1} s ({course}), {:.1} s of it until the hub was ready; {}; {:.1} MB resident",
            begun.elapsed().as_secs_f64(),
            started.as_secs_f64(),
            Work::so_far(&hub).since(&work),
            hub.resident_bytes() as f64 / 1e6
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    tokio::time::sleep(IDLE).await;
    println!("idle again: {:.1} MB resident", hub.resident_bytes() as f64 / 1e6);
    hub.stop();
}

/// Processor time, in seconds.
struct Work {
    hub: f64,
    computers: f64,
}

impl Work {
    fn so_far(hub: &HubProcess) -> Self {
        Self {
            hub: processor_seconds(hub.pid().unsigned_abs()),
            computers: processor_seconds(std::process::id()),
        }
    }

    fn since(&self, before: &Self) -> String {
        let (hub, computers) = (self.hub - before.hub, self.computers - before.computers);
        format!("{hub:.1} core-s of the hub, {computers:.1} of the computers")
    }
}

/// Waits until all are there; says when half, nine of ten and 99 of 100 were, and how many dials had failed by then.
async fn wait(there: &AtomicUsize, computers: usize, begun: Instant) -> String {
    let failed = FAILED.load(Ordering::Relaxed);
    let mut shares = [50, 90, 99].map(|share| (share, None));
    loop {
        let now = there.load(Ordering::Relaxed);
        for (share, at) in &mut shares {
            if at.is_none() && now * 100 >= computers * *share {
                *at = Some(begun.elapsed().as_secs_f64());
            }
        }
        if now >= computers {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{now} of {computers}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let failed = FAILED.load(Ordering::Relaxed) - failed;
    let shares =
        shares.map(|(share, at)| format!("{share} % after {:.1} s", at.unwrap_or_default())).join(", ");
    format!("{shares}, {failed} dials in vain")
}

/// Registers, stays, and comes back: within 0.3 s after a link that was lost, and with the pauses of the program after dials in vain.
async fn live(number: u64, records: usize, hub: &HubAddress, there: &AtomicUsize) {
    let identity = tokio::task::spawn_blocking(move || identity(number)).await.unwrap();
    let mut random = Random::new(number + 1);
    loop {
        let mut pause = 1.0;
        let client = loop {
            match join(&identity, number, records, hub).await {
                Ok(client) => break client,
                Err(error) => {
                    // One of many says enough.
                    if FAILED.fetch_add(1, Ordering::Relaxed) % 1000 == 999 {
                        println!("for example: {error:?}");
                    }
                    tokio::time::sleep(Duration::from_secs_f64(pause * (0.5 + fraction(&mut random) / 2.0)))
                        .await;
                    pause = f64::min(pause * 2.0, 60.0);
                }
            }
        };
        there.fetch_add(1, Ordering::Relaxed);
        client.link().ended().await;
        there.fetch_sub(1, Ordering::Relaxed);
        drop(client);
        tokio::time::sleep(Duration::from_secs_f64(0.3 * fraction(&mut random))).await;
    }
}

async fn join(
    identity: &Identity,
    number: u64,
    records: usize,
    hub: &HubAddress,
) -> Result<Client, e2e::hubs::HubError> {
    let client = Client::connect_as(identity, hub).await?;
    let tag = |n: usize| {
        let mut tag = [0; 16];
        // Spread as real ones are: the number is the end of it.
        tag[..8]
            .copy_from_slice(&(number * 1000 + n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        PairTag::from_bytes(tag)
    };
    let record = |n| Deposit { tag: tag(n), record: Sealed::from_bytes(vec![7; RECORD]), lives: 86_400 };
    let registration = Registration {
        records: (0..records).map(record).collect(),
        watch: (100..100 + 3 * records).map(tag).collect(),
    };
    client.register(&registration).await?;
    Ok(client)
}

/// Between 0 and 1.
fn fraction(random: &mut Random) -> f64 {
    let bytes = random.bytes(2);
    f64::from(u16::from_be_bytes([bytes[0], bytes[1]])) / 65_536.0
}
