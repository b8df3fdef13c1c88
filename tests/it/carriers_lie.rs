//! Carriers that lie, and friends who call without end: refused, named in the log, and bounded.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use e2e::{Answers, Computer, Puppet, pair, say, secrets_of, wait_until};
use http::Method;
use kith_identity::{Identity, IdentitySeed, PairKey, TagUse};
use kith_wire::{
    AddressRecord, Deposit, DeviceId, Found, PairTag, Post, RECORD_LIFE, RENDEZVOUS_CAPABILITY, Registered,
    Sealed, paths,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

fn unix() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn tag(n: u32) -> PairTag {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    PairTag::from_bytes(bytes)
}

fn id(computer: &Computer) -> DeviceId {
    computer.device_id().parse().unwrap()
}

/// Lines of the log in which a person is told this.
fn told(computer: &Computer, what: &str) -> Vec<String> {
    computer
        .log()
        .lines()
        .filter(|line| line.contains(" WARN ") && line.contains(what))
        .map(str::to_owned)
        .collect()
}

fn signal(pair: &PairKey, from: &DeviceId, to: &DeviceId, say: &Value) -> Post {
    let message = pair.seal(TagUse::Post, from, say.to_string().as_bytes());
    Post { tag: pair.tag(TagUse::Post, to, unix()), message }
}

fn ring(n: u32, time: u64) -> Value {
    json!({ "id": tag(n), "time": time, "call": tag(n), "say": "ring", "relay": true })
}

/// Hands a message over as a carrier does; whether it was taken.
fn hand_over(carrier: &Puppet, post: &Post) -> bool {
    let answer: Result<Value, _> = carrier.ask(Method::POST, paths::POSTED, post);
    // Taken is said without a body.
    matches!(answer, Err((204, _)))
}

#[test]
fn a_friend_who_calls_without_end_is_told_of_once_and_costs_next_to_nothing() {
    let [anna, bert] = ["anna", "bert"].map(Computer::started);
    pair(&anna, &bert);
    let (us, them) = (id(&anna), id(&bert));
    let puppet = Puppet::in_the_place_of(&bert, &anna);
    let (_, key) = secrets_of(&bert, &us);
    wait_until("the link", SOON, || anna.linked("bert"));
    // Calls, each with another number; then what is no call at all. The first ones get through however busy she is; of a flood she
    // refuses what she can't look at at once.
    let call = |n| hand_over(&puppet, &signal(&key, &them, &us, &ring(n, unix())));
    for n in 0..20 {
        wait_until("the call to be taken", SOON, || call(n));
    }
    let flood = (20..300).filter(|n| call(*n)).count();
    say(&format!("{flood} of 280 more calls were taken"));
    let replayed = signal(&key, &them, &us, &ring(1, unix()));
    let lies = [
        replayed.clone(),
        replayed,
        signal(&key, &them, &us, &ring(1000, unix() - 3600)),
        signal(&key, &us, &us, &ring(1001, unix())),
        signal(&PairKey::from_bytes([1; 32]), &them, &us, &ring(1002, unix())),
        signal(&key, &them, &us, &json!({ "say": "offer", "endpoints": ["127.0.0.1:22"] })),
        Post { tag: key.tag(TagUse::Post, &us, unix()), message: Sealed::from_bytes(vec![7; 3000]) },
    ];
    for lie in &lies {
        // What was sealed by another key comes under another tag.
        hand_over(&puppet, lie);
    }
    // Under tags that nobody awaits.
    let unknown = (0..50).filter(|n| {
        let post = Post { tag: tag(5000 + n), message: Sealed::from_bytes(vec![7; 300]) };
        hand_over(&puppet, &post)
    });
    assert_eq!(unknown.count(), 0);
    let refused = "a signal was refused";
    wait_until("the log", SOON, || !told(&anna, refused).is_empty());
    assert!(anna.linked("bert"), "the link is none the worse for it");
    let lines = told(&anna, refused);
    assert_eq!(lines.len(), 1, "once a minute: {lines:#?}");
    assert!(lines[0].contains("has called 12 times within a minute"), "{lines:#?}");
}

/// A record of `owner`, sealed for the one with whom he has the key in common.
fn record(owner: &Identity, key: &PairKey, (sequence, issued): (u64, u64), at: &str) -> Deposit {
    let record = AddressRecord {
        sequence,
        issued,
        expires: issued + RECORD_LIFE,
        public: vec![at.to_owned()],
        ..AddressRecord::default()
    };
    deposit(key, owner, &record.sign(owner).unwrap())
}

fn deposit(key: &PairKey, owner: &Identity, signed: &[u8]) -> Deposit {
    let us = owner.device_id();
    Deposit {
        tag: key.tag(TagUse::Record, &us, unix()),
        record: key.seal(TagUse::Record, &us, signed),
        lives: 600,
    }
}

#[test]
fn forged_old_and_foreign_address_records_of_a_carrier_are_refused_and_told_of_once() {
    // Nothing that a record names is to be sent a packet.
    let anna = Computer::new("anna", "[network]\nallowed-destinations = [\"127.0.0.0/8:1024-65535\"]\n");
    anna.start();
    let [bert, carol] = ["bert", "carol"].map(Computer::started);
    pair(&anna, &bert);
    pair(&anna, &carol);
    let us = id(&anna);
    bert.stop();
    let (berts, key) = secrets_of(&bert, &us);
    // Carol carries for anna, and finds what she likes.
    let found: Arc<Mutex<Vec<Deposit>>> = Arc::default();
    let (handed_out, searches) = (found.clone(), Arc::new(Mutex::new(0)));
    let counted = searches.clone();
    let answers: Answers = Arc::new(move |_method, path, _body| match path {
        paths::RENDEZVOUS => Some(serde_json::to_vec(&Registered::default()).unwrap()),
        paths::RECORDS => {
            *counted.lock().unwrap() += 1;
            let records = handed_out.lock().unwrap().clone();
            Some(serde_json::to_vec(&Found { records }).unwrap())
        }
        _ => None,
    });
    // First Bert's true record, which is the newest; then what was made of it.
    let number = (unix() + 1000) * 1000;
    let truth = record(&berts, &key, (number, unix()), "11.0.0.1:4242");

    let stranger = Identity::from_seed(&IdentitySeed::from_bytes([9; 32])).unwrap();
    let forged = AddressRecord {
        sequence: number + 1,
        issued: unix(),
        expires: unix() + RECORD_LIFE,
        public: vec!["11.0.0.66:4242".into()],
        ..AddressRecord::default()
    };
    let other = PairKey::from_bytes([3; 32]);
    let mut foreign = record(&berts, &other, (number + 2, unix()), "11.0.0.66:4242");
    foreign.tag = key.tag(TagUse::Record, &berts.device_id(), unix());
    let lies = vec![
        record(&berts, &key, (number - 1, unix()), "11.0.0.66:4242"),
        record(&berts, &key, (number, unix()), "11.0.0.66:4242"),
        deposit(&key, &berts, &forged.sign(&stranger).unwrap()),
        foreign,
        record(&berts, &key, (number + 3, unix() - 2 * RECORD_LIFE), "11.0.0.66:4242"),
        record(&berts, &key, (number + 4, unix() + 3600), "11.0.0.66:4242"),
    ];
    let count = lies.len();
    found.lock().unwrap().extend([vec![truth], lies].concat());
    let _carol = Puppet::who_can(&carol, &anna, &[RENDEZVOUS_CAPABILITY], answers);
    let refused = "an address record was refused";
    wait_until("all refusals", SOON, || told(&anna, refused).len() >= count);
    assert!(anna.log().contains("a friend's addresses were found"), "{}", anna.log());
    let lines = told(&anna, refused).join("\n");
    for why in [
        "was seen before: somebody sends an old one",
        "say different things",
        "was not signed by the computer it is said to be from",
        "was not sealed by this friend",
        "does not hold now",
    ] {
        assert!(lines.contains(why), "{why}: {lines}");
    }
    assert_eq!(lines.matches("does not hold now").count(), 2, "of yesterday, and of tomorrow: {lines}");

    // With the next search nothing more is said of it, and where the forged ones point nobody dials.
    let before = *searches.lock().unwrap();
    wait_until("another search", 3 * SOON, || *searches.lock().unwrap() > before);
    wait_until("bert's true address to be tried", SOON, || {
        anna.friend("bert").to_string().contains("11.0.0.1:4242")
    });
    assert_eq!(told(&anna, refused).len(), count);
    let bert = anna.friend("bert").to_string();
    assert!(!bert.contains("11.0.0.66"), "{bert}");
}
