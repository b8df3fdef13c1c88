//! Memory: bounded at work, small when idle.

use std::time::{Duration, Instant};

use e2e::{Computer, alone, memory_peak_kib, memory_resident_kib, pair, say, write_random};

/// Most memory of a daemon that backs up, or keeps, a gigabyte.
const AT_WORK_KIB: u64 = 200 << 10;
/// Most memory of a daemon with one friend, a minute after it was started and linked.
const IDLE_KIB: u64 = 25 << 10;
/// When idle memory is measured.
const IDLE: Duration = Duration::from_secs(60);

#[test]
fn a_gigabyte_is_backed_up_and_restored_with_two_hundred_megabytes() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let alone = alone();
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    write_random(&source, 9, 1 << 30, 64 << 20);
    anna.kith(&["set", "add", "media", source.to_str().unwrap(), "--to", "bert"]).ok();
    let start = Instant::now();
    anna.kith(&["backup"]).ok();
    let took = start.elapsed();
    drop(alone);
    let (ours, theirs) = (memory_peak_kib(anna.pid()), memory_peak_kib(bert.pid()));
    say(&format!("1 GiB in {took:?}: at most {} MiB here, {} MiB at the friend", ours >> 10, theirs >> 10));
    assert!(ours <= AT_WORK_KIB && theirs <= AT_WORK_KIB, "{ours} KiB here, {theirs} KiB at the friend");
}

#[test]
fn an_idle_daemon_with_one_friend_is_small() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    // This is the one thing in these tests that only time can show.
    std::thread::sleep(IDLE);
    let (here, there) = (memory_resident_kib(anna.pid()), memory_resident_kib(bert.pid()));
    say(&format!("idle: {here} KiB and {there} KiB"));
    assert!(here <= IDLE_KIB && there <= IDLE_KIB, "idle: {here} KiB and {there} KiB");
}
