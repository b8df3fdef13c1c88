//! Invites, joining, reply lines.

use std::time::{Duration, Instant};

use kith_identity::{Identity, IdentitySeed, Invite};
use kith_peer::Outbound;
use kith_peer::join::{self, JoinMessage};
use kith_wire::{Report, VersionRange};

use e2e::{Computer, free_port, pair, pair_with, wait_until};

/// Longest wait for what comes by itself, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(30);
/// Longest wait for the end of a link of which the other side is gone: silence alone ends it after 30 s.
const NOTICED: Duration = Duration::from_secs(20);
/// In which a daemon hears that a connection has ended.
const HEARD: Duration = Duration::from_millis(300);

#[test]
fn an_invite_makes_friends_on_both_sides_with_one_safety_sentence() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    let invite = anna.kith(&["invite", "--quota", "7GB"]);
    let line = invite.ok();
    assert_eq!(line.lines().count(), 1, "more than the invite on standard output: {invite}");
    assert!(line.starts_with("kith://"), "{line}");
    assert_eq!(invite.stderr, "", "something else was said to a program");
    let joined = bert.kith_with(&["join", "-", "--quota", "3GB"], line);
    joined.says(&["paired with anna", "compare these six words"]).ok();
    wait_until("both to be linked", SOON, || bert.linked("anna") && anna.linked("bert"));

    let (here, there) = (anna.friend("bert"), bert.friend("anna"));
    let words = here["safety_words"].as_str().unwrap();
    assert_eq!(words.split(' ').count(), 6, "{words}");
    assert_eq!(here["safety_words"], there["safety_words"]);
    joined.says(&[words]);
    assert_eq!(here["device_id"], bert.device_id().as_str());
    assert_eq!(there["device_id"], anna.device_id().as_str());
    assert_eq!(there["offered_bytes"], 7_000_000_000_u64, "what the invite offered");
    assert_eq!(here["offered_bytes"], 3_000_000_000_u64, "what the joiner offered");
    assert_eq!(here["own"], false);
    // Both know where the other listens, whoever dialled.
    assert_eq!(here["internal"], serde_json::json!([bert.address()]));
    assert_eq!(there["internal"], serde_json::json!([anna.address()]));
    // A stored invite is no secret any more: it has been used.
    assert!(!anna.log().contains("kith://") && !bert.log().contains("kith://"), "an invite was logged");
}

#[test]
fn the_same_joiner_may_use_an_invite_again_and_nobody_else() {
    let (anna, bert, carl) =
        (Computer::started("anna"), Computer::started("bert"), Computer::started("carl"));
    let invite = anna.kith(&["invite"]);
    bert.kith_with(&["join"], invite.ok()).ok();
    let words = bert.friend("anna")["safety_words"].clone();
    bert.kith_with(&["join"], invite.ok()).says(&["paired with anna"]).ok();
    assert_eq!(bert.friend("anna")["safety_words"], words, "the second time made another pairing");
    assert_eq!(anna.kith(&["friends", "--json"]).json().as_array().unwrap().len(), 1);
    assert_eq!(bert.kith(&["friends", "--json"]).json().as_array().unwrap().len(), 1);

    let refused = carl.kith_with(&["join"], invite.ok());
    refused.says(&["used by another computer already", "hint", "new invite"]).ended(1);
    assert_eq!(carl.kith(&["friends", "--json"]).json().as_array().unwrap().len(), 0);
    assert_eq!(anna.kith(&["friends", "--json"]).json().as_array().unwrap().len(), 1);
    // And after a restart of the inviter too.
    anna.stop();
    anna.start();
    carl.kith_with(&["join"], invite.ok()).says(&["used by another computer already"]).ended(1);
}

#[test]
fn of_two_joiners_at_the_same_time_one_gets_the_invite() {
    let (anna, bert, carl) =
        (Computer::started("anna"), Computer::started("bert"), Computer::started("carl"));
    let invite = anna.kith(&["invite"]).ok().to_owned();
    let outcomes = std::thread::scope(|scope| {
        let both = [&bert, &carl].map(|joiner| scope.spawn(|| joiner.kith_with(&["join"], &invite)));
        both.map(|joining| joining.join().unwrap())
    });
    let joined = outcomes.iter().filter(|outcome| outcome.code == 0).count();
    assert_eq!(joined, 1, "{} {}", outcomes[0], outcomes[1]);
    assert_eq!(anna.kith(&["friends", "--json"]).json().as_array().unwrap().len(), 1);
}

#[test]
fn a_pairing_of_which_the_other_side_breaks_off_is_done_to_its_end_or_not_at_all() {
    let anna = Computer::started("anna");
    let invite = Invite::parse(anna.kith(&["invite"]).ok()).unwrap();
    let identity = Identity::from_seed(&IdentitySeed::from_bytes([9; 32])).unwrap();
    let key = invite.one_time_key().unwrap();
    let join = |address: &str, patience| {
        let report = Report { name: "bert".into(), internal: vec![address.into()], ..Report::default() };
        let message = JoinMessage {
            wire: VersionRange::OURS,
            program: "test".into(),
            invite: invite.id().to_string(),
            own: false,
            dial_in: "07".repeat(32),
            recovery: String::new(),
            reach: String::new(),
            report,
        };
        let asking = async {
            let outbound = Outbound::default();
            join::ask(&outbound, &identity, &key, invite.inviter(), invite.addresses(), &message).await
        };
        // His connection ends with the runtime.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(patience, asking).await })
    };
    let known = || anna.friend("bert")["internal"].clone();
    join("192.0.2.1:4242", SOON).unwrap().unwrap();
    assert_eq!(known(), serde_json::json!(["192.0.2.1:4242"]));
    // He joins once more, and goes away while it is being written down. That she was at that by then can't be seen from
    // outside: if she was not, he does so again, and later. She waits 5 s for the database.
    let done = (2..5).any(|seconds| {
        let address = format!("192.0.2.{seconds}:4242");
        let database = rusqlite::Connection::open(anna.home().join("state.db")).unwrap();
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        let left = join(&address, Duration::from_secs(seconds));
        assert!(!matches!(left, Ok(Ok(_))), "it waits for the disk: {left:?}");
        std::thread::sleep(HEARD);
        database.execute_batch("ROLLBACK").unwrap();
        drop(database);
        let there = serde_json::json!([address]);
        let begun = Instant::now();
        while known() != there && begun.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(50));
        }
        let in_memory = known();
        anna.stop();
        anna.start();
        assert_eq!(known(), in_memory, "she wrote down something else than she knew");
        in_memory == there
    });
    assert!(done, "she gave up what she was at when he went away");
}

#[test]
fn a_removed_friend_does_not_come_back_with_his_old_invite() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    let invite = anna.kith(&["invite"]);
    bert.kith_with(&["join"], invite.ok()).ok();
    anna.kith(&["friend", "remove", "bert"]).ok();
    bert.kith_with(&["join"], invite.ok()).says(&["not open any more"]).ended(1);
    assert_eq!(anna.kith(&["friends", "--json"]).json().as_array().unwrap().len(), 0);
}

#[test]
fn where_no_address_of_the_invite_answers_a_reply_line_works_the_other_way_round() {
    // Nothing listens at the address that anna gives to friends: a port that is not forwarded.
    let nowhere = free_port();
    let anna = Computer::new("anna", "[network]\noutbound-only = false\n");
    let settings = format!(
        "name = \"anna\"\n[listener]\nport = {}\nbind = [\"127.0.0.2\"]\nadvertise = [\"127.0.0.1:{}\"]\n[control]\nport = {}\napp-port = {}\n",
        anna.port(),
        nowhere.number(),
        anna.control_ports().0,
        anna.control_ports().1,
    );
    std::fs::write(anna.home().join("kith.toml"), settings).unwrap();
    anna.start();
    let bert = Computer::started("bert");
    let invite = anna.kith(&["invite"]).ok().to_owned();
    // The firewall in front of anna, played: her port closes after the invite is out.
    anna.kith(&["settings", "set", "network.outbound-only", "true"]).ok();
    let failed = bert.kith_with(&["join"], &invite);
    failed.ended(1).says(&[
        "no address",
        &format!("127.0.0.1:{}: refused", nowhere.number()),
        &format!("127.0.0.2:{}: refused", anna.port()),
        "the other way round",
        "six words",
    ]);
    let reply = failed.stdout.trim();
    assert_eq!(reply.lines().count(), 1, "the reply line stands alone on standard output: {failed}");
    let words =
        failed.stderr.lines().find_map(|line| line.split_once("compare then: ")).unwrap().1.to_owned();

    // The reply line belongs to the inviter alone.
    bert.kith_with(&["join"], reply).says(&["on the computer that made the invite"]).ended(1);
    anna.kith_with(&["join"], reply).says(&["paired with bert", &words]).ok();
    wait_until("both to be linked", SOON, || bert.linked("anna") && anna.linked("bert"));
    assert_eq!(anna.friend("bert")["safety_words"], words);
    assert_eq!(bert.friend("anna")["safety_words"], words);
    // Only bert can be dialled: the link was dialled by anna, and works both ways.
    let source = bert.folder("source");
    std::fs::write(source.join("file"), b"content").unwrap();
    bert.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "anna"]).ok();
    bert.kith(&["backup"]).ok();
}

#[test]
fn own_computers_are_confirmed_on_both_sides() {
    let (desk, laptop) = (Computer::started("desk"), Computer::started("laptop"));
    let invite = desk.kith(&["invite", "--own"]).ok().to_owned();
    let unconfirmed = laptop.kith_with(&["join"], &invite);
    unconfirmed.ended(2).says(&["belong to the same person", "kith join --own"]);
    assert_eq!(desk.kith(&["friends", "--json"]).json().as_array().unwrap().len(), 0);
    laptop.kith_with(&["join", "--own"], &invite).says(&["paired with desk"]).ok();
    wait_until("both to be linked", SOON, || desk.linked("laptop") && laptop.linked("desk"));
    assert_eq!(desk.friend("laptop")["own"], true);
    assert_eq!(laptop.friend("desk")["own"], true);

    let carl = Computer::started("carl");
    let friendly = desk.kith(&["invite"]).ok().to_owned();
    carl.kith_with(&["join", "--own"], &friendly).ended(2).says(&["is for a friend", "kith invite --own"]);
}

#[test]
fn friends_of_one_name_are_told_apart_and_can_be_renamed_and_removed() {
    let anna = Computer::started("anna");
    let (one, two) = (Computer::started("bert"), Computer::started("bert"));
    pair(&anna, &one);
    anna.kith_with(&["join"], two.kith(&["invite"]).ok()).says(&["paired with bert (2)"]).ok();
    wait_until("both to be linked", SOON, || anna.linked("bert") && anna.linked("bert (2)"));
    assert_eq!(anna.friend("bert (2)")["device_id"], two.device_id().as_str());
    anna.kith(&["friend", "rename", "bert (2)", "bertha"]).ok();
    anna.kith(&["friend", "rename", "bertha", "bert"]).says(&["bert", "another name"]).ended(1);
    anna.kith(&["friend", "rename", "nobody", "x"]).says(&["nobody", "bert, bertha"]).ended(1);
    anna.kith(&["friend", "quota", "bertha", "2GB"]).ok();
    wait_until("bertha to hear of her quota", SOON, || {
        two.friend("anna")["offered_bytes"] == 2_000_000_000_u64
    });
    anna.kith(&["friend", "remove", "bertha"]).says(&["stays in the vault"]).ok();
    wait_until("the link of a removed friend to end", NOTICED, || !two.linked("anna"));
    assert_eq!(anna.kith(&["friends", "--json"]).json().as_array().unwrap().len(), 1);
    wait_until("him to be told why", SOON, || {
        two.friend("anna")["last_error"]
            .as_str()
            .is_some_and(|error| ["removed", "refused"].iter().any(|why| error.contains(why)))
    });
}

#[test]
fn each_friend_is_linked_by_itself() {
    let hub = Computer::started("hub");
    let others: Vec<Computer> = ["a", "b", "c"].iter().map(|name| Computer::started(name)).collect();
    for other in &others {
        pair_with(&hub, other, &["--quota", "1GB"]);
    }
    others[1].kill();
    wait_until("the loss to be noticed", NOTICED, || !hub.linked("b"));
    assert!(hub.linked("a") && hub.linked("c"));
    assert_eq!(others[0].kith(&["friends", "--json"]).json().as_array().unwrap().len(), 1);
}

#[test]
fn computers_that_have_only_ipv6_become_friends_and_back_up() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        e2e::say("skipped: there is no IPv6 here");
        return;
    }
    let six = |name: &str| {
        let computer = Computer::new(name, "");
        let text = computer.settings_text("").replace("127.0.0.1", "::1");
        std::fs::write(computer.home().join("kith.toml"), text).unwrap();
        computer.start();
        computer
    };
    let (anna, bert) = (six("anna"), six("bert"));
    pair(&anna, &bert);
    assert_eq!(bert.friend("anna")["internal"], serde_json::json!([format!("[::1]:{}", anna.port())]));
    let source = anna.folder("source");
    std::fs::write(source.join("file"), b"content").unwrap();
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup"]).ok();
    bert.kith(&["probe", "::1", &anna.port().to_string()]).says(&["connected", "anna"]).ok();
}
