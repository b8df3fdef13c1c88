//! Tests of the history, on real databases.

use super::*;

const FRIEND: &str = "ABCDEFG-HIJKLMN";

fn database() -> Connection {
    Connection::open_in_memory().unwrap()
}

fn complete(snapshot: &str) -> Ending {
    Ending {
        outcome: Outcome::Complete,
        snapshot: Some(snapshot.to_owned()),
        files: 10,
        bytes: 1000,
        new_bytes: 100,
        skipped_total: 0,
        skipped: Vec::new(),
        error: None,
    }
}

#[test]
fn a_run_is_kept_from_its_beginning_to_its_end() {
    let connection = database();
    let history = History::open(&connection, 0).unwrap();
    let id = history.begin("documents", FRIEND, 1_000).unwrap();
    let run = history.run(id).unwrap().unwrap();
    assert_eq!((run.outcome, run.started_ms, run.ended_ms), (Outcome::Running, 1_000, None));
    let skipped = vec![Skipped { path: "/a/b".into(), reason: "permission denied".into() }];
    let ending = Ending {
        outcome: Outcome::CompleteWithOmissions,
        skipped_total: 7,
        skipped: skipped.clone(),
        ..complete("ab")
    };
    history.end(id, &ending, 2_000).unwrap();
    let run = history.run(id).unwrap().unwrap();
    let expected = Run {
        id,
        set: "documents".into(),
        friend: FRIEND.into(),
        started_ms: 1_000,
        ended_ms: Some(2_000),
        outcome: Outcome::CompleteWithOmissions,
        snapshot: Some("ab".into()),
        files: 10,
        bytes: 1000,
        new_bytes: 100,
        skipped_total: 7,
        error: None,
    };
    assert_eq!(run, expected);
    assert_eq!(history.skipped(id).unwrap(), skipped);
    assert_eq!(history.recent(10).unwrap(), [expected]);
}

#[test]
fn what_a_killed_daemon_left_running_is_interrupted_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let connection = Connection::open(&path).unwrap();
    let history = History::open(&connection, 0).unwrap();
    let ended = history.begin("documents", FRIEND, 1_000).unwrap();
    history.end(ended, &complete("ab"), 2_000).unwrap();
    let running = history.begin("documents", FRIEND, 3_000).unwrap();
    drop(connection);
    let connection = Connection::open(&path).unwrap();
    // The clock went back meanwhile: a run never ends before it began.
    let history = History::open(&connection, 2_500).unwrap();
    let run = history.run(running).unwrap().unwrap();
    assert_eq!((run.outcome, run.ended_ms), (Outcome::Interrupted, Some(3_000)));
    assert_eq!(history.run(ended).unwrap().unwrap().outcome, Outcome::Complete);
    let other = History::new(&connection);
    assert_eq!(other.recent(1).unwrap()[0].id, running);
}

#[test]
fn only_the_last_runs_are_kept_with_what_they_skipped() {
    let connection = database();
    let history = History::open(&connection, 0).unwrap();
    let skipped = vec![Skipped { path: "/a".into(), reason: "gone".into() }];
    let ending = Ending { skipped_total: 1, skipped, ..complete("ab") };
    let first = history.begin("documents", FRIEND, 0).unwrap();
    history.end(first, &ending, 0).unwrap();
    for _ in 0..RUNS_KEPT {
        let id = history.begin("documents", FRIEND, 1).unwrap();
        history.end(id, &ending, 2).unwrap();
    }
    let kept = history.recent(u32::MAX).unwrap();
    assert_eq!(kept.len(), 1000);
    assert!(kept.is_sorted_by(|a, b| a.id > b.id));
    assert_eq!(history.run(first).unwrap(), None);
    assert!(history.skipped(first).unwrap().is_empty());
    let count: i64 =
        connection.query_row("SELECT count(*) FROM backup_skipped", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1000);
}

#[test]
fn long_lists_and_texts_are_cut_but_counted() {
    let connection = database();
    let history = History::open(&connection, 0).unwrap();
    let id = history.begin("documents", FRIEND, 0).unwrap();
    let skipped: Vec<_> =
        (0..500).map(|n| Skipped { path: format!("/{n}"), reason: "ü".repeat(5_000) }).collect();
    let ending = Ending { skipped_total: 500, skipped, error: Some("x".repeat(10_000)), ..complete("ab") };
    history.end(id, &ending, 1).unwrap();
    let kept = history.skipped(id).unwrap();
    assert_eq!((kept.len(), kept[99].path.as_str(), kept[0].reason.chars().count()), (100, "/99", 4096));
    let run = history.run(id).unwrap().unwrap();
    assert_eq!((run.skipped_total, run.error.unwrap().len()), (500, 4096));
}

#[test]
fn the_last_snapshot_is_that_of_the_set_and_the_friend() {
    let connection = database();
    let history = History::open(&connection, 0).unwrap();
    let run = |set: &str, friend: &str, ending: Ending| {
        let id = history.begin(set, friend, 0).unwrap();
        history.end(id, &ending, 1).unwrap();
        id
    };
    let wanted = run("documents", FRIEND, complete("aa"));
    run("documents", "other", complete("bb"));
    run("pictures", FRIEND, complete("cc"));
    run("documents", FRIEND, Ending::without_snapshot(Outcome::Failed, Some("the friend is offline".into())));
    history.begin("documents", FRIEND, 2).unwrap();
    assert_eq!(history.last_snapshot("documents", FRIEND).unwrap().unwrap().id, wanted);
    assert_eq!(history.last_snapshot("music", FRIEND).unwrap(), None);
}

#[test]
fn a_run_ends_once_and_with_an_outcome() {
    let connection = database();
    let history = History::open(&connection, 0).unwrap();
    let id = history.begin("documents", FRIEND, 0).unwrap();
    let still = Ending { outcome: Outcome::Running, ..complete("ab") };
    assert_eq!(
        history.end(id, &still, 1).unwrap_err().to_string(),
        "run 1 can't end with the outcome \"running\""
    );
    history.end(id, &complete("ab"), 1).unwrap();
    let again = Ending::without_snapshot(Outcome::Failed, None);
    assert_eq!(
        history.end(id, &again, 2).unwrap_err().to_string(),
        "run 1 can't be ended: it is not running"
    );
    assert_eq!(
        history.end(RunId(9), &again, 2).unwrap_err().to_string(),
        "run 9 can't be ended: it is not running"
    );
    assert_eq!(history.run(id).unwrap().unwrap().outcome, Outcome::Complete);
}

#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let connection = database();
    migrate(&connection).unwrap();
    migrate(&connection).unwrap();
    connection.execute("UPDATE backup_version SET version = 2", []).unwrap();
    let expected = "the history of runs has version 2, and this Kith understands 1 at most; install the newer Kith again";
    assert_eq!(History::open(&connection, 0).unwrap_err().to_string(), expected);
    let version: i64 =
        connection.query_row("SELECT version FROM backup_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
}

#[test]
fn a_failing_database_is_named_with_what_was_being_done() {
    let connection = database();
    let history = History::new(&connection);
    assert_eq!(history.recent(1).unwrap_err().to_string(), "can't read the history of runs");
    assert_eq!(history.begin("a", "b", 0).unwrap_err().to_string(), "can't add a run to the history of runs");
    let end = history.end(RunId(1), &complete("ab"), 0).unwrap_err();
    assert_eq!(end.to_string(), "can't end a run in the history of runs");
    assert!(std::error::Error::source(&end).unwrap().to_string().contains("no such table"));
}

#[test]
fn outcomes_have_one_word_everywhere() {
    for outcome in Outcome::ALL {
        assert_eq!(serde_json::to_string(&outcome).unwrap(), format!("\"{}\"", outcome.as_str()));
        assert_eq!(outcome.made_snapshot(), outcome.as_str().starts_with("complete"));
    }
}
