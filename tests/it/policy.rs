//! From whom backups are taken is decided by whoever keeps them.

use std::time::Duration;

use e2e::{Computer, assert_same, pair, wait_until, write_random};
use kith_identity::{Identity, IdentitySeed, Invite};
use kith_peer::Outbound;
use kith_peer::join::{self, JoinMessage};
use kith_wire::{Report, VersionRange};

/// From a change of the settings until a friend has heard of it.
const HEARD: Duration = Duration::from_secs(10);
const REFUSED: &str = "nothing";

/// A set of a few files that goes to `to`.
fn with_a_set(of: &Computer, to: &str) -> std::path::PathBuf {
    let source = of.folder("source");
    write_random(&source, 1, 1 << 20, 1 << 18);
    of.kith(&["set", "add", "all", source.to_str().unwrap(), "--to", to]).ok();
    source
}

#[track_caller]
fn wait_offer(of: &Computer, by: &str, is_there: bool) {
    wait_until("what is offered", HEARD, || of.friend(by)["offered_bytes"].is_u64() == is_there);
}

#[test]
fn from_nobody_from_own_computers_or_from_friends() {
    let desk = Computer::new("desk", "[vault]\naccept = \"own\"\n");
    desk.start();
    let (laptop, carl) = (Computer::started("laptop"), Computer::started("carl"));
    laptop.kith_with(&["join", "--own"], desk.kith(&["invite", "--own"]).ok()).ok();
    pair(&desk, &carl);
    let (ours, theirs) = (with_a_set(&laptop, "desk"), with_a_set(&carl, "desk"));
    laptop.kith(&["backup"]).ok();
    wait_offer(&carl, "desk", false);
    carl.kith(&["backup"]).ended(1).says(&[REFUSED]);
    assert!(!desk.home().join("vault").join(carl.device_id()).join("state").exists());

    desk.kith(&["settings", "set", "vault.accept", "off"]).ok();
    wait_offer(&laptop, "desk", false);
    // What is kept can be read.
    let target = laptop.folder("restored");
    laptop.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    assert_same(&ours, &target.join(ours.strip_prefix("/").unwrap()));
    std::fs::write(ours.join("new"), b"new").unwrap();
    laptop.kith(&["backup"]).ended(1).says(&[REFUSED]);

    desk.kith(&["settings", "set", "vault.accept", "friends"]).ok();
    wait_offer(&carl, "desk", true);
    carl.kith(&["backup"]).ok();
    let target = carl.folder("restored");
    carl.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    assert_same(&theirs, &target.join(theirs.strip_prefix("/").unwrap()));
}

/// Pairs once more in the name of a computer, and claims that the inviter is its own.
fn claim(of: &Computer, invite: &str) -> bool {
    let seed = std::fs::read(of.home().join("secrets/identity.key")).unwrap();
    let identity = Identity::from_seed(&IdentitySeed::from_bytes(seed.try_into().unwrap())).unwrap();
    let invite = Invite::parse(invite).unwrap();
    let message = JoinMessage {
        wire: VersionRange::OURS,
        program: "kith".to_owned(),
        invite: invite.id().to_string(),
        own: true,
        dial_in: "11".repeat(32),
        recovery: "22".repeat(32),
        reach: "33".repeat(32),
        report: Report { name: of.name().to_owned(), ..Report::default() },
    };
    let key = invite.one_time_key().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outbound = Outbound::default();
    let asked = join::ask(&outbound, &identity, &key, invite.inviter(), invite.addresses(), &message);
    runtime.block_on(asked).unwrap().0.own
}

#[test]
fn who_says_alone_that_a_computer_is_his_own_is_a_friend_and_nothing_more() {
    let desk = Computer::new("desk", "[vault]\naccept = \"own\"\n");
    desk.start();
    let carl = Computer::started("carl");
    let invite = desk.kith(&["invite"]).ok().to_owned();
    carl.kith_with(&["join"], &invite).ok();
    assert!(!claim(&carl, &invite), "desk confirms what it did not say");
    assert_eq!(desk.friend("carl")["own"], false);
    // Of two invites, the one for a friend serves no other.
    let own = desk.kith(&["invite", "--own"]).ok().to_owned();
    assert!(!claim(&carl, desk.kith(&["invite"]).ok()));
    assert_eq!(desk.friend("carl")["own"], false);
    with_a_set(&carl, "desk");
    carl.kith(&["backup"]).ended(1);
    // Archives and state objects are folders; what begins with a dot says which installation of his was seen.
    let entries = std::fs::read_dir(desk.home().join("vault").join(carl.device_id())).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let kept: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    assert!(kept.is_empty(), "{kept:?}");
    // Both say so: then it is true.
    assert!(claim(&carl, &own));
    assert_eq!(desk.friend("carl")["own"], true);
}
