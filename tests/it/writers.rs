//! Two installations of one computer: one writes, the other one reads and says so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::hostile::{Asked, Deed, HostileFriend, Place};
use e2e::{Computer, Tree, assert_same, pair, run, wait_until, write_tree};

const SOON: Duration = Duration::from_secs(20);

/// Anna backs up to bert.
struct Pair {
    anna: Computer,
    bert: Computer,
    source: PathBuf,
    words: String,
}

impl Pair {
    fn new() -> Self {
        let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
        pair(&bert, &anna);
        let source = anna.folder("source");
        write_tree(&source, Tree { largest: 1 << 20, ..Tree::default() });
        anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
        anna.kith(&["backup"]).ok();
        let words = anna.kith(&["recovery", "show", "--words"]).ok().to_owned();
        Self { anna, bert, source, words }
    }

    /// Another home that has the words.
    fn recovered(&self) -> Computer {
        let again = Computer::new("anna", "");
        self.recover(&again);
        again
    }

    fn recover(&self, into: &Computer) {
        into.kith_with(&["recover", "--from", &self.bert.address()], &self.words).says(&["sets: docs"]).ok();
    }

    /// The names of everything that bert keeps for anna, live and held.
    fn kept(&self) -> BTreeSet<PathBuf> {
        let mut kept = BTreeSet::new();
        let root = self.bert.home().join("vault").join(self.anna.device_id());
        walk(&root, &mut kept);
        // The journal of arrivals and the like are bert's own; the newer one has its state object kept at any time.
        kept.retain(|path| {
            let below = path.strip_prefix(&root).unwrap();
            !below.starts_with(".record") && !below.starts_with("state")
        });
        kept
    }

    fn restores_everything(&self, computer: &Computer) {
        let target = computer.folder("restored");
        computer.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
        assert_same(&self.source, &target.join(self.source.strip_prefix("/").unwrap()));
        std::fs::remove_dir_all(&target).unwrap();
    }

    /// It backs up, and the archive is without fault.
    fn writes(&self, computer: &Computer) {
        wait_until("the link of the one who writes", SOON, || computer.linked("bert"));
        std::fs::write(self.source.join("written lately"), computer.home().to_str().unwrap()).unwrap();
        computer.kith(&["backup"]).ok();
        computer.kith(&["check", "bert", "--read-data"]).says(&["no fault found"]).ok();
        self.restores_everything(computer);
    }

    /// It knows that another one writes, says so everywhere, reads, and changes nothing.
    fn only_reads(&self, computer: &Computer) {
        wait_until("the older one to know", SOON, || superseded(computer));
        let before = self.kept();
        for _ in 0..2 {
            let refused = computer.kith(&["backup"]);
            refused.ended(1).says(&[
                "was recovered on another computer on",
                "bert says so",
                "kith recover --from",
            ]);
        }
        computer
            .kith(&["status"])
            .says(&["WRITES NO MORE BACKUPS", "bert", "kith recover --from HOST:PORT"])
            .ok();
        wait_until("the link of the one who reads", SOON, || computer.linked("bert"));
        self.restores_everything(computer);
        assert!(!computer.kith(&["snapshots", "--json"]).json().as_array().unwrap().is_empty());
        assert_eq!(self.kept(), before, "the older installation changed something");
    }
}

fn walk(directory: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), found);
        } else {
            found.insert(entry.path());
        }
    }
}

fn superseded(computer: &Computer) -> bool {
    // It may just be starting anew.
    let status = computer.kith(&["status", "--json"]);
    status.code == 0 && !status.json()["superseded"].is_null()
}

fn recovered(bert: &Computer) -> bool {
    !bert.friend("anna")["recovered"].is_null()
}

#[test]
fn a_computer_that_is_recovered_while_it_runs_writes_no_more_and_says_so() {
    let pair = Pair::new();
    assert!(pair.anna.status()["superseded"].is_null());
    assert!(pair.bert.friend("anna")["recovered"].is_null());
    let again = pair.recovered();
    assert!(!superseded(&pair.anna), "only looking is no recovery yet");
    again.start();
    pair.only_reads(&pair.anna);
    assert_eq!(pair.anna.status()["superseded"]["told_by"], "bert");
    assert!(recovered(&pair.bert));
    pair.bert.kith(&["friends"]).says(&["recovered", "on another computer on"]).ok();
    pair.writes(&again);
    assert!(!superseded(&again));

    // Both have their link at once, and neither takes the other's.
    let linked_since = again.friend("bert")["connected_since"].clone();
    pair.anna.stop();
    pair.anna.start();
    pair.only_reads(&pair.anna);
    assert!(again.linked("bert") && pair.anna.linked("bert"));
    assert_eq!(
        again.friend("bert")["connected_since"],
        linked_since,
        "the older one took the newer one's link"
    );

    // It is known without anybody who says it again.
    pair.bert.stop();
    pair.anna.stop();
    pair.anna.start();
    assert!(superseded(&pair.anna));
    pair.anna.kith(&["backup"]).ended(1).says(&["was recovered on another computer on"]);
}

#[test]
fn a_computer_that_was_off_while_it_was_recovered_hears_of_it_when_it_is_back() {
    let pair = Pair::new();
    pair.anna.stop();
    let again = pair.recovered();
    again.start();
    pair.writes(&again);
    pair.anna.start();
    pair.only_reads(&pair.anna);
    pair.writes(&again);

    // The same when it is its friend who was restarted, and the older one who comes first.
    again.stop();
    pair.anna.stop();
    pair.bert.stop();
    pair.bert.start();
    pair.anna.start();
    pair.only_reads(&pair.anna);
    again.start();
    pair.writes(&again);
}

#[test]
fn of_two_installations_that_back_up_at_the_same_time_the_newer_one_succeeds_and_nothing_is_harmed() {
    let pair = Pair::new();
    let large = pair.source.join("very large");
    std::fs::create_dir(&large).unwrap();
    e2e::write_random(&large, 7, 150 << 20, 16 << 20);
    let again = pair.recovered();
    std::thread::scope(|scope| {
        let older = scope.spawn(|| pair.anna.kith(&["backup"]));
        again.start();
        wait_until("the link of the newer one", SOON, || again.linked("bert"));
        again.kith(&["backup"]).ok();
        let older = older.join().unwrap();
        // It may have been done before the newer one came.
        if older.code != 0 {
            older.ended(1).says(&["was recovered on another computer on"]);
        }
    });
    pair.only_reads(&pair.anna);
    pair.writes(&again);
}

#[test]
fn the_older_one_can_take_over_again() {
    let pair = Pair::new();
    let refused = pair.anna.kith_with(&["recover", "--from", &pair.bert.address()], &pair.words);
    refused.ended(1).says(&["has friends already"]);
    let again = pair.recovered();
    again.start();
    pair.only_reads(&pair.anna);
    pair.writes(&again);
    let others = pair.bert.kith(&["recovery", "show", "--words"]).ok().to_owned();
    pair.anna.kith_with(&["recover", "--from", &pair.bert.address()], &others).ended(1);
    assert!(superseded(&pair.anna));
    pair.recover(&pair.anna);
    wait_until("the first one to write again", SOON, || {
        // It starts anew.
        let status = pair.anna.kith(&["status", "--json"]);
        status.code == 0
            && status.json()["superseded"].is_null()
            && status.json()["friends"][0]["connected"] == true
    });
    pair.only_reads(&again);
    pair.writes(&pair.anna);
}

/// Of two that come up at the same time one writes and the other one reads.
fn one_writes(pair: &Pair, two: [&Computer; 2]) {
    wait_until("one of them to give way", Duration::from_secs(40), || two.iter().any(|one| superseded(one)));
    let (older, newer) = if superseded(two[0]) { (two[0], two[1]) } else { (two[1], two[0]) };
    pair.writes(newer);
    pair.only_reads(older);
    assert!(!superseded(newer));
}

#[test]
fn of_two_recoveries_at_the_same_time_one_writes() {
    let pair = Pair::new();
    pair.anna.kill();
    let (first, second) = (pair.recovered(), pair.recovered());
    first.start();
    second.start();
    one_writes(&pair, [&first, &second]);
}

#[test]
fn of_a_home_and_its_copy_one_writes() {
    let pair = Pair::new();
    pair.anna.stop();
    let copy = Computer::new("anna", "");
    std::fs::remove_dir_all(copy.home()).unwrap();
    run(std::process::Command::new("cp").arg("-a").args([pair.anna.home(), copy.home()])).ok();
    std::fs::write(copy.home().join("kith.toml"), copy.settings_text(&sets(&pair.anna))).unwrap();
    pair.anna.start();
    copy.start();
    one_writes(&pair, [&pair.anna, &copy]);
}

#[test]
fn a_friend_who_lies_of_a_copy_stops_no_backup_to_another_friend() {
    let (mut anna, mut bert, carl) =
        (Computer::started("anna"), Computer::started("bert"), Computer::started("carl"));
    pair(&anna, &bert);
    pair(&carl, &anna);
    let installation = |anna: &Computer, set: Option<&str>| -> (String, String) {
        let database = rusqlite::Connection::open(anna.home().join("state.db")).unwrap();
        database.busy_timeout(Duration::from_secs(10)).unwrap();
        if let Some(id) = set {
            let sql = "UPDATE value SET document = ?1 WHERE key = 'installation'";
            assert_eq!(database.execute(sql, [format!("\"{id}\"")]).unwrap(), 1);
        }
        let value = |key: &str| {
            let sql = "SELECT document FROM value WHERE key = ?1";
            database.query_row(sql, [key], |row| row.get(0)).unwrap_or_default()
        };
        (value("installation"), value("incarnation"))
    };
    // Whatever id is drawn, it is a smaller one.
    anna.stop();
    installation(&anna, Some(&"f".repeat(32)));
    anna.start();
    let source = anna.folder("source");
    write_tree(&source, Tree { largest: 1 << 20, ..Tree::default() });
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "carl"]).ok();
    anna.kith(&["backup"]).ok();
    let liar = HostileFriend::in_the_place_of(&mut bert, &mut anna);
    let (before, _) = installation(&anna, None);
    let begun = anna.status()["started"].clone();
    liar.does(|asked: &Asked| match &asked.place {
        Place::Other(path) if path == "/kith/v1/hello" => Deed::Change(Box::new(|answer| {
            let Ok(mut said) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
                return answer;
            };
            said["twin"] = true.into();
            let said = said.to_string().into_bytes();
            answer.with_body(said)
        })),
        _ => Deed::Honest,
    });
    liar.cut();
    wait_until("anna to take another id", SOON, || installation(&anna, None).0 != before);
    let after = installation(&anna, None);
    assert_eq!(after.1, "1");
    wait_until("the link to the honest one", SOON, || {
        // It starts anew.
        let status = anna.kith(&["status", "--json"]);
        let is_linked = |friend: &serde_json::Value| friend["name"] == "carl" && friend["connected"] == true;
        status.code == 0
            && status.json()["started"] != begun
            && status.json()["friends"].as_array().is_some_and(|all| all.iter().any(is_linked))
    });
    for round in 0..3 {
        std::fs::write(source.join("new"), format!("round {round}")).unwrap();
        anna.kith(&["backup"]).ok();
        assert!(!superseded(&anna), "a friend's word without a proof has stopped a backup");
        liar.cut();
        wait_until("the link to the honest one", SOON, || anna.linked("carl"));
    }
    assert_eq!(installation(&anna, None), after, "more than once a day");
    anna.kith(&["check", "carl", "--read-data"]).says(&["no fault found"]).ok();
}

/// What of a settings file is about sets.
fn sets(computer: &Computer) -> String {
    let settings = std::fs::read_to_string(computer.home().join("kith.toml")).unwrap();
    let begin = settings.find("[[").expect("a set in the settings");
    settings[begin..].to_owned()
}
