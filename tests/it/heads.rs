//! A friend who keeps less than he should is found out, and what he still has can be restored.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::{Computer, Outcome, need, pair, run, run_with, wait_until};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Longest wait for what has no bound of its own, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(45);

/// Anna backs up to bert: a file that is told apart by its content.
struct Two {
    anna: Computer,
    bert: Computer,
    file: PathBuf,
}

impl Two {
    fn new() -> Self {
        let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
        pair(&bert, &anna);
        let source = anna.folder("source");
        anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
        Self { anna, bert, file: source.join("file") }
    }

    /// Backs up another content and gives back the id of its snapshot.
    fn back_up(&self, content: &str) -> String {
        std::fs::write(&self.file, content).unwrap();
        self.anna.kith(&["backup"]).ok();
        newest(&self.anna)
    }

    fn vault(&self) -> PathBuf {
        self.bert.home().join("vault")
    }

    fn archive(&self) -> PathBuf {
        self.bert.archive_of(&self.anna)
    }

    /// Does something to bert's disk while his daemon does not run.
    fn behind_berts_back(&self, act: impl FnOnce()) {
        self.bert.stop();
        act();
        self.bert.start();
        self.linked();
    }

    fn linked(&self) {
        wait_until("the link", SOON, || self.anna.linked("bert") && self.bert.linked("anna"));
    }

    /// What a restore writes.
    fn restored(&self, snapshot: &str) -> (Outcome, Option<String>) {
        let target = self.anna.folder("restored");
        let restored = self.anna.kith(&["restore", snapshot, "--target", target.to_str().unwrap()]);
        let file = target.join(self.file.strip_prefix("/").unwrap());
        let content = std::fs::read_to_string(file).ok();
        std::fs::remove_dir_all(&target).unwrap();
        (restored, content)
    }

    /// Every command names the friend and the snapshot that he does not list, and none says "all is well".
    fn everything_names(&self, missing: &str, verdict: &str) {
        let missing = &missing[..8];
        let named = |args: &[&str], code: i32| {
            let outcome = self.anna.kith(args);
            outcome.says(&["bert", missing, "docs"]).ended(code);
        };
        named(&["snapshots"], 1);
        named(&["snapshots", "--json"], 1);
        named(&["check", "bert"], 1);
        named(&["ls", "latest"], 1);
        named(&["ls", missing], 1);
        named(&["find", "file"], 1);
        named(&["friends"], 0);
        named(&["status"], 0);
        for wanted in ["latest", missing] {
            let (restored, content) = self.restored(wanted);
            restored.says(&["bert", missing, "hint"]).ended(1);
            assert_eq!(content, None, "an older file came as {wanted}");
        }
        let archive = self.archive_view();
        assert_eq!(archive["verdict"], verdict, "{archive:#}");
        let ids: Vec<&str> = archive["missing"]
            .as_array()
            .unwrap()
            .iter()
            .map(|snapshot| snapshot["id"].as_str().unwrap())
            .collect();
        assert!(ids.iter().any(|id| id.starts_with(missing)), "{archive:#}");
        assert!(archive["message"].as_str().unwrap().contains(missing), "{archive:#}");
    }

    fn archive_view(&self) -> Value {
        self.anna.friend("bert")["archive"].clone()
    }

    fn all_is_well(&self) {
        self.anna.kith(&["snapshots"]).never_says("error").ok();
        self.anna.kith(&["check", "bert"]).never_says("error").ok();
        assert_eq!(self.archive_view()["verdict"], "complete");
    }
}

fn list(anna: &Computer) -> Vec<Value> {
    anna.kith(&["snapshots", "--json"]).json().as_array().unwrap().clone()
}

fn newest(anna: &Computer) -> String {
    list(anna).last().unwrap()["id"].as_str().unwrap().to_owned()
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).ok();
}

/// Puts a copy made earlier in the place of a directory.
fn put_back(copied: &Path, place: &Path) {
    std::fs::remove_dir_all(place).unwrap();
    copy(copied, place);
}

#[test]
fn a_vault_that_was_set_back_is_named_by_every_command_and_the_older_snapshot_restored_by_its_id() {
    let two = Two::new();
    let first = two.back_up("one");
    let copied = two.bert.folder("copies").join("vault");
    two.bert.stop();
    copy(&two.vault(), &copied);
    two.bert.start();
    two.linked();
    let second = two.back_up("two");
    two.all_is_well();
    two.behind_berts_back(|| put_back(&copied, &two.vault()));
    // Nobody has to ask for it.
    wait_until("the app to say so", SOON, || two.archive_view()["verdict"] == "rolled-back");
    assert!(two.anna.log().contains(&second[..8]), "it is not in the log");

    two.everything_names(&second, "rolled-back");
    let ids: Vec<Value> = list_despite(&two.anna).into_iter().map(|view| view["id"].clone()).collect();
    assert_eq!(ids, [Value::from(first.clone())], "what is there is listed");
    // What is there can be had by whoever asks for it, with a word of warning.
    let (restored, content) = two.restored(&first);
    restored.says(&["warning", "bert", &second[..8]]).ok();
    assert_eq!(content.as_deref(), Some("one"));

    // The next backup is complete, and says what is not.
    std::fs::write(&two.file, "three").unwrap();
    let backup = two.anna.kith(&["backup"]);
    backup.says(&["snapshot", "error", "bert", &second[..8]]).ended(3);
    let (restored, content) = two.restored("latest");
    restored.says(&["warning", &second[..8]]).ok();
    assert_eq!(content.as_deref(), Some("three"));
    // A restart forgets nothing of that.
    two.anna.stop();
    two.anna.start();
    two.linked();
    two.anna.kith(&["snapshots"]).says(&["bert", &second[..8]]).ended(1);

    // It is said until the person knows.
    two.anna.kith(&["friend", "accept-loss", "bert"]).ok();
    two.all_is_well();
    two.anna.kith(&["backup"]).ok();
    two.anna.kith(&["friend", "accept-loss", "bert"]).says(&["nothing is known to be missing"]).ended(1);
    assert_eq!(list(&two.anna).len(), 3);
}

fn list_despite(anna: &Computer) -> Vec<Value> {
    let outcome = anna.kith(&["snapshots", "--json"]);
    let list: Value = serde_json::from_str(&outcome.stdout).unwrap();
    list.as_array().unwrap().clone()
}

#[test]
fn the_newest_snapshot_can_not_vanish_unnoticed_and_may_come_back() {
    let two = Two::new();
    two.back_up("one");
    let second = two.back_up("two");
    let (file, aside) =
        (two.archive().join("snapshots").join(&second), two.bert.folder("aside").join("snapshot"));
    two.behind_berts_back(|| std::fs::rename(&file, &aside).unwrap());
    two.everything_names(&second, "rolled-back");
    two.behind_berts_back(|| std::fs::rename(&aside, &file).unwrap());
    two.all_is_well();
    let (restored, content) = two.restored("latest");
    restored.never_says("warning").ok();
    assert_eq!(content.as_deref(), Some("two"));
}

#[test]
fn an_archive_without_snapshots_or_no_archive_at_all_is_no_empty_list() {
    let two = Two::new();
    let ids = [two.back_up("one"), two.back_up("two")];
    two.behind_berts_back(|| {
        for id in &ids {
            std::fs::remove_file(two.archive().join("snapshots").join(id)).unwrap();
        }
    });
    let unheard = |args: &[&str]| {
        let outcome = two.anna.kith(args);
        outcome.says(&["bert", "none of the 2 snapshots", &ids[0][..8], &ids[1][..8]]).ended(1);
        outcome.never_says("no snapshots yet");
        outcome
    };
    assert_eq!(unheard(&["snapshots"]).stdout, "");
    assert_eq!(unheard(&["snapshots", "--json"]).stdout, "");
    unheard(&["ls", "latest"]);
    unheard(&["find", "file"]);
    let (restored, _) = two.restored("latest");
    restored.says(&["bert", "none of the 2 snapshots", &ids[1][..8]]).ended(1);
    unheard(&["check", "bert"]);
    assert_eq!(two.archive_view()["verdict"], "emptied");

    let archive = two.archive();
    two.behind_berts_back(|| std::fs::remove_dir_all(archive).unwrap());
    unheard(&["snapshots"]);
    unheard(&["check", "bert"]);
    // Everything is stored anew, and the loss is told.
    std::fs::write(&two.file, "three").unwrap();
    two.anna.kith(&["backup"]).says(&["snapshot", "error", "bert", &ids[0][..8]]).ended(3);
    let (restored, content) = two.restored("latest");
    restored.ok();
    assert_eq!(content.as_deref(), Some("three"));
}

/// Anna, who recovers, and two friends of whom the first was set back to an earlier time with all he kept.
fn recovered_from_a_friend_who_was_set_back(second_friend_is_there: bool) {
    let two = Two::new();
    let carl = Computer::started("carl");
    pair(&carl, &two.anna);
    two.back_up("one");
    let words = two.anna.kith(&["recovery", "show", "--words"]).ok().to_owned();
    // Bert, as he was then.
    two.bert.stop();
    let copied = two.bert.folder("copies").join("vault");
    copy(&two.vault(), &copied);
    two.bert.start();
    two.linked();
    let second = two.back_up("two");
    let photos = two.anna.folder("photos");
    std::fs::write(photos.join("photo"), "photo").unwrap();
    two.anna.kith(&["set", "add", "photos", photos.to_str().unwrap(), "--to", "carl"]).ok();
    two.anna.kith(&["backup", "photos"]).ok();
    // A state object of a computer with that head lies at carl when it was told.
    let told =
        || carl.friend("anna")["stored_here_bytes"].as_u64().unwrap() > 0 && state_settled(&carl, &two.anna);
    wait_until("carl to keep the newest state", SOON, told);
    two.anna.kill();
    two.bert.stop();
    put_back(&copied, &two.vault());
    two.bert.start();
    if !second_friend_is_there {
        carl.stop();
    }

    let again = Computer::blank("anna");
    let recovered = again.kith_with(&["recover", "--from", &two.bert.address()], &words);
    recovered.says(&["the newest backup known is of"]).ok();
    if second_friend_is_there {
        recovered.says(&["found at carl", "sets: docs, photos"]).never_says("not asked");
    } else {
        recovered.says(&["found at bert", "not asked", "carl", "sets: docs"]);
    }
    again.start();
    wait_until("the link to bert", SOON, || again.linked("bert"));
    if !second_friend_is_there {
        // Nobody can know better yet.
        again.kith(&["snapshots"]).never_says("error").ok();
        carl.start();
    }
    wait_until("the link to carl", Duration::from_secs(70), || again.linked("carl"));
    wait_until("carl's copy of the state to be taken over", SOON, || {
        again.kith(&["set", "list", "--json"]).json().as_array().unwrap().len() == 2
    });
    wait_until("bert to be exposed", SOON, || again.friend("bert")["archive"]["verdict"] == "rolled-back");
    let exposed = again.kith(&["snapshots", "--from", "bert"]);
    exposed.says(&["bert", &second[..8], "a newer snapshot is missing"]).ended(1);
    again.kith(&["snapshots", "--from", "carl"]).never_says("error").ok();
    assert_eq!(again.friend("bert")["archive"]["verdict"], "rolled-back");
    // And it stays known although bert's own copy of the state is older.
    again.stop();
    again.start();
    wait_until("the link to bert", SOON, || again.linked("bert"));
    again.kith(&["snapshots", "--from", "bert"]).says(&["bert", &second[..8]]).ended(1);
}

/// The name of the newest state object of a computer that a friend keeps; they ascend, and one object has one name at all friends.
fn newest_state(keeper: &Computer, owner: &Computer) -> Option<OsString> {
    let folder = keeper.home().join("vault").join(owner.device_id()).join("state");
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name()).max()
}

/// No new state object came for a second.
fn state_settled(keeper: &Computer, owner: &Computer) -> bool {
    let before = newest_state(keeper, owner);
    std::thread::sleep(Duration::from_millis(1100));
    before.is_some() && newest_state(keeper, owner) == before
}

#[test]
fn recovering_from_a_friend_who_was_set_back_asks_the_others_too() {
    recovered_from_a_friend_who_was_set_back(true);
}

#[test]
fn a_friend_who_is_met_after_the_recovery_exposes_the_one_who_was_set_back() {
    recovered_from_a_friend_who_was_set_back(false);
}

#[test]
fn a_crash_between_snapshot_and_head_accuses_nobody() {
    let two = Two::new();
    two.back_up("one");
    // The home as it is at that moment: the snapshot is durable at bert, here nothing is known of it, and nobody was told.
    two.anna.stop();
    let (here, there) = (two.anna.folder("copies"), two.bert.folder("copies"));
    let state = two.vault().join(two.anna.device_id()).join("state");
    for file in ["state.db", "state.db-wal"] {
        let from = two.anna.home().join(file);
        if from.exists() {
            std::fs::copy(from, here.join(file)).unwrap();
        }
    }
    copy(&state, &there.join("state"));
    two.anna.start();
    two.linked();
    let second = two.back_up("two");
    two.anna.kill();
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let to = two.anna.home().join(file);
        if to.exists() {
            std::fs::remove_file(&to).unwrap();
        }
        if here.join(file).exists() {
            std::fs::copy(here.join(file), to).unwrap();
        }
    }
    two.bert.stop();
    put_back(&there.join("state"), &state);
    two.bert.start();
    two.anna.start();
    two.linked();

    assert_eq!(newest(&two.anna), second);
    two.all_is_well();
    let (restored, content) = two.restored("latest");
    restored.never_says("warning").ok();
    assert_eq!(content.as_deref(), Some("two"));
    // It is missed from now on, also before the next backup.
    let file = two.archive().join("snapshots").join(&second);
    two.behind_berts_back(|| std::fs::remove_file(file).unwrap());
    two.anna.kith(&["snapshots"]).says(&["bert", &second[..8]]).ended(1);
}

#[test]
fn a_daemon_that_is_killed_as_its_snapshot_arrives_accuses_nobody() {
    let two = Two::new();
    let mut count = 0;
    let folder = two.vault().join(two.anna.device_id());
    for round in 0..6 {
        std::fs::write(&two.file, format!("round {round}")).unwrap();
        let snapshots = || {
            let archive = std::fs::read_dir(&folder).ok().into_iter().flatten();
            let archive =
                archive.map(|entry| entry.unwrap().path()).find(|path| path.join("config").exists());
            archive.map_or(0, |archive| {
                std::fs::read_dir(archive.join("snapshots")).map_or(0, |entries| entries.count())
            })
        };
        std::thread::scope(|scope| {
            let backup = scope.spawn(|| two.anna.kith(&["backup"]));
            let begun = std::time::Instant::now();
            while snapshots() == count {
                assert!(begun.elapsed() < Duration::from_secs(30), "no snapshot came");
                std::thread::sleep(Duration::from_micros(200 * (round % 3)));
            }
            two.anna.kill();
            backup.join().unwrap();
        });
        count = snapshots();
        two.anna.start();
        two.linked();
        assert_eq!(list(&two.anna).len(), count);
        two.all_is_well();
    }
    two.anna.kith(&["backup"]).never_says("error").ok();
}

#[test]
fn a_snapshot_that_stock_restic_added_with_an_exported_key_is_noted_and_nobody_accused() {
    if !need("restic") {
        return;
    }
    let two = Two::new();
    let first = two.back_up("one");
    let key = two.anna.folder("out").join("key");
    let password =
        two.anna.kith(&["recovery", "restic-key", "bert", "--out", key.to_str().unwrap()]).ok().to_owned();
    let archive = two.archive();
    two.behind_berts_back(|| {
        let bytes = std::fs::read(&key).unwrap();
        let name: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let keys = archive.join("keys");
        std::fs::create_dir_all(&keys).unwrap();
        std::fs::write(keys.join(name), bytes).unwrap();
        let mut restic = Command::new("restic");
        restic.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        restic.env("RESTIC_PASSWORD", &password).arg("--no-cache").arg("--repo").arg(&archive);
        restic.args(["backup", two.file.to_str().unwrap()]);
        run_with(&mut restic, b"").ok();
        std::fs::remove_dir_all(keys).unwrap();
    });
    let shown = two.anna.kith(&["snapshots"]);
    shown.says(&["written by another program", "exported key"]).never_says("error").ok();
    let views = list(&two.anna);
    assert_eq!(
        views.iter().map(|view| view["foreign"] == true).collect::<Vec<_>>(),
        [false, true],
        "{views:#?}"
    );
    let foreign = views[1]["id"].as_str().unwrap();
    two.anna.kith(&["check", "bert"]).never_says("error").ok();
    two.anna.kith(&["backup"]).never_says("error").ok();
    assert_eq!(two.archive_view()["foreign"][0]["id"], foreign);
    // It belongs to the archive now: it is missed like any other.
    let file = two.archive().join("snapshots").join(foreign);
    two.behind_berts_back(|| std::fs::remove_file(file).unwrap());
    two.anna.kith(&["snapshots"]).says(&["bert", &foreign[..8]]).ended(1);
    assert_ne!(first, foreign);
}

#[test]
fn an_offline_friend_with_a_newer_snapshot_is_named_when_the_latest_of_another_is_restored() {
    let two = Two::new();
    let carl = Computer::started("carl");
    pair(&carl, &two.anna);
    two.back_up("one");
    let source = two.file.parent().unwrap().to_str().unwrap();
    std::fs::write(&two.file, "two").unwrap();
    two.anna.kith(&["set", "add", "second", source, "--to", "carl"]).ok();
    two.anna.kith(&["backup", "second"]).ok();
    carl.stop();
    wait_until("carl to be away", SOON, || !two.anna.linked("carl"));
    let (restored, content) = two.restored("latest");
    restored.says(&["carl keeps a newer snapshot", "not connected"]).ok();
    assert_eq!(content.as_deref(), Some("one"));
}

/// Waits until carl keeps what bert was told before the last backup was called done, and nothing follows it.
#[track_caller]
fn all_keep_the_state(two: &Two, carl: &Computer) {
    let told = newest_state(&two.bert, &two.anna);
    assert!(told.is_some(), "bert keeps no state");
    wait_until("all to keep the newest state", SOON, || {
        newest_state(carl, &two.anna) >= told
            && state_settled(carl, &two.anna)
            && state_settled(&two.bert, &two.anna)
    });
}

/// Anna backs up "one" and "two", and then her home is put back as it was between them. With carl, who keeps what she tells
/// her friends.
fn set_back(before_it_starts: impl FnOnce(&Two, &Computer)) -> (Two, Computer, [String; 2]) {
    let two = Two::new();
    let carl = Computer::started("carl");
    pair(&carl, &two.anna);
    let first = two.back_up("one");
    all_keep_the_state(&two, &carl);
    two.anna.stop();
    let copied = two.anna.folder("copies").join("home");
    copy(&two.anna.home(), &copied);
    two.anna.start();
    two.linked();
    wait_until("the link to carl", SOON, || two.anna.linked("carl"));
    let second = two.back_up("two");
    all_keep_the_state(&two, &carl);
    two.anna.stop();
    put_back(&copied, &two.anna.home());
    before_it_starts(&two, &carl);
    two.anna.start();
    two.linked();
    (two, carl, [first, second])
}

#[test]
fn a_home_that_was_set_back_learns_from_its_friends_what_it_has_forgotten_and_goes_on() {
    let (two, _carl, [first, second]) = set_back(|_, _| ());
    let third = two.back_up("three");
    let ids: Vec<_> =
        list(&two.anna).iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [first, second.clone(), third]);
    let (restored, content) = two.restored(&second);
    restored.ok();
    assert_eq!(content.as_deref(), Some("two"));
    two.all_is_well();
}

#[test]
fn a_home_that_was_set_back_and_went_on_before_it_met_who_knows_better_is_named_a_fork() {
    let (two, carl, [_, second]) = set_back(|two, carl| {
        // Nobody is there who could tell her: carl is off, and bert has lost what he kept of her state.
        carl.stop();
        two.bert.stop();
        std::fs::remove_dir_all(two.vault().join(two.anna.device_id()).join("state")).unwrap();
        two.bert.start();
    });
    let third = two.back_up("three");
    assert_ne!(two.archive_view()["verdict"], "forked", "{:#}", two.archive_view());
    carl.start();
    wait_until("the link to carl", Duration::from_secs(70), || two.anna.linked("carl"));
    // Carl keeps a head that never heard of the third snapshot, and ours of the same installation knows another second one.
    wait_until("the fork to be seen", SOON, || {
        two.anna.kith(&["snapshots"]);
        two.archive_view()["verdict"] == "forked"
    });
    two.anna.kith(&["snapshots"]).says(&["bert", "two different lists", "set back"]).ended(1);
    two.anna.kith(&["check", "bert"]).says(&["bert", "two different lists", "set back"]).ended(1);
    two.anna.kith(&["friends"]).says(&["bert", "set back"]).ok();
    // Nothing was lost, and the next backup ends it.
    for (snapshot, content) in [(second, "two"), (third, "three")] {
        let (_, found) = two.restored(&snapshot);
        assert_eq!(found.as_deref(), Some(content));
    }
    std::fs::write(&two.file, "four").unwrap();
    two.anna
        .kith(&["backup"])
        .says(&["bert", "two different lists", "the next `kith backup` signs one list"])
        .ended(3);
    two.anna.kith(&["backup"]).ok();
    two.all_is_well();
}
