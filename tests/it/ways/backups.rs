//! What happens on the way while a backup is under way: it is completed, what arrived is whole, and little is sent twice.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::lab::{Distance, Host, Lab, Site, SiteKind};
use e2e::{Computer, befriend, need, need_lab, run, say, wait_for, wait_until, write_random};

use super::{hubs, settled};

/// What is backed up: at the width of the line it takes half a minute.
const SIZE: u64 = 160 << 20;
const FILE: u64 = 16 << 20;
/// Enough is there to be in the middle.
const MIDDLE: u64 = 32 << 20;
/// Whoever was sent so much of it within a moment carries it: nothing else that the two say to it is as long.
const CARRIED: u64 = 8 << 20;
/// The line of the one who backs up.
const LINE: Distance = Distance {
    one_way: Duration::from_millis(5),
    bits_per_second: Some(40_000_000),
    queue_bytes: Some(512 << 10),
};
/// Bytes that may be sent more than once. What the network adds to every packet is counted with them.
const TWICE: u64 = 64 << 20;
/// Whichever of them is there first.
const DIRECT: [&str; 2] = ["mapped", "punched"];
const LINKED: Duration = Duration::from_secs(60);
/// For all of it, whatever happens meanwhile.
const COMPLETED: Duration = Duration::from_secs(400);
/// Who is relayed looks for something better every 60 s at the latest.
const BETTER: Duration = Duration::from_secs(75);

fn ready() -> bool {
    need_lab() && need("python3") && need("restic")
}

/// A backup from anna to bert, who are friends and stand in homes that are far apart.
struct Backup {
    anna: Computer,
    bert: Computer,
    near: Host,
    sent_before: u64,
    command: Child,
}

impl Backup {
    /// Starts it, as soon as the two are linked by one of these ways, and waits until it is in the middle.
    fn start(anna: Computer, bert: Computer, near: &Host, paths: &[&str]) -> Self {
        wait_until(&format!("a link that is {}", paths.join(" or ")), LINKED, || {
            let path = anna.friend("bert")["path"].as_str().unwrap_or_default().to_owned();
            paths.contains(&path.as_str()) && bert.friend("anna")["connected"] == true
        });
        let source = anna.folder("source");
        write_random(&source, 7, SIZE, FILE);
        anna.kith(&["set", "add", "media", source.to_str().unwrap(), "--to", "bert"]).ok();
        let sent_before = near.traffic().sent;
        let mut command = anna.command(&["backup", "media"]);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let command = command.spawn().unwrap();
        let mut backup = Self { anna, bert, near: near.clone(), sent_before, command };
        let took = backup.wait_stored(MIDDLE);
        say(&format!("in the middle after {took:.0?}"));
        backup
    }

    /// Waits until so much has arrived; it must not be over by then.
    fn wait_stored(&mut self, bytes: u64) -> Duration {
        wait_until("the backup to be in the middle", COMPLETED, || {
            self.still_runs();
            self.bert.friend("anna")["stored_here_bytes"].as_u64().unwrap() >= bytes
        })
    }

    fn still_runs(&mut self) {
        let ended = self.command.try_wait().unwrap();
        assert!(ended.is_none(), "it is over already: {ended:?}\n{}", self.anna.log());
    }

    fn path(&self) -> String {
        self.anna.friend("bert")["path"].as_str().unwrap_or("none").to_owned()
    }

    /// Waits for its end, and judges what there is.
    fn ends_whole(mut self) {
        let begun = Instant::now();
        let (status, _) = wait_for("the end of the backup", COMPLETED, || self.command.try_wait().unwrap());
        assert!(status.success(), "the backup ended with {status}\n{}", self.anna.log());
        let sent = self.near.traffic().sent - self.sent_before;
        let path = self.path();
        let archive = self.bert.archive_of(&self.anna);
        let stored = bytes_below(&archive);
        let twice = sent.saturating_sub(stored);
        say(&format!(
            "completed {:.0?} later, {path}; sent {} MiB for {} MiB",
            begun.elapsed(),
            sent >> 20,
            stored >> 20
        ));
        assert!(stored > SIZE, "{stored} bytes for {SIZE} that can't be made smaller");
        assert!(twice <= TWICE, "{twice} bytes were sent that are not there: {sent} for {stored}");
        self.anna.stop();
        self.bert.stop();
        check_by_restic(&self.anna, &archive);
    }
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() { bytes_below(&entry.path()) } else { metadata.len() }
        })
        .sum()
}

/// Stock restic reads all of it.
fn check_by_restic(anna: &Computer, archive: &Path) {
    let keys = archive.join("keys");
    std::fs::create_dir_all(&keys).unwrap();
    let key: PathBuf = anna.folder("out").join("key");
    let exported = anna.kith(&["recovery", "restic-key", "bert", "--out", key.to_str().unwrap()]);
    let password = exported.ok().to_owned();
    let hash = run(Command::new("sha256sum").arg(&key));
    std::fs::copy(&key, keys.join(hash.ok().split_whitespace().next().unwrap())).unwrap();
    let mut restic = Command::new("restic");
    restic.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    restic.env("RESTIC_PASSWORD", password);
    restic.args(["--no-cache", "--no-lock", "check", "--read-data", "--repo"]).arg(archive);
    run(&mut restic).says(&["no errors were found"]).ok();
}

/// A site at the end of the line, and one that is as wide as this machine can be.
fn sites(lab: &Lab, near: SiteKind, far: SiteKind) -> [Site; 2] {
    [lab.site(near.distant(LINE)), lab.site(far)]
}

/// Ends the one that carries the backup, as a power cut does. Gives back the place of the other.
fn kill_the_relay(backup: &mut Backup, helpers: &[(Computer, Host)]) -> usize {
    let received = || helpers.iter().map(|(_, host)| host.traffic().received).collect::<Vec<_>>();
    let before = received();
    // What is stored says little of who carried it: packs may have been nearly there.
    let (busiest, _) = wait_for("one of them to carry the backup", COMPLETED, || {
        backup.still_runs();
        let now = received();
        (0..now.len()).find(|place| now[*place] - before[*place] >= CARRIED)
    });
    say(&format!("{} carries it and is killed", helpers[busiest].0.name()));
    helpers[busiest].0.kill();
    1 - busiest
}

#[test]
fn both_sides_get_other_addresses_during_a_backup() {
    if !ready() {
        return;
    }
    let lab = Lab::new("both move");
    let (_hubs, settings) = hubs(&lab, 1);
    let sites = sites(&lab, SiteKind::upnp(), SiteKind::upnp());
    let (anna, bert) = settled(&lab, &sites, &settings, |_| {});
    let backup = Backup::start(anna, bert, sites[0].host(), &DIRECT);
    for site in &sites {
        site.router().change_wan_address();
    }
    backup.ends_whole();
}

#[test]
fn the_hub_that_relays_dies_during_a_backup_and_another_one_takes_its_place() {
    if !ready() {
        return;
    }
    let lab = Lab::new("hub dies");
    let (hubs, settings) = hubs(&lab, 2);
    let sites = sites(&lab, SiteKind::plain().symmetric(), SiteKind::plain().symmetric());
    let (anna, bert) = settled(&lab, &sites, &settings, |_| {});
    let mut backup = Backup::start(anna, bert, sites[0].host(), &["relayed"]);
    kill_the_relay(&mut backup, &hubs);
    backup.ends_whole();
}

#[test]
fn the_friend_who_relays_dies_during_a_backup_and_another_one_takes_his_place() {
    if !ready() {
        return;
    }
    let lab = Lab::new("friend dies");
    let friends = ["carl", "dora"].map(|name| {
        let host = lab.public_host();
        let friend = Computer::in_host(name, &host);
        friend.start();
        (friend, host)
    });
    let sites = sites(&lab, SiteKind::plain().symmetric(), SiteKind::plain().symmetric());
    let (anna, bert) = settled(&lab, &sites, "", |computer| {
        friends.iter().for_each(|(friend, _)| befriend(friend, computer));
    });
    let mut backup = Backup::start(anna, bert, sites[0].host(), &["relayed"]);
    kill_the_relay(&mut backup, &friends);
    backup.ends_whole();
}

#[test]
fn a_relayed_backup_moves_to_a_direct_way_that_opens_and_is_not_broken() {
    if !ready() {
        return;
    }
    let lab = Lab::new("a way opens");
    let (hubs, settings) = hubs(&lab, 1);
    // So that it still runs if the way is found at the next look only.
    let narrow = Distance { bits_per_second: Some(16_000_000), ..LINE };
    let sites =
        [lab.site(SiteKind::plain().symmetric().distant(narrow)), lab.site(SiteKind::upnp().symmetric())];
    sites[1].router().end_daemon();
    let (anna, bert) = settled(&lab, &sites, &settings, |_| {});
    let backup = Backup::start(anna, bert, sites[0].host(), &["relayed"]);
    sites[1].router().start_daemon();
    let took = wait_until("the link to move to the new way", BETTER, || {
        let path = backup.path();
        assert_ne!(path, "none", "the link was broken");
        assert_ne!(backup.anna.job("bert")["state"], "waiting-for-friend");
        path == "mapped"
    });
    say(&format!("moved {took:?} after the way was opened"));
    let carried = hubs[0].1.traffic().received;
    backup.ends_whole();
    // What was under way was finished there.
    let more = hubs[0].1.traffic().received - carried;
    assert!(more < TWICE, "the relay carried {more} bytes after the move");
}

#[test]
fn the_cable_is_out_for_a_minute_during_a_backup() {
    if !ready() {
        return;
    }
    let lab = Lab::new("cable");
    let sites = sites(&lab, SiteKind::plain(), SiteKind::upnp());
    let (anna, bert) = settled(&lab, &sites, "", |_| {});
    // Nobody else could tell her.
    anna.kith(&["friend", "address", "bert", &sites[1].outside(4242).to_string()]).ok();
    let backup = Backup::start(anna, bert, sites[0].host(), &DIRECT);
    sites[0].cable().cut();
    std::thread::sleep(Duration::from_secs(60));
    sites[0].cable().mend();
    backup.ends_whole();
}
