//! How fast a backup and a restore are over a hub's relay, beside the same two daemons joined by stock `socat`:
//! `cargo run --release -p e2e --bin relay-rate -- [MEGABYTES] [ROUNDS]`
//!
//! All of it is on loopback, in temporary directories (`TMPDIR=/dev/shm` keeps the disk out of it). `KITH_BIN` names another program.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use e2e::relayed::{By, Passed, Relayed};
use e2e::{need, release_binary};

fn main() {
    if !need("socat") {
        return;
    }
    let argument =
        |n, default: u64| std::env::args().nth(n).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (megabytes, rounds) = (argument(1, 512), argument(2, 5));
    println!(
        "{megabytes} MB of bytes that don't compress; MB/s, and core-s of whoever stands between the two\n"
    );
    println!("| round | backup by socat | by the hub | ratio | restore by socat | by the hub | ratio |");
    println!("|---|---|---|---|---|---|---|");
    let mut runs: [[Vec<f64>; 2]; 2] = Default::default();
    for round in 1..=rounds {
        // New homes in each round: archives grow by every transfer.
        let mut friends = Relayed::of_program(release_binary());
        let mut run = |by: By| {
            friends.link(by);
            friends.back_up_and_restore(megabytes * 1_000_000)
        };
        // Who is first alternates, too.
        let [socat, hub] = if round % 2 == 1 {
            let socat = run(By::Socat);
            [socat, run(By::Hub)]
        } else {
            let hub = run(By::Hub);
            [run(By::Socat), hub]
        };
        let cells = [0, 1].map(|work| {
            let ratio = hub[work].rate / socat[work].rate;
            format!("{} | {} | {ratio:.2}", cell(socat[work]), cell(hub[work]))
        });
        println!("| {round} | {} | {} |", cells[0], cells[1]);
        for (work, kept) in runs.iter_mut().enumerate() {
            kept[0].push(socat[work].rate);
            kept[1].push(hub[work].rate);
        }
    }
    for (work, [mut socat, mut hub]) in ["backup", "restore"].into_iter().zip(runs) {
        let (socat, hub) = (median(&mut socat), median(&mut hub));
        println!(
            "{work}: {:.0} MB/s by socat, {:.0} by the hub: {:.2} of it (medians)",
            socat / 1e6,
            hub / 1e6,
            hub / socat
        );
    }
}

fn cell(passed: Passed) -> String {
    format!("{:.0} ({:.2})", passed.rate / 1e6, passed.between)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
