//! Answers that are not what was stored.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use e2e::hostile::{Answer, Asked, Deed, Mischief, Mutator, Pace};
use e2e::say;
use http::StatusCode;

use super::{World, each, entries, instead, objects};

/// Longest time in which nothing comes: no lie is waited for, and a link that one broke is made anew at once. How long all of it takes depends
/// on the machine: some lies are long.
const QUICK: Duration = Duration::from_secs(10);

/// What must come of it.
enum Expected {
    /// Everything is restored.
    Whole,
    /// Something is not, and all of it is named, with the name of the friend and these words.
    Partly(&'static [&'static str]),
    /// It ends early, with the name of the friend and these words.
    Fails(&'static [&'static str]),
    /// There seems to be no snapshot.
    Nothing,
}

use Expected::{Fails, Nothing, Partly, Whole};

/// One lie, and what must come of it.
struct Case {
    name: &'static str,
    mischief: Box<dyn Mischief>,
    expected: Expected,
}

fn case(name: &'static str, mischief: impl Mischief + 'static, expected: Expected) -> Case {
    Case { name, mischief: Box::new(mischief), expected }
}

/// A mischief of whatever kind.
struct Boxed(Box<dyn Mischief>);

impl Mischief for Boxed {
    fn deed(&self, asked: &Asked) -> Deed {
        self.0.deed(asked)
    }
}

fn body(
    change: impl Fn(&mut Vec<u8>) + Clone + Send + Sync + 'static,
) -> impl Fn(&Asked, Answer) -> Answer + Clone {
    move |_, answer| {
        let mut bytes = answer.body.to_vec();
        change(&mut bytes);
        answer.with_body(bytes)
    }
}

fn status(code: u16) -> Answer {
    Answer::new(StatusCode::from_u16(code).unwrap(), "")
}

fn raw(bytes: &[u8]) -> Answer {
    Answer { raw: Some(Bytes::copy_from_slice(bytes)), ..status(200) }
}

/// What is done to packs: those that hold the contents of files, or those that hold folders.
fn cases_of_packs(
    world: &World,
    packs: impl Fn(&Asked) -> bool + Clone + Send + Sync + 'static,
) -> Vec<Case> {
    let next = {
        let names = objects(&world.archive(), "data");
        move |name: &str| {
            let at = names.iter().position(|other| other == name).unwrap();
            names[(at + 1) % names.len()].clone()
        }
    };
    let mutator = Mutator::new(7);
    let flipped = move |asked: &Asked, answer: Answer| {
        let bytes = mutator.damage(asked, &answer.body, 1).0;
        answer.with_body(bytes)
    };
    let is_meant = packs.clone();
    let swapped = move |asked: &Asked| match is_meant(asked) {
        true => Deed::Ask(format!("data/{}", next(asked.name())), asked.range),
        false => Deed::Honest,
    };
    let is_meant = packs.clone();
    let elsewhere = move |asked: &Asked| match (is_meant(asked), asked.range) {
        (true, Some((start, end))) => {
            let by = if start >= 16 { 16 } else { 0 };
            let shifted = if by > 0 { (start - by, end - by) } else { (start + 16, end + 16) };
            Deed::Ask(format!("data/{}", asked.name()), Some(shifted))
        }
        _ => Deed::Honest,
    };
    let chunk = [&b"8000\r\n"[..], &[7; 0x8000], b"\r\n"].concat();
    let on_and_on =
        [&b"HTTP/1.1 206 OK\r\ntransfer-encoding: chunked\r\n\r\n"[..], &chunk.repeat(400)].concat();
    let is_meant = packs.clone();
    let whole = move |asked: &Asked| match is_meant(asked) {
        true => Deed::Ask(format!("data/{}", asked.name()), None),
        false => Deed::Honest,
    };
    vec![
        case("one bit of every read flipped", each(packs.clone(), flipped), Partly(&["pack"])),
        case("another pack's bytes", swapped, Partly(&["pack"])),
        case("another range of the same pack", elsewhere, Partly(&["pack"])),
        case("zeros", each(packs.clone(), body(|bytes| bytes.fill(0))), Partly(&["pack"])),
        case(
            "half of it",
            each(packs.clone(), body(|bytes| bytes.truncate(bytes.len() / 2))),
            Partly(&["pack", "bytes came"]),
        ),
        case("nothing of it", each(packs.clone(), body(Vec::clear)), Partly(&["pack", "0 bytes came"])),
        case("more than it", each(packs.clone(), body(|bytes| bytes.extend([0; 100]))), Partly(&["pack"])),
        case("the whole pack for a range", whole, Partly(&["pack"])),
        case(
            "a wrong Content-Range over the right bytes",
            each(packs.clone(), |_, mut answer| {
                answer.headers.retain(|(name, _)| name != "content-range");
                answer.with_header("content-range", "bytes 0-0/1")
            }),
            Whole,
        ),
        case("not there", instead(packs.clone(), status(404)), Partly(&["pack", "not there"])),
        case("gone, as a fault of the server", instead(packs.clone(), status(500)), Partly(&["pack", "500"])),
        case("no rights", instead(packs.clone(), status(403)), Fails(&["pack", "403"])),
        case(
            "moved elsewhere",
            instead(packs.clone(), status(301).with_header("location", "http://127.0.0.1:1/")),
            Partly(&["301"]),
        ),
        case("no content", instead(packs.clone(), status(204)), Partly(&["pack"])),
        case(
            "words that are not for a terminal",
            instead(
                packs.clone(),
                Answer::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "{\"code\":\"storage-failed\",\"message\":\"\\u001b[2J\\u001b]0;owned\\u0007\\rnothing here\"}",
                ),
            ),
            Partly(&["pack", "nothing here"]),
        ),
        case(
            "a longer claim than there is",
            each(packs.clone(), |_, mut answer| {
                answer.claimed_length = Some(answer.body.len() as u64 + 10);
                answer
            }),
            Partly(&["pack", "broke off"]),
        ),
        case(
            "a claim beyond all bounds",
            each(packs.clone(), |_, mut answer| {
                answer.claimed_length = Some(u64::MAX - 1);
                answer
            }),
            Partly(&["pack"]),
        ),
        case(
            "a shorter claim than there is",
            each(packs.clone(), |_, mut answer| {
                answer.claimed_length = Some(answer.body.len() as u64 - 1);
                answer
            }),
            Partly(&["pack"]),
        ),
        case(
            "cut off in the middle",
            each(packs.clone(), |_, answer| {
                let half = answer.body.len() / 2;
                answer.at(Pace::CutStreamAt(half))
            }),
            Partly(&["pack", "broke off"]),
        ),
        case(
            "garbage instead of HTTP",
            instead(packs.clone(), raw(b"\x00\x01\x02 nothing of HTTP\r\n\r\n")),
            Partly(&["pack"]),
        ),
        case(
            "HTTP without an end of headers",
            instead(packs.clone(), raw(b"HTTP/1.1 206 OK\r\nx: y\r\n")),
            Partly(&["pack"]),
        ),
        case(
            "two lengths",
            instead(
                packs.clone(),
                raw(b"HTTP/1.1 206 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef"),
            ),
            Partly(&["pack"]),
        ),
        case("no answer but a farewell", instead(packs.clone(), raw(b"")), Partly(&["pack"])),
        case(
            "headers of 4 MB",
            instead(
                packs.clone(),
                raw(&[&b"HTTP/1.1 206 OK\r\nx: "[..], &vec![b'a'; 4 << 20], b"\r\n\r\n"].concat()),
            ),
            Partly(&["pack"]),
        ),
        case(
            "50,000 headers",
            instead(
                packs.clone(),
                raw(&[&b"HTTP/1.1 206 OK\r\n"[..], &b"a: b\r\n".repeat(50_000), b"\r\n"].concat()),
            ),
            Partly(&["pack"]),
        ),
        case("a body that goes on and on", instead(packs, raw(&on_and_on)), Partly(&["pack"])),
    ]
}

fn list(asked: &Asked, kind: &str) -> bool {
    asked.lists(kind)
}

/// What is done to lists, index, snapshots and config.
fn cases_of_the_rest(archive: &std::path::Path) -> Vec<Case> {
    let (index, snapshots) = (objects(archive, "index"), objects(archive, "snapshots"));
    let age = |name: &String| archive.join("snapshots").join(name).metadata().unwrap().modified().unwrap();
    let newest = snapshots.iter().max_by_key(|name| age(name)).unwrap().clone();
    let listed = |names: Vec<String>, size: u64| {
        let entries: Vec<String> =
            names.iter().map(|name| format!("{{\"name\":\"{name}\",\"size\":{size}}}")).collect();
        Answer::new(StatusCode::OK, format!("[{}]", entries.join(",")))
            .with_header("content-type", "application/vnd.x.restic.rest.v2")
    };
    let junk = |count: u64| -> Vec<String> {
        let mut chance = e2e::Random::new(5);
        (0..count).map(|_| (0..4).map(|_| format!("{:016x}", chance.number())).collect()).collect()
    };
    let odd = ["../../../../etc/passwd", "/etc/passwd", "config", "", "\\u001b[2J", "AB", "\\u0000"]
        .map(str::to_owned);
    let of_index = |asked: &Asked| asked.reads("index");
    let of_snapshots = |asked: &Asked| asked.reads("snapshots");
    let of_config = |asked: &Asked| asked.reads("config");
    let on_lists = |asked: &Asked| list(asked, "index") || list(asked, "snapshots");
    let swap = |kind: &'static str, to: String| {
        move |asked: &Asked| match asked.reads(kind) && asked.name() != to {
            true => Deed::Ask(format!("{kind}/{to}"), None),
            false => Deed::Honest,
        }
    };
    let flip = body(|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let index_list = |asked: &Asked| list(asked, "index");
    let snapshot_list = |asked: &Asked| list(asked, "snapshots");
    vec![
        case("a flipped bit in every index", each(of_index, flip.clone()), Partly(&["index", "bert"])),
        case(
            "junk in the place of every index",
            instead(of_index, Answer::new(StatusCode::OK, vec![7; 500])),
            Partly(&["index"]),
        ),
        case("one index in the place of all", swap("index", index[0].clone()), Partly(&["index"])),
        case("no index at all", instead(index_list, Answer::new(StatusCode::OK, "[]")), Partly(&["index"])),
        case("indexes that are not there", instead(of_index, status(404)), Partly(&["index"])),
        case(
            "junk beside the real indexes",
            instead(index_list, listed([index.clone(), junk(50)].concat(), 300)),
            Whole,
        ),
        case(
            "every index listed 50 times",
            instead(index_list, listed(vec![index.clone(); 50].concat(), 300)),
            Whole,
        ),
        case(
            "junk beside the real snapshots",
            instead(snapshot_list, listed([snapshots.clone(), junk(50)].concat(), 300)),
            Whole,
        ),
        case(
            "every snapshot listed 50 times",
            instead(snapshot_list, listed(vec![snapshots; 50].concat(), 300)),
            Whole,
        ),
        case(
            "odd names in the lists",
            each(on_lists, {
                move |_, answer| {
                    let odd: String =
                        odd.iter().map(|name| format!(",{{\"name\":\"{name}\",\"size\":9}}")).collect();
                    let text = String::from_utf8(answer.body.to_vec()).unwrap();
                    answer.with_body(text.replace(']', &format!("{odd}]")))
                }
            }),
            Whole,
        ),
        case(
            "sizes beyond all bounds in the lists",
            each(on_lists, |_, answer| {
                let mut list: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                for file in list.as_array_mut().unwrap() {
                    file["size"] = u64::MAX.into();
                }
                answer.with_body(list.to_string())
            }),
            Whole,
        ),
        case(
            "a list that is no JSON",
            instead(index_list, Answer::new(StatusCode::OK, "<html>")),
            Fails(&["bert", "list"]),
        ),
        case(
            "a list cut off in the middle",
            each(index_list, body(|bytes| bytes.truncate(bytes.len() / 2))),
            Fails(&["bert", "list"]),
        ),
        case(
            "a list of 100,000 names that are not there",
            instead(index_list, listed(junk(100_000), 300)),
            Fails(&["bert", "index"]),
        ),
        case(
            "100,000 snapshots that are not there",
            instead(snapshot_list, listed(junk(100_000), 300)),
            Fails(&["bert", "snapshot"]),
        ),
        case(
            "a list of 150 MB",
            instead(index_list, Answer::new(StatusCode::OK, vec![b' '; 150_000_000])),
            Fails(&["bert", "index"]),
        ),
        case("no snapshots", instead(snapshot_list, Answer::new(StatusCode::OK, "[]")), Nothing),
        case("snapshots that are not there", instead(of_snapshots, status(404)), Nothing),
        case("a flipped bit in every snapshot", each(of_snapshots, flip.clone()), Fails(&["snapshot"])),
        case("one snapshot in the place of all", swap("snapshots", newest), Whole),
        case("a flipped bit in the config", each(of_config, flip), Fails(&["archive"])),
        case("no config", instead(of_config, status(404)), Nothing),
        case(
            "a config of 300 MB",
            instead(
                of_config,
                Answer { claimed_length: Some(300_000_000), ..Answer::new(StatusCode::OK, vec![0; 1000]) },
            ),
            Fails(&["bert", "config"]),
        ),
    ]
}

fn try_all(world: &World, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.name;
        // One run shows everything that is wrong.
        let tried = std::panic::catch_unwind(AssertUnwindSafe(|| try_one(world, case)));
        if tried.is_err() {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "see above: {wrong:#?}");
    world.liar.behaves();
    assert_eq!(world.restore("honest again").outcome.code, 0);
}

fn try_one(world: &World, Case { name, mischief, expected }: Case) {
    let mischief = Arc::new(Boxed(mischief));
    world.liar.does(move |asked: &Asked| mischief.deed(asked));
    let restored = world.restore(name);
    say(&format!("{name}: {:?}, of them {:?} without a byte", restored.outcome.took, restored.waited));
    assert!(!world.liar.asked().is_empty(), "{name}: the liar was not asked");
    match expected {
        Whole => assert_eq!(restored.outcome.code, 0, "{name}: {}", restored.outcome),
        Partly(words) => {
            restored.outcome.ended(1).says(&["bert"]).says(words);
            restored.names_all_that_is_missing(world, name);
        }
        Fails(words) => drop(restored.outcome.ended(1).says(&["bert"]).says(words)),
        Nothing => {
            restored.outcome.ended(1).says(&["bert", "snapshot"]);
            assert_eq!(restored.missing, entries(&world.source), "{name}: something was restored");
        }
    }
    let waited = restored.waited;
    assert!(
        waited < QUICK,
        "{name}: nothing stalls here, and nothing came for {waited:?}: {}",
        restored.outcome
    );
}

#[test]
fn no_lie_about_contents_brings_a_wrong_byte_into_a_restored_file() {
    let world = World::new();
    try_all(&world, cases_of_packs(&world, world.contents()));
}

#[test]
fn no_lie_about_folders_brings_a_wrong_byte_into_a_restored_file() {
    let world = World::new();
    try_all(&world, cases_of_packs(&world, world.folders()));
}

#[test]
fn no_lie_about_lists_indexes_and_snapshots_brings_a_wrong_byte_into_a_restored_file() {
    let world = World::new();
    try_all(&world, cases_of_the_rest(&world.archive()));
}

#[test]
fn no_lie_about_the_list_of_packs_ends_a_check_or_a_backup_with_less_than_the_truth() {
    let world = World::new();
    let listed = |change: &'static (dyn Fn(&mut Vec<serde_json::Value>) + Sync)| {
        each(
            |asked: &Asked| list(asked, "data"),
            move |_, answer| {
                let mut list: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).unwrap();
                change(&mut list);
                answer.with_body(serde_json::to_vec(&list).unwrap())
            },
        )
    };
    let check = |mischief: &dyn Fn() -> Boxed, ends: i32, words: &[&str]| {
        world.liar.does(mischief());
        for args in [&["check", "bert"][..], &["check", "bert", "--read-data"]] {
            world.anna.kith(args).ended(ends).says(&["bert"]).says(words);
        }
        // A backup stores again what it must take for lost, or says that it can't know.
        let backup = world.anna.kith(&["backup"]);
        assert!(backup.code == 0 || backup.stderr.contains("bert"), "{backup}");
        world.liar.behaves();
        world.anna.kith(&["check", "bert", "--read-data"]).ok();
        assert_eq!(world.restore("after a lie about packs").outcome.code, 0);
    };
    let mut chance = e2e::Random::new(17);
    let junk: String = (0..4).map(|_| format!("{:016x}", chance.number())).collect();
    let junk = serde_json::json!({ "name": junk, "size": 5000 });
    let boxed = |mischief: Box<dyn Mischief>| Boxed(mischief);
    // First, while every pack is needed: backups that are lied to store some things a second time.
    check(&|| boxed(Box::new(listed(&|list| drop(list.pop())))), 1, &["missing"]);
    check(
        &|| {
            boxed(Box::new(listed(&|list| {
                list.iter_mut().for_each(|file| file["size"] = u64::MAX.into());
            })))
        },
        1,
        &["bytes and should have"],
    );
    check(&|| boxed(Box::new(listed(&|list| list.extend(list.clone())))), 0, &[]);
    check(&|| boxed(Box::new(listed(&Vec::clear))), 1, &["missing"]);
    check(&|| boxed(Box::new(instead(|asked: &Asked| list(asked, "data"), status(404)))), 1, &["missing"]);
    check(
        &|| {
            let junk = junk.clone();
            let is_meant = |asked: &Asked| list(asked, "data");
            boxed(Box::new(each(is_meant, move |_, answer| {
                let mut list: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).unwrap();
                list.push(junk.clone());
                answer.with_body(serde_json::to_vec(&list).unwrap())
            })))
        },
        0,
        &[],
    );
    check(
        &|| boxed(Box::new(instead(|asked: &Asked| list(asked, "data"), raw(b"nothing")))),
        1,
        &["list of the pack files"],
    );
}
