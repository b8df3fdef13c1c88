//! What becomes of two friends who can only be relayed when hubs die, return, and move. All of it on loopback: neither of the two takes calls.

use std::time::{Duration, Instant};

use e2e::hubs::HubProcess;
use e2e::{Computer, Port, free_port, pair, say, wait_until};
use kith_identity::DeviceId;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Longest wait for what has no bound of its own, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(45);
/// For so long the two may be without a link.
const AWAY: Duration = Duration::from_secs(10);
/// For so long it is watched that nothing changes.
const WATCHED: Duration = Duration::from_secs(15);
/// Computers among which there are two of any kind.
const MOST_TRIED: usize = 40;
/// Links that are made anew until one is relayed by the hub that is meant.
const MOST_ANEW: usize = 10;

/// Two hubs that exchange with each other.
fn two_hubs() -> [HubProcess; 2] {
    let mut hubs = [HubProcess::new(""), HubProcess::new("")];
    for hub in &mut hubs {
        hub.start();
        hub.stop();
    }
    let named = [hubs[1].as_peer(), hubs[0].as_peer()];
    for (hub, peer) in hubs.iter_mut().zip(named) {
        hub.set(&format!("peers = [\"{peer}\"]\n"));
        hub.start();
    }
    for hub in &hubs {
        wait_until("the hubs to be connected", SOON, || {
            let page = hub.metrics();
            page.lines().any(|line| line.starts_with("kith_hub_peer_alive{") && line.ends_with(" 1"))
        });
    }
    hubs
}

/// Which of the hubs is the first one of a computer: docs/protocol.md, "Hubs".
fn primary(who: &Computer, hubs: &[HubProcess; 2]) -> usize {
    let who: DeviceId = who.device_id().parse().unwrap();
    let weight = |hub: &HubProcess| {
        let digest = Sha256::new().chain_update(b"kith/v1 assignment\0").chain_update(who.as_bytes());
        digest.chain_update(hub.address().id.as_bytes()).finalize()
    };
    usize::from(weight(&hubs[1]) > weight(&hubs[0]))
}

/// Two computers with these first hubs.
fn computers(hubs: &[HubProcess; 2], wanted: [usize; 2]) -> [Computer; 2] {
    [("anna", wanted[0]), ("bert", wanted[1])].map(|(name, wanted)| {
        let mut tries = (0..MOST_TRIED).map(|_| {
            let computer = Computer::new(name, "");
            // Its identity is made at its first start.
            computer.start();
            computer.stop();
            computer
        });
        tries.find(|computer| primary(computer, hubs) == wanted).unwrap()
    })
}

/// Friends who only make calls, and what they know of hubs.
struct Friends([Computer; 2]);

impl Friends {
    /// Makes friends of them while they can still be dialled; from then on they can't.
    fn meet(computers: [Computer; 2], hubs: [&HubProcess; 2]) -> Self {
        let [one, other] = &computers;
        one.start();
        other.start();
        pair(one, other);
        for (computer, hub) in computers.iter().zip(hubs) {
            computer.stop();
            let network = format!("[network]\noutbound-only = true\nhubs = [\"{}\"]\n", hub.address());
            std::fs::write(computer.home().join("kith.toml"), computer.settings_text(&network)).unwrap();
        }
        for computer in &computers {
            computer.start();
        }
        Self(computers)
    }

    /// What each of the two shows of the other.
    fn seen(&self) -> [Value; 2] {
        let [one, other] = &self.0;
        [one.friend(other.name()), other.friend(one.name())]
    }

    fn are_relayed(&self) -> bool {
        self.seen().iter().all(|friend| friend["path"] == "relayed")
    }

    /// Whether the link of both leads to this hub's port: all hubs here have one name, that of their host.
    fn are_relayed_by(&self, hub: &HubProcess) -> bool {
        let at = hub.socket().to_string();
        self.are_relayed() && self.seen().iter().all(|friend| friend["address"] == at.as_str())
    }

    /// Since when each of the two has had this link.
    fn since(&self) -> [Value; 2] {
        self.seen().map(|friend| friend["connected_since"].clone())
    }

    #[track_caller]
    fn wait_relayed(&self) {
        wait_until("both to be relayed", SOON, || self.are_relayed());
    }

    /// Waits for the link that follows the one that began at `before`; both ends answer over it.
    #[track_caller]
    fn wait_another(&self, before: &[Value; 2], begun: Instant) -> Duration {
        wait_until("another relayed link", SOON, || {
            let now = self.since();
            self.are_relayed() && now[0] != before[0] && now[1] != before[1]
        });
        begun.elapsed()
    }

    /// The link stays the one it is.
    #[track_caller]
    fn assert_stays(&self, what: &str) {
        let before = self.since();
        let begun = Instant::now();
        while begun.elapsed() < WATCHED {
            assert_eq!(self.since(), before, "{what}: another link after {:?}", begun.elapsed());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Waits until the one hub relays and the other has no session any more: one that was agreed to in vain is kept for 15 s.
#[track_caller]
fn wait_only_relay(one: &HubProcess, other: Option<&HubProcess>) {
    wait_until("one hub to relay alone", SOON, || {
        let sessions = |hub: &HubProcess| hub.number("relay_sessions");
        sessions(one) == Some(1) && other.is_none_or(|other| sessions(other) == Some(0))
    });
}

/// A backup over the link.
#[track_caller]
fn back_up(friends: &Friends) {
    let [one, other] = &friends.0;
    let source = one.folder("source");
    e2e::write_random(&source, 1, 2 << 20, 1 << 20);
    one.kith(&["set", "add", "all", source.to_str().unwrap(), "--to", other.name()]).ok();
    one.kith(&["backup", "all"]).ok();
}

#[test]
fn friends_at_different_hubs_are_linked_soon_although_both_start_at_the_same_time() {
    let hubs = two_hubs();
    let friends = Friends::meet(computers(&hubs, [0, 1]), [&hubs[0], &hubs[1]]);
    let begun = Instant::now();
    friends.wait_relayed();
    let mut took = vec![begun.elapsed()];
    for _ in 0..2 {
        for computer in &friends.0 {
            computer.stop();
        }
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for computer in &friends.0 {
                scope.spawn(|| computer.start());
            }
        });
        friends.wait_relayed();
        took.push(begun.elapsed());
    }
    say(&format!("friends at different hubs were linked after {took:?}"));
    assert!(took.iter().all(|took| *took < Duration::from_secs(20)), "{took:?}");
    back_up(&friends);
}

#[test]
fn when_the_primary_hub_is_killed_the_alternate_relays_and_its_return_moves_nobody() {
    let mut hubs = two_hubs();
    // They are told of the second hub alone: that the first is theirs, and where it is, follows from the assignment.
    let friends = Friends::meet(computers(&hubs, [0, 0]), [&hubs[1], &hubs[1]]);
    friends.wait_relayed();
    wait_until("the assigned hub to have both", SOON, || hubs[0].number("computers") == Some(2));
    for _ in 0..MOST_ANEW {
        if friends.are_relayed_by(&hubs[0]) {
            break;
        }
        // They met before both had moved to it.
        let before = friends.since();
        friends.0[0].kith(&["ra"]).ok();
        friends.wait_another(&before, Instant::now());
    }
    wait_only_relay(&hubs[0], Some(&hubs[1]));

    let before = friends.since();
    let begun = Instant::now();
    hubs[0].kill();
    let took = friends.wait_another(&before, begun);
    say(&format!("relayed by the alternate after {took:?}"));
    assert!(took < AWAY, "{took:?}");
    wait_only_relay(&hubs[1], None);
    back_up(&friends);

    hubs[0].start();
    friends.assert_stays("the primary is back");
    wait_only_relay(&hubs[1], None);
}

#[test]
fn a_hub_that_is_killed_and_started_again_soon_has_its_computers_and_their_link_back() {
    let mut hub = HubProcess::new("");
    hub.start();
    let friends = Friends::meet(["anna", "bert"].map(|name| Computer::new(name, "")), [&hub, &hub]);
    friends.wait_relayed();
    // The last time it is away for longer, so that pauses have grown. How soon whoever is dialled again is shown in virtual time: here, a
    // loaded machine may make one dial in vain once more.
    for away in [0, 1, 3].map(Duration::from_secs) {
        let before = friends.since();
        hub.kill();
        std::thread::sleep(away);
        hub.start();
        let returned = Instant::now();
        wait_until("both to be back", SOON, || hub.number("computers") == Some(2));
        let back = returned.elapsed();
        let linked = friends.wait_another(&before, returned);
        say(&format!(
            "away for {away:?}: after its return all were back within {back:?}, linked within {linked:?}"
        ));
    }
}

#[test]
fn computers_follow_a_hub_that_told_them_ahead_where_it_will_be() {
    let mut hub = HubProcess::new("");
    hub.start();
    let computers = ["anna", "bert"].map(|name| Computer::new(name, ""));
    let friends = Friends::meet(computers, [&hub, &hub]);
    friends.wait_relayed();
    let port: Port = free_port();
    let lead = Duration::from_secs(20);
    let at = (jiff::Timestamp::now() + lead).round(jiff::Unit::Second).unwrap();
    let moving = format!("moving = {{ to = [\"127.0.0.1:{}\"], at = \"{at}\" }}\n", port.number());
    hub.set(&moving);
    hub.signal(nix::sys::signal::Signal::SIGHUP);
    let told = "a hub moves to another address";
    wait_until("both to be told", SOON, || friends.0.iter().all(|one| one.log().contains(told)));
    assert!(friends.are_relayed(), "nothing changes before");

    // The hub goes a moment before its time: no two clocks are the same.
    while jiff::Timestamp::now() + Duration::from_millis(1500) < at {
        std::thread::sleep(Duration::from_millis(20));
    }
    let before = friends.since();
    let begun = Instant::now();
    hub.kill();
    // Until then it goes on to say so: who heard nothing of it any more would take it that it stays.
    let old = hub.move_to(port, &moving);
    hub.start();
    let took = friends.wait_another(&before, begun);
    say(&format!("relayed at the new address after {took:?}"));
    assert!(took < AWAY, "{took:?}");
    assert_eq!(hub.number("computers"), Some(2));
    drop(old);
    // What was told is remembered: who starts later finds it as well, though his settings name the old address.
    friends.0[0].stop();
    friends.0[0].start();
    friends.wait_relayed();
    friends.assert_stays("after the move");
}
