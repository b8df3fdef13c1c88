//! Friends who can't be dialled, or whose addresses nobody knows any more, meet by the help of a friend they have in common.

use std::time::{Duration, Instant};

use e2e::lab::{Host, Lab, Site, SiteKind};
use e2e::{Computer, assert_same, need_lab, pair, say, wait_until, write_random};

/// Longest wait for a link, on a machine with much else to do.
const LINKED: Duration = Duration::from_secs(45);

/// Three friends, of whom carol is at home behind a router with UPnP, and the others are elsewhere.
struct Friends {
    lab: Lab,
    anna: Computer,
    bert: Computer,
    carol: Computer,
    // Her home.
    _site: Site,
}

impl Friends {
    /// Makes friends of them where they can be dialled. Only carol runs then.
    fn meet(title: &str) -> Self {
        let lab = Lab::new(title);
        let site = lab.site(SiteKind::upnp());
        let carol = Computer::in_host("carol", site.host());
        let [anna, bert] = ["anna", "bert"].map(|name| Computer::in_host(name, &lab.public_host()));
        carol.start();
        wait_until("carol's port to be mapped", LINKED, || carol.status()["mapping"]["state"] == "mapped");
        anna.start();
        bert.start();
        pair(&carol, &anna);
        pair(&carol, &bert);
        pair(&anna, &bert);
        for (one, other) in [(&anna, &carol), (&bert, &carol), (&anna, &bert)] {
            wait_linked(one, other);
        }
        anna.stop();
        bert.stop();
        Self { lab, anna, bert, carol, _site: site }
    }

    /// Carries the two others to where they are now, and starts them.
    fn carry(&mut self, anna_to: &Host, bert_to: &Host) {
        self.anna.carry_to(anna_to, "");
        self.bert.carry_to(bert_to, "");
        self.anna.start();
        self.bert.start();
    }

    /// Waits until the two are linked by such a path; says how long that took.
    #[track_caller]
    fn wait_path(&self, path: &str) -> Duration {
        let begun = Instant::now();
        for (one, other) in [(&self.anna, "bert"), (&self.bert, "anna")] {
            wait_until(&format!("{} to see {other} {path}", one.name()), LINKED, || {
                one.friend(other)["path"] == path
            });
        }
        begun.elapsed()
    }
}

#[track_caller]
fn wait_linked(one: &Computer, other: &Computer) {
    wait_until(&format!("{} and {} to be linked", one.name(), other.name()), LINKED, || {
        one.linked(other.name()) && other.linked(one.name())
    });
}

#[test]
fn behind_two_plain_routers_friends_punch_by_the_help_of_a_friend_with_upnp_and_no_hub() {
    if !need_lab() {
        return;
    }
    let mut friends = Friends::meet("punching by a friend");
    let homes = [(); 2].map(|()| friends.lab.site(SiteKind::plain()));
    friends.carry(homes[0].host(), homes[1].host());
    let took = friends.wait_path("punched");
    say(&format!("punched after {took:?}"));
    back_up_and_restore(&friends.anna);
}

#[test]
fn behind_two_symmetric_routers_friends_are_relayed_by_the_friend_they_have_in_common() {
    if !need_lab() {
        return;
    }
    let mut friends = Friends::meet("relayed by a friend");
    let homes = [(); 2].map(|()| friends.lab.site(SiteKind::plain().symmetric()));
    friends.carry(homes[0].host(), homes[1].host());
    let took = friends.wait_path("relayed");
    say(&format!("relayed after {took:?}"));
    back_up_and_restore(&friends.anna);
}

#[test]
fn friends_find_each_other_after_both_have_moved() {
    if !need_lab() {
        return;
    }
    let mut friends = Friends::meet("found by records");
    let hosts = [(); 2].map(|()| friends.lab.public_host());
    friends.carry(&hosts[0], &hosts[1]);
    let took = friends.wait_path("public");
    say(&format!("found after {took:?}"));
    let found = "a friend's addresses were found";
    let logs = [friends.anna.log(), friends.bert.log()];
    assert!(logs.iter().any(|log| log.contains(found)), "{}", logs.concat());
    // Their names and addresses are nothing that carol's computer was told.
    let carried = friends.carol.log();
    for host in &hosts {
        let address = host.address().to_string();
        assert!(!carried.lines().any(|line| line.contains(&address) && line.contains("record")), "{carried}");
    }
}

/// What was stored is what comes back.
#[track_caller]
fn back_up_and_restore(anna: &Computer) {
    let (source, target) = (anna.folder("source"), anna.folder("restored"));
    write_random(&source, 1, 5 << 20, 1 << 20);
    anna.kith(&["set", "add", "all", source.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup", "all"]).ok();
    anna.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    assert_same(&source, &target.join(source.strip_prefix("/").unwrap()));
}
