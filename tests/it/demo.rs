//! `kith demo`: the whole story on one computer, and nothing left of it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::{Computer, Outcome, Tree, alone, kith_binary, run, say, wait_until, write_tree};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest wait for the end of processes, on a machine with much else to do.
const GONE: Duration = Duration::from_secs(30);

/// A call of the demo whose own directory lies in `place`.
fn demo(place: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(kith_binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KITH_") {
            command.env_remove(name);
        }
    }
    command.arg("demo").args(args).env("TMPDIR", place);
    command
}

/// Processes whose command line names this directory.
fn processes_in(place: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let lines = entries.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(place.to_str().unwrap())).collect()
}

#[track_caller]
fn nothing_is_left(place: &Path) {
    let left: Vec<_> = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    wait_until("its processes to be gone", GONE, || processes_in(place).is_empty());
}

#[track_caller]
fn tells_the_story(told: &Outcome) {
    told.ok();
    told.says(&[
        "become friends",
        "both ways at once",
        "ended and started again",
        "anna is lost",
        "from the 24 words and one address",
        "restores everything",
        "No difference",
        "Summary",
        "MB/s",
    ]);
}

#[test]
fn the_demo_backs_up_both_ways_recovers_compares_and_removes_everything() {
    let _alone = alone();
    let place = tempfile::tempdir().unwrap();
    let told = run(&mut demo(place.path(), &[]));
    tells_the_story(&told);
    nothing_is_left(place.path());
    say(&format!("the demo took {:?}", told.took));
}

#[test]
fn the_demo_takes_a_folder_and_leaves_it_as_it_is() {
    let anna = Computer::new("anna", "");
    let (folder, copy, place) = (anna.folder("mine"), anna.folder("copies"), anna.folder("place"));
    write_tree(&folder, Tree { files: 20, largest: 1 << 20, ..Tree::default() });
    run(Command::new("cp").arg("-a").arg("--sparse=always").arg(&folder).arg(&copy)).ok();
    let told = run(&mut demo(&place, &[folder.to_str().unwrap()]));
    tells_the_story(&told);
    e2e::assert_same(&copy.join("mine"), &folder);
    nothing_is_left(&place);

    let missing = run(&mut demo(&place, &["/no/such/folder"]));
    missing.ended(2).says(&["/no/such/folder", "hint", "exists"]);
    nothing_is_left(&place);
}

#[test]
fn an_interrupted_demo_cleans_up_too() {
    let place = tempfile::tempdir().unwrap();
    let mut child = demo(place.path(), &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = lines.by_ref().map_while(Result::ok).any(|line| line.contains("both ways at once"));
    assert!(begun, "the demo ended before its first backup");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    lines.for_each(drop);
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(1), "{status}");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("ends early: interrupted"), "{said}");
    nothing_is_left(place.path());
}

#[test]
fn a_kept_demo_runs_on_and_says_how_to_open_and_to_end_it() {
    let anna = Computer::new("anna", "");
    let (folder, place) = (anna.folder("mine"), anna.folder("place"));
    write_tree(&folder, Tree { files: 5, largest: 1 << 16, ..Tree::default() });
    let told = run(&mut demo(&place, &["--keep", folder.to_str().unwrap()]));
    let ends = told.stdout.lines().find_map(|line| line.trim().strip_prefix("kill "));
    let pids = ends.and_then(|line| line.split(" && ").next()).unwrap_or_default();
    let pids: Vec<Pid> = pids.split(' ').filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect();
    let running = processes_in(&place);
    let opened = told.stdout.lines().filter(|line| line.contains(" open ")).count();
    for pid in &pids {
        kill(*pid, Signal::SIGTERM).unwrap();
    }
    wait_until("both to end", GONE, || processes_in(&place).is_empty());
    tells_the_story(&told);
    assert_eq!(pids.len(), 2, "{told}");
    assert!(running.len() >= 2, "{running:?}");
    assert_eq!(opened, 2, "{told}");
}
