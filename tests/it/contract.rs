//! The contract of the JSON output, and how fast it is there.

use std::time::{Duration, Instant};

use e2e::{Computer, Stalls, pair, wait_until};
use serde_json::Value;

/// The promise is 100 ms; half of the answers may take this much on a machine that has other tests to run.
const LONGEST: Duration = Duration::from_millis(500);
/// What waits for the network waits for 5 s at least.
const NO_WAIT: Duration = Duration::from_secs(4);
/// Longest wait for what has no bound of its own, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(30);

#[track_caller]
fn has(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.as_object().unwrap().contains_key(*key), "no {key} in {value:#}");
    }
}

const FRIEND: [&str; 7] = ["name", "device_id", "connected", "path", "internal", "public", "last_error"];

#[test]
fn status_and_friends_have_the_fields_of_the_contract() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let status = anna.status();
    has(&status, &["device_id", "name", "listener", "control", "mapping", "friends"]);
    assert_eq!(status["device_id"], anna.device_id().as_str());
    assert_eq!(status["name"], "anna");
    assert_eq!(status["listener"]["port"], anna.port());
    assert_eq!(status["listener"]["state"], "listening");
    assert_eq!(status["control"]["port"], anna.control_ports().0);
    assert_eq!(status["control"]["app_port"], anna.control_ports().1);
    let mapping = &status["mapping"];
    has(mapping, &["state", "protocol", "external_ip", "external_port", "lease_seconds", "proved"]);
    let states = ["off", "searching", "no-router", "router-off", "mapped", "double-nat", "blocked"];
    assert!(states.contains(&mapping["state"].as_str().unwrap()), "{mapping}");
    assert!(mapping["proved"].is_boolean());
    let friend = &status["friends"][0];
    has(friend, &FRIEND);
    assert_eq!(*friend, status["friends"].as_array().unwrap()[0]);
    let friends = anna.kith(&["friends", "--json"]).json();
    let friend = &friends.as_array().expect("an array at the top")[0];
    has(friend, &FRIEND);
    assert_eq!(friend["name"], "bert");
    assert_eq!(friend["connected"], true);
    assert_eq!(friend["path"], "lan");
    assert_eq!(friend["last_error"], Value::Null);

    bert.stop();
    wait_until("the end of the link", SOON, || !anna.linked("bert"));
    let friend = anna.friend("bert");
    has(&friend, &FRIEND);
    assert_eq!(friend["path"], Value::Null);
    wait_until("the reason", SOON, || anna.friend("bert")["last_error"].is_string());
}

#[test]
fn lists_are_arrays_at_the_top_also_when_empty() {
    let anna = Computer::started("anna");
    for call in [&["friends", "--json"][..], &["snapshots", "--json"], &["set", "list", "--json"]] {
        assert_eq!(anna.kith(call).json(), Value::Array(Vec::new()), "{call:?}");
    }
    assert_eq!(anna.status()["friends"], Value::Array(Vec::new()));
}

#[test]
fn an_advertised_address_is_the_public_one_and_shown_on_both_sides() {
    let anna = Computer::new("anna", "");
    let text = anna.settings_text("").replace("[control]", "advertise = [\"203.0.113.7:4711\"]\n[control]");
    std::fs::write(anna.home().join("kith.toml"), text).unwrap();
    anna.start();
    let bert = Computer::started("bert");
    pair(&anna, &bert);
    let mapping = anna.status()["mapping"].clone();
    assert_eq!(mapping["state"], "mapped");
    assert_eq!(mapping["protocol"], "static");
    assert_eq!(mapping["external_ip"], "203.0.113.7");
    assert_eq!(mapping["external_port"], 4711);
    assert_eq!(mapping["proved"], false);
    assert_eq!(bert.friend("anna")["public"], serde_json::json!(["203.0.113.7:4711"]));
    assert_eq!(bert.friend("anna")["internal"], serde_json::json!([anna.address()]));
    let shown = bert.kith(&["friends"]);
    let (internal, public) = (shown.stdout.find(&anna.address()), shown.stdout.rfind("203.0.113.7:4711"));
    assert!(internal < public, "internal first, then public: {shown}");
}

#[test]
fn status_and_friends_answer_at_once_and_never_wait_for_the_network() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    // An address where nothing comes back, not even a refusal.
    anna.kith(&["friend", "address", "bert", "192.0.2.1:4242"]).ok();
    bert.kill();
    let stalls = Stalls::watch();
    for call in [["status", "--json"], ["friends", "--json"]] {
        let mut times = [(); 11].map(|()| {
            let start = Instant::now();
            anna.kith(&call).ok();
            start.elapsed()
        });
        times.sort();
        let (median, slowest, stalled) = (times[5], times[10], stalls.longest());
        assert!(median < LONGEST, "{call:?} took {times:?}");
        assert!(
            slowest < NO_WAIT + stalled,
            "{call:?} took {times:?}, and the machine stood still for {stalled:?}"
        );
    }
}

#[test]
fn commands_that_need_no_daemon_work_without_one() {
    let anna = Computer::started("anna");
    let id = anna.device_id();
    assert!(id.len() >= 56 && id.lines().count() == 1, "{id}");
    anna.stop();
    assert_eq!(anna.device_id(), id);
    assert_eq!(anna.kith(&["settings", "get", "listener.port"]).ok(), anna.port().to_string());
    anna.kith(&["settings", "set", "vault.default-quota", "5GB"]).ok();
    assert_eq!(anna.kith(&["settings", "get", "vault.default-quota"]).ok().trim_matches('"'), "5GB");
    anna.kith(&["recovery", "show", "--words"]).ok();
    let closed = e2e::free_port();
    anna.kith(&["probe", "127.0.0.1", &closed.number().to_string()]).says(&["refused"]).ended(1);
    anna.kith(&["logs"]).says(&["ready"]).ok();
    for call in [&["status"][..], &["friends"], &["backup"], &["invite"], &["snapshots"], &["ports"], &["ra"]]
    {
        anna.kith(call).ended(4).says(&["no daemon is running", "hint", "kith daemon"]);
    }
}

#[test]
fn wrong_use_ends_with_two_and_says_how() {
    let anna = Computer::started("anna");
    anna.kith(&["no-such-command"]).ended(2).says(&["no-such-command", "--help"]);
    anna.kith(&["restore", "latest"]).ended(2).says(&["--target"]);
    anna.kith(&["set", "add", "docs"]).ended(2).says(&["PATH"]);
    anna.kith(&["invite", "--quota", "lots"]).ended(2).says(&["lots"]);
    anna.kith(&["invite", "--expires", "soon"]).ended(2).says(&["soon"]);
    anna.kith(&["probe", "127.0.0.1", "0"]).ended(2).says(&["port 0"]);
    anna.kith(&["join", "kith://join/secret"]).ended(2);
    anna.kith(&["--help"]).says(&["Exit codes", "invite", "restore"]).ok();
    anna.kith(&["--version"]).says(&["kith 0."]).ok();
}
