//! Two computers as release 0.1 left them: whatever comes later opens their homes, and refuses what is newer than itself.
//!
//! `tests/fixtures/0.1` has two homes: anna's files lie at bert's. `0.1-early` is from before there were dial-in keys, heads and a
//! scrub, with version 1 of state.db. With `KITH_WRITE_FIXTURES=DIR` the first test writes such a
//! pair into DIR instead; a release that changes a format adds its own beside the old ones and leaves those as they are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::{Computer, differences, pair, wait_until};
use kith_identity::{DialInKey, Identity, IdentitySeed, RecoveryPhrase, tls};
use tokio_rustls::TlsConnector;

const RELEASES: [&str; 2] = [EARLY, "0.1"];
/// Of friends who never told each other a recovery key.
const EARLY: &str = "0.1-early";
const WORDS: &str = "WORDS_OF_ANNA";
/// Where anna's files were. Nothing is there today.
const SOURCE: &str = "/tmp/kith-fixture/letters";
/// What is kept of a home. The rest is made again at every start.
const KEPT: [&str; 5] = ["kith.toml", "state.db", "secrets", "vault", "state.db-wal"];

fn fixture(release: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(release)
}

fn files() -> [(&'static str, Vec<u8>); 3] {
    [
        ("to grandmother", b"Dear grandmother,\nthe photos are in the post.\n".to_vec()),
        ("umlauts \u{e4}\u{f6}\u{fc}", "Gr\u{fc}\u{df}e\n".repeat(200).into_bytes()),
        ("numbers", (0..=255).cycle().take(40_000).collect()),
    ]
}

fn write_source(source: &Path) {
    std::fs::create_dir_all(source).unwrap();
    for (number, (name, content)) in files().into_iter().enumerate() {
        std::fs::write(source.join(name), content).unwrap();
        let file = std::fs::File::options().append(true).open(source.join(name)).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::new(1_700_000_000 + number as u64, 123_456_789);
        file.set_modified(time).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let private =
        |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        private(to, 0o700);
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::copy(from, to).unwrap();
        private(to, 0o600);
    }
}

/// Makes two computers and leaves their homes in a directory.
fn write(directory: &Path) {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    write_source(Path::new(SOURCE));
    anna.kith(&["set", "add", "letters", SOURCE, "--to", "bert", "--exclude", "*.tmp"]).ok();
    anna.kith(&["backup"]).ok();
    std::fs::write(Path::new(SOURCE).join("later"), b"second snapshot\n").unwrap();
    anna.kith(&["backup"]).ok();
    let words = anna.kith(&["recovery", "show", "--yes", "--words"]);
    wait_until("the state object to be everywhere", Duration::from_secs(10), || {
        bert.home().join("vault").join(anna.device_id()).join("state").is_dir()
    });
    for computer in [&anna, &bert] {
        computer.stop();
        let to = directory.join(computer.name());
        std::fs::create_dir_all(&to).unwrap();
        for part in KEPT.map(|part| computer.home().join(part)).into_iter().filter(|part| part.exists()) {
            copy(&part, &to.join(part.file_name().unwrap()));
        }
    }
    std::fs::write(directory.join(WORDS), words.ok()).unwrap();
    std::fs::remove_dir_all(Path::new(SOURCE).parent().unwrap()).unwrap();
}

/// One of the two computers, at home where it is now.
fn settle(release: &str, name: &str) -> Computer {
    let computer = Computer::new(name, "");
    let settings = std::fs::read_to_string(computer.home().join("kith.toml")).unwrap();
    copy(&fixture(release).join(name), &computer.home());
    // Its own settings, but for the ports, which are somebody else's today.
    let old = std::fs::read_to_string(computer.home().join("kith.toml")).unwrap();
    let sets = old.find("[[set]]").map_or("", |at| &old[at..]);
    std::fs::write(computer.home().join("kith.toml"), format!("{settings}\n{sets}")).unwrap();
    computer
}

#[test]
fn the_homes_of_every_release_are_opened_and_used() {
    if let Some(directory) = std::env::var_os("KITH_WRITE_FIXTURES") {
        write(Path::new(&directory));
        return;
    }
    for release in RELEASES {
        let (anna, bert) = (settle(release, "anna"), settle(release, "bert"));
        let words = std::fs::read_to_string(fixture(release).join(WORDS)).unwrap();
        // What needs no daemon: the secrets, and what follows from them.
        assert_eq!(anna.kith(&["recovery", "show", "--yes", "--words"]).ok(), words.trim());
        let id = anna.device_id();
        anna.start();
        bert.start();
        assert_eq!(anna.status()["device_id"], id.as_str());
        anna.kith(&["friend", "address", "bert", &bert.address()]).ok();
        wait_until("both to be linked", Duration::from_secs(10), || {
            anna.linked("bert") && bert.linked("anna")
        });
        let set = &anna.kith(&["set", "list", "--json"]).json()[0];
        assert_eq!((&set["name"], &set["paths"][0]), (&"letters".into(), &SOURCE.into()));
        assert_eq!(set["exclude"], serde_json::json!(["*.tmp"]));
        let snapshots = anna.kith(&["snapshots", "--json"]).json();
        assert_eq!(snapshots.as_array().unwrap().len(), 2, "{snapshots:#}");
        assert_eq!((&snapshots[0]["set"], &snapshots[0]["files"]), (&"letters".into(), &3.into()));
        let target = anna.folder("restored");
        let first = snapshots[0]["id"].as_str().unwrap();
        anna.kith(&["restore", first, "--target", target.to_str().unwrap()]).ok();
        let expected = anna.folder("expected");
        write_source(&expected);
        let restored = target.join(SOURCE.trim_start_matches('/'));
        let found: Vec<String> =
            // The folder itself has the time of then.
            differences(&expected, &restored).into_iter().filter(|line| !line.starts_with("\n")).collect();
        assert!(found.is_empty(), "{release}: {}", found.join("\n"));
        anna.kith(&["check", "bert", "--read-data"]).ok();
        // It goes on from there: the next backup is one of the same archive.
        let source = anna.folder("source");
        std::fs::write(source.join("new"), b"a third letter\n").unwrap();
        anna.kith(&["set", "add", "more", source.to_str().unwrap(), "--to", "bert"]).ok();
        anna.kith(&["backup", "more"]).ok();
        assert_eq!(anna.kith(&["snapshots", "--json"]).json().as_array().unwrap().len(), 3);
        anna.stop();
        // And from the words alone, by the state object that bert kept.
        let lost = Computer::new("anna again", "");
        let recovered = lost.kith_with(&["recover", "--from", &bert.address()], &words);
        recovered.says(&["bert"]).ok();
        assert_eq!(lost.device_id(), id);
    }
}

/// Whether a computer shows who it is to one who calls by this key.
fn recognises(computer: &Computer, key: &DialInKey) -> bool {
    let nobody = Identity::from_seed(&IdentitySeed::from_bytes([9; 32])).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shown = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(computer.address()).await.unwrap();
        let connector = TlsConnector::from(tls::probe_client_config(&nobody));
        let stream = connector.connect(key.tag().server_name(), stream).await.unwrap();
        tls::peer_device_id(stream.get_ref().1)
    });
    assert!(shown.is_none_or(|shown| shown.to_string() == computer.device_id()));
    shown.is_some()
}

#[test]
fn whoever_has_only_his_words_is_recognised_by_a_friend_who_was_told_no_recovery_key() {
    if std::env::var_os("KITH_WRITE_FIXTURES").is_some() {
        return;
    }
    // The friend has a newer Kith than the computer had when it was lost, and the two have not met since.
    let bert = settle(EARLY, "bert");
    bert.start();
    let words = std::fs::read_to_string(fixture(EARLY).join(WORDS)).unwrap();
    let secrets = RecoveryPhrase::parse(&words).unwrap().derive();
    let (first, recovery) = (secrets.dial_in.key(0), secrets.state.recovery_dial_in_key());
    let older = first.recovery_of_older();
    assert!(recognises(&bert, &older));
    assert!(!recognises(&bert, &first), "what was said to call anna opens bert's port");
    assert!(!recognises(&bert, &recovery), "he was never told");
    let again = Computer::new("anna again", "");
    again.kith_with(&["recover", "--from", &bert.address()], &words).says(&["bert"]).ok();
    assert!(recognises(&bert, &older), "nobody has told him a key yet");
    again.start();
    wait_until("both to be linked", Duration::from_secs(10), || again.linked("bert"));
    wait_until("the older key to end", Duration::from_secs(5), || !recognises(&bert, &older));
    assert!(recognises(&bert, &recovery));
}

/// A daemon that is to refuse what it finds, and its words.
#[track_caller]
fn refuses(computer: &Computer, words: &[&str]) {
    computer.failing_daemon().says(words).ended(1);
}

#[test]
fn newer_formats_are_refused_with_a_sentence_and_left_alone() {
    if std::env::var_os("KITH_WRITE_FIXTURES").is_some() {
        return;
    }
    let release = RELEASES[RELEASES.len() - 1];
    // The version of the user stands at byte 60 of an SQLite file, as four bytes in network order.
    let anna = settle(release, "anna");
    let database = anna.home().join("state.db");
    let mut bytes = std::fs::read(&database).unwrap();
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&database, &bytes).unwrap();
    refuses(&anna, &["state.db", "version 99", "install the newer Kith"]);
    assert_eq!(std::fs::read(&database).unwrap()[60..64], 99_u32.to_be_bytes(), "it was changed");

    let bert = settle(release, "bert");
    let format = bert.home().join("vault/.kith-vault");
    std::fs::write(&format, "kith-vault 99\n").unwrap();
    refuses(&bert, &["vault", "99", "newer"]);
    assert_eq!(std::fs::read_to_string(&format).unwrap(), "kith-vault 99\n");

    // A state object of a newer Kith: the words are right, this program is too old.
    let bert = settle(release, "bert");
    let owner = settle(release, "anna").device_id();
    let states = bert.home().join("vault").join(&owner).join("state");
    let mut states: Vec<PathBuf> =
        std::fs::read_dir(states).unwrap().map(|entry| entry.unwrap().path()).collect();
    states.sort();
    let of_version = |path: &Path, version| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[0] = version;
        std::fs::write(path, bytes).unwrap();
    };
    states.iter().for_each(|path| of_version(path, 2));
    bert.start();
    let lost = Computer::new("anna again", "");
    let words = std::fs::read_to_string(fixture(release).join(WORDS)).unwrap();
    let recovered = lost.kith_with(&["recover", "--from", &bert.address()], &words);
    recovered.says(&["version 2", "install a newer one"]).ended(1);
    // With an older one that can be read it is said what is not in it.
    bert.stop();
    of_version(&states[0], 1);
    bert.start();
    let recovered = lost.kith_with(&["recover", "--from", &bert.address()], &words);
    recovered.says(&["careful", "bert", "version 2", "install a newer one", "may be missing"]).ok();
}
