//! Links over lines that are long, slow, or dead.

use std::process::Stdio;
use std::time::{Duration, Instant};

use e2e::lab::{Distance, Lab};
use e2e::{Computer, need, need_lab, pair, say, wait_until};

/// There and back takes 40 ms.
const FORTY_MS: Duration = Duration::from_millis(20);
/// Dead links are noticed within 30 s, looked for every 5.
const NOTICED: Duration = Duration::from_secs(36);
/// A new link takes a moment.
const LINKED_AGAIN: Duration = Duration::from_secs(40);

/// Whether a link has ended, according to the log of either.
fn ended(computers: [&Computer; 2]) -> bool {
    computers.iter().any(|computer| computer.log().contains("link ended"))
}

#[test]
fn a_link_over_a_saturated_line_of_one_megabit_stays_up() {
    if !need_lab() || !need("python3") {
        return;
    }
    let lab = Lab::new("saturated");
    // Eight seconds of data wait in front of the line: what is called a bloated buffer.
    let slow = Distance { one_way: FORTY_MS, bits_per_second: Some(1_000_000), queue_bytes: Some(1_000_000) };
    let (host, _line) = lab.distant_host(slow);
    let (anna, bert) = (Computer::in_host("anna", &host), Computer::in_host("bert", &lab.public_host()));
    anna.start();
    bert.start();
    pair(&bert, &anna);
    let (small, large) = (anna.folder("small"), anna.folder("large"));
    e2e::write_random(&small, 1, 64 << 10, 64 << 10);
    e2e::write_random(&large, 2, 64 << 20, 8 << 20);
    for (set, folder) in [("small", &small), ("large", &large)] {
        anna.kith(&["set", "add", set, folder.to_str().unwrap(), "--to", "bert"]).ok();
    }
    anna.kith(&["backup", "small"]).ok();

    let begun = Instant::now();
    let mut backup = anna.command(&["backup", "large"]);
    let mut backup = backup.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < Duration::from_secs(60) {
        assert!(backup.try_wait().unwrap().is_none(), "the backup is over after {:?}", begun.elapsed());
        let asked = Instant::now();
        assert!(anna.linked("bert") && bert.linked("anna"));
        assert!(asked.elapsed() < Duration::from_secs(2), "status took {:?}", asked.elapsed());
        // What is asked of the friend queues behind what was sent already, and nothing more.
        let asked = Instant::now();
        let found = anna.kith(&["snapshots", "--from", "bert", "--json"]).json();
        assert_eq!(found.as_array().unwrap().len(), 1, "{found:#}");
        slowest = slowest.max(asked.elapsed());
        std::thread::sleep(Duration::from_secs(2));
    }
    backup.kill().unwrap();
    backup.wait().unwrap();
    say(&format!("the slowest of the small requests took {slowest:?}"));
    assert!(slowest < Duration::from_secs(25), "a small request took {slowest:?}");
    assert!(!ended([&anna, &bert]), "the link ended:\n{}", anna.log());
}

#[test]
fn a_line_that_dies_without_a_word_is_noticed_by_both_within_thirty_seconds() {
    if !need_lab() || !need("python3") {
        return;
    }
    let lab = Lab::new("dead line");
    let (host, line) =
        lab.distant_host(Distance { one_way: FORTY_MS, bits_per_second: None, queue_bytes: None });
    let (anna, bert) = (Computer::in_host("anna", &host), Computer::in_host("bert", &lab.public_host()));
    anna.start();
    bert.start();
    pair(&bert, &anna);
    line.cut();
    let cut = Instant::now();
    wait_until("both to notice", NOTICED, || !anna.linked("bert") && !bert.linked("anna"));
    say(&format!("noticed after {:?}", cut.elapsed()));
    line.mend();
    wait_until("the friends to be linked again", LINKED_AGAIN, || anna.linked("bert") && bert.linked("anna"));
}
