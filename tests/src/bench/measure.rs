//! Running a program and measuring it: time, processor time, largest memory.
//!
//! The system tells a process the largest memory of its children, all of them together. So every program is run by a
//! process of its own, which is this program again, has no other child, and writes down what it found.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

/// The first argument of the process that measures another one.
pub const MEASURE: &str = "--measure-for-parent";

/// What a run took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measured {
    /// From its start to its end.
    pub(super) seconds: f64,
    /// Of all its threads, and of the system for them.
    pub(super) processor_seconds: f64,
    /// The most that was in memory at a time: of the largest process, if there are several.
    pub(super) peak_bytes: u64,
}

/// Runs a program to its end. Its output is kept in a file and shown if it fails.
pub(super) fn measure(scratch: &Path, command: &Command) -> Result<Measured, String> {
    let (result, output) = (scratch.join("measured.json"), scratch.join("output"));
    let failed =
        |what: &str| format!("{command:?} {what}\n{}", std::fs::read_to_string(&output).unwrap_or_default());
    let log = std::fs::File::create(&output).map_err(|error| failed(&error.to_string()))?;
    let mut measuring = Command::new(std::env::current_exe().map_err(|error| failed(&error.to_string()))?);
    measuring.arg(MEASURE).arg(&result).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => measuring.env(name, value),
            None => measuring.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        measuring.current_dir(directory);
    }
    let errors = log.try_clone().map_err(|error| failed(&error.to_string()))?;
    let status = measuring.stdin(Stdio::null()).stdout(log).stderr(errors).status();
    let status = status.map_err(|error| failed(&error.to_string()))?;
    if !status.success() {
        return Err(failed(&format!("failed ({status})")));
    }
    let written = std::fs::read_to_string(&result).map_err(|error| failed(&error.to_string()))?;
    let value: Value = serde_json::from_str(&written).map_err(|error| failed(&error.to_string()))?;
    match (value["seconds"].as_f64(), value["processor"].as_f64(), value["peak"].as_u64()) {
        (Some(seconds), Some(processor_seconds), Some(peak_bytes)) => {
            Ok(Measured { seconds, processor_seconds, peak_bytes })
        }
        _ => Err(failed("was not measured")),
    }
}

/// The process that measures: runs the program that `arguments` name, after the file for what was found.
pub fn measure_for_parent(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(result), Some(program)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return ExitCode::from(2);
    };
    let begin = Instant::now();
    let status = Command::new(program).args(arguments).status();
    let seconds = begin.elapsed().as_secs_f64();
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return ExitCode::FAILURE };
    let processor = [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
        .sum::<f64>();
    // Linux counts in KiB.
    let peak = usage.max_rss() * 1024;
    let found = json!({ "seconds": seconds, "processor": processor, "peak": peak });
    match (status, std::fs::write(result, found.to_string())) {
        (Ok(status), Ok(())) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Bytes of all files in a directory.
pub(super) fn bytes_in(directory: &Path) -> u64 {
    let mut open = vec![directory.to_owned()];
    let mut bytes = 0;
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => open.push(entry.path()),
                Ok(meta) => bytes += meta.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}
