//! Starting, ending and changing a daemon; links that come back.

use std::net::TcpListener;
use std::time::Duration;

use e2e::{Computer, Stalls, alone, free_port, pair, wait_until};
use nix::sys::signal::Signal;

/// A daemon that is asked to end has ended within this time.
const ENDED: Duration = Duration::from_secs(5);
/// A friend who is there again is linked within this time.
const LINKED_AGAIN: Duration = Duration::from_secs(5);
/// Longest wait for what comes by itself, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(30);
/// Longest wait for the end of a link of which the other side is gone: silence alone ends it after 30 s.
const NOTICED: Duration = Duration::from_secs(20);

#[test]
fn a_friend_who_was_restarted_is_linked_within_five_seconds() {
    let _alone = alone();
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    e2e::promised("the link", LINKED_AGAIN, || {
        bert.stop();
        wait_until("the end of the link", NOTICED, || !anna.linked("bert"));
        link_after_start(&bert, &anna)
    });
    // The same without a goodbye, and with the other side dialling.
    e2e::promised("the link", LINKED_AGAIN, || {
        anna.kill();
        wait_until("the end of the link", NOTICED, || !bert.linked("anna"));
        link_after_start(&anna, &bert)
    });
}

/// Starts one of two friends. From when it is ready until both are linked, as they note it themselves: a test may look late.
fn link_after_start(started: &Computer, other: &Computer) -> Duration {
    let both = [started, other];
    let before = both.map(|computer| computer.log().len());
    started.start();
    let noted = |place: usize, what: &str| {
        let log = both[place].log();
        let line = log[before[place]..].lines().rfind(|line| line.contains(what))?;
        line.split_whitespace().next()?.parse::<jiff::Timestamp>().ok()
    };
    let ((ready, linked), _) = e2e::wait_for("the link", SOON, || {
        let is_linked = started.linked(other.name()) && other.linked(started.name());
        let linked = noted(0, ": linked ")?.max(noted(1, ": linked ")?);
        is_linked.then_some((noted(0, "INFO ready ")?, linked))
    });
    // It may be linked before it calls itself ready.
    Duration::try_from(linked.duration_since(ready)).unwrap_or_default()
}

#[test]
fn ra_drops_the_links_and_makes_them_anew() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let before = anna.friend("bert")["connected_since"].clone();
    anna.kith(&["ra"]).ok();
    wait_until("a new link", SOON, || {
        let friend = anna.friend("bert");
        friend["connected"] == true && friend["connected_since"] != before && bert.linked("anna")
    });
}

#[test]
fn a_restart_by_command_keeps_process_and_friends() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let (pid, id) = (anna.pid(), anna.device_id());
    anna.kith(&["restart"]).says(&["was restarted"]).ok();
    assert_eq!(anna.pid(), pid);
    assert_eq!(anna.device_id(), id);
    anna.wait_ready();
    wait_until("the link", SOON, || anna.linked("bert") && bert.linked("anna"));
    anna.kith(&["logs"]).says(&["starting anew", "ready"]).ok();
    anna.stop();
}

#[test]
fn sigterm_ends_a_daemon_cleanly_within_five_seconds_even_at_work() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    e2e::write_random(&source, 3, 200 << 20, 20 << 20);
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
    std::thread::scope(|scope| {
        let backup = scope.spawn(|| anna.kith(&["backup"]));
        wait_until("the backup to be under way", SOON, || {
            // He is held but for moments, until she was asked to end: the backup must not be over before that.
            bert.signal(Signal::SIGSTOP);
            let is_under_way = anna.job("bert")["progress"]["bytes_sent"].as_u64() > Some(10 << 20);
            if is_under_way {
                anna.signal(Signal::SIGTERM);
            }
            bert.signal(Signal::SIGCONT);
            is_under_way
        });
        ends_in_time(&anna);
        let told = backup.join().unwrap();
        assert_ne!(told.code, 0, "a backup that was cut off is no success: {told}");
        told.says(&["error"]);
    });
    // What still blocks a thread may say something after the last word.
    let log = anna.log();
    let mut of_the_end = log.lines().rev().take_while(|line| !line.ends_with("INFO ending"));
    assert!(of_the_end.any(|line| line.ends_with("INFO ended")), "{log}");
    for left in ["control.sock", "token", "ports.json"] {
        assert!(!anna.home().join("run").join(left).exists(), "{left} was left behind");
    }
    anna.kith(&["status"]).says(&["no daemon is running", "kith daemon"]).ended(4);
    anna.start();
    anna.kith(&["backup"]).ok();
    ends_in_time(&bert);
}

/// While the machine stands still no daemon can end.
#[track_caller]
fn ends_in_time(computer: &Computer) {
    let stalls = Stalls::watch();
    let (took, stalled) = (computer.stop(), stalls.longest());
    assert!(took < ENDED + stalled, "it took {took:?}, and the machine stood still for {stalled:?}");
}

#[test]
fn two_daemons_on_one_home_are_refused() {
    let anna = Computer::started("anna");
    let second = anna.failing_daemon();
    second.ended(1).says(&["already runs", &format!("pid {}", anna.pid()), "another --home"]);
    assert_eq!(anna.status()["name"], "anna");
    // A daemon that was killed does not stand in the way.
    anna.kill();
    anna.start();
}

#[test]
fn sighup_reads_the_settings_again_and_keeps_the_old_ones_when_they_are_wrong() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let file = anna.home().join("kith.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("name = \"anna\"", "name = \"annabel\"")).unwrap();
    anna.signal(Signal::SIGHUP);
    wait_until("the new name", SOON, || anna.status()["name"] == "annabel");
    wait_until("the friend to hear of it", SOON, || {
        bert.kith(&["friends", "--json"]).json()[0]["name"] == "annabel"
    });
    std::fs::write(&file, format!("{text}\n[vault]\nno-such-key = 1\n")).unwrap();
    anna.signal(Signal::SIGHUP);
    wait_until("the complaint", SOON, || anna.log().contains("no-such-key"));
    assert_eq!(anna.status()["name"], "annabel");
    assert!(anna.linked("bert"));
}

#[test]
fn a_changed_port_is_found_by_the_friend() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let new = free_port();
    anna.kith(&["settings", "set", "listener.port", &new.number().to_string()]).ok();
    wait_until("the new port", SOON, || {
        let status = anna.status();
        status["listener"]["port"] == new.number() && status["listener"]["state"] == "listening"
    });
    let address = format!("127.0.0.1:{}", new.number());
    wait_until("the friend to hear of it", SOON, || {
        bert.friend("anna")["internal"] == serde_json::json!([address])
    });
    assert!(anna.linked("bert"), "the move broke the link");
    let text = std::fs::read_to_string(anna.home().join("kith.toml")).unwrap();
    assert!(text.contains(&format!("port = {}", new.number())), "{text}");
    bert.kith(&["probe", "127.0.0.1", &new.number().to_string()]).says(&["connected", "anna"]).ok();
    let old = bert.kith(&["probe", "127.0.0.1", &anna.port().to_string(), "--json"]);
    assert_eq!(old.ended(1).stdout.parse::<serde_json::Value>().unwrap()["result"], "refused");
    // Bert can't be dialled: only he can make the link, and only at the new port.
    bert.kith(&["settings", "set", "network.outbound-only", "true"]).ok();
    anna.stop();
    anna.start();
    wait_until("the link", SOON, || anna.linked("bert") && bert.linked("anna"));
    assert_eq!(bert.friend("anna")["address"], address.as_str());
}

#[test]
fn a_friend_who_moved_unnoticed_is_found_by_an_address_given_by_hand() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    // Anna gets another port while bert is away, and can't reach him herself.
    bert.kith(&["settings", "set", "network.outbound-only", "true"]).ok();
    bert.stop();
    let new = free_port();
    anna.kith(&["settings", "set", "listener.port", &new.number().to_string()]).ok();
    bert.start();
    wait_until("bert to say what is wrong", SOON, || {
        bert.friend("anna")["last_error"].as_str().is_some_and(|error| error.contains("refused"))
    });
    assert!(!bert.linked("anna"));
    let address = format!("127.0.0.1:{}", new.number());
    bert.kith(&["friend", "address", "anna", &address]).ok();
    wait_until("the link", SOON, || anna.linked("bert") && bert.linked("anna"));
    assert_eq!(bert.friend("anna")["configured"], serde_json::json!([address]));
    bert.kith(&["friend", "address", "anna", "no port"]).says(&["HOST:PORT"]).ended(2);
}

#[test]
fn a_taken_control_port_is_replaced_and_the_command_line_finds_the_other() {
    let anna = Computer::new("anna", "");
    let (api, app) = anna.control_ports();
    let holders: Vec<TcpListener> =
        [api, app].iter().map(|port| TcpListener::bind(("127.0.0.1", *port)).unwrap()).collect();
    anna.start();
    let control = anna.status()["control"].clone();
    let (other_api, other_app) = (control["port"].as_u64().unwrap(), control["app_port"].as_u64().unwrap());
    assert!(other_api != u64::from(api) && other_app != u64::from(app), "{control}");
    let log = anna.log();
    assert!(log.contains(&format!("port {api} of the API is in use by")), "{log}");
    assert!(log.contains(&format!("process {}", std::process::id())), "the holder is not named: {log}");
    assert!(log.contains(&format!("port {other_api} is used instead")), "{log}");
    anna.kith(&["open", "--print"]).says(&[&format!("http://127.0.0.1:{other_app}/")]).ok();
    anna.kith(&["ports"]).says(&[&format!("127.0.0.1:{other_api}"), &format!("127.0.0.1:{other_app}")]).ok();
    drop(holders);
    anna.stop();
    anna.start();
    assert_eq!(anna.status()["control"]["port"], api);
}

#[test]
fn a_port_that_becomes_free_is_taken_without_a_restart() {
    let anna = Computer::new("anna", "");
    let holder = TcpListener::bind(("127.0.0.1", anna.port())).unwrap();
    anna.start();
    let status = anna.status();
    assert_eq!(status["listener"]["state"], "error", "{status:#}");
    assert_eq!(status["listener"]["port"], anna.port(), "the port must not move silently");
    drop(holder);
    wait_until("the port", SOON, || anna.status()["listener"]["state"] == "listening");
}

#[test]
fn whoever_finds_the_daemon_ready_finds_its_port_open() {
    let anna = Computer::started("anna");
    anna.stop();
    for _ in 0..10 {
        anna.start();
        // The first answer of all, not only a later one.
        let log = anna.log();
        let last = log.rfind("ready").unwrap();
        assert!(log[..last].rfind("listening for friends") > log[..last].rfind("vault opened"), "{log}");
        anna.stop();
    }
}
