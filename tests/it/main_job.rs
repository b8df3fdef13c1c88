//! The main job: a folder stored at a friend, and every byte back.

use std::time::Duration;

use e2e::{Computer, Tree, assert_same, pair, wait_until, write_tree};
use serde_json::Value;

/// Two linked computers, and a folder of the first with a set that goes to the second.
fn two_with_a_set(tree: Tree) -> (Computer, Computer, std::path::PathBuf) {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    write_tree(&source, tree);
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
    (anna, bert, source)
}

#[test]
fn a_tree_of_every_kind_of_file_comes_back_equal() {
    let (anna, _bert, source) = two_with_a_set(Tree::default());
    let backup = anna.kith(&["backup", "docs"]);
    backup.says(&["snapshot", "docs to bert"]).ok();
    let target = anna.folder("restored");
    anna.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    assert_same(&source, &target.join(source.strip_prefix("/").unwrap()));
}

#[test]
fn a_second_run_sends_only_what_is_new() {
    let (anna, _bert, source) = two_with_a_set(Tree::default());
    anna.kith(&["backup"]).ok();
    let first = anna.job("bert")["progress"]["bytes_sent"].as_u64().unwrap();
    assert!(first > 9 << 20, "{first} bytes were sent");
    std::fs::write(source.join("new"), vec![7; 100_000]).unwrap();
    anna.kith(&["backup", "docs", "--to", "bert"]).ok();
    let second = anna.job("bert")["progress"]["bytes_sent"].as_u64().unwrap();
    assert!(second < 100_000, "{second} bytes were sent for a new file of 100 kB of one letter");
    let snapshots = anna.kith(&["snapshots", "--json"]).json();
    assert_eq!(snapshots.as_array().unwrap().len(), 2);
    let old = snapshots[0]["id"].as_str().unwrap();
    let target = anna.folder("restored");
    anna.kith(&["restore", &old[..8], "--target", target.to_str().unwrap()]).ok();
    let restored = target.join(source.strip_prefix("/").unwrap());
    assert!(!restored.join("new").exists(), "the older snapshot has a file of the newer one");
    assert_eq!(std::fs::read(restored.join("large")).unwrap(), std::fs::read(source.join("large")).unwrap());
}

#[test]
fn snapshots_can_be_listed_searched_and_checked() {
    let (anna, bert, source) = two_with_a_set(Tree { files: 10, largest: 1 << 20, ..Tree::default() });
    anna.kith(&["backup"]).ok();
    let snapshots = anna.kith(&["snapshots", "--from", "bert", "--json"]).json();
    let snapshot = &snapshots.as_array().expect("an array at the top")[0];
    let id = snapshot["id"].as_str().unwrap();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(snapshot["friend"], "bert");
    assert_eq!(snapshot["set"], "docs");
    assert_eq!(snapshot["paths"][0], source.to_str().unwrap());
    assert!(snapshot["files"].as_u64().unwrap() > 10, "{snapshot}");
    assert!(snapshot["bytes"].as_u64().unwrap() > 17 << 20, "{snapshot}");
    assert!(snapshot["time"].as_str().unwrap().ends_with('Z'), "{snapshot}");
    anna.kith(&["snapshots"]).says(&[&id[..8], "docs", "bert"]).ok();

    let listed = anna.kith(&["ls", &id[..10], source.to_str().unwrap()]);
    listed.says(&["large", "1.05 MB", "folder 3", "empty folder"]).ok();
    let names = anna.kith(&["ls", "latest", source.join("names").to_str().unwrap()]);
    names.ok();
    assert!(!names.stdout.contains('\u{1b}'), "an escape sequence went to the terminal: {names}");
    assert!(!names.stdout.contains("line\nfeed"), "a line feed in a name was printed as it is: {names}");

    anna.kith(&["find", "file-3.dat"]).says(&["folder 3/deeper-0/file-3.dat"]).ok();
    anna.kith(&["find", "no-such-file-*"]).never_says("file-3");
    anna.kith(&["check", "bert"]).ok();
    anna.kith(&["check", "bert", "--read-data"]).ok();

    // A friend's disk that forgets what it was given is found out.
    let data = bert.archive_of(&anna).join("data");
    let pack = files_below(&data).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let found = anna.kith(&["check", "bert", "--read-data"]);
    found.says(&["fault", "back up again"]).ended(1);
    std::fs::remove_file(&pack).unwrap();
    anna.kith(&["check", "bert"]).says(&[&pack.file_name().unwrap().to_str().unwrap()[..8]]).ended(1);
}

fn files_below(root: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            files.push(path);
        }
    }
    files
}

#[test]
fn one_folder_or_file_of_a_snapshot_can_be_restored_alone() {
    let (anna, _bert, source) = two_with_a_set(Tree { files: 10, largest: 1 << 20, ..Tree::default() });
    anna.kith(&["backup"]).ok();
    let target = anna.folder("restored");
    let wanted = source.join("folder 2");
    anna.kith(&["restore", "latest", wanted.to_str().unwrap(), "--target", target.to_str().unwrap()]).ok();
    let restored = target.join(source.strip_prefix("/").unwrap());
    assert_same(&wanted, &restored.join("folder 2"));
    assert_eq!(std::fs::read_dir(&restored).unwrap().count(), 1, "more was restored than was asked for");
    let nothing = anna.kith(&["restore", "latest", "/no/such", "--target", target.to_str().unwrap()]);
    nothing.ended(1).says(&["the snapshot has no /no", "kith ls"]);
}

#[test]
fn excluded_files_stay_at_home() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    write_tree(&source, Tree { files: 10, largest: 1 << 16, ..Tree::default() });
    let add = ["set", "add", "some", source.to_str().unwrap(), "--to", "bert"];
    anna.kith(&[&add[..], &["--exclude", "*.dat", "--exclude", "large"]].concat()).ok();
    let sets = anna.kith(&["set", "list", "--json"]).json();
    assert_eq!(sets[0]["name"], "some");
    assert_eq!(sets[0]["exclude"], serde_json::json!(["*.dat", "large"]));
    assert_eq!(sets[0]["to"], serde_json::json!(["bert"]));
    anna.kith(&["backup"]).ok();
    let listed = anna.kith(&["ls", "latest", source.to_str().unwrap()]);
    listed.says(&["empty", "names"]).never_says("large").ok();
    anna.kith(&["find", "*.dat"]).never_says("file-");
    anna.kith(&["set", "remove", "some"]).ok();
    assert_eq!(anna.kith(&["set", "list", "--json"]).json(), Value::Array(Vec::new()));
    assert_eq!(anna.kith(&["snapshots", "--json"]).json().as_array().unwrap().len(), 1);
}

#[test]
fn the_friend_sees_how_much_is_stored_and_can_read_none_of_it() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("private letters");
    std::fs::write(source.join("secret-name.txt"), "the secret content ".repeat(50_000)).unwrap();
    std::fs::write(source.join("more"), e2e::Random::new(5).bytes(300_000)).unwrap();
    anna.kith(&["set", "add", "letters", source.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup"]).ok();
    wait_until("both sides to agree on what is stored", Duration::from_secs(10), || {
        let here = bert.friend("anna")["stored_here_bytes"].as_u64().unwrap();
        here > 300_000 && anna.friend("bert")["stored_there_bytes"] == here
    });
    for file in files_below(&bert.home().join("vault")) {
        let bytes = std::fs::read(&file).unwrap();
        for secret in [&b"the secret"[..], b"secret-name", b"private letters"] {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{} can be read at the friend, in {}", secret.escape_ascii(), file.display());
        }
    }
    assert!(!bert.archive_of(&anna).join("keys").exists(), "a key lies at the friend");
}
