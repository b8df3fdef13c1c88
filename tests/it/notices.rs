//! What is in the way is said before anybody asks.

use std::time::Duration;

use e2e::{Computer, pair, say, wait_until};
use serde_json::{Value, json};

/// A friend is away for a minute before he is looked at, and a minute later he is looked at once more; later where the network of this
/// machine changes meanwhile, or he was not dialled since.
const TOLD: Duration = Duration::from_secs(240);
/// Nothing is said before that.
const SILENT: Duration = Duration::from_secs(60);

fn notices(computer: &Computer) -> Vec<Value> {
    computer.status()["notices"].as_array().unwrap().clone()
}

#[test]
fn a_friend_who_stays_away_is_a_notice_with_the_doctors_verdict_until_he_is_back() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    assert_eq!(anna.status()["notices"], json!([]));
    bert.stop();
    let took = wait_until("the notice", TOLD, || !notices(&anna).is_empty());
    assert!(took > SILENT, "after {took:?}");
    let all = notices(&anna);
    let [notice] = &all[..] else { panic!("{all:#?}") };
    // The doctor dials and asks; what the daemon knew by itself leads to the same.
    let said: Value = serde_json::from_str(&anna.kith(&["doctor", "bert", "--json"]).stdout).unwrap();
    say(&format!("after {took:.0?}: {notice:#}"));
    let verdict = &said["verdict"];
    assert_eq!((&notice["code"], &notice["part"]), (&verdict["code"], &verdict["part"]), "{said:#}");
    assert_eq!((&notice["doctor_id"], &notice["friend"]), (&json!(bert.device_id()), &json!("bert")));
    let sentence = notice["sentence"].as_str().unwrap();
    anna.kith(&["status"]).says(&[sentence, "to do:", "`kith doctor bert` says more"]).ok();
    assert!(anna.log().contains("a notice begins"), "{}", anna.log());

    bert.start();
    wait_until("the link", Duration::from_secs(70), || anna.linked("bert"));
    wait_until("the end of the notice", Duration::from_secs(15), || notices(&anna).is_empty());
    assert!(anna.log().contains("a notice ends"), "{}", anna.log());
}
