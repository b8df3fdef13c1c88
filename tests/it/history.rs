//! How well a friend could be reached, and what was in the way.

use std::time::Duration;

use e2e::{Computer, pair, wait_until};
use serde_json::Value;

/// A share is told of ten seconds and more.
const KNOWN: Duration = Duration::from_secs(40);

fn seconds(history: &Value, what: &str) -> u64 {
    history[what].as_u64().unwrap_or_default()
}

fn causes(history: &Value) -> Vec<Value> {
    history["causes"].as_array().cloned().unwrap_or_default()
}

/// How long there was no link.
fn apart(history: &Value) -> u64 {
    causes(history).iter().map(|cause| seconds(cause, "seconds")).sum()
}

/// For how long that was the reason.
fn apart_for(history: &Value, code: &Value) -> u64 {
    causes(history).iter().filter(|cause| cause["code"] == *code).map(|cause| seconds(cause, "seconds")).sum()
}

#[test]
fn the_history_of_a_friend_shows_when_he_was_away_and_why_and_outlives_the_daemon() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&bert, &anna);
    let history = || anna.friend("bert")["reachability"].clone();
    wait_until("ten seconds that were watched", KNOWN, || history().is_object());
    assert!(seconds(&history(), "watched_seconds") >= 10, "{:#}", history());

    bert.stop();
    wait_until("the end of the link", KNOWN, || anna.friend("bert")["connected"] == false);
    let asked = anna.kith(&["doctor", "bert", "--json"]);
    let asked: Value = serde_json::from_str(&asked.ended(1).stdout).unwrap();
    let verdict = asked["verdict"]["code"].clone();
    // What was found out counts from the beginning, as nobody knew better before; what says nothing is called unknown.
    wait_until("a gap of three seconds", KNOWN, || apart_for(&history(), &verdict) >= 3);
    bert.start();
    wait_until("the link", KNOWN, || anna.friend("bert")["connected"] == true);
    let before = history();
    assert!(apart(&before) >= 3 && before["percent"].as_f64().unwrap() < 100.0, "{before:#}");

    anna.stop();
    std::thread::sleep(Duration::from_secs(3));
    anna.start();
    wait_until("the link after the restart", KNOWN, || anna.friend("bert")["connected"] == true);
    let after = history();
    assert!(apart(&after) >= apart(&before), "before {before:#}, after {after:#}");
    assert_eq!(after["since"], before["since"]);
    // Until the link is there again after the restart it is apart, too.
    assert!(apart_for(&after, &verdict) >= 3, "{after:#}");
    assert!((2..60).contains(&seconds(&after, "unwatched_seconds")), "{after:#}");
    anna.kith(&["friends", "bert"]).says(&["history", "reachable ", "% in the last "]).ok();

    // Whoever is no friend any more is forgotten, and begins anew.
    anna.kith(&["friend", "remove", "bert"]).ok();
    bert.kith(&["friend", "remove", "anna"]).ok();
    pair(&bert, &anna);
    wait_until("the new beginning", KNOWN, || history().is_object());
    assert_ne!(history()["since"], before["since"]);
}
