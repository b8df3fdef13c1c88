//! A crash, and a failure, at every single call by which the vault changes its disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use kith_vault::{Incarnation, LocalDisk, Vault};
use nix::errno::Errno;

use crate::simulated::{Call, Failed, Leaves, SimulatedDisk, TestClock, make_image};
use crate::support::{Answer, HOLD, QUOTA, bytes_of, call, fast_directory, files, open_on, owner, sha256};

const BEGIN: u64 = 1_700_000_000_000;
const MINUTE: u64 = 60_000;

/// An object of the test: its type, and a number that makes its bytes.
type Thing = (&'static str, u64);

fn bytes(thing: Thing) -> Vec<u8> {
    bytes_of(thing.1, 3000 + thing.1 as usize * 100)
}

fn path(thing: Thing) -> String {
    format!("/a/{}/{}", thing.0, sha256(&bytes(thing)))
}

/// What each of these needs to be of use.
const NEEDS: [(Thing, &[Thing]); 4] = [
    (("index", 10), &[("data", 1), ("data", 2)]),
    (("snapshots", 20), &[("index", 10)]),
    (("index", 11), &[("data", 3)]),
    (("snapshots", 21), &[("index", 11)]),
];

#[derive(Debug, Clone)]
enum Step {
    Store(Thing),
    Delete(Thing),
    /// Everything that was deleted after so many minutes.
    Undelete(u64),
    State(u64),
    Claim(u64),
    /// Time passes, with the janitor at work.
    Pass(u64),
}

fn script() -> Vec<Step> {
    use Step::{Claim, Delete, Pass, State, Store, Undelete};
    vec![
        Store(("data", 1)),
        Claim(1),
        Store(("data", 2)),
        Store(("index", 10)),
        Store(("snapshots", 20)),
        State(1),
        Store(("data", 3)),
        Store(("index", 11)),
        Store(("snapshots", 21)),
        Pass(10),
        Delete(("snapshots", 20)),
        Delete(("index", 10)),
        Delete(("data", 1)),
        Delete(("data", 2)),
        State(2),
        Pass(30),
        Undelete(5),
        Claim(2),
        Pass(5),
        Delete(("snapshots", 21)),
        Delete(("index", 11)),
        Delete(("data", 3)),
        Pass(58),
        Store(("data", 4)),
        Pass(5),
        State(3),
    ]
}

/// What has been promised, at which call.
#[derive(Debug, Clone)]
struct Event {
    begun: usize,
    /// `None`: refused.
    done: Option<usize>,
    /// The calls in it, those that failed included, by number.
    calls: std::ops::Range<usize>,
    step: Step,
}

/// What a run of the script brought.
#[derive(Debug, Default)]
struct Ran {
    events: Vec<Event>,
    answers: Vec<(Step, u16)>,
    /// The vault says that its disk failed.
    failure: Option<String>,
}

/// Does everything, going on after what is refused; `None` if the vault did not even open.
async fn run(disk: &Arc<SimulatedDisk>, root: &Path) -> Option<Ran> {
    let clock = TestClock::at(BEGIN);
    let vault = open_on(root, disk.clone(), &clock).await.ok()?;
    let alice = owner("ALICE");
    vault.set_quota(&alice, Some(QUOTA));
    vault.set_hold(HOLD);
    let (mut events, mut answers) = (Vec::new(), Vec::new());
    let created = call(&vault, &alice, "POST", "/a/?create=true", &[], b"").await;
    if created.status != 200 {
        call(&vault, &alice, "POST", "/a/?create=true", &[], b"").await;
    }
    for step in script() {
        let (begun, first) = (disk.position(), disk.calls());
        let status = perform(&vault, &clock, &step).await;
        let done = (status == 200).then(|| disk.position());
        answers.push((step.clone(), status));
        events.push(Event { begun, done, calls: first..disk.calls(), step });
    }
    let failure = vault.failure();
    drop(vault);
    Some(Ran { events, answers, failure })
}

async fn perform(vault: &Vault, clock: &TestClock, step: &Step) -> u16 {
    let alice = owner("ALICE");
    clock.pass(1000);
    let status = |answer: Answer| answer.status.as_u16();
    let failed = |ok: bool| if ok { 200 } else { 500 };
    match step {
        Step::Store(thing) => status(call(vault, &alice, "POST", &path(*thing), &[], &bytes(*thing)).await),
        Step::Delete(thing) => status(call(vault, &alice, "DELETE", &path(*thing), &[], b"").await),
        Step::Undelete(minutes) => {
            let after = (BEGIN + minutes * MINUTE).to_string();
            let headers = [("kith-as-of", after.as_str())];
            status(call(vault, &alice, "POST", "/a/?undelete", &headers, b"").await)
        }
        Step::State(number) => failed(vault.put_state(&alice, *number, state(*number)).await.is_ok()),
        Step::Claim(number) => failed(vault.writer(&alice, Incarnation::new(*number, [7; 16])).await.is_ok()),
        Step::Pass(minutes) => {
            let mut ok = true;
            for _ in 0..*minutes {
                clock.pass(MINUTE);
                ok &= vault.sweep().await.is_ok();
            }
            failed(ok)
        }
    }
}

fn state(number: u64) -> Bytes {
    bytes_of(number + 1000, 5000).into()
}

/// What must hold of a vault that died before a call.
#[derive(Debug, Default)]
struct Promise {
    /// There for everybody.
    live: BTreeSet<Thing>,
    /// Deleted, and still held.
    held: BTreeSet<Thing>,
    /// There or held: something was being done to them.
    somewhere: BTreeSet<Thing>,
    state: u64,
    incarnation: u64,
}

/// Replays what was done before a call, and what was under way.
fn promise(events: &[Event], at: usize) -> Promise {
    let mut promise = Promise::default();
    let mut minutes = 0;
    let mut deleted: BTreeMap<Thing, u64> = BTreeMap::new();
    for event in events.iter().take_while(|event| event.begun < at) {
        let done = event.done.is_some_and(|done| done <= at);
        match event.step {
            Step::Store(thing) if done => drop(promise.live.insert(thing)),
            Step::Delete(thing) if event.done.is_some() || !done => {
                let was_there = promise.live.remove(&thing);
                deleted.insert(thing, minutes);
                if was_there {
                    let set = if done { &mut promise.held } else { &mut promise.somewhere };
                    set.insert(thing);
                }
            }
            Step::Undelete(after) => {
                let back: Vec<_> = promise.held.iter().copied().filter(|t| deleted[t] >= after).collect();
                for thing in back {
                    promise.held.remove(&thing);
                    if done { &mut promise.live } else { &mut promise.somewhere }.insert(thing);
                }
            }
            Step::State(number) if done => promise.state = number,
            Step::Claim(number) if done => promise.incarnation = number,
            Step::Pass(passed) => {
                minutes += passed;
                // Steps take a second each, which is not counted here: nothing in the script is near its hour.
                let is_held = |thing: &Thing| deleted[thing] + 60 > minutes;
                promise.held.retain(is_held);
                promise.somewhere.retain(is_held);
            }
            _ => {}
        }
    }
    promise
}

async fn check(root: &Path, promise: &Promise, all: &BTreeMap<String, Thing>, what: &str) {
    for file in files(&root.join("ALICE/a")).into_iter().chain(files(&root.join("ALICE/held"))) {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert_eq!(sha256(&std::fs::read(&file).unwrap()), name[..64], "{what}: {} is half", file.display());
    }
    let clock = TestClock::at(BEGIN + 1000 * MINUTE);
    let vault = match open_on(root, Arc::new(LocalDisk::default()), &clock).await {
        Ok(vault) => vault,
        Err(error) => panic!("{what}: not opened: {error}"),
    };
    let alice = owner("ALICE");
    vault.set_quota(&alice, Some(QUOTA));
    vault.set_hold(HOLD);
    let live = live(root, all);
    let held = held(root, all);
    for thing in &promise.live {
        assert!(live.contains(thing), "{what}: {thing:?} is not there");
        let answer = call(&vault, &alice, "GET", &path(*thing), &[], b"").await.expect_ok();
        assert!(answer.body == bytes(*thing), "{what}: {thing:?} has other bytes");
    }
    for thing in &promise.held {
        assert!(held.contains(thing) && !live.contains(thing), "{what}: {thing:?} is not held");
    }
    for thing in &promise.somewhere {
        assert!(held.contains(thing) || live.contains(thing), "{what}: {thing:?} is lost");
    }
    let newest = vault.newest_state(&alice).await.unwrap();
    if let Some((number, bytes)) = &newest {
        assert!(*bytes == state(*number), "{what}: state {number} is half");
    }
    assert!(newest.map_or(0, |(number, _)| number) >= promise.state, "{what}: the state is lost");
    let incarnation = vault.newest_incarnation(&alice).map_or(0, |(newest, _)| newest.number());
    assert!(incarnation >= promise.incarnation, "{what}: an older installation could write again");

    // It works on.
    let created = call(&vault, &alice, "POST", "/a/?create=true", &[], b"").await;
    assert_eq!(created.status, 200, "{what}: {:?}", created.body);
    for step in [Step::Store(("data", 50)), Step::Undelete(0), Step::Delete(("data", 50)), Step::State(9)] {
        assert_eq!(perform(&vault, &clock, &step).await, 200, "{what}: {step:?} afterwards");
    }
    let usage = vault.usage(&alice);
    drop(vault);
    let vault = open_on(root, Arc::new(LocalDisk::default()), &clock).await.unwrap();
    let recounted = vault.usage(&alice);
    assert_eq!(
        (usage.live_bytes, usage.held_bytes),
        (recounted.live_bytes, recounted.held_bytes),
        "{what}: the count was wrong"
    );
}

/// Whoever sends things in order finds nothing that lacks what it needs.
fn check_order(root: &Path, all: &BTreeMap<String, Thing>, what: &str) {
    let live = live(root, all);
    for (thing, needs) in NEEDS {
        let complete = needs.iter().all(|needed| live.contains(needed));
        assert!(!live.contains(&thing) || complete, "{what}: {thing:?} is there without what it needs");
    }
}

fn live(root: &Path, all: &BTreeMap<String, Thing>) -> BTreeSet<Thing> {
    things(&root.join("ALICE/a"), all)
}

fn held(root: &Path, all: &BTreeMap<String, Thing>) -> BTreeSet<Thing> {
    things(&root.join("ALICE/held"), all)
}

fn things(directory: &Path, all: &BTreeMap<String, Thing>) -> BTreeSet<Thing> {
    let names = files(directory);
    let names = names.iter().map(|file| file.file_name().unwrap().to_str().unwrap());
    names.filter_map(|name| all.get(&name[..64]).copied()).collect()
}

fn all_things() -> BTreeMap<String, Thing> {
    let steps = script().into_iter();
    let things = steps.filter_map(|step| if let Step::Store(thing) = step { Some(thing) } else { None });
    things.map(|thing| (sha256(&bytes(thing)), thing)).collect()
}

#[tokio::test]
async fn a_crash_at_any_call_loses_nothing_acknowledged_and_leaves_nothing_half() {
    let directory = fast_directory();
    let root = directory.path().join("vault");
    let disk = SimulatedDisk::new(&root);
    let Ran { events, answers, .. } = run(&disk, &root).await.unwrap();
    assert!(answers.iter().all(|(_, status)| *status == 200), "{answers:?}");
    let (log, all) = (disk.log(), all_things());
    assert!(log.len() > 150, "{}", log.len());
    // What the script leaves: an hour after their deletion three objects are gone, those brought back are there.
    assert!(held(&root, &all).is_empty());
    assert_eq!(live(&root, &all).len(), 5);
    for at in 0..=log.len() {
        let promise = promise(&events, at);
        for leaves in
            [Leaves::Nothing, Leaves::Everything, Leaves::Some(at as u64), Leaves::Some(!(at as u64))]
        {
            let image = directory.path().join("image");
            make_image(&image, &log[..at], leaves);
            let what = format!("after {at} calls, {leaves:?} left, next {:?}", log.get(at));
            check_order(&image, &all, &what);
            check(&image, &promise, &all, &what).await;
            std::fs::remove_dir_all(&image).unwrap();
        }
    }
}

/// What the simulation is worth: without any one kind of sync, something acknowledged is lost.
#[tokio::test]
async fn a_sync_that_is_left_out_is_missed() {
    let directory = fast_directory();
    let root = directory.path().join("vault");
    let disk = SimulatedDisk::new(&root);
    let Ran { events, .. } = run(&disk, &root).await.unwrap();
    let (log, all) = (disk.log(), all_things());
    let syncs_below =
        |call: &Call, below: &str| matches!(call, Call::SyncDirectory { path } if path.starts_with(below));
    type IsLeftOut<'a> = &'a dyn Fn(&Call) -> bool;
    let left_out: [(&str, IsLeftOut<'_>); 6] = [
        ("files", &|call| matches!(call, Call::SyncFile { .. })),
        ("packs", &|call| syncs_below(call, "ALICE/a/data")),
        ("snapshots", &|call| syncs_below(call, "ALICE/a/snapshots")),
        ("state", &|call| syncs_below(call, "ALICE/state")),
        ("record", &|call| syncs_below(call, "ALICE/.record")),
        ("new directories", &|call| matches!(call, Call::SyncDirectory { path } if path.ends_with("ALICE"))),
    ];
    let mut missed = Vec::new();
    for (what, is_left_out) in left_out {
        let log: Vec<_> =
            log.iter().map(|call| if is_left_out(call) { Call::Nothing } else { call.clone() }).collect();
        let mut noticed = false;
        for at in events.iter().filter_map(|event| event.done) {
            let image = directory.path().join("image");
            make_image(&image, &log[..at], Leaves::Nothing);
            let promise = promise(&events, at);
            let checked = std::panic::AssertUnwindSafe(check(&image, &promise, &all, what)).catch_unwind();
            noticed |= checked.await.is_err();
            std::fs::remove_dir_all(&image).unwrap();
        }
        if !noticed {
            missed.push(what);
        }
    }
    assert_eq!(missed, [""; 0], "nobody noticed that they were not synced");
}

#[tokio::test]
async fn a_failure_at_any_call_stops_the_vault_or_refuses_one_change_and_loses_nothing() {
    let all = all_things();
    let mut kinds = BTreeSet::new();
    for errno in [Errno::EIO, Errno::ENOSPC] {
        for at in 0.. {
            let directory = fast_directory();
            let root = directory.path().join("vault");
            let disk = SimulatedDisk::failing(&root, at, errno);
            let ran = run(&disk, &root).await;
            let Some(failed) = disk.failed() else { break };
            let what = format!("{errno} at call {at}, {}", failed.what);
            let ran = ran.unwrap_or_default();
            let after = after(&ran);
            let Ran { events, answers, .. } = ran;
            kinds.insert((errno as i32, after));
            let is_sync = failed.is_sync();
            match after {
                // Nothing was to be written any more, or it was no more than a temporary file that stays behind.
                After::Nothing | After::NotOpened => {}
                After::OneRefused => assert!(errno == Errno::ENOSPC && !is_sync, "{what}: {answers:?}"),
                After::Stopped => assert!(errno == Errno::EIO || is_sync, "{what}: {answers:?}"),
                After::Other => panic!("{what}: {answers:?}"),
            }
            never_acknowledged_after(&failed, at, &events, &what);
            check(&root, &promise(&events, usize::MAX), &all, &what).await;
            check_what_was_synced(&disk, &failed, at, &events, &all, &what).await;
        }
    }
    for (errno, after) in [
        (Errno::EIO, After::Stopped),
        (Errno::ENOSPC, After::Stopped),
        (Errno::ENOSPC, After::OneRefused),
        (Errno::EIO, After::NotOpened),
    ] {
        assert!(kinds.contains(&(errno as i32, after)), "{errno} {after:?} did not happen");
    }
}

/// What a failed sync was to make durable was not acknowledged, nor anything after it.
fn never_acknowledged_after(failed: &Failed, call: usize, events: &[Event], what: &str) {
    for event in events.iter().filter(|event| failed.is_sync() && event.calls.end > call) {
        assert!(event.done.is_none(), "{what}: {:?} was acknowledged", event.step);
    }
}

/// What was really synced holds what was promised: when the step was over in which a call failed, and at the end. What is
/// visible is no proof: there a sync that failed can't be told from one that was done.
async fn check_what_was_synced(
    disk: &SimulatedDisk,
    failed: &Failed,
    call: usize,
    events: &[Event],
    all: &BTreeMap<String, Thing>,
    what: &str,
) {
    let log = disk.log();
    let during = events.iter().filter(|event| event.calls.contains(&call)).filter_map(|event| event.done);
    let during = during.map(|done| (done, promise(events, done)));
    for (at, promise) in during.chain([(log.len(), promise(events, usize::MAX))]) {
        assert!(at >= failed.position);
        let directory = fast_directory();
        let image = directory.path().join("image");
        make_image(&image, &log[..at], Leaves::Nothing);
        check(&image, &promise, all, &format!("{what}: what was synced of {at} calls")).await;
    }
}

/// What [`a_failure_at_any_call_stops_the_vault_or_refuses_one_change_and_loses_nothing`] is worth: a vault that ignored the
/// failure of a sync, of any kind, would be found out by what it acknowledges and by what it loses.
#[tokio::test]
async fn a_failed_sync_that_is_swallowed_is_missed() {
    let all = all_things();
    let mut kinds: BTreeMap<String, bool> = BTreeMap::new();
    for at in 0.. {
        let directory = fast_directory();
        let root = directory.path().join("vault");
        let disk = SimulatedDisk::swallowing(&root, at);
        let Ran { events, answers, .. } = run(&disk, &root).await.unwrap();
        if disk.calls() <= at {
            break;
        }
        let Some(failed) = disk.failed() else { continue };
        assert!(answers.iter().all(|(_, status)| *status == 200), "it was not swallowed: {answers:?}");
        let what = format!("call {at}, {}", failed.what);
        if events.iter().any(|event| event.calls.contains(&at)) {
            let judged = std::panic::catch_unwind(|| never_acknowledged_after(&failed, at, &events, &what));
            assert!(judged.is_err(), "{what}: nobody noticed the acknowledgement");
        }
        let checked = check_what_was_synced(&disk, &failed, at, &events, &all, &what);
        let noticed = std::panic::AssertUnwindSafe(checked).catch_unwind().await.is_err();
        // Files are told apart by what is done with them next.
        let next = disk.log().get(failed.position).map_or_else(String::new, |next| match next {
            Call::Rename { to, .. } => to.display().to_string(),
            _ => String::new(),
        });
        let place = if failed.kind() == "sync file" { next } else { failed.what.clone() };
        let kind = KINDS.iter().find(|(_, part)| place.contains(part)).map_or("other", |(kind, _)| kind);
        *kinds.entry(format!("{}: {kind}", failed.kind())).or_default() |= noticed;
    }
    let missed: Vec<_> =
        kinds.iter().filter(|(_, noticed)| !**noticed).map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(missed, NOT_PROMISED, "of {kinds:?}");
}

/// Where a vault syncs, by a part of the path.
const KINDS: [(&str, &str); 9] = [
    ("packs", "/a/data"),
    ("indexes", "/a/index"),
    ("snapshots", "/a/snapshots"),
    ("what is held", "/held"),
    ("state objects", "/state"),
    ("record", "/.record"),
    ("clock", "clock"),
    ("the archive", "ALICE"),
    ("the vault", ""),
];

/// What is made durable for other reasons than a promise of this script.
const NOT_PROMISED: [&str; 0] = [];

/// How it went on after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum After {
    NotOpened,
    Nothing,
    OneRefused,
    Stopped,
    Other,
}

fn after(ran: &Ran) -> After {
    let Ran { answers, failure, .. } = ran;
    if answers.is_empty() {
        return After::NotOpened;
    }
    let Some(first) = answers.iter().position(|(_, status)| *status != 200) else { return After::Nothing };
    let later = &answers[first + 1..];
    let missing = |step: &Step| match step {
        // What could not be stored can't be deleted later.
        Step::Delete(_) => 404,
        _ => 200,
    };
    match failure {
        // Without an archive it is 404.
        Some(_) if later.iter().all(|(_, status)| matches!(status, 404 | 500)) => After::Stopped,
        None if later.iter().all(|(step, status)| *status == 200 || *status == missing(step)) => {
            After::OneRefused
        }
        _ => After::Other,
    }
}
