//! Measures backups and restores over lines of 40 ms, beside `iperf3`: `cargo run --release -p e2e --bin far`.
//!
//! Needs the superuser, `iperf3` and `python3`. The program under test is that of the same profile, or what `KITH_BIN` names.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::time::Duration;

use e2e::far::Far;
use e2e::lab::Distance;
use e2e::{need, need_lab};

/// Mbit/s of the lines; 0 is as fast as the machine passes frames on.
const LINES: [u64; 5] = [100, 300, 500, 1_000, 0];

fn main() {
    if !need_lab() || !need("iperf3") || !need("python3") {
        return;
    }
    let lines: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    println!("A round trip takes 40 ms. Mbit/s; a ratio is what Kith reaches of what iperf3 does.\n");
    println!("| line | iperf3 | backup | ratio | restore | ratio |\n|---|---|---|---|---|---|");
    for mbits in if lines.is_empty() { LINES.to_vec() } else { lines } {
        let bits_per_second = (mbits > 0).then_some(mbits * 1_000_000);
        // Six seconds of data, and no more than a disk takes without being asked twice.
        let bytes = (mbits * 1_000_000 / 8 * 6).clamp(96 << 20, 768 << 20);
        let bytes = if mbits == 0 { 768 << 20 } else { bytes };
        // A queue of 25 ms, as routers have.
        let queue_bytes = bits_per_second.map(|bits| (bits / 8 / 40).max(256 << 10));
        let one_way = Duration::from_millis(20);
        let mut far = Far::new(Distance { one_way, bits_per_second, queue_bytes });
        let mut runs: Vec<[f64; 3]> = (0..3)
            .map(|_| {
                let iperf3 = far.iperf3(Duration::from_secs(5));
                let backup = far.backup(bytes);
                [iperf3, backup, far.restore(bytes)]
            })
            .collect();
        runs.sort_by(|a, b| (a[1] / a[0]).total_cmp(&(b[1] / b[0])));
        let [iperf3, backup, restore] = runs[1].map(|bits| bits / 1e6);
        let line = if mbits == 0 { "unbounded".to_owned() } else { mbits.to_string() };
        println!(
            "| {line} | {iperf3:.0} | {backup:.0} | {:.2} | {restore:.0} | {:.2} |",
            backup / iperf3,
            restore / iperf3
        );
    }
}
