//! `state.db` when the disk takes no more of it: every write beyond a limit is refused by the kernel, or kills the daemon in
//! the middle of it. It opens again, with everything that was acknowledged.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::Duration;

use e2e::{
    Computer, Isolation, Outcome, Tree, assert_same, need_mounts, pair, wait_for, wait_until, write_tree,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// No file may grow beyond these, in KiB. SQLite's shared memory has 32; then the log of writes grows by 4 with every page.
const LIMITS: [u32; 12] = [16, 32, 36, 40, 44, 48, 56, 64, 72, 80, 96, 128];
/// The same for a daemon that is to back up, which writes more: the beginning and the end of the run, the snapshot with its head, and
/// the state that friends keep.
const LIMITS_OF_BACKUPS: [u32; 16] = [36, 40, 44, 48, 52, 56, 60, 64, 72, 80, 88, 96, 112, 128, 144, 160];
/// Backups that are tried with each limit.
const BACKUPS: usize = 4;
/// Changes that are tried with each limit.
const CHANGES: usize = 8;

/// A daemon with a limit, if it gets ready; else what it said.
fn start(anna: &Computer, isolation: &Isolation) -> Result<Child, String> {
    let log = anna.folder("logs").join("limited");
    let file = std::fs::File::create(&log).unwrap();
    let mut command = anna.isolated_command(isolation, &["daemon"]);
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut child = command.spawn().unwrap();
    let ready = wait_for("the daemon to be ready or to end", Duration::from_secs(20), || {
        let ended = child.try_wait().unwrap().is_some();
        (ended || anna.kith(&["status", "--json"]).code == 0).then_some(!ended)
    });
    if ready.0 { Ok(child) } else { Err(std::fs::read_to_string(log).unwrap()) }
}

fn end(mut child: Child) {
    if child.try_wait().unwrap().is_none() {
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    }
    wait_until("the end of the daemon", Duration::from_secs(10), || child.try_wait().unwrap().is_some());
}

fn name_of_the_friend(anna: &Computer) -> String {
    let friends = anna.kith(&["friends", "--json"]).json();
    assert_eq!(friends.as_array().unwrap().len(), 1, "{friends}");
    friends[0]["name"].as_str().unwrap().to_owned()
}

/// With each limit: changes until they fail, then a start without limit. Gives back what was said about failures.
fn with_each_limit(limited: fn(u32) -> Isolation) -> (usize, Vec<Outcome>, Vec<String>) {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    write_tree(&source, Tree { files: 10, largest: 1 << 20, ..Tree::default() });
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup"]).ok();
    anna.kith(&["set", "remove", "docs"]).ok();
    anna.stop();
    let mut name = "bert".to_owned();
    let (mut acknowledged, mut refused, mut not_started) = (0, Vec::new(), Vec::new());
    for limit in LIMITS {
        match start(&anna, &limited(limit)) {
            Err(said) => not_started.push(said),
            Ok(daemon) => {
                let mut tried = None;
                for change in 0..CHANGES {
                    let next = format!("bert-{limit}-{change}");
                    let outcome = anna.kith(&["friend", "rename", &name, &next]);
                    if outcome.code == 0 {
                        acknowledged += 1;
                        name = next;
                    } else {
                        refused.push(outcome);
                        tried = Some(next);
                        break;
                    }
                }
                end(daemon);
                // What was not acknowledged may have been done all the same.
                anna.start();
                let found = name_of_the_friend(&anna);
                assert!(
                    found == name || Some(&found) == tried.as_ref(),
                    "{limit} KiB: {found:?} instead of {name:?}"
                );
                name = found;
                anna.stop();
            }
        }
    }
    anna.start();
    assert_eq!(name_of_the_friend(&anna), name);
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", &name]).ok();
    anna.kith(&["backup"]).ok();
    let target = anna.folder("restored");
    anna.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    assert_same(&source, &target.join(source.strip_prefix("/").unwrap()));
    assert_eq!(anna.kith(&["snapshots", "--json"]).json().as_array().unwrap().len(), 2);
    (acknowledged, refused, not_started)
}

#[test]
fn a_state_db_that_can_not_grow_is_named_and_keeps_all_that_was_acknowledged() {
    if !need_mounts() {
        return;
    }
    let (acknowledged, refused, not_started) = with_each_limit(Isolation::files_up_to);
    assert!(acknowledged > CHANGES, "{acknowledged}");
    assert!(!refused.is_empty() && !not_started.is_empty(), "{refused:?} {not_started:?}");
    for outcome in refused {
        outcome.ended(1).says(&["state.db"]);
    }
    for said in not_started {
        assert!(said.contains("state.db"), "{said}");
    }
}

#[test]
fn a_daemon_that_dies_in_a_write_to_its_state_db_has_all_that_was_acknowledged() {
    if !need_mounts() {
        return;
    }
    let (acknowledged, refused, _) = with_each_limit(Isolation::dying_of_files_beyond);
    assert!(acknowledged > CHANGES, "{acknowledged}");
    assert!(!refused.is_empty());
}

/// The ids of the snapshots, which must be complete without a complaint.
fn snapshots(anna: &Computer) -> BTreeSet<String> {
    let list = anna.kith(&["snapshots", "--json"]).json();
    list.as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

/// Backups with each limit until one fails, then one without limit. Gives back the failures.
fn backups_with_each_limit(limited: fn(u32) -> Isolation) -> Vec<Outcome> {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    write_tree(&source, Tree { files: 10, largest: 1 << 20, ..Tree::default() });
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup"]).ok();
    let words = anna.kith(&["recovery", "show", "--words"]).ok().to_owned();
    let (mut known, mut failures) = (snapshots(&anna), Vec::new());
    let mut acknowledged = known.len();
    anna.stop();
    for limit in LIMITS_OF_BACKUPS {
        let Ok(daemon) = start(&anna, &limited(limit)) else { continue };
        for number in 0..BACKUPS {
            std::fs::write(source.join("changes"), format!("{limit} {number}")).unwrap();
            let outcome = anna.kith(&["backup"]);
            if outcome.code != 0 {
                failures.push(outcome);
                break;
            }
            acknowledged += 1;
        }
        end(daemon);
        anna.start();
        wait_until("the link", Duration::from_secs(20), || anna.linked("bert"));
        // One that was not acknowledged may be there all the same. None is lost, and nobody is accused of it.
        let found = snapshots(&anna);
        assert!(
            found.is_superset(&known) && found.len() >= acknowledged,
            "{limit} KiB: {acknowledged} of {found:?}"
        );
        anna.kith(&["backup"]).ok();
        acknowledged = found.len() + 1;
        known = snapshots(&anna);
        assert_eq!(known.len(), acknowledged, "{limit} KiB");
        assert_eq!(anna.friend("bert")["archive"]["verdict"], "complete", "{limit} KiB");
        anna.stop();
    }
    anna.start();
    wait_until("the link", Duration::from_secs(20), || anna.linked("bert"));
    anna.kith(&["check", "bert", "--read-data"]).ok();
    let target = anna.folder("restored");
    anna.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    assert_same(&source, &target.join(source.strip_prefix("/").unwrap()));
    // The numbers of the state objects went on, too: what bert keeps is the newest.
    anna.kith(&["set", "add", "at the end", source.to_str().unwrap(), "--to", "bert"]).ok();
    let sets_at_the_end =
        |recovered: &Outcome| recovered.code == 0 && recovered.stdout.contains("at the end");
    wait_until("the newest state to lie at the friend", Duration::from_secs(20), || {
        let trial = Computer::new("trial", "");
        sets_at_the_end(&trial.kith_with(&["recover", "--from", &bert.address()], &words))
    });
    failures
}

#[test]
fn a_backup_that_can_not_be_written_into_state_db_says_so_and_loses_nothing() {
    if !need_mounts() {
        return;
    }
    let failures = backups_with_each_limit(Isolation::files_up_to);
    assert!(failures.len() >= 4, "{failures:?}");
    for outcome in failures {
        outcome.ended(1).says(&["state.db"]);
    }
}

#[test]
fn a_daemon_that_dies_in_a_write_to_its_state_db_during_a_backup_loses_nothing() {
    if !need_mounts() {
        return;
    }
    let failures = backups_with_each_limit(Isolation::dying_of_files_beyond);
    assert!(failures.len() >= 4, "{failures:?}");
    for outcome in failures {
        assert!(outcome.code == 1 || outcome.code == 4, "{outcome}");
    }
}
