//! What was deleted can be read as it was, and brought back; what is damaged is found and repaired; what fails is said.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::{Computer, Tree, assert_same, need, pair, run, run_with, wait_until, write_tree};
use sha2::{Digest, Sha256};

const SOON: Duration = Duration::from_secs(20);

struct Pair {
    anna: Computer,
    bert: Computer,
    source: PathBuf,
}

impl Pair {
    fn new() -> Self {
        let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
        pair(&bert, &anna);
        let source = anna.folder("source");
        write_tree(&source, Tree { largest: 1 << 20, ..Tree::default() });
        anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
        anna.kith(&["backup"]).ok();
        Self { anna, bert, source }
    }

    fn restores(&self, args: &[&str], expected: &Path) {
        let target = self.anna.folder("restored");
        let all = [&["restore"], args, &["--target", target.to_str().unwrap()]].concat();
        self.anna.kith(&all).ok();
        assert_same(expected, &target.join(self.source.strip_prefix("/").unwrap()));
        std::fs::remove_dir_all(target).unwrap();
    }

    fn snapshots(&self, args: &[&str]) -> usize {
        let listed = self.anna.kith(&[&["snapshots", "--json"], args].concat()).json();
        listed.as_array().unwrap().len()
    }

    /// What a thief with anna's keys can ask of bert.
    fn ask(&self, method: &str, path: &str) -> String {
        let archive = self.bert.archive_of(&self.anna);
        let archive = archive.file_name().unwrap().to_str().unwrap();
        let mut socket = UnixStream::connect(self.anna.home().join("run/control.sock")).unwrap();
        let request = format!(
            "{method} /v1/friends/bert/store/{archive}/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
        answer
    }

    /// Deletes all that can be deleted.
    fn delete_everything(&self) {
        let archive = self.bert.archive_of(&self.anna);
        for kind in ["snapshots", "index", "data"] {
            for file in files(&archive.join(kind)) {
                self.ask("DELETE", &format!("{kind}/{}", file.file_name().unwrap().to_str().unwrap()));
            }
        }
    }

    /// A pack with files' content, as it lies on bert's disk.
    fn largest_pack(&self) -> PathBuf {
        let packs = files(&self.bert.archive_of(&self.anna).join("data"));
        packs.into_iter().max_by_key(|pack| pack.metadata().unwrap().len()).unwrap()
    }

    fn flip_a_bit(&self) -> PathBuf {
        let pack = self.largest_pack();
        let mut bytes = std::fs::read(&pack).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(&pack, bytes).unwrap();
        pack
    }

    /// Stock restic finds no fault in a copy of what bert has.
    fn is_clean_for_restic(&self) {
        if !need("restic") {
            return;
        }
        let archive = self.bert.archive_of(&self.anna);
        let copy = self.anna.folder("copies").join("copy");
        drop(std::fs::remove_dir_all(&copy));
        run(Command::new("cp").arg("-a").args([&archive, &copy])).ok();
        let key = self.anna.folder("copies").join("key");
        drop(std::fs::remove_file(&key));
        let out = ["recovery", "restic-key", "bert", "--out", key.to_str().unwrap()];
        let password = self.anna.kith(&out).ok().to_owned();
        let bytes = std::fs::read(&key).unwrap();
        let name: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::create_dir(copy.join("keys")).unwrap();
        std::fs::write(copy.join("keys").join(name), bytes).unwrap();
        let mut restic = Command::new("restic");
        restic.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("RESTIC_PASSWORD", password);
        restic.arg("--no-cache").arg("--repo").arg(&copy).args(["check", "--read-data"]);
        run_with(&mut restic, b"").says(&["no errors were found"]).ok();
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// Now, as the command line takes it, after everything that has happened.
fn now() -> String {
    let at = std::time::SystemTime::now();
    wait_until("a millisecond to pass", SOON, || at.elapsed().is_ok_and(|passed| passed.as_millis() > 2));
    let shown = run(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.%NZ"]));
    let time = shown.ok().trim().to_owned();
    let at = std::time::SystemTime::now();
    wait_until("a millisecond to pass", SOON, || at.elapsed().is_ok_and(|passed| passed.as_millis() > 2));
    time
}

#[test]
fn what_a_thief_deletes_can_be_read_as_it_was_and_brought_back() {
    let pair = Pair::new();
    let first = pair.anna.folder("first");
    run(Command::new("cp").arg("-a").arg(&pair.source).arg(&first)).ok();
    let first = first.join("source");
    let early = now();
    std::fs::write(pair.source.join("came later"), b"second").unwrap();
    pair.anna.kith(&["backup"]).ok();
    let late = now();
    assert_eq!(pair.snapshots(&[]), 2);
    pair.delete_everything();
    assert_eq!(files(&pair.bert.archive_of(&pair.anna).join("snapshots")).len(), 0);

    assert_eq!(pair.snapshots(&["--as-of", &late]), 2);
    assert_eq!(pair.snapshots(&["--as-of", &early, "--from", "bert"]), 1);
    pair.restores(&["latest", "--as-of", &late], &pair.source);
    pair.restores(&["latest", "--as-of", &early, "--from", "bert"], &first);
    let inside = pair.source.join("came later");
    let inside = inside.to_str().unwrap();
    pair.anna.kith(&["ls", "latest", inside, "--as-of", &late]).says(&["came later"]).ok();
    assert_ne!(pair.anna.kith(&["ls", "latest", inside, "--as-of", &early]).code, 0);
    assert_eq!(
        pair.anna.kith(&["find", "came later", "--as-of", &late, "--json"]).json().as_array().unwrap().len(),
        1
    );
    assert_eq!(
        pair.anna.kith(&["find", "came later", "--as-of", &early, "--json"]).json().as_array().unwrap().len(),
        0
    );
    pair.anna.kith(&["snapshots", "--as-of", "soon"]).ended(2).says(&["is not a time"]);

    pair.anna
        .kith(&["undelete", "bert", "--as-of", &late])
        .says(&["2 snapshots are there again at bert"])
        .ok();
    assert_eq!(pair.snapshots(&[]), 2);
    pair.restores(&["latest"], &pair.source);
    pair.is_clean_for_restic();
    pair.anna.kith(&["check", "bert", "--read-data"]).says(&["no fault found"]).ok();
    pair.anna.kith(&["undelete", "bert", "--as-of", "1h"]).says(&["nothing that was deleted at bert"]).ok();
    pair.anna.kith(&["backup"]).ok();
}

#[test]
fn a_flipped_bit_at_the_friend_is_found_by_his_scrub_told_and_repaired_by_the_next_backup() {
    let pair = Pair::new();
    let scrub = || pair.bert.status()["vault"]["scrub"].clone();
    pair.bert.kith(&["scrub"]).ok();
    wait_until("a whole round", SOON, || !scrub()["finished"].is_null());
    assert_eq!(scrub()["damaged"], 0);
    let pack = pair.flip_a_bit();
    pair.bert.kith(&["scrub"]).ok();
    wait_until("the damage to be found", SOON, || scrub()["damaged"] == 1);
    pair.bert.kith(&["status"]).says(&["1 objects are DAMAGED on this disk"]).ok();
    assert_eq!(pair.bert.friend("anna")["damaged_here"], 1);
    wait_until("the owner to know", SOON, || pair.anna.friend("bert")["damaged_there"] == 1);
    pair.anna.kith(&["status"]).says(&["1 objects of ours are damaged there", "kith backup"]).ok();
    // It is not forgotten by a restart at either end.
    pair.bert.stop();
    pair.bert.start();
    assert_eq!(scrub()["damaged"], 1);
    wait_until("the link", SOON, || pair.anna.linked("bert"));
    pair.anna.kith(&["backup"]).says(&["1 damaged files of the archive at bert were replaced"]).ok();
    assert!(!pack.exists(), "the damaged pack is still among the others");
    wait_until("all to be well", SOON, || {
        pair.anna.friend("bert")["damaged_there"] == 0 && pair.bert.friend("anna")["damaged_here"] == 0
    });
    pair.is_clean_for_restic();
    pair.anna.kith(&["check", "bert", "--read-data"]).says(&["no fault found"]).ok();
    pair.restores(&["latest"], &pair.source);
    // Moved aside, not erased.
    let held = pair.bert.home().join("vault").join(pair.anna.device_id()).join("held");
    let name = pack.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(files(&held).iter().any(|file| file.file_name().unwrap().to_str().unwrap().starts_with(&name)));
}

#[test]
fn a_pack_and_the_index_files_that_are_damaged_together_are_repaired_and_nothing_is_lost() {
    let pair = Pair::new();
    let pack = pair.flip_a_bit();
    let index = files(&pair.bert.archive_of(&pair.anna).join("index"));
    for file in &index {
        let mut bytes = std::fs::read(file).unwrap();
        bytes[20] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }
    pair.bert.kith(&["scrub"]).ok();
    let found = 1 + index.len();
    wait_until("the owner to know", SOON, || pair.anna.friend("bert")["damaged_there"] == found);
    std::fs::write(pair.source.join("new"), b"new").unwrap();
    pair.anna
        .kith(&["backup"])
        .says(&[&format!("{found} damaged files of the archive at bert were replaced")])
        .ok();
    assert!(!pack.exists() && index.iter().all(|file| !file.exists()));
    pair.is_clean_for_restic();
    pair.anna.kith(&["check", "bert", "--read-data"]).says(&["no fault found"]).ok();
    pair.restores(&["latest"], &pair.source);
}

#[test]
fn a_flipped_bit_that_a_check_finds_is_repaired_by_the_next_backup() {
    let pair = Pair::new();
    pair.flip_a_bit();
    pair.anna.kith(&["check", "bert", "--read-data"]).ended(1);
    assert!(pair.anna.friend("bert")["damaged_there"].as_u64().unwrap() >= 1);
    pair.anna.stop();
    pair.anna.start();
    wait_until("the link", SOON, || pair.anna.linked("bert"));
    pair.anna.kith(&["backup"]).says(&["damaged files of the archive at bert were replaced"]).ok();
    assert_eq!(pair.anna.friend("bert")["damaged_there"], 0);
    pair.anna.kith(&["check", "bert", "--read-data"]).says(&["no fault found"]).ok();
    pair.is_clean_for_restic();
    pair.restores(&["latest"], &pair.source);
}

#[test]
fn a_vault_whose_disk_failed_says_so_at_both_ends_and_goes_on_after_a_restart() {
    let pair = Pair::new();
    assert!(pair.bert.status()["vault"]["failure"].is_null());
    let (tmp, away) = (pair.bert.home().join("vault/tmp"), pair.bert.home().join("away"));
    std::fs::rename(&tmp, &away).unwrap();
    std::fs::write(pair.source.join("new"), b"new").unwrap();
    let refused = pair.anna.kith(&["backup"]);
    refused.ended(1).says(&["bert", "disk"]);
    assert!(pair.bert.status()["vault"]["failure"].as_str().unwrap().contains("could not"));
    pair.bert.kith(&["status"]).says(&["THE DISK OF THE VAULT FAILED", "kith restart"]).ok();
    wait_until("the friend to say why", SOON, || !pair.anna.friend("bert")["trouble"].is_null());
    pair.anna.kith(&["friends"]).says(&["trouble there", "its disk failed"]).ok();
    pair.anna.kith(&["backup"]).ended(1).says(&["bert"]);
    // Reading goes on.
    assert_eq!(pair.snapshots(&[]), 1);
    std::fs::rename(&away, &tmp).unwrap();
    pair.bert.kith(&["restart"]).ok();
    wait_until("the link", SOON, || pair.anna.linked("bert"));
    pair.anna.kith(&["backup"]).ok();
    wait_until("all to be well", SOON, || pair.anna.friend("bert")["trouble"].is_null());
    assert!(pair.bert.status()["vault"]["failure"].is_null());
    pair.anna.kith(&["check", "bert", "--read-data"]).says(&["no fault found"]).ok();
}
