//! Running programs with a deadline.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// No command of a test may take longer.
const LONGEST: Duration = Duration::from_secs(150);

/// Runs a program to its end.
///
/// # Panics
/// If it can't be started, or runs for minutes.
#[track_caller]
pub fn run(command: &mut Command) -> Outcome {
    run_with(command, b"")
}

/// Runs a program to its end with this on its standard input.
///
/// # Panics
/// If it can't be started, or runs for minutes.
#[track_caller]
pub fn run_with(command: &mut Command, input: &[u8]) -> Outcome {
    let call = format!("{command:?}");
    let start = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{call} does not start: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let (status, stdout, stderr) = std::thread::scope(|scope| {
        let input = input.to_owned();
        // Whoever does not read his input closes it; that is no fault.
        scope.spawn(move || stdin.write_all(&input).is_ok());
        let stdout = scope.spawn(move || read(&mut stdout));
        let stderr = scope.spawn(move || read(&mut stderr));
        let mut pause = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if start.elapsed() > LONGEST {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        (status, stdout.join().unwrap(), stderr.join().unwrap())
    });
    let code =
        status.map_or(-1, |status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
    let outcome = Outcome { call, code, stdout, stderr, took: start.elapsed() };
    assert!(status.is_some(), "it did not end: {outcome}");
    outcome
}

fn read(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    // A killed program's pipe just ends.
    drop(from.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Most memory that a process has ever had resident, in KiB.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn memory_peak_kib(pid: u32) -> u64 {
    memory(pid, "status", "VmHWM:")
}

/// From now on [`memory_peak_kib`] counts anew.
///
/// # Panics
/// If that is not ours to say.
pub fn forget_memory_peak(pid: u32) {
    // proc_pid_clear_refs(5)
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Memory that a process has resident now, in KiB.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn memory_resident_kib(pid: u32) -> u64 {
    memory(pid, "status", "VmRSS:")
}

/// Memory that a process has made for itself and has resident now, in KiB: what it maps of files, as of its program, is not in it.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn memory_own_kib(pid: u32) -> u64 {
    memory(pid, "smaps_rollup", "Anonymous:")
}

fn memory(pid: u32, file: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// What a process maps of its program's file, resident or not, in KiB.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn program_mapped_kib(pid: u32) -> u64 {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap().to_string_lossy().into_owned();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let size = |line: &str| {
        // proc_pid_maps(5)
        let (from, to) = line.split_whitespace().next()?.split_once('-')?;
        Some(u64::from_str_radix(to, 16).ok()? - u64::from_str_radix(from, 16).ok()?)
    };
    maps.lines().filter(|line| line.ends_with(&program)).filter_map(size).sum::<u64>() >> 10
}

/// Processor time of a process so far, in seconds: of all its threads, and of the system for them; 0 if there is no such process.
#[must_use]
pub fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may contain anything; user and system time are the 12th and 13th field after it.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let ticks: f64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    // Linux tells programs 100 ticks a second whatever it counts itself.
    ticks / 100.0
}
