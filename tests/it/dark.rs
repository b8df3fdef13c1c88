//! Who is recognised at the inbound port, and who is shown nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::{Computer, free_port, need, pair, run_with, wait_until};
use serde_json::Value;

/// Longest wait for what has no bound of its own, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(45);

/// What a computer finds at an address whose friend it may be.
fn probed(by: &Computer, port: u16) -> Value {
    by.kith(&["probe", "127.0.0.1", &port.to_string(), "--json"]).stdout.parse().unwrap()
}

/// Whether `by` is shown who `whose` is, at its port.
fn recognised(by: &Computer, whose: &Computer) -> bool {
    let found = probed(by, whose.port());
    assert_eq!(found["result"], "connected", "{found}");
    match &found["device_id"] {
        Value::Null => false,
        id => {
            assert_eq!(id, &Value::from(whose.device_id()));
            true
        }
    }
}

fn database(home: &Path) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(home.join("state.db")).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    database
}

/// Something that a stopped or running computer has kept of its one friend.
fn kept_of_friend(of: &Computer, what: &str) -> Option<String> {
    let sql = format!("SELECT json_extract(document, '$.{what}') FROM friend");
    database(&of.home()).query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// A computer's friends become as they were before keys were exchanged.
fn forget_keys(of: &Computer) {
    let sql = "UPDATE friend SET document = json_remove(document, '$.dial_in', '$.recovery_key', '$.holds')";
    assert_ne!(database(&of.home()).execute(sql, []).unwrap(), 0);
}

/// A stopped computer will have no inbound port: links with it are those that it dials.
fn dials_only(computer: &Computer) {
    let path = computer.home().join("kith.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text + "\n[network]\noutbound-only = true\n").unwrap();
}

#[test]
fn whoever_knows_the_device_id_and_not_the_key_sees_a_certificate_of_nobody() {
    if !need("openssl") {
        return;
    }
    let (anna, bert) = (Computer::started("annas-computer"), Computer::started("bert"));
    pair(&anna, &bert);
    assert!(recognised(&bert, &anna));
    let seen = |name: &str| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-ign_eof", "-connect", &anna.address(), "-alpn", "kith/1", "-showcerts"]);
        command.args(["-servername", name]);
        let seen = run_with(&mut command, b"");
        seen.says(&["CN = localhost", "alert certificate required"]);
        let (_, certificate) = seen.stdout.split_once("-----BEGIN CERTIFICATE-----").unwrap();
        certificate.split_once("-----END").unwrap().0.to_owned()
    };
    let first = seen("localhost");
    assert_eq!(first, seen(&format!("{}.invalid", "a".repeat(52))), "every stranger sees the same");
    // Not even from one start to the next is it known again.
    anna.stop();
    anna.start();
    assert_ne!(first, seen("localhost"));
    wait_until("the friend to be back", SOON, || bert.linked("annas-computer"));
}

#[test]
fn a_removed_friend_is_not_recognised_any_more_once_all_others_have_the_new_key() {
    let hub = Computer::started("hub");
    let others: Vec<Computer> = ["near", "gone", "away"].iter().map(|name| Computer::started(name)).collect();
    let [near, gone, away] = others.as_slice() else { unreachable!() };
    for other in &others {
        pair(&hub, other);
        assert!(recognised(other, &hub));
    }
    away.stop();
    hub.kith(&["friend", "remove", "gone"]).ok();
    wait_until("the link of the removed friend to end", SOON, || !gone.linked("hub"));
    let of_near = "SELECT json_extract(document, '$.holds') FROM friend WHERE document LIKE '%\"near\"%'";
    wait_until("the connected friend to have the new key", SOON, || {
        database(&hub.home()).query_row(of_near, [], |row| row.get::<_, Option<u32>>(0)).unwrap() == Some(1)
    });
    assert!(recognised(near, &hub));
    assert!(hub.linked("near"));
    // Who was away has the old key and must get in by it; until then the removed one can see whose port this is, and nothing more.
    assert!(recognised(gone, &hub));
    assert!(!gone.linked("hub"));
    // Neither may the hub's next start make a difference.
    hub.stop();
    hub.start();
    dials_only(away);
    away.start();
    wait_until("the friend who was away to be back", SOON, || hub.linked("away"));
    wait_until("the near one to be back", SOON, || hub.linked("near"));
    wait_until("the removed friend to see nothing", SOON, || !recognised(gone, &hub));
    assert!(recognised(away, &hub) && recognised(near, &hub));
    let expected = gone.kith(&["probe", "127.0.0.1", &hub.port().to_string(), "--expect", "hub", "--json"]);
    let expected: Value = expected.ended(1).stdout.parse().unwrap();
    assert_eq!((&expected["result"], &expected["device_id"]), (&"other-device".into(), &Value::Null));
    gone.kith(&["ra"]).ok();
    wait_until("the removed friend to read why", SOON, || {
        gone.friend("hub")["last_error"].as_str().is_some_and(|error| error.contains("was removed"))
    });
    // The next start begins with what was decided.
    hub.stop();
    hub.start();
    assert!(!recognised(gone, &hub));
    assert!(recognised(near, &hub));
}

#[test]
fn a_friend_who_is_removed_while_he_reconnects_all_the_time_is_not_recognised_any_more() {
    let (hub, gone) = (Computer::started("hub"), Computer::started("gone"));
    pair(&hub, &gone);
    let (begun, stop) = (Instant::now(), AtomicBool::new(false));
    let since = hub.friend("gone")["connected_since"].clone();
    let removed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) && begun.elapsed() < SOON {
                // Only a link is made anew: once he is removed, many dials would be a stranger's flood, to which nobody answers.
                if gone.linked("hub") {
                    gone.kith(&["ra"]);
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        wait_until("him to reconnect", SOON, || hub.friend("gone")["connected_since"] != since);
        let removed = hub.kith(&["friend", "remove", "gone"]);
        stop.store(true, Ordering::Relaxed);
        removed
    });
    removed.ok();
    wait_until("the last link to end", SOON, || !gone.linked("hub"));
    // Nobody else has to be told the new key: the old one is worth nothing from now on.
    assert!(!recognised(&gone, &hub));
}

#[test]
fn a_friend_who_lost_our_key_and_can_not_be_dialled_is_recognised_by_his_own() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    wait_until("anna to be told bert's own key", SOON, || kept_of_friend(&anna, "recovery_key").is_some());
    bert.stop();
    forget_keys(&bert);
    dials_only(&bert);
    bert.start();
    wait_until("both to be linked", SOON, || bert.linked("anna") && anna.linked("bert"));
    wait_until("bert to have the key again", SOON, || kept_of_friend(&bert, "dial_in").is_some());
}

#[test]
fn a_probe_shows_an_identity_that_is_not_ours() {
    let (anna, bert) = (Computer::new("anna", ""), Computer::new("bert", ""));
    for computer in [&anna, &bert] {
        computer.start_with(&[("KITH_LOG", "info,kith_listener=debug")]);
    }
    pair(&bert, &anna);
    let said = |by: &Computer, what: &str| -> Vec<String> {
        by.log().lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
    };
    let refused = "is no friend and holds no open invite";
    // A pairing doesn't begin with dials that are refused, in neither direction.
    assert_eq!([said(&anna, refused), said(&bert, refused)].concat(), Vec::<String>::new());
    assert!(recognised(&anna, &bert));
    wait_until("the prober to be refused", SOON, || !said(&bert, refused).is_empty());
    let id = anna.device_id();
    let shown = said(&bert, refused);
    assert!(!shown.iter().any(|line| line.contains(&id[..7])), "{shown:#?}");
    let admitted = said(&bert, "admitted");
    assert!(
        admitted.iter().any(|line| line.contains(&id[..7])),
        "anna's link shows who she is: {admitted:#?}"
    );
}

/// A way to a port on which the first bytes of the dialer are held up.
struct SlowWay {
    port: u16,
    greetings: Arc<AtomicUsize>,
}

impl SlowWay {
    fn to(port: u16, held_up: Duration) -> Self {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Self { port: door.local_addr().unwrap().port(), greetings: Arc::default() };
        let greetings = way.greetings.clone();
        std::thread::spawn(move || {
            while let Ok((dialer, _)) = door.accept() {
                let Ok(listener) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let greetings = greetings.clone();
                std::thread::spawn(move || hold_up(&dialer, &listener, held_up, &greetings));
            }
        });
        way
    }
}

fn hold_up(dialer: &TcpStream, listener: &TcpStream, held_up: Duration, greetings: &AtomicUsize) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut first = true;
            pass_on(listener, dialer, |bytes| {
                if std::mem::take(&mut first) && bytes.starts_with(b"this port is open") {
                    greetings.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        let mut first = true;
        pass_on(dialer, listener, |_| {
            if std::mem::take(&mut first) {
                std::thread::sleep(held_up);
            }
        });
    });
}

fn pass_on(mut from: &TcpStream, mut to: &TcpStream, mut before: impl FnMut(&[u8])) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        before(&bytes[..length]);
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    // The other half may be closed already.
    drop(to.shutdown(Shutdown::Write));
}

#[test]
fn a_client_hello_that_arrives_after_the_greeting_still_makes_a_link() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    // Anna moves where bert doesn't know, and he can't be dialled: the slow way is the only one.
    bert.stop();
    anna.stop();
    let moved = free_port();
    let text = std::fs::read_to_string(anna.home().join("kith.toml")).unwrap();
    let text = text.replace(&format!("port = {}", anna.port()), &format!("port = {}", moved.number()));
    std::fs::write(anna.home().join("kith.toml"), text).unwrap();
    anna.start();
    let way = SlowWay::to(moved.number(), Duration::from_secs(5));
    dials_only(&bert);
    bert.start();
    let begun = Instant::now();
    bert.kith(&["friend", "address", "anna", &format!("127.0.0.1:{}", way.port)]).ok();
    wait_until("the link", SOON, || bert.linked("anna") && anna.linked("bert"));
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_ne!(way.greetings.load(Ordering::Relaxed), 0, "the dialer has read the greeting before");
    assert_eq!(bert.friend("anna")["address"], format!("127.0.0.1:{}", way.port));
    // And it carries whatever a link carries.
    let source = bert.folder("source");
    std::fs::write(source.join("file"), b"content").unwrap();
    bert.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "anna"]).ok();
    bert.kith(&["backup"]).ok();
}
