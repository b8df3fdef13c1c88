//! Vaults as earlier versions left them: every later one opens them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use kith_vault::{Incarnation, VaultError, layout::FORMAT_VERSION};

use crate::simulated::TestClock;
use crate::support::{Fixture, HOLD, files, open, succeeded};

/// When the fixtures were made, and when in that all that is held was deleted.
const MADE: u64 = 1_795_260_850_000;
const DELETED: u64 = 1_795_260_852_896;

/// A copy of a fixture, with the times its files had: git keeps none.
fn copy(version: &str) -> Fixture {
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version);
    let f = Fixture::closed();
    for file in files(&from) {
        let to = f.root().join(file.strip_prefix(&from).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(&to, std::fs::read(&file).unwrap()).unwrap();
        let file = std::fs::File::options().append(true).open(&to).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_millis(MADE)).unwrap();
    }
    f
}

fn names(directory: &Path) -> Vec<String> {
    let files = files(directory);
    files.iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Everything in the repository is as stock restic wants it.
async fn restic_is_content(f: &Fixture, snapshots: usize) {
    let archive = f.archive();
    let run = move |arguments: &[&str]| {
        let mut command = Command::new("restic");
        command.args(["--no-cache", "--no-lock", "--repo"]).arg(&archive).args(arguments);
        command.env("RESTIC_PASSWORD", "a test").output()
    };
    let checked = tokio::task::spawn_blocking(move || {
        let listed = run(&["snapshots", "--json"])?;
        Ok::<_, std::io::Error>((run(&["check", "--read-data"])?, listed))
    });
    match checked.await.unwrap() {
        Ok((checked, listed)) => {
            succeeded(&checked);
            let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();
            assert_eq!(listed.len(), snapshots);
        }
        Err(error) => println!("skipped: restic is not here: {error}"),
    }
}

/// Lists, reads, looks at the past and brings it back.
async fn use_it(f: &Fixture) {
    for (kind, now, then) in [("data", 2, 4), ("index", 1, 2), ("snapshots", 1, 2)] {
        let listed = f.list(kind).await;
        assert_eq!(listed.len(), now, "{kind}");
        for (name, size) in listed {
            let object = f.get(&format!("/a/{kind}/{name}")).await.expect_ok();
            assert_eq!((crate::support::sha256(&object.body), object.body.len() as u64), (name, size));
        }
        // Nobody noted when things arrived before: all of them are taken to be as old as their files.
        let as_of = [("kith-as-of", "1795260852000")];
        let past = f.call("GET", &format!("/a/{kind}/"), &as_of, b"").await.expect_ok().json();
        assert!(past.as_array().unwrap().len() >= then, "{kind} {past}");
    }
    assert_eq!(f.vault().newest_state(&f.owner).await.unwrap(), Some((2, "state two".into())));
    assert_eq!(f.vault().state_sequences(&f.owner).await.unwrap(), [1, 2]);
    restic_is_content(f, 1).await;
    let as_of = [("kith-as-of", "1795260852000")];
    let back = f.call("POST", "/a/?undelete", &as_of, b"").await.expect_ok().json();
    assert_eq!((&back["data"], &back["index"], &back["snapshots"]), (&2.into(), &2.into(), &1.into()));
    assert_eq!(names(&f.root().join("ALICE/held")), [""; 0]);
    restic_is_content(f, 2).await;
}

#[tokio::test]
async fn a_vault_of_format_1_is_opened_read_and_undeleted() {
    let clock = TestClock::at(DELETED + 3_600_000);
    let mut f = copy("v1");
    f.start(&clock).await;
    assert_eq!(
        std::fs::read_to_string(f.root().join(".kith-vault")).unwrap(),
        format!("kith-vault {FORMAT_VERSION}\n")
    );
    assert_eq!(f.usage(), (5 * 4096, 5 * 4096));
    use_it(&f).await;
}

#[tokio::test]
async fn deletions_of_format_1_get_their_stamp_when_they_are_first_seen() {
    let clock = TestClock::at(DELETED + 100 * 24 * 3_600_000);
    let mut f = copy("v1");
    f.start(&clock).await;
    clock.pass(60_000);
    let report = f.vault().sweep().await.unwrap();
    assert_eq!((report.stamped, report.erased.len(), report.next_due), (5, 0, Some(HOLD)));
    for name in names(&f.root().join("ALICE/held")) {
        assert!(name.ends_with(&format!(".60000.{MADE}")), "{name}");
    }
    // A whole window from now on, however long ago it was by the clock on the wall.
    for _ in 0..59 {
        clock.pass(60_000);
        assert_eq!(f.vault().sweep().await.unwrap().erased, []);
    }
    f.stop();
    f.start(&clock).await;
    use_it(&f).await;
}

#[tokio::test]
async fn a_vault_of_format_2_is_opened_read_and_undeleted() {
    let clock = TestClock::at(DELETED + 3_600_000);
    let mut f = copy("v2");
    let held = names(&f.root().join("ALICE/held"));
    f.start(&clock).await;
    assert_eq!(f.usage(), (5 * 4096, 5 * 4096));
    let newest = f.vault().newest_incarnation(&f.owner).unwrap().0;
    assert_eq!(newest.to_string(), "3 000102030405060708090a0b0c0d0e0f");
    // The hold clock goes on from 20 minutes; what is held was deleted at 5.
    clock.pass(60_000);
    let report = f.vault().sweep().await.unwrap();
    assert_eq!((report.stamped, report.erased.len()), (0, 0));
    assert_eq!(report.next_due, Some(HOLD - Duration::from_secs(16 * 60)));
    assert_eq!(names(&f.root().join("ALICE/held")), held);
    use_it(&f).await;
}

#[tokio::test]
async fn a_vault_of_an_unknown_newer_format_is_refused_and_left_as_it_is() {
    let f = copy("v2");
    std::fs::write(f.root().join(".kith-vault"), format!("kith-vault {}\n", FORMAT_VERSION + 1)).unwrap();
    let before = files(&f.root());
    let error = open(&f.root()).await.unwrap_err();
    assert!(matches!(error, VaultError::NewerFormat { found, .. } if found == FORMAT_VERSION + 1));
    assert!(error.to_string().contains("install a newer Kith"), "{error}");
    let mut after = files(&f.root());
    after.retain(|file| !file.ends_with(".kith-vault.lock"));
    assert_eq!(after, before);
}

/// How the fixture of format 2 was made: from the objects of the other one, sent and deleted again.
#[tokio::test]
#[ignore = "makes a fixture, if there is none"]
async fn make_the_fixture_of_format_2() {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let (old, new) = (fixtures.join("v1/ALICE"), fixtures.join("v2"));
    if new.exists() {
        return;
    }
    let clock = TestClock::at(DELETED - 300_000);
    let mut f = Fixture::by(&clock).await;
    f.post("/a/config", &std::fs::read(old.join("a/config")).unwrap()).await.expect_ok();
    for directory in ["data", "index", "snapshots"] {
        for root in ["held/a", "a"] {
            for file in files(&old.join(root).join(directory)) {
                let name = file.file_name().unwrap().to_str().unwrap()[..64].to_owned();
                let path = format!("/a/{directory}/{name}");
                f.post(&path, &std::fs::read(file).unwrap()).await.expect_ok();
                clock.pass(1000);
            }
        }
    }
    for (number, state) in [(1, "state one"), (2, "state two")] {
        f.vault().put_state(&f.owner, number, state.into()).await.unwrap();
    }
    let installation = Incarnation::parse(3, "000102030405060708090a0b0c0d0e0f").unwrap();
    f.vault().writer(&f.owner, installation).await.unwrap();
    pass_until(&f, &clock, DELETED).await;
    for directory in ["snapshots", "index", "data"] {
        for file in files(&old.join("held/a").join(directory)) {
            let name = file.file_name().unwrap().to_str().unwrap()[..64].to_owned();
            f.delete(&format!("/a/{directory}/{name}")).await.expect_ok();
        }
    }
    pass_until(&f, &clock, DELETED + 900_000).await;
    f.stop();
    let keys = [(old.join("a/keys"), f.archive().join("keys")), (f.root(), new)];
    for (from, to) in keys {
        Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    }
}

async fn pass_until(f: &Fixture, clock: &TestClock, wall: u64) {
    while clock.wall_ms() < wall {
        clock.pass((wall - clock.wall_ms()).min(60_000));
        f.vault().sweep().await.unwrap();
    }
}
