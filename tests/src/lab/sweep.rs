//! Taking labs down: one's own, and those of processes that were killed.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::need::program;
use crate::wait_until;

use super::namespace::{DIRECTORY, FILES};

/// What all namespaces of labs begin with; a process id and its time of start follow.
const PREFIX: &str = "kithlab-";
/// What the namespaces of the lab begin with that stands until it is taken down.
pub(super) const STANDING: &str = "kithlab-standing-";
/// A killed process is gone by then.
const END: Duration = Duration::from_secs(5);

/// What the namespaces of this process begin with. A process id comes back; together with the time of start it does not.
pub(super) fn own_prefix() -> String {
    let pid = std::process::id();
    format!("{PREFIX}{pid}-{}-", started(pid).expect("this process has a time of start"))
}

/// Removes the labs of processes that are gone.
pub(super) fn sweep() {
    let dead: BTreeSet<String> = names(PREFIX).iter().filter_map(|name| dead_prefix(name)).collect();
    for prefix in dead {
        remove(&prefix);
    }
}

/// What the lab of a process that is gone begins with, of one of its names.
fn dead_prefix(name: &str) -> Option<String> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let pid: u32 = parts.next()?.parse().ok()?;
    let start: u64 = parts.next()?.parse().ok()?;
    (started(pid) != Some(start)).then(|| format!("{PREFIX}{pid}-{start}-"))
}

/// When a process was started, in ticks since the machine was; none: there is no such process, or it is a zombie.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // Field 22 of proc_pid_stat(5); the state was field 3.
    fields.nth(18)?.parse().ok()
}

/// Names of namespaces that begin so.
pub(super) fn names(prefix: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Removes all namespaces whose names begin so, and kills what runs in them.
pub(super) fn remove(prefix: &str) {
    let names = names(prefix);
    end_processes_in(&names);
    for name in &names {
        // Few have any.
        drop(std::fs::remove_dir_all(format!("{FILES}/{name}")));
    }
    // Unless there are others.
    drop(std::fs::remove_dir(FILES));
    let lines: String = names.iter().map(|name| format!("netns del {name}\n")).collect();
    // Another process may be sweeping the same; this also runs while a panic unwinds.
    let mut command = Command::new(program("ip"));
    command.args(["-force", "-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut child) = command.spawn() {
        if let Some(mut stdin) = child.stdin.take() {
            drop(std::io::Write::write_all(&mut stdin, lines.as_bytes()));
        }
        drop(child.wait());
    }
}

fn end_processes_in(names: &[String]) {
    let spaces: BTreeSet<u64> = names
        .iter()
        .filter_map(|name| Some(std::fs::metadata(format!("{DIRECTORY}/{name}")).ok()?.ino()))
        .collect();
    let Ok(entries) = std::fs::read_dir("/proc") else { return };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let inside = |pid: &u32| {
        std::fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|meta| spaces.contains(&meta.ino()))
    };
    let pids: Vec<u32> = pids.filter(inside).collect();
    let numbers = pids.iter().filter_map(|pid| i32::try_from(*pid).ok());
    // Those that ended by themselves meanwhile don't count.
    let killed = numbers.filter(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok()).count();
    if killed != 0 && !std::thread::panicking() {
        // Who started them need not have noticed their end yet: zombies are gone.
        wait_until("the programs of a lab to end", END, || pids.iter().all(|pid| started(*pid).is_none()));
    }
}
