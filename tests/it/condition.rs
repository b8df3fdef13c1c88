//! What computers tell each other of themselves, whether or not one stores for the other.

use std::time::Duration;

use e2e::{Computer, pair, wait_for, wait_until};
use serde_json::{Value, json};

/// From a change until a friend has heard of it, on a machine with much else to do.
const HEARD: Duration = Duration::from_secs(30);

#[track_caller]
fn wait_condition(at: &Computer, of: &str, what: &str, fits: impl Fn(&Value) -> bool) {
    wait_until(what, HEARD, || fits(&at.friend(of)["condition"]));
}

#[test]
fn how_a_computer_is_its_friends_hear_even_if_it_stores_nothing_with_them() {
    // The server of a family: two computers back up to it, and cleo, who keeps nothing for anybody, hears it all the same.
    let (anna, bert, server) =
        (Computer::started("anna"), Computer::started("bert"), Computer::started("server"));
    let cleo = Computer::new("cleo", "[vault]\naccept = \"off\"\n");
    cleo.start();
    pair(&server, &anna);
    pair(&server, &bert);
    pair(&cleo, &anna);
    wait_condition(&cleo, "anna", "anna's first words", |said| said["work"] == "idle");
    let first = cleo.friend("anna")["condition"].clone();
    assert_eq!(
        (&first["last_backup"], &first["paused_until"], &first["percent"]),
        (&json!(null), &json!(null), &json!(null))
    );
    assert_eq!(first["outbound_only"], false);
    wait_condition(&cleo, "anna", "the free space at anna's", |said| said["free_bytes"].as_u64() > Some(0));

    let source = anna.folder("source");
    std::fs::write(source.join("file"), vec![7; 100_000]).unwrap();
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "server"]).ok();
    anna.kith(&["backup"]).ok();
    for witness in [&server, &cleo] {
        wait_condition(witness, "anna", "anna's last backup", |said| said["last_backup"]["complete"] == true);
    }
    assert_eq!(server.friend("bert")["condition"]["last_backup"], json!(null));
    // Names of sets and files are nobody's business.
    assert!(!cleo.friend("anna").to_string().contains("docs"));

    anna.kith(&["pause", "8h"]).ok();
    wait_condition(&cleo, "anna", "the pause", |said| said["paused_until"].is_string());
    cleo.kith(&["friends"]).says(&["their backups", "last ", "paused until", "free there"]).ok();
    // Who is away is shown as he was last, also after a restart.
    anna.stop();
    cleo.stop();
    cleo.start();
    let known = cleo.friend("anna");
    assert_eq!(
        (&known["connected"], &known["condition"]["last_backup"]["complete"]),
        (&json!(false), &json!(true))
    );
    // What was known of before the restart is told after it.
    anna.start();
    anna.kith(&["resume"]).ok();
    wait_condition(&cleo, "anna", "the end of the pause", |said| {
        said["paused_until"].is_null() && said["last_backup"]["complete"] == true
    });
}

#[test]
fn the_way_to_a_friend_is_told_in_words_and_so_is_what_was_tried_in_vain() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&bert, &anna);
    wait_until("an answer's time", HEARD, || anna.friend("bert")["round_trip_ms"].is_u64());
    // Who joined dials, and if that takes long the other does, too.
    wait_until("one of the two to have dialled", HEARD, || {
        let dialled = |by: &Computer, whom: &str| by.friend(whom)["dialled"].as_bool().unwrap_or_default();
        dialled(&anna, "bert") != dialled(&bert, "anna")
    });
    let linked = anna.friend("bert");
    assert_eq!(linked["path"], "lan");
    assert_eq!(
        (&linked["better"], &linked["relayed_by"], &linked["attempts"]),
        (&json!(null), &json!(null), &json!([]))
    );
    assert!(linked["path_since"].is_string(), "{linked:#}");
    assert_eq!((&linked["last_change"]["from"], &linked["last_change"]["to"]), (&json!(null), &json!("lan")));
    anna.kith(&["friends"]).says(&["bert   connected, direct on your network, at 127.0.0.1:"]).ok();
    anna.kith(&["friends", "bert"])
        .says(&["this way since", "there and back", "last change", "no link to lan"])
        .ok();
    assert_eq!(anna.kith(&["friends", "BERT", "--json"]).json().as_array().unwrap().len(), 1);
    anna.kith(&["friends", "cleo"]).ended(1).says(&["no friend called", "friends are: bert"]);

    bert.stop();
    let attempt = |friend: &Value| {
        let at_his_port = |attempt: &&Value| attempt["address"] == bert.address();
        friend["attempts"].as_array().unwrap().iter().find(at_his_port).cloned()
    };
    let (gone, _) = wait_for("what is tried in vain", HEARD, || {
        let friend = anna.friend("bert");
        // A dial in the moment in which he ends may fail in another way.
        let refused = attempt(&friend)?["error"].as_str()?.contains("refused");
        (friend["connected"] == false && refused).then_some(friend)
    });
    assert_eq!((&gone["path"], &gone["last_change"]["to"]), (&json!(null), &json!(null)));
    assert!(attempt(&gone).unwrap()["at"].is_string(), "{gone:#}");
    assert_eq!(gone["better"], "bert's computer answers, and Kith does not: let it be started there");
    anna.kith(&["friends", "bert"])
        .says(&["without a link since", "tried in vain:", "refused", "better"])
        .ok();
}
