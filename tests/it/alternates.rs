//! Alternate destinations: friends who take over while another one is away.

use std::time::Duration;

use e2e::{Computer, assert_same, pair, wait_until, write_random};

fn kept(computer: &Computer, friend: &str) -> usize {
    computer.kith(&["snapshots", "--from", friend, "--json"]).json().as_array().unwrap().len()
}

#[test]
fn an_alternate_takes_over_while_a_friend_is_away_and_no_longer() {
    let [anna, bert, carla, dora] = ["anna", "bert", "carla", "dora"].map(Computer::started);
    for friend in [&bert, &carla, &dora] {
        pair(&anna, friend);
    }
    let source = anna.folder("source");
    write_random(&source, 1, 2 << 20, 1 << 20);
    let folder = source.to_str().unwrap();
    let add = |name: &str, to: &str, alternate: &str| {
        anna.kith(&["set", "add", name, folder, "--to", to, "--alternate", alternate])
    };
    let refused = add("media", "bert", "Bert");
    assert_eq!(refused.code, 2, "{refused}");
    assert!(refused.to_string().contains("as a destination and as an alternate"), "{refused}");
    assert_ne!(add("media", "bert", "nobody").code, 0);
    let set = ["set", "add", "media", folder, "--to", "bert", "--alternate", "carla", "--alternate", "dora"];
    assert!(anna.kith(&set).ok().to_string().contains("while one of them is away, to carla, dora"));
    let list = anna.kith(&["set", "list", "--json"]).json();
    assert_eq!(list[0]["alternate"], serde_json::json!(["carla", "dora"]));
    let remove = anna.kith(&["friend", "remove", "carla"]);
    assert!(remove.to_string().contains("the backup set \"media\" goes to carla"), "{remove}");

    anna.kith(&["backup"]).ok();
    assert_eq!(kept(&anna, "bert"), 1);
    bert.stop();
    carla.stop();
    // The first alternate is away as well.
    wait_until("both to be missed", Duration::from_secs(10), || {
        !anna.linked("bert") && !anna.linked("carla")
    });
    anna.kith(&["backup"]).ok();
    assert_eq!(kept(&anna, "dora"), 1);
    let target = anna.folder("restored");
    anna.kith(&["restore", "latest", "--from", "dora", "--target", target.to_str().unwrap()]).ok();
    assert_same(&source, &target.join(source.strip_prefix("/").unwrap()));
    // Whoever names him means him.
    let away = anna.kith(&["backup", "--to", "bert"]);
    assert_eq!(away.code, 1, "{away}");
    bert.start();
    wait_until("bert to be back", Duration::from_secs(20), || anna.linked("bert"));
    std::fs::write(source.join("new"), b"dear").unwrap();
    anna.kith(&["backup"]).ok();
    assert_eq!((kept(&anna, "bert"), kept(&anna, "dora")), (2, 1));
}
