//! A computer is lost, and becomes itself again.

use std::path::Path;
use std::time::Duration;

use e2e::{Computer, Tree, assert_same, pair, wait_until, write_tree};

/// Longest wait for what comes by itself, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(30);

/// Anna has backed up to bert, her state object lies there, and her computer is gone.
struct Loss {
    anna: Computer,
    bert: Computer,
    source: std::path::PathBuf,
    words: String,
    id: String,
}

fn loss() -> Loss {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&bert, &anna);
    let source = anna.folder("source");
    write_tree(&source, Tree { largest: 1 << 20, ..Tree::default() });
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert", "--exclude", "*.tmp"]).ok();
    anna.kith(&["backup"]).ok();
    let shown = anna.kith(&["recovery", "show", "--words"]);
    let words = shown.ok().to_owned();
    assert_eq!(words.split(' ').count(), 24, "{words}");
    assert_eq!(words.lines().count(), 1);
    let id = anna.device_id();
    wait_until("the state with the set to lie at the friend", SOON, || {
        let folder = bert.home().join("vault").join(&id).join("state");
        let state = std::fs::read_dir(folder).ok();
        state.is_some_and(|entries| entries.count() > 0) && state_says(&anna, &bert, "sets: docs")
    });
    anna.kill();
    Loss { anna, bert, source, words, id }
}

/// Whether what bert keeps says this line; only a recovery can tell, so one is tried.
fn state_says(anna: &Computer, bert: &Computer, line: &str) -> bool {
    let words = anna.kith(&["recovery", "show", "--words"]);
    let trial = Computer::new("trial", "");
    let recovered = trial.kith_with(&["recover", "--from", &bert.address()], words.ok());
    recovered.code == 0 && recovered.stdout.lines().any(|said| said == line)
}

fn restored_equal(loss: &Loss, again: &Computer) {
    let target = again.folder("restored");
    again.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    assert_same(&loss.source, &target.join(loss.source.strip_prefix("/").unwrap()));
}

fn nothing_was_stored(home: &Path) {
    assert!(!home.join("secrets/phrase").exists(), "a failed recovery left an identity behind");
}

#[test]
fn twenty_four_words_and_one_address_bring_everything_back_on_a_blank_home() {
    let loss = loss();
    let again = Computer::blank("anna");
    let recovered = again.kith_with(&["recover", "--from", &loss.bert.address()], &loss.words);
    recovered.says(&[&loss.id, "found at bert", "friends: bert", "sets: docs", "kith restore"]).ok();
    recovered.never_says(&loss.words);
    assert_eq!(again.device_id(), loss.id);
    // The ports of the lost computer came back with its settings; this one is on the same machine as nothing else.
    let settings = std::fs::read_to_string(again.home().join("kith.toml")).unwrap();
    assert!(settings.contains(&format!("port = {}", loss.anna.port())), "{settings}");
    assert!(settings.contains("*.tmp"), "{settings}");
    again.start();
    wait_until("the link", SOON, || again.linked("bert"));
    let snapshots = again.kith(&["snapshots", "--json"]).json();
    assert_eq!(snapshots.as_array().unwrap().len(), 1);
    assert_eq!(snapshots[0]["set"], "docs");
    restored_equal(&loss, &again);

    // It goes on where the lost one was: nothing that the friend has is sent again.
    std::fs::write(loss.source.join("after the loss"), b"new").unwrap();
    again.kith(&["backup", "docs"]).ok();
    let sent = again.job("bert")["progress"]["bytes_sent"].as_u64().unwrap();
    assert!(sent < 300_000, "{sent} bytes were sent again after the recovery");
    assert_eq!(again.kith(&["snapshots", "--json"]).json().as_array().unwrap().len(), 2);
}

#[test]
fn a_running_daemon_recovers_too_and_keeps_the_settings_of_its_home() {
    let loss = loss();
    let again = Computer::started("new-computer");
    let before = again.device_id();
    assert_ne!(before, loss.id);
    again.kith_with(&["recover", "--from", &loss.bert.address()], &loss.words).ok();
    wait_until("the daemon to be the lost computer", SOON, || {
        again.kith(&["status", "--json"]).stdout.contains(&loss.id)
    });
    wait_until("the link", SOON, || again.linked("bert"));
    let status = again.status();
    assert_eq!(status["listener"]["port"], again.port(), "the port of this home was replaced");
    assert_eq!(again.kith(&["set", "list", "--json"]).json()[0]["name"], "docs");
    restored_equal(&loss, &again);
}

#[test]
fn wrong_words_and_wrong_places_are_refused_and_leave_nothing() {
    let loss = loss();
    let blank = Computer::blank("again");
    let from = loss.bert.address();
    let words: Vec<&str> = loss.words.split(' ').collect();
    let refuse = |input: &str, says: &[&str]| {
        let refused = blank.kith_with(&["recover", "--from", &from], input);
        assert!([1, 2].contains(&refused.code), "{refused}");
        refused.says(says).says(&["hint"]);
        nothing_was_stored(&blank.home());
    };
    refuse("", &["24 words"]);
    refuse(&words[..23].join(" "), &["24 words", "23"]);
    let mut typo = words.clone();
    typo[4] = "zzzzz";
    refuse(&typo.join(" "), &["word 5", "zzzzz"]);
    let mut swapped = words.clone();
    let other = (1..24).find(|n| swapped[*n] != swapped[0]).unwrap();
    swapped.swap(0, other);
    let swapped = blank.kith_with(&["recover", "--from", &from], &swapped.join(" "));
    // One in 256 swaps fits its checksum; then the friend does not know that computer.
    assert!([1, 2].contains(&swapped.code), "{swapped}");
    swapped.says(&["hint"]);
    // Words that are right in themselves, but of another computer.
    let carl = Computer::started("carl");
    let others = carl.kith(&["recovery", "show", "--words"]);
    refuse(others.ok(), &["does not know the computer of these words", "right words"]);
    // A Kith that is no friend of the lost computer, and no Kith at all.
    let refused = blank.kith_with(&["recover", "--from", &carl.address()], &loss.words);
    refused.ended(1).says(&["does not know the computer of these words", "right friend"]);
    let closed = e2e::free_port();
    let nowhere = format!("127.0.0.1:{}", closed.number());
    let refused = blank.kith_with(&["recover", "--from", &nowhere], &loss.words);
    refused.ended(1).says(&[&nowhere, "refused", "kith probe"]);
    // Nor is anything said about the words by what closes, as a Kith with too many callers does.
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = busy.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        for caller in busy.incoming().take(2) {
            // Unread bytes make it a reset.
            caller.unwrap().peek(&mut [0]).unwrap();
        }
    });
    let refused = blank.kith_with(&["recover", "--from", &at], &loss.words);
    refused.ended(1).says(&["too many callers"]).never_says("right words");
    answering.join().unwrap();
    nothing_was_stored(&blank.home());
    // A home with friends is somebody already.
    let refused = loss.bert.kith_with(&["recover", "--from", &carl.address()], &loss.words);
    refused.ended(1).says(&["has friends already", "blank home"]);
    assert_eq!(loss.bert.kith(&["friends", "--json"]).json().as_array().unwrap().len(), 1);
    // After all that, the right words work; of several addresses one is enough.
    blank.kith_with(&["recover", "--from", &nowhere, "--from", &from], &format!("{}\n", loss.words)).ok();
    assert_eq!(blank.device_id(), loss.id);
}

#[test]
fn the_recovery_sheet_has_everything_that_is_needed() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    assert_eq!(anna.status()["recovery_unseen"], true);
    let sheet = anna.kith(&["recovery", "show", "--yes"]);
    sheet.says(&[&anna.device_id(), "bert", &bert.device_id(), &bert.address(), "kith recover"]).ok();
    let words = anna.kith(&["recovery", "show", "--words"]).ok().to_owned();
    for word in words.split(' ') {
        assert!(sheet.stdout.contains(word), "{word} is not on the sheet");
    }
    assert!(!anna.log().contains(&words), "the words were logged");
    anna.stop();
    anna.start();
    assert_eq!(anna.status()["recovery_unseen"], false, "the reminder goes on although the words were shown");
}

/// The state objects of a computer that a friend keeps.
fn states(keeper: &Computer, id: &str) -> std::path::PathBuf {
    keeper.home().join("vault").join(id).join("state")
}

#[test]
fn a_state_object_that_does_not_name_who_hands_it_out_is_refused_and_nothing_is_stored() {
    let anna = Computer::started("anna");
    let (bert, eve) = (Computer::started("bert"), Computer::started("eve"));
    pair(&bert, &anna);
    pair(&eve, &anna);
    let id = anna.device_id();
    let words = anna.kith(&["recovery", "show", "--words"]).ok().to_owned();
    let newest = |keeper: &Computer| {
        let entries = std::fs::read_dir(states(keeper, &id)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name()).max()
    };
    wait_until("both to keep the state", SOON, || newest(&bert).is_some() && newest(&bert) == newest(&eve));
    // She is a friend no more, and does not take no for an answer: she goes on answering, with what bert keeps.
    // A newer one alone may have been on its way before.
    let before = newest(&bert);
    anna.kith(&["friend", "remove", "eve"]).ok();
    wait_until("bert to keep a state without her", SOON, || {
        newest(&bert) > before && state_says(&anna, &bert, "friends: bert")
    });
    anna.stop();
    let own = eve.folder("own");
    eve.stop();
    std::fs::rename(states(&eve, &id), own.join("state")).unwrap();
    e2e::run(std::process::Command::new("cp").arg("-a").arg(states(&bert, &id)).arg(states(&eve, &id))).ok();
    // Only the newest: those before it name her.
    for entry in std::fs::read_dir(states(&eve, &id)).unwrap() {
        let entry = entry.unwrap();
        if Some(entry.file_name()) != newest(&bert) {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    eve.start();
    let lost = Computer::new("anna again", "");
    let refused = lost.kith_with(&["recover", "--from", &eve.address()], &words);
    let eves_id = eve.device_id();
    refused.says(&["the state object it handed out does not name it", &eves_id]).ended(1);
    nothing_was_stored(lost.home().as_path());
    assert_eq!(lost.kith(&["friends", "--json"]).code, 4, "no daemon was started");
    // It was the missing name: with a state object that names her she is believed.
    eve.stop();
    std::fs::remove_dir_all(states(&eve, &id)).unwrap();
    std::fs::rename(own.join("state"), states(&eve, &id)).unwrap();
    eve.start();
    let other = Computer::new("anna again", "");
    other.kith_with(&["recover", "--from", &eve.address()], &words).ok();
    // And the true friend is, by the very home that refused her.
    lost.kith_with(&["recover", "--from", &bert.address()], &words).ok();
    assert_eq!(lost.device_id(), id);
}
