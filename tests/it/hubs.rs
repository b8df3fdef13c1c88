//! `kith hub`, and hubs among themselves, as computers meet them.

use std::time::{Duration, Instant};

use e2e::Stalls;
use e2e::hubs::{Client, HubError, HubProcess, News, identity};
use http::StatusCode;
use kith_identity::{DialInTag, PairTag, Sealed, tls};
use kith_wire::{
    Deposit, HUB_CAPABILITY, HubAddress, HubInvite, LinkError, REGISTRATION_LIMIT, RELAY_READY,
    RENDEZVOUS_CAPABILITY, Registration, bytes_body, paths,
};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longest wait for what takes no time.
const SOON: Duration = Duration::from_secs(20);
/// Memory for one computer that is registered and idle, at most; this build's tasks are larger than the release's.
const MOST_FOR_ONE: u64 = 64 * 1024;
/// Its memory has stopped falling when it did not for so long.
const SETTLED: Duration = Duration::from_secs(2);
/// All are back within this time, on a machine with much else to do: 15 s are shown by `hub-load`, and for the pauses in virtual time.
const ALL_BACK: Duration = Duration::from_secs(60);
/// A hub that is asked to end has ended within this time.
const ENDED: Duration = Duration::from_secs(5);

fn tag(byte: u8) -> [u8; 16] {
    [byte; 16]
}

fn record(byte: u8) -> Registration {
    let record = Sealed::from_bytes(vec![byte; 300]);
    let records = vec![Deposit { tag: PairTag::from_bytes(tag(byte)), record, lives: 600 }];
    Registration { records, watch: Vec::new() }
}

fn started(settings: &str) -> HubProcess {
    let mut hub = HubProcess::new(settings);
    hub.start();
    hub
}

/// Until something holds that others bring about.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < SOON, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, HubError>) -> (StatusCode, String) {
    match answer {
        Err(HubError::Refused(status, reason)) => (status, reason),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_finds_and_hands_over_for_whoever_registers_and_keeps_nothing_on_its_disk() {
    let mut hub = started("");
    let (anna, bert) = (
        Client::connect(1, &hub.address()).await.unwrap(),
        Client::connect(2, &hub.address()).await.unwrap(),
    );
    let hello = &anna.hello().hello;
    assert!(hello.can(HUB_CAPABILITY) && hello.can(RENDEZVOUS_CAPABILITY));
    assert_eq!(
        (hello.you_are.as_str(), hello.report.public.len(), hello.report.name.as_str()),
        ("127.0.0.1", 0, "")
    );

    anna.watch(tag(7)).await.unwrap();
    let registered = bert.register(&record(9)).await.unwrap();
    assert_eq!((registered.assigned, registered.moves), (Vec::new(), None), "one hub alone assigns nobody");
    assert_eq!(bert.post(tag(7), b"sealed").await.unwrap(), 1);
    let News::Posted(post, None) = anna.news().await else { panic!("no message") };
    assert_eq!((post.tag.as_bytes(), post.message.as_bytes()), (&tag(7), b"sealed".as_slice()));
    let found = anna.search("").await.unwrap();
    assert_eq!(found.records.len(), 1);
    until("the numbers", || hub.number("computers") == Some(2) && hub.number("records") == Some(1)).await;

    let before = hub.address();
    hub.kill();
    hub.start();
    assert_eq!(hub.address(), before, "its identity stays");
    let anna = Client::connect(1, &hub.address()).await.unwrap();
    assert_eq!(anna.search("").await.unwrap().records, [], "what it was told it kept in memory");
    let mut files: Vec<String> = std::fs::read_dir(hub.home())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["admitted", "daemon.lock", "kith.toml", "logs", "run", "secrets"]);
    assert_eq!(std::fs::read_dir(hub.home().join("admitted")).unwrap().count(), 0);

    let ended = tokio::spawn(async move { anna.link().ended().await });
    let stalls = Stalls::watch();
    let (took, stalled) = (hub.stop(), stalls.longest());
    assert!(took < ENDED + stalled, "it took {took:?}, and the machine stood still for {stalled:?}");
    assert_eq!(ended.await.unwrap(), LinkError::ClosedByPeer, "a goodbye and no break");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_is_dark_to_who_does_not_know_it_and_tells_before_hello_nothing_but_where_one_comes_from() {
    let hub = started("");
    let stream = tokio::net::TcpStream::connect(hub.socket()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(tls::client_config(&identity(1), hub.address().id));
    let error = connector.connect(DialInTag::made_up().server_name(), stream).await.unwrap_err();
    assert!(tls::explain_io(&error).is_some(), "a certificate of nobody: {error}");

    let asks = Client::silent(&identity(1), &hub.address()).await.unwrap();
    let from = asks.observed().await.unwrap().from;
    assert!(from.starts_with("127.0.0.1:"), "{from}");
    assert_eq!(refused(asks.watch(tag(1)).await).0, StatusCode::FORBIDDEN);
    assert_eq!(refused(asks.search("").await).0, StatusCode::FORBIDDEN);
    assert_eq!(refused(asks.leg(tag(1), &hub.address().at).await.map(drop)).0, StatusCode::FORBIDDEN);

    // A connection that only asks replaces nobody, a second one that says hello does.
    let anna = Client::connect(2, &hub.address()).await.unwrap();
    let asks = Client::silent(&identity(2), &hub.address()).await.unwrap();
    asks.observed().await.unwrap();
    assert!(anna.watch(tag(1)).await.is_ok() && !anna.link().is_over());
    let newer = Client::connect(2, &hub.address()).await.unwrap();
    assert_eq!(anna.link().ended().await, LinkError::ClosedByPeer);
    assert!(newer.watch(tag(1)).await.is_ok());
    until("one seat", || hub.number("computers") == Some(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_owner_chooses_a_line_lets_in_one_computer_for_good() {
    let mut hub = started("registration = \"invite\"\n");
    let line = hub.kith(&["hub", "invite"]).ok().trim().to_owned();
    let invite: HubInvite = line.parse().unwrap();
    assert_eq!(invite.hub, hub.address());
    let token = invite.token.unwrap().reveal();

    let anna = Client::connect(1, &hub.address()).await.unwrap();
    let (status, reason) = refused(anna.watch(tag(1)).await);
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(reason.contains("kith hub invite"), "{reason}");
    assert_eq!(anna.post(tag(1), b"x").await.unwrap(), 0, "nobody awaits it");
    assert_eq!(refused(anna.leg(tag(1), &hub.address().at).await.map(drop)).0, StatusCode::FORBIDDEN);
    assert_eq!(refused(anna.show_token("junk").await).0, StatusCode::BAD_REQUEST);
    let other = started("registration = \"invite\"\n");
    let foreign: HubInvite = other.kith(&["hub", "invite"]).ok().trim().parse().unwrap();
    assert!(
        refused(anna.show_token(&foreign.token.unwrap().reveal()).await).1.contains("none of this hub's")
    );
    anna.show_token(&token).await.unwrap();
    anna.watch(tag(1)).await.unwrap();
    anna.show_token(&token).await.unwrap();

    let bert = Client::connect(2, &hub.address()).await.unwrap();
    let (status, reason) = refused(bert.show_token(&token).await);
    assert!(status == StatusCode::FORBIDDEN && reason.contains("used by another computer"), "{reason}");

    hub.kill();
    hub.start();
    let anna = Client::connect(1, &hub.address()).await.unwrap();
    anna.watch(tag(1)).await.unwrap();
    assert!(!hub.log().contains(&token), "no log has what opens");

    let file = hub.home().join("admitted").join(invite.token.unwrap().number());
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), anna.who().to_string());
    std::fs::write(&file, "-\n").unwrap();
    hub.signal(Signal::SIGHUP);
    assert_eq!(anna.link().ended().await, LinkError::ClosedByPeer);
    let anna = Client::connect(1, &hub.address()).await.unwrap();
    assert_eq!(refused(anna.watch(tag(1)).await).0, StatusCode::FORBIDDEN);
    assert_eq!(refused(anna.show_token(&token).await).0, StatusCode::FORBIDDEN, "barred for good");

    hub.set("registration = \"open\"\n");
    let said = hub.kith(&["hub", "invite"]);
    said.ended(1).says(&["lets in whoever knows its address"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_let_in_is_joined_with_nobody_but_one_who_awaits_him_and_is_not_heard_for_long() {
    let hub = started("registration = \"invite\"\n");
    let at = hub.address().at;
    let anna = let_in(1, &hub).await;
    anna.watch(tag(1)).await.unwrap();

    // A stranger guesses tags: that is all he can do, and not often.
    let stranger = Client::connect(2, &hub.address()).await.unwrap();
    let mut heard = 0;
    for n in 100..150 {
        match stranger.post(tag(n), b"guess").await {
            Ok(to) => {
                assert_eq!(to, 0);
                heard += 1;
            }
            refusal => assert_eq!(refused(refusal).0, StatusCode::TOO_MANY_REQUESTS),
        }
    }
    assert_eq!(heard, 12);
    assert_eq!(refused(stranger.post(tag(1), b"late").await).0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused(stranger.leg(tag(5), &at).await.map(drop)).0, StatusCode::FORBIDDEN);
    until("the log", || hub.log().contains("knocked too often")).await;
    assert_eq!(hub.log().matches("knocked too often").count(), 1, "once, however often he does");
    assert!(anna.heard_nothing().await);

    // Who knows under which tag she awaits him may be joined with her, and nothing else.
    let guest = Client::connect(3, &hub.address()).await.unwrap();
    assert_eq!(guest.post(tag(1), b"knock").await.unwrap(), 1);
    let News::Posted(post, None) = anna.news().await else { panic!("no message") };
    assert_eq!(post.message.as_bytes(), b"knock");
    let (mut hers, mut his) = tokio::try_join!(anna.leg(tag(5), &at), guest.leg(tag(5), &at)).unwrap();
    for leg in [&mut hers, &mut his] {
        let mut ready = [0; RELAY_READY.len()];
        tokio::time::timeout(SOON, leg.read_exact(&mut ready)).await.unwrap().unwrap();
    }
    assert_eq!(refused(guest.watch(tag(1)).await.map(drop)).0, StatusCode::FORBIDDEN);
    assert_eq!(refused(guest.search("").await).0, StatusCode::FORBIDDEN);
    // What was said for him over one connection does not hold for another computer's.
    let other = Client::connect(4, &hub.address()).await.unwrap();
    assert_eq!(refused(other.leg(tag(6), &at).await.map(drop)).0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_hub_refuses_who_comes_and_keeps_who_is_there() {
    let hub = started("most-computers = 4\n");
    let mut there = Vec::new();
    for number in 0..4 {
        let client = Client::connect(number, &hub.address()).await.unwrap();
        client.watch(tag(7)).await.unwrap();
        there.push(client);
    }
    // All come from one network: nobody has more right to a place than who has it.
    for number in 100..150 {
        let (status, reason) = refused(Client::connect(number, &hub.address()).await.map(drop));
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(reason.contains("use another one"), "{reason}");
    }
    assert!(there.iter().all(|client| !client.link().is_over()));
    assert_eq!(there[0].post(tag(7), b"x").await.unwrap(), 4);
    assert_eq!((hub.number("computers"), hub.number("full_total")), (Some(4), Some(50)));
    // Who was there comes back, whoever else wants to.
    let again = Client::connect(3, &hub.address()).await.unwrap();
    assert!(again.watch(tag(7)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_no_request_is_refused_and_costs_nobody_else_anything() {
    let hub = started("");
    let hostile = Client::connect(1, &hub.address()).await.unwrap();
    let bert = Client::connect(2, &hub.address()).await.unwrap();
    let before = hub.resident_bytes();
    for round in 0..8 {
        let flood = bytes_body(vec![b'['; REGISTRATION_LIMIT + 1 + round]);
        // It may be broken off before all was sent.
        let answer = hostile.send("PUT", paths::RENDEZVOUS, flood).await;
        assert!(
            matches!(
                answer,
                Err(HubError::Refused(StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS, _)
                    | HubError::Link(_))
            ),
            "{answer:?}"
        );
    }
    for (method, path, body, status) in [
        ("PUT", paths::RENDEZVOUS, "junk", StatusCode::BAD_REQUEST),
        ("POST", paths::RECORDS, "{\"prefixes\":[\"zz\"]}", StatusCode::BAD_REQUEST),
        ("DELETE", paths::POST, "", StatusCode::METHOD_NOT_ALLOWED),
        ("GET", paths::STORE, "", StatusCode::NOT_FOUND),
        ("PUT", paths::STATE, "x", StatusCode::NOT_FOUND),
        ("POST", paths::HUB_VOUCH, "{}", StatusCode::NOT_FOUND),
        ("POST", paths::HELLO, "{}", StatusCode::BAD_REQUEST),
    ] {
        let other = Client::connect(3, &hub.address()).await.unwrap();
        assert_eq!(refused(other.send(method, path, bytes_body(body)).await).0, status, "{method} {path}");
    }
    let many = (0..2000).map(|n: u16| {
        let mut tag = [0; 16];
        tag[..2].copy_from_slice(&n.to_be_bytes());
        PairTag::from_bytes(tag)
    });
    let greedy = Client::connect(4, &hub.address()).await.unwrap();
    let registration = Registration { records: Vec::new(), watch: many.collect() };
    assert_eq!(refused(greedy.register(&registration).await.map(drop)).0, StatusCode::BAD_REQUEST);

    // Who takes no message holds up nobody but himself, and not for long.
    let deaf = Client::connect(5, &hub.address()).await.unwrap();
    deaf.watch(tag(8)).await.unwrap();
    assert_eq!(bert.post(tag(8), b"taken").await.unwrap(), 1);
    assert!(hub.resident_bytes() < before + (32 << 20), "{} after {before}", hub.resident_bytes());
    assert!(bert.watch(tag(7)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_going_to_move_tells_its_computers_ahead_and_its_owner_that_it_did() {
    let hub = started("");
    let anna = Client::connect(1, &hub.address()).await.unwrap();
    assert_eq!(anna.watch(tag(1)).await.unwrap().moves, None);
    hub.set("moving = { to = [\"new.example.org:4287\"], at = \"2099-12-24T18:00:00Z\" }\n");
    hub.signal(Signal::SIGHUP);
    let News::Registered(news) = anna.news().await else { panic!("no news") };
    let moves = news.moves.unwrap();
    assert_eq!(
        (moves.to.as_slice(), moves.at),
        (["new.example.org:4287".to_owned()].as_slice(), 4_101_818_400)
    );
    let bert = Client::connect(2, &hub.address()).await.unwrap();
    assert_eq!(bert.watch(tag(2)).await.unwrap().moves, Some(moves));
    assert_eq!(hub.number("moving_at_seconds"), Some(4_101_818_400));
    until("the notice", || hub.log().contains("its computers are told")).await;

    hub.set("moving = { to = [\"new.example.org:4287\"] }\n");
    hub.signal(Signal::SIGHUP);
    until("the refusal", || hub.log().contains("hub.moving.to and hub.moving.at go together")).await;
    assert!(bert.watch(tag(2)).await.unwrap().moves.is_some(), "the old settings stay in force");
}

/// Two hubs that know each other.
fn two_hubs(settings: &str) -> (HubProcess, HubProcess) {
    let (mut one, mut other) = (HubProcess::new(""), HubProcess::new(""));
    for hub in [&mut one, &mut other] {
        hub.start();
        hub.stop();
    }
    for (hub, peer) in [(&one, &other), (&other, &one)] {
        hub.set(&format!("peers = [\"{}\"]\n{settings}", peer.as_peer()));
    }
    one.start();
    other.start();
    (one, other)
}

async fn exchange(hub: &HubProcess) {
    let reachable = || {
        let page = hub.metrics();
        page.lines().any(|line| line.starts_with("kith_hub_peer_reachable{") && line.ends_with(" 1"))
    };
    until("the hubs are connected", reachable).await;
}

async fn let_in(number: u64, hub: &HubProcess) -> Client {
    let client = Client::connect(number, &hub.address()).await.unwrap();
    let invite: HubInvite = hub.kith(&["hub", "invite"]).ok().trim().parse().unwrap();
    client.show_token(&invite.token.unwrap().reveal()).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn computers_at_two_hubs_find_hear_and_reach_each_other_and_strangers_do_not() {
    let (one, other) = two_hubs("registration = \"invite\"\n");
    exchange(&one).await;
    exchange(&other).await;
    let (anna, bert) = (let_in(1, &one).await, let_in(2, &other).await);
    anna.watch(tag(1)).await.unwrap();
    let registration = Registration { watch: vec![PairTag::from_bytes(tag(2))], ..record(9) };
    bert.register(&registration).await.unwrap();

    // Records and messages, each way, with the hub they came from.
    assert_eq!(anna.search("").await.unwrap().records.len(), 1);
    assert_eq!(anna.post(tag(2), b"offer").await.unwrap(), 1);
    let News::Posted(post, by) = bert.news().await else { panic!("no message") };
    assert_eq!((post.message.as_bytes(), by), (b"offer".as_slice(), Some(one.address())));
    assert_eq!(bert.post(tag(1), b"answer").await.unwrap(), 1);
    let News::Posted(post, by) = anna.news().await else { panic!("no message") };
    assert_eq!((post.message.as_bytes(), by.as_ref()), (b"answer".as_slice(), Some(&other.address())));
    assert_eq!(
        anna.post(tag(3), b"for nobody").await.unwrap(),
        0,
        "it goes no further and does not go round"
    );

    // One session at one hub: she goes where the answer came from, as a guest of that hub.
    let guest = Client::connect(1, &by.unwrap()).await.unwrap();
    assert_eq!(
        refused(guest.watch(tag(1)).await.map(drop)).0,
        StatusCode::FORBIDDEN,
        "a guest may use the relay alone"
    );
    let at = other.address().at;
    let (mut hers, mut his) = tokio::try_join!(guest.leg(tag(5), &at), bert.leg(tag(5), &at)).unwrap();
    for leg in [&mut hers, &mut his] {
        let mut ready = [0; RELAY_READY.len()];
        tokio::time::timeout(SOON, leg.read_exact(&mut ready)).await.unwrap().unwrap();
        assert_eq!(&ready, RELAY_READY);
    }
    hers.write_all(b"through the other hub").await.unwrap();
    let mut heard = [0; 21];
    tokio::time::timeout(SOON, his.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"through the other hub");

    // Of whom no hub says that he is registered there, he is nobody's guest.
    let stranger = Client::connect(3, &other.address()).await.unwrap();
    assert_eq!(refused(stranger.leg(tag(5), &at).await.map(drop)).0, StatusCode::FORBIDDEN);
    assert!(!anna.link().is_over() && anna.heard_nothing().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_computer_is_told_its_two_hubs_and_told_again_when_one_dies_but_not_at_once_when_it_is_back() {
    let (one, mut other) = two_hubs("");
    exchange(&one).await;
    exchange(&other).await;
    let addresses = [one.address(), other.address()];
    let mut first = [0, 0];
    let mut clients = Vec::new();
    for number in 0..24 {
        let here = Client::connect(number, &addresses[0]).await.unwrap();
        let there = Client::connect(number, &addresses[1]).await.unwrap();
        let assigned = here.watch(tag(1)).await.unwrap().assigned;
        assert_eq!(assigned, there.watch(tag(1)).await.unwrap().assigned, "every hub says the same");
        let mut both = assigned.clone();
        both.sort();
        let mut all = addresses.to_vec();
        all.sort();
        assert_eq!(both, all);
        first[usize::from(assigned[0] == addresses[1])] += 1;
        clients.push(here);
    }
    assert!(first.iter().all(|count| *count > 2), "{first:?}");

    other.kill();
    for client in &clients {
        let News::Registered(news) = client.news().await else { panic!("no news") };
        assert_eq!(news.assigned, addresses[..1], "{}", client.who());
    }
    other.start();
    exchange(&one).await;
    // It has to stay for two minutes before anybody is sent to it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let again = clients[0].watch(tag(1)).await.unwrap().assigned;
    assert_eq!(again, addresses[..1]);
    for client in &clients {
        assert!(client.heard_nothing().await);
    }
    let alive = |hub: &HubProcess| {
        hub.metrics().lines().any(|line| line.starts_with("kith_hub_peer_alive{") && line.ends_with(" 0"))
    };
    assert!(alive(&one));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_changes_its_port_is_found_by_who_is_sent_to_it_by_another_one() {
    let (one, other) = two_hubs("");
    exchange(&one).await;
    exchange(&other).await;
    let (here, there) = (
        Client::connect(1, &one.address()).await.unwrap(),
        Client::connect(2, &other.address()).await.unwrap(),
    );
    let new = e2e::free_port();
    let file = one.home().join("kith.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let old = format!("port = {}\n", one.socket().port());
    std::fs::write(&file, text.replacen(&old, &format!("port = {}\n", new.number()), 1)).unwrap();
    one.signal(Signal::SIGHUP);
    for client in [&here, &there] {
        let at = |assigned: &[HubAddress]| {
            assigned.iter().find(|hub| hub.id == one.address().id).map(|hub| hub.at.clone())
        };
        let News::Registered(news) = client.news().await else { panic!("no news") };
        let expected = Some(format!("127.0.0.1:{}", new.number()));
        assert_eq!(at(&news.assigned), expected);
        assert_eq!(at(&client.watch(tag(1)).await.unwrap().assigned), expected);
    }
    let moved = HubAddress { at: format!("127.0.0.1:{}", new.number()), ..one.address() };
    assert!(Client::connect(3, &moved).await.is_ok());
}

/// What it has in memory when that has stopped falling: what the handshakes took is given back after them.
async fn settled_bytes(hub: &HubProcess) -> u64 {
    let begun = Instant::now();
    let (mut least, mut since) = (hub.resident_bytes(), begun);
    while since.elapsed() < SETTLED && begun.elapsed() < SOON {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = hub.resident_bytes();
        if now < least {
            (least, since) = (now, Instant::now());
        }
    }
    least
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_computers_are_back_soon_after_the_hub_was_killed_and_cost_it_little() {
    const COMPUTERS: u64 = 200;
    let mut hub = started("");
    let empty = hub.resident_bytes();
    let join = async |hub: HubAddress| {
        let mut joining = tokio::task::JoinSet::new();
        for number in 0..COMPUTERS {
            let hub = hub.clone();
            joining.spawn(async move {
                loop {
                    let Ok(client) = Client::connect(number, &hub).await else {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        continue;
                    };
                    if client.register(&record(u8::try_from(number % 250).unwrap())).await.is_ok() {
                        return client;
                    }
                }
            });
        }
        joining.join_all().await
    };
    let clients = join(hub.address()).await;
    assert_eq!(hub.number("computers"), Some(COMPUTERS));
    let each = settled_bytes(&hub).await.saturating_sub(empty) / COMPUTERS;
    assert!(each < MOST_FOR_ONE, "{each} bytes for each");

    hub.kill();
    for client in &clients {
        client.link().ended().await;
    }
    drop(clients);
    let begun = Instant::now();
    hub.start();
    let clients = join(hub.address()).await;
    let (took, there) = (begun.elapsed(), hub.number("computers"));
    assert_eq!(there, Some(COMPUTERS));
    assert!(took < ALL_BACK, "{took:?}");
    assert_eq!(clients[0].search("").await.unwrap().records.len(), clients.len());
}
