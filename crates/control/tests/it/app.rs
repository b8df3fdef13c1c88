//! The way into the app, and what it shows.

use std::time::Duration;

use kith_control::Event;
use kith_control::view::{ArchiveVerdict, JobState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Ask, Running, start, start_with};
use crate::stand_in;

#[tokio::test]
async fn the_shell_is_for_everybody_and_holds_no_data() {
    let running = start().await;
    let mut shell = Vec::new();
    for (target, media) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/main.js", "text/javascript; charset=utf-8"),
        ("/api.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = Ask::get(running.app(), target).send().await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media)), "{target}");
        shell.push(answer.body);
    }
    for secret in ["Anna", "study", "192.168", "Documents/", &running.token()] {
        assert!(shell.iter().all(|text| !text.contains(secret)), "{secret}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_code_opens_the_app_once() {
    let running = start().await;
    let code = running.code().await;
    running.exchange("AAAAAAAAAAAAAAAAAAAAAA").await.assert_refused(401);
    let opened = running.exchange(&code).await;
    assert_eq!(opened.status, 200);
    running.exchange(&code).await.assert_refused(401);
    let token = opened.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(Ask::get(running.app(), "/fragments/friends").token(&token).send().await.status, 200);
    running.stop().await;
}

#[tokio::test]
async fn a_code_has_128_bits_and_stands_in_the_fragment_that_no_server_sees() {
    let running = start().await;
    let mut codes = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let answer = running.client().await.app_code().await.unwrap();
        assert_eq!(answer.expires_seconds, 30);
        let origin = format!("http://127.0.0.1:{}/#code=", running.app());
        let code = answer.url.strip_prefix(&origin).expect("nothing but the fragment holds it").to_owned();
        // 22 digits of 6 bits each, of which the last has 2.
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(code.len() == 22 && code.bytes().all(is_digit), "{code}");
        assert!(b"AQgw".contains(&code.as_bytes()[21]), "{code} is no number of 128 bits");
        codes.insert(code);
    }
    assert_eq!(codes.len(), 50);
    running.stop().await;
}

#[tokio::test]
async fn exchanging_codes_is_limited() {
    let running = start().await;
    let mut statuses = Vec::new();
    let begun = std::time::Instant::now();
    // Every 250 ms one more is allowed: a slow computer needs more tries to be faster than that.
    while !statuses.contains(&429) && statuses.len() < 2_000 {
        let at_once = (0..40).map(|_| running.exchange("AAAAAAAAAAAAAAAAAAAAAA"));
        statuses.extend(futures::future::join_all(at_once).await.iter().map(|answer| answer.status));
    }
    let earned = usize::try_from(begun.elapsed().as_millis() / 250).unwrap();
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    let (tried, refused) = (count(401), count(429));
    assert!(refused > 0 && tried + refused == statuses.len(), "{statuses:?}");
    // One more, as the time runs since before the first.
    assert!(
        (20..=20 + earned + 1).contains(&tried),
        "{tried} were tried, and {earned} added to the first 20"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_code_is_not_exchanged_for_another_page() {
    let running = start().await;
    let code = running.code().await;
    let body = format!("{{\"code\":\"{code}\"}}");
    let foreign =
        Ask::new("POST", running.app(), "/session").header("Origin", "https://evil.example").json(&body);
    foreign.send().await.assert_refused(403);
    let form = Ask::new("POST", running.app(), "/session").header("Content-Type", "text/plain").body(&body);
    form.send().await.assert_refused(415);
    assert_eq!(running.exchange(&code).await.status, 200);
    running.stop().await;
}

async fn section(running: &Running, token: &str, name: &str) -> String {
    let answer = Ask::get(running.app(), &format!("/fragments/{name}")).token(token).send().await;
    assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    answer.body
}

#[tokio::test]
async fn friends_are_shown_with_their_state_and_internal_addresses_before_public_ones() {
    let running = start().await;
    let token = running.session().await;
    let friends = section(&running, &token, "friends").await;
    for wanted in [
        "Anna",
        "Connected",
        "Direct on your network",
        "84.7\u{a0}GB of 100\u{a0}GB",
        "Not connected",
        "within 5 s",
    ] {
        assert!(friends.contains(wanted), "{wanted}");
    }
    let anna = friends.find("192.168.1.40:4242</bdi></code> <span class=\"tag\">in use").unwrap();
    assert!(friends.find("Internal").unwrap() < friends.find("Public").unwrap());
    assert!(anna < friends.find("203.0.113.19:4242").unwrap());
    let computer = section(&running, &token, "computer").await;
    assert!(computer.find("192.168.1.23:4242").unwrap() < computer.find("203.0.113.80:4242").unwrap());
    assert!(computer.contains("Friends can call on port 4242"));
    assert!(computer.contains("Friends elsewhere can reach this computer"));
    running.stop().await;
}

#[tokio::test]
async fn computers_nearby_are_shown_while_the_person_looks_and_the_words_before_the_buttons() {
    let running = start().await;
    let token = running.session().await;
    let closed = section(&running, &token, "near").await;
    assert!(
        closed.contains("data-action=\"open-near\"") && closed.contains("and at no other time"),
        "{closed}"
    );
    running.backend.state().near = stand_in::looking();
    let open = section(&running, &token, "near").await;
    for wanted in [
        "for 9\u{a0}min more",
        "Carla’s desktop",
        "192.168.1.32:4242",
        "a friend already",
        "Dora’s PC</bdi> wants to become friends",
        "Becoming friends with <bdi>Ben’s workshop",
        "You agreed",
        "Both are my own computers",
        "You and attic are friends now</bdi>.",
        "did not want it; nothing has changed</bdi>.",
    ] {
        assert!(open.contains(wanted), "{wanted} in {open}");
    }
    // Whoever is a friend, or is being met, is not asked again.
    assert_eq!(open.matches("data-action=\"meet\"").count(), 2);
    assert_eq!(open.matches("data-action=\"meet\" data-device=").count(), 2);
    assert_eq!(open.matches("disabled").count(), 1);
    let words = open.rfind("velvet marble canoe").unwrap();
    assert!(words < open.find("They are the same").unwrap());
    assert_eq!(open.matches("They are the same").count(), 1, "who has agreed waits");
    {
        let mut state = running.backend.state();
        state.near = kith_control::view::NearView::default();
        state.near.unavailable = Some("the settings say so (network.lan-discovery)".into());
    }
    let never = section(&running, &token, "near").await;
    assert!(
        never.contains("The settings say so (network.lan-discovery)</bdi>.") && !never.contains("open-near")
    );
    running.stop().await;
}

#[tokio::test]
async fn progress_names_phase_files_bytes_rate_range_and_current_file() {
    let running = start().await;
    let jobs = section(&running, &running.session().await, "jobs").await;
    for wanted in [
        "Encrypting and sending to",
        "48 %",
        "aria-valuenow=\"48\"",
        "12.3\u{a0}GB of 25.6\u{a0}GB",
        "21\u{202f}934 of 48\u{202f}211\u{a0}files",
        "41.2\u{a0}MB/s",
        "4–7\u{a0}min left",
        "8.1\u{a0}GB were there already",
        "IMG_20260814_183355.jpg",
        "Waiting for",
        "of at least",
    ] {
        assert!(jobs.contains(wanted), "{wanted} in {jobs}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_new_computer_says_what_to_do_first() {
    let running = start_with(stand_in::empty()).await;
    let token = running.session().await;
    let verdict = section(&running, &token, "verdict").await;
    let steps =
        ["Make an invite", "Choose folders", "kith recovery show"].map(|step| verdict.find(step).unwrap());
    assert!(steps.is_sorted(), "{verdict}");
    assert!(section(&running, &token, "friends").await.contains("Nobody yet"));
    assert!(section(&running, &token, "activity").await.contains("Nothing has run yet"));
    running.stop().await;
}

#[tokio::test]
async fn the_verdict_is_honest() {
    let judged = async |change: fn(&mut stand_in::State)| {
        let mut state = stand_in::rich();
        change(&mut state);
        let running = start_with(state).await;
        let verdict = section(&running, &running.session().await, "verdict").await;
        running.stop().await;
        verdict
    };
    let fine = judged(|_| {}).await;
    assert!(fine.contains("Everything is backed up") && fine.contains("Anna and Ben’s workshop"), "{fine}");
    let overdue = judged(|state| state.sets[1].last_backup = Some(stand_in::ago(9 * 86_400))).await;
    assert!(overdue.contains("“Pictures” was last backed up 9 days ago"), "{overdue}");
    let never = judged(|state| {
        state.sets[1].last_backup = None;
        state.status.jobs.clear();
    });
    assert!(never.await.contains("“Pictures” has never been backed up"));
    let alone =
        judged(|state| state.status.friends.iter_mut().for_each(|friend| friend.connected = false)).await;
    assert!(alone.contains("nobody who keeps your files is connected now"), "{alone}");
    let nobody =
        judged(|state| state.status.friends.iter_mut().for_each(|friend| friend.last_backup = None)).await;
    assert!(nobody.contains("nothing could be recovered today"), "{nobody}");
    let reminded = judged(|state| state.status.recovery_unseen = true).await;
    assert!(reminded.contains("24 recovery words") && reminded.contains("kith recovery show"));
    let paused = judged(|state| state.status.paused_until = Some(stand_in::ago(-7200))).await;
    assert!(paused.contains("Backups are paused") && paused.contains("in 2 hours"), "{paused}");
    let accused = judged(|state| {
        for friend in &mut state.status.friends {
            friend.archive.verdict = ArchiveVerdict::Emptied;
            friend.archive.message = Some(format!("{} lists none of the <3> snapshots", friend.name));
            friend.archive.hint = Some("ask him".to_owned());
        }
    });
    let accused = accused.await;
    assert!(accused.contains("role=\"alert\"") && accused.contains("Ask him"), "{accused}");
    assert!(accused.contains("Anna lists none of the &lt;3&gt; snapshots"), "{accused}");
    assert!(accused.contains("nothing could be recovered today"), "an empty archive is no backup: {accused}");
}

#[tokio::test]
async fn sets_show_the_last_thirty_days_once_something_ran() {
    let running = start().await;
    let token = running.session().await;
    let sets = section(&running, &token, "sets").await;
    assert_eq!(sets.matches("<svg class=\"strip\"").count(), 3);
    assert_eq!(sets.matches("<rect").count(), 90);
    for wanted in ["of the last 30 days", ": complete</title>", ": failed</title>", ": nothing ran</title>"] {
        assert!(sets.contains(wanted), "{wanted}");
    }
    running.backend.state().jobs.clear();
    assert!(!section(&running, &token, "sets").await.contains("class=\"strip\""));
    running.stop().await;
}

#[tokio::test]
async fn forms_and_options_are_filled_by_the_engine() {
    let running = start().await;
    let token = running.session().await;
    let form = section(&running, &token, "set-form").await;
    assert!(form.contains("Anna") && form.contains("type=\"checkbox\" name=\"to\""));
    let id = stand_in::device(1);
    let form = section(&running, &token, &format!("friend-form?friend={id}")).await;
    assert!(form.contains("value=\"Anna\"") && form.contains("value=\"200\""));
    let gone = Ask::get(running.app(), "/fragments/friend-form?friend=nobody").token(&token).send().await;
    gone.assert_refused(404);
    Ask::get(running.app(), "/fragments/nothing").token(&token).send().await.assert_refused(404);
    let options = section(&running, &token, "settings").await;
    for wanted in [
        "listener.port",
        "value=\"4242\"",
        "The port on which friends call",
        "fixed by the administrator",
        "/etc/kith/locked.toml",
        "How this computer gets out",
        "value=\"socks5\" checked",
        "value=\"proxy.example\"",
        "<fieldset disabled>",
    ] {
        assert!(options.contains(wanted), "{wanted}");
    }
    running.stop().await;
}

/// Opens a stream by hand and returns it after its headers.
async fn listen(port: u16, target: &str, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let ask =
        format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    read_until(&mut stream, ": connected").await;
    stream
}

async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    let reading = async {
        while !text.contains(wanted) {
            let count = stream.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "ended before {wanted}: {text}");
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap();
    text
}

#[tokio::test]
async fn a_page_hears_which_of_its_parts_are_stale_and_how_often_is_bounded() {
    let running = start().await;
    let mut stream = listen(running.app(), "/events", &running.session().await).await;
    let job = running.backend.state().status.jobs.iter().find(|job| job.state == JobState::Running).cloned();
    for _ in 0..30 {
        running.backend.tell(Event::Job { job: Box::new(job.clone().unwrap()) });
    }
    running.backend.tell(Event::Sets);
    let heard = read_until(&mut stream, "sets").await;
    assert!(heard.matches("data:").count() <= 2, "{heard}");
    assert!(heard.contains("\"jobs\"") && heard.contains("\"verdict\""), "{heard}");
    assert!(!heard.contains("Anna"), "{heard}");
    running.stop().await;
}

#[tokio::test]
async fn programs_hear_every_event_on_the_api_port() {
    let running = start().await;
    let mut stream = listen(running.api(), "/v1/events", &running.token()).await;
    running.backend.tell(Event::Friend { device_id: stand_in::device(1) });
    let heard = read_until(&mut stream, "device_id").await;
    assert!(
        heard.contains(&format!("data: {{\"type\":\"friend\",\"device_id\":\"{}\"}}", stand_in::device(1))),
        "{heard}"
    );
    running.stop().await;
}

#[tokio::test]
async fn open_streams_do_not_hold_up_the_end_of_the_daemon() {
    let running = start().await;
    let mut stream = listen(running.app(), "/events", &running.session().await).await;
    // Virtual time: what it waits for is counted, not how long a busy computer takes.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    // Who waits for the stream waits for all of the minute.
    running.server.shutdown(Duration::from_secs(60)).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    tokio::time::resume();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap_or_default();
}

/// The page never turns a string into markup or code: there is no Trusted Types policy, and none of the sinks is used.
#[test]
fn the_modules_have_neither_a_policy_nor_a_sink() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/app/assets");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        seen += 1;
        for sink in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "DOMParser",
            "createContextualFragment",
            "setHTMLUnsafe",
            "parseHTMLUnsafe",
            "srcdoc",
            "createPolicy",
            "eval(",
            "new Function",
            "javascript:",
            " style=",
            " onclick",
            " onload",
            "https://",
            "localStorage",
            "document.cookie",
        ] {
            assert!(!text.contains(sink), "{sink} in {}", path.display());
        }
    }
    assert_eq!(seen, 13);
}
