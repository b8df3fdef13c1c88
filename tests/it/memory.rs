//! Memory: bounded at work, small when idle.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::bench::MEASURE;
use e2e::{
    Computer, alone, assert_same, forget_memory_peak, memory_own_kib, memory_peak_kib, memory_resident_kib,
    pair, program_mapped_kib, run, say, write_random,
};
use serde_json::Value;

/// Most memory of a process that backs up, keeps or restores a gigabyte: 150 MB.
const AT_WORK_KIB: u64 = 150_000_000 >> 10;
/// Most memory of the program that is shipped, with one friend, a minute after it was started and linked; `bench` measures that.
const IDLE_KIB: u64 = 25_000_000 >> 10;
/// Most of it that is not mapped from files, in any build: twice what is usual.
const OWN_KIB: u64 = 6 << 10;
/// How much more of its file a program may have resident than is usual: the kernel maps what lies beside what is used, in pieces whose
/// size depends on the file system and on what was in memory before. No leak can hide in that, as [`OWN_KIB`] bounds all else.
const BESIDE: u64 = 4;
/// When idle memory is measured.
const IDLE: Duration = Duration::from_secs(60);

/// Runs a command to its end; gives back the most memory that it ever had, in KiB.
fn peak_of(command: &Command, scratch: &Path) -> u64 {
    // The system tells exactly, but only of all children of a process: so it is the one child of one.
    let result = scratch.join("measured.json");
    let mut measuring = Command::new(env!("CARGO_BIN_EXE_bench"));
    measuring.arg(MEASURE).arg(&result).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => measuring.env(name, value),
            None => measuring.env_remove(name),
        };
    }
    run(&mut measuring).ok();
    let measured: Value = serde_json::from_str(&std::fs::read_to_string(result).unwrap()).unwrap();
    measured["peak"].as_u64().unwrap() >> 10
}

#[test]
fn a_gigabyte_is_backed_up_and_restored_with_a_hundred_and_fifty_megabytes_per_process() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let alone = alone();
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    write_random(&source, 9, 1 << 30, 64 << 20);
    anna.kith(&["set", "add", "media", source.to_str().unwrap(), "--to", "bert"]).ok();
    let scratch = anna.folder("scratch");
    let daemons = || [memory_peak_kib(anna.pid()), memory_peak_kib(bert.pid())];
    let start = Instant::now();
    let backing_up = peak_of(&anna.command(&["backup"]), &scratch);
    let took = start.elapsed();
    let at_backup = daemons();
    for computer in [&anna, &bert] {
        forget_memory_peak(computer.pid());
    }
    let target = anna.folder("restored");
    let start = Instant::now();
    let restoring =
        peak_of(&anna.command(&["restore", "latest", "--target", target.to_str().unwrap()]), &scratch);
    say(&format!(
        "1 GiB stored in {took:?}, restored in {:?}; KiB at most in daemon, friend's daemon, command: {at_backup:?} and \
         {backing_up}, {:?} and {restoring}",
        start.elapsed(),
        daemons(),
    ));
    drop(alone);
    for peak in at_backup.into_iter().chain(daemons()).chain([backing_up, restoring]) {
        assert!(peak <= AT_WORK_KIB, "{peak} KiB");
    }
    assert_same(&source, &target.join(source.strip_prefix("/").unwrap()));
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
    for computer in [&anna, &bert] {
        let [whole, own, program] =
            [memory_resident_kib, memory_own_kib, program_mapped_kib].map(|kib| kib(computer.pid()));
        let text = format!("idle: {whole} KiB, {own} KiB of them its own; the program has {program} KiB");
        say(&text);
        assert!(own <= OWN_KIB, "{text}");
        assert!(whole <= IDLE_KIB + program / BESIDE, "{text}");
    }
}
