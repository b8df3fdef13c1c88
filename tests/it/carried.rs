//! What a computer does for two friends of its who want to find and reach each other.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use e2e::{Computer, Puppet, Random, pair, wait_until};
use http::Method;
use kith_wire::{
    Delivered, Deposit, Found, PairTag, Post, RELAY_CAPABILITY, RELAY_READY, RENDEZVOUS_CAPABILITY, Refused,
    Registered, Registration, RelayLeg, RelayRequest, Sealed, Search, paths,
};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

/// Carl, and two friends of his.
struct Three {
    carl: Computer,
    anna: Puppet,
    bert: Puppet,
    // Their homes.
    _stopped: [Computer; 2],
}

impl Three {
    fn new() -> Self {
        let [carl, anna, bert] = ["carl", "anna", "bert"].map(Computer::started);
        pair(&carl, &anna);
        pair(&carl, &bert);
        let puppets = [&anna, &bert].map(|computer| Puppet::in_the_place_of(computer, &carl));
        wait_until("both to be linked", SOON, || carl.linked("anna") && carl.linked("bert"));
        let [a, b] = puppets;
        Self { carl, anna: a, bert: b, _stopped: [anna, bert] }
    }

    /// The ends of a relayed connection.
    fn joined(&self, session: u8) -> [TcpStream; 2] {
        let legs = [&self.anna, &self.bert].map(|who| (who, leg(who, session).unwrap()));
        legs.map(|(who, leg)| who.leg(&leg)).map(|mut end| {
            let mut ready = [0; 8];
            end.read_exact(&mut ready).unwrap();
            assert_eq!(&ready, RELAY_READY);
            end
        })
    }
}

fn tag(byte: u8) -> PairTag {
    PairTag::from_bytes([byte; 16])
}

fn leg(who: &Puppet, session: u8) -> Result<RelayLeg, (u16, String)> {
    who.ask(Method::POST, paths::RELAY, &RelayRequest { session: tag(session) })
}

/// A reset is an end too.
fn assert_ends(mut end: TcpStream) {
    let mut rest = Vec::new();
    if let Err(error) = end.read_to_end(&mut rest) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    assert!(rest.is_empty());
}

#[test]
fn two_friends_find_and_call_each_other_and_are_joined_through_a_third() {
    let Three { anna, bert, .. } = &Three::new();
    for capability in [RENDEZVOUS_CAPABILITY, RELAY_CAPABILITY] {
        assert!(anna.friend_can(capability), "{capability}");
    }
    let record = Deposit { tag: tag(1), record: Sealed::from_bytes(vec![5; 700]), lives: 3600 };
    let said = Registration { records: vec![record.clone()], watch: vec![tag(2)] };
    let registered: Registered = anna.ask(Method::PUT, paths::RENDEZVOUS, &said).unwrap();
    assert_eq!(registered.relay.unwrap().bytes_left, Some(10_000_000_000));
    let search = Search { prefixes: vec![tag(1).to_string()] };
    let found: Found = bert.ask(Method::POST, paths::RECORDS, &search).unwrap();
    assert_eq!(found.records[0].record, record.record);
    let post = Post { tag: tag(2), message: Sealed::from_bytes(vec![6; 300]) };
    let delivered: Delivered = bert.ask(Method::POST, paths::POST, &post).unwrap();
    assert_eq!((delivered.to, anna.posted()), (1, post));
}

#[test]
fn what_is_relayed_is_copied_whole_shown_and_ended_with_the_permission() {
    let three = Three::new();
    let carl = &three.carl;
    let relay = || carl.status()["relay"].clone();
    assert_eq!(
        relay(),
        json!({ "allowed": true, "rate": null, "daily": 10_000_000_000_u64, "sessions": 0, "friends": [] })
    );
    let [mut anna, mut bert] = three.joined(9);
    let mut bytes = vec![0; 8 << 20];
    Random::new(1).fill(&mut bytes);
    for (from, to) in [(&anna, &bert), (&bert, &anna)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let sent = bytes.clone();
        let sending = std::thread::spawn(move || from.write_all(&sent).unwrap());
        let mut came = vec![0; bytes.len()];
        to.read_exact(&mut came).unwrap();
        sending.join().unwrap();
        assert!(came == bytes, "what came is not what was sent");
    }
    let shown = relay();
    assert_eq!(shown["sessions"], 1);
    for (friend, name) in shown["friends"].as_array().unwrap().iter().zip(["anna", "bert"]) {
        let known = shown["friends"].as_array().unwrap().iter().any(|friend| friend["name"] == name);
        assert!(known, "{name} is not in {shown:#}");
        assert_eq!((&friend["sessions"], &friend["bytes_today"]), (&json!(1), &json!(16 << 20)));
    }
    let ports = carl.kith(&["ports"]);
    let ports = ports.ok();
    for of in ["relayed to anna, unread", "relayed to bert, unread"] {
        assert!(ports.contains(of), "{ports}");
    }

    // Half of it is closed: the other half goes on.
    anna.shutdown(Shutdown::Write).unwrap();
    assert_eq!(bert.read(&mut [0; 1]).unwrap(), 0);
    bert.write_all(b"and then").unwrap();
    let mut word = [0; 8];
    anna.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"and then");

    carl.kith(&["settings", "set", "network.relay", "false"]).ok();
    assert_ends(anna);
    assert_ends(bert);
    let (status, said) = leg(&three.anna, 10).unwrap_err();
    let reason = serde_json::from_str::<Refused>(&said).unwrap().reason;
    assert!(status == 403 && reason.contains("relays nothing"), "{status}: {reason}");
    assert_eq!((relay()["allowed"].clone(), relay()["sessions"].clone()), (json!(false), json!(0)));
    carl.kith(&["settings", "set", "network.relay", "true"]).ok();
    carl.kith(&["settings", "set", "network.relay-daily", "1MB"]).ok();
    let (status, _) = leg(&three.anna, 10).unwrap_err();
    assert_eq!(status, 429, "more than that was relayed today");
    carl.kith(&["settings", "set", "network.relay-daily", "0B"]).ok();
    leg(&three.anna, 10).unwrap();
}

#[test]
fn what_was_relayed_today_counts_after_a_restart_of_the_carrier() {
    let three = Three::new();
    let carl = &three.carl;
    let [mut anna, mut bert] = three.joined(9);
    anna.write_all(&vec![7; 300_000]).unwrap();
    bert.read_exact(&mut vec![0; 300_000]).unwrap();
    let of_anna = || {
        let relay = carl.status()["relay"].clone();
        let friends = relay["friends"].as_array().unwrap().clone();
        friends.iter().find(|friend| friend["name"] == "anna").map(|friend| friend["bytes_today"].clone())
    };
    assert_eq!(of_anna(), Some(json!(300_000)));
    carl.stop();
    carl.start();
    assert_eq!(of_anna(), Some(json!(300_000)));
}

#[test]
fn a_friend_who_is_removed_is_carried_for_no_longer() {
    let three = Three::new();
    let watch = Registration { records: Vec::new(), watch: vec![tag(2)] };
    let _: Registered = three.anna.ask(Method::PUT, paths::RENDEZVOUS, &watch).unwrap();
    let [anna, bert] = three.joined(9);
    three.carl.kith(&["friend", "remove", "anna"]).ok();
    assert_ends(anna);
    assert_ends(bert);
    let post = Post { tag: tag(2), message: Sealed::from_bytes(vec![6; 300]) };
    let delivered: Delivered = three.bert.ask(Method::POST, paths::POST, &post).unwrap();
    assert_eq!(delivered.to, 0);
    assert_eq!(three.carl.status()["relay"]["sessions"], 0);
}
