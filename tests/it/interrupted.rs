//! Power cuts and restarts in the middle of the work.

use std::time::Duration;

use e2e::{Computer, alone, assert_same, pair, wait_until, write_random};

const SIZE: u64 = 400 << 20;
/// Enough is there to be in the middle, and enough is missing.
const MIDDLE: u64 = 100 << 20;
/// Data under way when the connection is cut is sent once more.
const UNDER_WAY: u64 = 140 << 20;

fn two_and_much_to_do() -> (Computer, Computer, std::path::PathBuf) {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    write_random(&source, 77, SIZE, 50 << 20);
    anna.kith(&["set", "add", "media", source.to_str().unwrap(), "--to", "bert"]).ok();
    (anna, bert, source)
}

fn stored_at(bert: &Computer) -> u64 {
    let usage = bert.friend("anna");
    usage["stored_here_bytes"].as_u64().unwrap()
}

fn wait_for_the_middle(anna: &Computer, bert: &Computer) {
    wait_until("the backup to be in the middle", Duration::from_secs(60), || {
        let job = anna.job("bert");
        assert_ne!(job["state"], "complete", "it was too fast to be interrupted");
        stored_at(bert) >= MIDDLE
    });
}

fn comes_back(anna: &Computer, source: &std::path::Path) {
    anna.kith(&["check", "bert"]).ok();
    let target = anna.folder("restored");
    anna.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    assert_same(source, &target.join(source.strip_prefix("/").unwrap()));
}

#[test]
fn a_backup_goes_on_by_itself_when_the_friend_was_killed_and_comes_back() {
    let _alone = alone();
    let (anna, bert, source) = two_and_much_to_do();
    std::thread::scope(|scope| {
        let backup = scope.spawn(|| anna.kith(&["backup", "media"]));
        wait_for_the_middle(&anna, &bert);
        bert.kill();
        wait_until("the backup to wait for the friend", Duration::from_secs(10), || {
            anna.job("bert")["state"] == "waiting-for-friend"
        });
        assert!(!backup.is_finished(), "the command line did not wait");
        bert.start();
        let ended = backup.join().unwrap();
        ended.says(&["snapshot"]).ok();
    });
    assert_eq!(anna.job("bert")["state"], "complete");
    assert!(stored_at(&bert) < SIZE + UNDER_WAY, "{} bytes for {SIZE}", stored_at(&bert));
    comes_back(&anna, &source);
}

#[test]
fn a_backup_survives_a_clean_restart_of_the_friend() {
    let _alone = alone();
    let (anna, bert, source) = two_and_much_to_do();
    std::thread::scope(|scope| {
        let backup = scope.spawn(|| anna.kith(&["backup", "media"]));
        wait_for_the_middle(&anna, &bert);
        bert.stop();
        bert.start();
        backup.join().unwrap().says(&["snapshot"]).ok();
    });
    comes_back(&anna, &source);
}

#[test]
fn after_the_daemon_was_killed_the_next_run_sends_only_what_is_missing() {
    let _alone = alone();
    let (anna, bert, source) = two_and_much_to_do();
    let before = std::thread::scope(|scope| {
        let backup = scope.spawn(|| anna.kith(&["backup", "media"]));
        wait_for_the_middle(&anna, &bert);
        anna.kill();
        let cut = backup.join().unwrap();
        assert_ne!(cut.code, 0, "a backup that was cut off is no success: {cut}");
        // What the friend has acknowledged or takes at this moment.
        let mut last = 0;
        wait_until("the friend to have written everything", Duration::from_secs(10), || {
            let now = stored_at(&bert);
            std::mem::replace(&mut last, now) == now && !bert.linked("anna")
        });
        last
    });
    assert!(before >= MIDDLE, "{before}");
    anna.start();
    assert_eq!(
        anna.kith(&["snapshots", "--json"]).json().as_array().unwrap().len(),
        0,
        "half a snapshot is none"
    );
    anna.kith(&["backup", "media"]).says(&["snapshot"]).ok();
    let sent = anna.job("bert")["progress"]["bytes_sent"].as_u64().unwrap();
    e2e::say(&format!("{before} bytes were there, {sent} of {SIZE} were sent in the second run"));
    assert!(
        sent < SIZE + (4 << 20) - before,
        "{before} bytes were there, and {sent} of {SIZE} were sent again"
    );
    comes_back(&anna, &source);
}
