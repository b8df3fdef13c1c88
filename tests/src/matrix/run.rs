//! One run: sites, computers, friendships, links, and how fast they come back.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::Computer;
use crate::lab::{Distance, Host, Lab};
use crate::meeting::{befriend, in_parallel, meet};

use super::expected::{Expected, expected};
use super::helper::{Helped, Helper};
use super::homes::Grounds;
use super::kind::Kind;
use super::options::Options;
use super::report::{Report, Row, group, medians, promised};

/// Most pairs at once: with all of them, nearly forty daemons with 19 links each would measure the machine.
const MOST_AT_ONCE: usize = 30;
/// Longest wait for all pairs to be connected as well as expected after all daemons have been started at once.
const SETTLED: Duration = Duration::from_secs(90);
/// Longest wait for the links of one computer after it has dropped all of them.
const AGAIN: Duration = Duration::from_secs(15);
/// Longest wait for those that came back by another way than expected: who is relayed looks for something better once in 60 s.
const BETTER: Duration = Duration::from_secs(70);
/// How often links are timed at most where the median is above what is promised: what else the machine does disturbs a few.
const MOST_TIMES: usize = 3;
/// Longest time for all that is timed once more; a computer whose turn comes later keeps its first time.
const ONCE_MORE: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);
/// Between two looks at all of them.
const LONG_PAUSE: Duration = Duration::from_millis(500);

/// A computer that stands somewhere.
struct Home {
    kind: Kind,
    name: String,
}

/// Two that are friends, as places in the list of homes.
struct Pair {
    kinds: [Kind; 2],
    ends: [usize; 2],
    expected: Expected,
}

/// One end of a link, as `kith friends --json` shows it.
#[derive(Clone, Default)]
struct Shown {
    path: Option<String>,
    since: Option<Timestamp>,
    last_error: Option<String>,
}

/// What all friends of all computers look like.
type Sight = Vec<BTreeMap<String, Shown>>;

/// Connects these pairs, some at a time, tells `say` how far it is, and says what came of it.
///
/// # Panics
/// If the laboratory or a daemon fails. Links that don't come about are part of what is reported.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Report {
    let begun = Instant::now();
    let mut tell = |text: &str| say(&format!("[{:>5.1} s] {text}", begun.elapsed().as_secs_f64()));
    let blocks = options.pairs.chunks(MOST_AT_ONCE);
    let rows = blocks.flat_map(|pairs| block(options, pairs, &mut tell)).collect();
    Report { rows }
}

/// Connects these pairs, all at once.
fn block(options: &Options, pairs: &[(Kind, Kind)], tell: &mut dyn FnMut(&str)) -> Vec<Row> {
    let lab = Lab::new("matrix");
    let distance = lines(options.round_trip);
    let (homes, pairs) = plan(pairs);
    let helper = Helper::start(&lab, options.helped, distance);
    let mut grounds = Grounds::default();
    let places = build(&mut grounds, &lab, &homes, distance, &helper);
    tell(&format!("{} computers stand at {} sites", homes.len(), places.len()));

    let room = lab.public_host();
    let mut computers: Vec<Computer> =
        homes.iter().map(|home| Computer::in_host(&home.name, &room)).collect();
    let friendships: Vec<(usize, usize)> = pairs.iter().map(|pair| (pair.ends[0], pair.ends[1])).collect();
    let common_friend = (options.helped == Helped::ByFriend).then_some(&helper.computer);
    meet(&room, &mut computers, &friendships, |computer| {
        if let Some(friend) = common_friend {
            befriend(friend, computer);
        }
    });
    tell(&format!("{} pairs have met", pairs.len()));

    let mut starting = Vec::new();
    for (computer, (host, settings, helper_at)) in computers.iter_mut().zip(&places) {
        computer.carry_to(host, settings);
        starting.push((&*computer, helper_at));
    }
    in_parallel(&starting, |(computer, helper_at)| {
        computer.start();
        if options.helped == Helped::ByFriend {
            computer.kith(&["friend", "address", helper.computer.name(), helper_at]).ok();
        }
    });
    tell("all daemons run at home");
    let wanted: Vec<&Pair> = pairs.iter().collect();
    let open = wait_for(&wanted, SETTLED, &computers, |pair, sight| is_as_good(pair, &homes, sight));
    tell(&format!("{} of {} pairs are connected as well as expected", pairs.len() - open, pairs.len()));

    let sight = look(&computers);
    let connected: Vec<&Pair> = pairs.iter().filter(|pair| is_connected(pair, &homes, &sight)).collect();
    let mut times = time_all(&computers, &homes, &connected, || true);
    tell("every first computer of a pair has dropped its links once");
    let repeating = Instant::now();
    for _ in 1..MOST_TIMES {
        let slow = slower_than_promised(&connected, &times);
        let left = ONCE_MORE.saturating_sub(repeating.elapsed());
        if slow.is_empty() || left.is_zero() {
            break;
        }
        tell(&format!("{} links took longer than the median may: they are timed once more", slow.len()));
        wait_for(&slow, BETTER.min(left), &computers, |pair, sight| is_as_good(pair, &homes, sight));
        let is_time = || repeating.elapsed() < ONCE_MORE;
        for (ends, again) in time_all(&computers, &homes, &slow, is_time) {
            let time = times.entry(ends).or_default();
            *time = [0, 1].map(|which| time[which].into_iter().chain(again[which]).min());
        }
    }
    wait_for(&wanted, BETTER, &computers, |pair, sight| is_as_good(pair, &homes, sight));
    let sight = look(&computers);
    let rows = in_order(&pairs, |pair| row(pair, &computers, &homes, &sight, &times));
    if let Some(directory) = &options.logs {
        keep_logs(directory, computers.iter().chain([&helper.computer]));
    }
    tell(&format!("{} pairs are done", pairs.len()));
    rows
}

/// The lines at whose ends there and back between two sites takes so long: two are between them, gone along in both directions.
pub(super) fn lines(round_trip: Duration) -> Option<Distance> {
    let one_way = round_trip / 4;
    (!round_trip.is_zero()).then_some(Distance { one_way, bits_per_second: None, queue_bytes: None })
}

/// Who stands where, and who is whose friend: the first of a pair is a computer of the first site of its kind, the second one of the
/// second.
fn plan(pairs: &[(Kind, Kind)]) -> (Vec<Home>, Vec<Pair>) {
    let mut homes: Vec<Home> = Vec::new();
    let mut place = |kind: Kind, letter: char| {
        let name = format!("{kind}-{letter}");
        homes.iter().position(|home| home.name == name).unwrap_or_else(|| {
            homes.push(Home { kind, name });
            homes.len() - 1
        })
    };
    let pairs = pairs
        .iter()
        .map(|(first, second)| Pair {
            kinds: [*first, *second],
            ends: [place(*first, 'a'), place(*second, 'b')],
            expected: expected(*first, *second, true),
        })
        .collect();
    (homes, pairs)
}

/// Builds the sites; for every home the host, more settings, and where its helper is.
fn build(
    grounds: &mut Grounds,
    lab: &Lab,
    homes: &[Home],
    distance: Option<Distance>,
    helper: &Helper,
) -> Vec<(Host, String, String)> {
    let mut built: BTreeMap<usize, (Host, String, String)> = BTreeMap::new();
    for kind in Kind::ALL {
        let of_kind: Vec<usize> = (0..homes.len()).filter(|index| homes[*index].kind == kind).collect();
        let places = grounds.build(lab, kind, of_kind.len(), distance, &helper.at);
        let places = places.into_iter().map(|place| (place.host, place.settings, place.helper));
        built.extend(of_kind.into_iter().zip(places));
    }
    built.into_values().collect()
}

/// Waits until this holds for all of these pairs; says for how many it does not after `longest`.
fn wait_for(
    pairs: &[&Pair],
    longest: Duration,
    computers: &[Computer],
    holds: impl Fn(&Pair, &Sight) -> bool,
) -> usize {
    let begun = Instant::now();
    loop {
        let sight = look(computers);
        let open = pairs.iter().filter(|pair| !holds(pair, &sight)).count();
        if open == 0 || begun.elapsed() > longest {
            return open;
        }
        std::thread::sleep(LONG_PAUSE);
    }
}

/// Whether two have what they don't leave for what is expected: who was punched before his friend's port was known stays so.
fn is_as_good(pair: &Pair, homes: &[Home], sight: &Sight) -> bool {
    let ends = both_ends(pair, homes, sight);
    let expected = pair.expected.way.words();
    ends.iter().zip(expected).all(|(shown, words)| {
        let worst = words.iter().map(|word| class(word)).max();
        shown.path.as_deref().is_some_and(|path| Some(class(path)) <= worst)
    })
}

/// A way of a better class takes the place of one of a worse class.
fn class(path: &str) -> u8 {
    match path {
        "lan" => 0,
        "relayed" => 2,
        _ => 1,
    }
}

fn is_connected(pair: &Pair, homes: &[Home], sight: &Sight) -> bool {
    both_ends(pair, homes, sight).iter().all(|shown| shown.path.is_some())
}

/// What each end shows of the other.
fn both_ends(pair: &Pair, homes: &[Home], sight: &Sight) -> [Shown; 2] {
    let [one, other] = pair.ends;
    [(one, other), (other, one)]
        .map(|(here, there)| sight[here].get(&homes[there].name).cloned().unwrap_or_default())
}

fn look(computers: &[Computer]) -> Sight {
    in_order(computers, friends_of)
}

/// What `act` gives for each, in their order; a few are under way at once.
fn in_order<T: Sync, U: Send>(all: &[T], act: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let results = std::sync::Mutex::new(BTreeMap::new());
    let numbers: Vec<usize> = (0..all.len()).collect();
    in_parallel(&numbers, |number| {
        let result = act(&all[*number]);
        results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(*number, result);
    });
    results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_values().collect()
}

fn friends_of(computer: &Computer) -> BTreeMap<String, Shown> {
    let friends = computer.kith(&["friends", "--json"]).json();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let friends = friends.as_array().unwrap().iter();
    friends
        .map(|friend| {
            let shown = Shown {
                path: text(&friend["path"]).filter(|_| friend["connected"] == true),
                since: friend["connected_since"].as_str().map(|since| since.parse().unwrap()),
                last_error: text(&friend["last_error"]),
            };
            (text(&friend["name"]).unwrap(), shown)
        })
        .collect()
}

/// From the break of each link until it was there again, and until it was there as expected, by the places of both ends.
type Times = BTreeMap<[usize; 2], [Option<Duration>; 2]>;

/// One computer after the other drops all its links, to the helper too, by `kith ra`; the clock runs from the call. No other one does
/// when `goes_on` says no.
fn time_all(computers: &[Computer], homes: &[Home], pairs: &[&Pair], goes_on: impl Fn() -> bool) -> Times {
    let mut times = Times::new();
    for (place, computer) in computers.iter().enumerate() {
        let open: Vec<&Pair> = pairs.iter().copied().filter(|pair| pair.ends[0] == place).collect();
        if open.is_empty() || !goes_on() {
            continue;
        }
        time_one(computer, homes, &open, &mut times);
    }
    times
}

/// Of those ways whose median is above what is promised, the pairs that took longer. What never came is not slow: that stays as it is.
fn slower_than_promised<'a>(pairs: &[&'a Pair], times: &Times) -> Vec<&'a Pair> {
    let settled = |pair: &Pair| times.get(&pair.ends).and_then(|time| time[1]);
    let medians = medians(pairs.iter().filter_map(|pair| Some((pair.expected.way, settled(pair)?))));
    let is_slow = |pair: &&'a Pair| {
        let way = pair.expected.way;
        promised(way).is_some_and(|promised| {
            medians.get(&group(way)).is_some_and(|(median, _)| *median > promised)
                && settled(pair).is_some_and(|settled| settled > promised)
        })
    };
    pairs.iter().copied().filter(is_slow).collect()
}

fn time_one(computer: &Computer, homes: &[Home], pairs: &[&Pair], times: &mut Times) {
    let (begun, at) = (Instant::now(), Timestamp::now());
    computer.kith(&["ra"]).ok();
    while begun.elapsed() < AGAIN {
        let friends = friends_of(computer);
        let now = begun.elapsed();
        let mut is_complete = true;
        for pair in pairs {
            let time = times.entry(pair.ends).or_default();
            let shown = friends.get(&homes[pair.ends[1]].name);
            // What has not noticed yet that it was dropped doesn't count.
            let shown = shown.filter(|shown| shown.since.is_some_and(|since| since >= at));
            if let Some(path) = shown.and_then(|shown| shown.path.as_deref()) {
                time[0].get_or_insert(now);
                if pair.expected.way.words()[0].contains(&path) {
                    time[1].get_or_insert(now);
                }
            }
            is_complete &= time[1].is_some();
        }
        if is_complete {
            break;
        }
        std::thread::sleep(PAUSE);
    }
}

fn row(pair: &Pair, computers: &[Computer], homes: &[Home], sight: &Sight, times: &Times) -> Row {
    let shown = both_ends(pair, homes, sight);
    let answered = pair.ends.iter().zip(pair.ends.iter().rev()).all(|(here, there)| {
        // Which only the other one knows.
        computers[*here].kith(&["snapshots", "--from", &homes[*there].name, "--json"]).code == 0
    });
    let [again, settled] = times.get(&pair.ends).copied().unwrap_or_default();
    let said: Vec<String> = shown.iter().filter_map(|shown| shown.last_error.clone()).collect();
    Row {
        kinds: pair.kinds,
        expected: pair.expected,
        got: shown.map(|shown| shown.path),
        answered,
        again,
        settled,
        said: (!said.is_empty()).then(|| said.join(" | ")),
    }
}

pub(super) fn keep_logs<'a>(directory: &Path, computers: impl Iterator<Item = &'a Computer>) {
    std::fs::create_dir_all(directory).unwrap();
    for computer in computers {
        let path = directory.join(format!("{}.log", computer.name()));
        // The same computer may have been in another block.
        let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, computer.log().as_bytes()).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::super::expected::{Because, Way};
    use super::*;

    #[test]
    fn what_was_slow_is_timed_again_only_where_the_median_is_above_what_is_promised() {
        let pair = |number: usize, way: Way| Pair {
            kinds: [Kind::ALL[0]; 2],
            ends: [number, number + 100],
            expected: Expected { way, because: Because::OneNetwork },
        };
        let ways = [
            Way::Lan,
            Way::Mapped,
            Way::PublicOrMapped,
            Way::Mapped,
            Way::Relayed,
            Way::FirstByProxyToPublic,
        ];
        let pairs: Vec<Pair> = ways.into_iter().enumerate().map(|(number, way)| pair(number, way)).collect();
        let pairs: Vec<&Pair> = pairs.iter().collect();
        let again = |settled: [Option<f64>; 6]| {
            let times = pairs.iter().zip(settled).map(|(pair, settled)| {
                let settled = settled.map(Duration::from_secs_f64);
                (pair.ends, [settled; 2])
            });
            let slow = slower_than_promised(&pairs, &times.collect());
            slow.iter().map(|pair| pair.ends[0]).collect::<Vec<_>>()
        };
        let good = [Some(0.5), Some(0.5), Some(0.6), Some(5.0), Some(1.5), Some(9.0)];
        assert_eq!(
            again(good),
            [0; 0],
            "one of three is slow, which their median is not; a proxy is promised nothing"
        );
        assert_eq!(again([Some(1.1), Some(0.5), Some(1.2), Some(5.0), Some(2.5), None]), [0, 2, 3, 4]);
        assert_eq!(
            again([None, Some(1.5), Some(1.6), None, Some(1.5), None]),
            [1, 2],
            "what never came is not timed again"
        );
    }
}
