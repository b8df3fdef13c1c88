//! What a later release of Kith says or writes, and this one does not know: refused, with what to do about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use e2e::hostile::{Asked, Deed, HostileFriend, Place};
use e2e::{Computer, pair, wait_until};
use kith_archive::crypto::open_with_password;
use kith_archive::{FileId, LocalStore, Store};
use kith_wire::paths;
use serde_json::Value;

/// A version that nobody knows.
const UNKNOWN: u64 = 99;
const WHAT_TO_DO: &str = "install the newer Kith";

/// A hello of a version that nobody knows: of the rest of it nothing may be needed.
fn of_an_unknown_version(message: &[u8], place: &str, alone: bool) -> Bytes {
    let mut message: Value = serde_json::from_slice(message).unwrap();
    let hello = message.pointer_mut(place).unwrap();
    if alone {
        *hello = serde_json::json!({ "in another form": true });
    }
    hello["wire"] = serde_json::json!({ "least": UNKNOWN, "most": UNKNOWN });
    serde_json::to_vec(&message).unwrap().into()
}

/// Both hear a hello of the other that only a newer Kith understands.
fn newer(alone: bool) -> impl Fn(&Asked) -> Deed + Send + Sync {
    move |asked| {
        if asked.place != Place::Other(paths::HELLO.to_owned()) {
            return Deed::Honest;
        }
        Deed::Both(
            Box::new(move |body| of_an_unknown_version(&body, "", alone)),
            Box::new(move |answer| {
                let body = of_an_unknown_version(&answer.body, "/hello", alone);
                answer.with_body(body)
            }),
        )
    }
}

/// Whether this computer says of its friend what is to be done.
fn says_what_to_do(of: &Computer, friend: &str) -> bool {
    let friend = of.friend(friend);
    let error = friend["last_error"].as_str().unwrap_or_default();
    friend["connected"] == false && error.contains(WHAT_TO_DO) && error.contains(&UNKNOWN.to_string())
}

#[test]
fn a_friend_of_a_newer_protocol_version_is_refused_and_both_sides_say_what_to_install() {
    let (mut anna, mut bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    std::fs::write(source.join("letter"), "dear").unwrap();
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
    let liar = HostileFriend::in_the_place_of(&mut bert, &mut anna);
    for alone in [false, true] {
        liar.does(newer(alone));
        liar.cut();
        wait_until("both to say what to do", Duration::from_secs(30), || {
            anna.kith(&["ra"]);
            says_what_to_do(&anna, "bert") && says_what_to_do(&bert, "anna")
        });
        for (who, friend) in [(&anna, "bert"), (&bert, "anna")] {
            who.kith(&["friends"]).says(&[friend, WHAT_TO_DO]).ok();
            who.kith(&["status"]).says(&[friend]).ok();
        }
        anna.kith(&["backup"]).says(&["bert", WHAT_TO_DO]).ended(1);
        // It stays said, whatever else is tried meanwhile.
        bert.kith(&["ra"]);
        std::thread::sleep(Duration::from_secs(1));
        assert!(says_what_to_do(&bert, "anna"), "{:#}", bert.friend("anna"));
        liar.behaves();
        anna.kith(&["ra"]);
        liar.wait_linked(&anna, &bert);
        assert_eq!(
            (&anna.friend("bert")["last_error"], &bert.friend("anna")["last_error"]),
            (&Value::Null, &Value::Null)
        );
        anna.kith(&["backup"]).ok();
    }
}

/// Everything below a directory.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}

/// Makes of an archive one of another version, as its owner's key can; `password` is that of a key file.
async fn change_version(archive: &Path, key_file: &[u8], password: &str, version: u32) {
    let keys = archive.join("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join(FileId::of(key_file).to_string()), key_file).unwrap();
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(archive).unwrap());
    let key = open_with_password(&*store, password).await.unwrap();
    std::fs::remove_dir_all(keys).unwrap();
    let path = archive.join("config");
    let mut config: Value =
        serde_json::from_slice(&key.open(&std::fs::read(&path).unwrap()).unwrap()).unwrap();
    assert_eq!(config["version"], 2);
    config["version"] = version.into();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(path, key.seal(&serde_json::to_vec(&config).unwrap()).unwrap()).unwrap();
}

#[test]
fn an_archive_of_a_newer_format_is_refused_with_a_sentence_and_nothing_is_written_into_it() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    std::fs::write(source.join("letter"), "dear").unwrap();
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup"]).ok();
    let snapshot = anna.kith(&["snapshots", "--json"]).json()[0]["id"].as_str().unwrap().to_owned();
    let key_file = anna.folder("keys").join("key");
    let password =
        anna.kith(&["recovery", "restic-key", "bert", "--out", key_file.to_str().unwrap()]).ok().to_owned();
    let archive = bert.archive_of(&anna);
    for computer in [&anna, &bert] {
        computer.stop();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(change_version(&archive, &std::fs::read(key_file).unwrap(), &password, 3));
    for computer in [&anna, &bert] {
        computer.start();
    }
    wait_until("the link", Duration::from_secs(20), || anna.linked("bert") && bert.linked("anna"));
    let before = contents(&archive);
    std::fs::write(source.join("another"), "dear, too").unwrap();
    let target = anna.folder("restored");
    let target = target.to_str().unwrap();
    for args in [
        &["backup"][..],
        &["ls", &snapshot],
        &["restore", &snapshot, "--target", target],
        &["restore", "latest", "--target", target],
        &["check", "bert"],
        &["check", "bert", "--read-data"],
    ] {
        anna.kith(args).says(&["bert", "version 3", WHAT_TO_DO]).ended(1);
    }
    assert_eq!(contents(Path::new(target)), BTreeMap::new());
    let after = contents(&archive);
    assert!(
        before == after,
        "{:?}",
        after.keys().filter(|path| before.get(*path) != after.get(*path)).collect::<Vec<_>>()
    );
    assert!(
        std::fs::read_dir(archive.parent().unwrap()).unwrap().all(|entry| {
            let path = entry.unwrap().path();
            path == archive || !path.join("config").exists()
        }),
        "another archive was begun beside it"
    );
}
