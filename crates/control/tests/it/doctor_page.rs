//! The doctor's page and the command box: their fragments, and what a person sees and presses in a real browser.

use kith_control::{ControlConfig, ControlServer};

use crate::browser::chromium;
use crate::harness::{Ask, Running, start, start_at, start_with};
use crate::pressed::{Browser, open, until_called};
use crate::stand_in::{State, device, diagnoses, hostile, hostile_names, rich};

fn diagnosed(name: &str) -> State {
    let mut state = rich();
    state.diagnosis = diagnoses::named(name);
    state
}

async fn diagnosis(running: &Running, body: &str) -> String {
    let token = running.session().await;
    let answer =
        Ask::new("POST", running.app(), "/fragments/diagnosis").token(&token).json(body).send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn of_anna() -> String {
    format!("{{\"friend\":\"{}\"}}", device(1))
}

/// Without tags.
fn words(fragment: &str) -> String {
    fragment.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect()
}

#[tokio::test]
async fn the_page_tells_cause_step_directions_way_and_checks() {
    let running = start_with(diagnosed("firewall-in-there")).await;
    let fragment = diagnosis(&running, &of_anna()).await;
    let shown = words(&fragment);
    for wanted in [
        "Something is broken",
        "The firewall of Anna’s computer (ufw) drops connections to port 4242.",
        "What to do: On Anna’s computer, allow TCP 4242",
        "From here to Anna",
        "Does not get through",
        "From Anna to here",
        "Gets through",
        "Here it breaks",
        "Anna’s firewall: Ufw drops TCP 4242.",
        "Anna’s computer told its half.",
        "Reachable 98.7 % this week; 6 h asleep, 20 min router.",
    ] {
        assert!(shown.contains(wanted), "{wanted} in {shown}");
    }
    let copied = "data-copy=\"sudo ufw allow in proto tcp from any to any port 4242\"";
    assert!(fragment.contains(copied), "{fragment}");
    assert_eq!(fragment.matches("class=\"stop ").count(), 7);
    assert_eq!(fragment.matches("class=\"stop broken\"").count(), 1);
    running.stop().await;
}

#[tokio::test]
async fn every_kind_of_diagnosis_has_a_page_and_none_brings_a_script_or_a_style() {
    for name in diagnoses::ALL {
        let running = start_with(diagnosed(name)).await;
        for body in [of_anna(), "{}".to_owned()] {
            let fragment = diagnosis(&running, &body).await;
            assert!(fragment.contains("diagnosis-title"), "{name}: {fragment}");
            for forbidden in ["<script", "<style", " style=", " onclick", "<img"] {
                assert!(!fragment.contains(forbidden), "{forbidden} for {name}");
            }
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn what_could_not_be_looked_at_is_told_where_the_verdict_would_be() {
    let running = start().await;
    let fragment = diagnosis(&running, "{\"friend\":\"nobody\"}").await;
    assert!(words(&fragment).contains("There is no friend called nobody."), "{fragment}");
    let body = format!("{{\"friend\":\"{}\",\"with\":\"hello\"}}", device(1));
    let fragment = diagnosis(&running, &body).await;
    assert!(words(&fragment).contains("This is not a report code."), "{fragment}");
    running.stop().await;
}

#[tokio::test]
async fn the_fragment_of_a_diagnosis_is_for_those_with_a_token() {
    let running = start().await;
    let path = "/fragments/diagnosis";
    Ask::new("POST", running.app(), path).json("{}").send().await.assert_refused(401);
    assert_eq!(
        Ask::new("POST", running.api(), path).token(&running.token()).json("{}").send().await.status,
        404
    );
    assert!(running.backend.calls().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn hostile_names_in_a_diagnosis_are_text() {
    for (kind, name) in hostile_names() {
        let running = start_with(hostile(&name)).await;
        for body in [of_anna(), "{}".to_owned()] {
            let fragment = diagnosis(&running, &body).await;
            for tag in fragment.split('<').skip(1) {
                let inside = tag.split('>').next().unwrap_or("");
                assert!(!inside.starts_with("script") && !inside.starts_with("img"), "{kind}: {tag}");
                let outside_quotes: String = inside.split('"').step_by(2).collect();
                assert!(!outside_quotes.contains("onerror"), "{kind}: {tag}");
            }
            for character in ['\u{202e}', '\u{1b}', '\u{7}', '\n', '\r'] {
                // Not in what is copied into a terminal either.
                assert!(!fragment.contains(character), "{character:?} with {kind}");
            }
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn codes_are_explained_and_mistyped_ones_guessed() {
    let running = start().await;
    let token = running.session().await;
    let explained = async |code: &str| {
        let answer =
            Ask::get(running.app(), &format!("/fragments/explain?code={code}")).token(&token).send().await;
        assert_eq!(answer.status, 200);
        words(&answer.body)
    };
    assert!(explained("carrier-nat").await.contains("Many homes share one address"));
    assert!(explained("carier-nat").await.contains("Did you mean carrier-nat"));
    assert!(explained("%3Cscript%3E").await.contains("There is no code “&lt;script&gt;”"));
    let all = explained("").await;
    for code in kith_doctor::Code::ALL {
        assert!(all.contains(code.title()), "{code}");
    }
    running.stop().await;
}

async fn overflow(browser: &mut Browser) -> serde_json::Value {
    browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctors_page_fits_wide_and_narrow_windows_light_and_dark() {
    let Some(program) = chromium() else { return };
    for name in diagnoses::ALL {
        let running = start_with(diagnosed(name)).await;
        let mut browser = open(&running, program).await;
        browser.value(&format!("location.hash = \"#/doctor/{}\", true", device(1))).await;
        browser.until("document.querySelector(\"#diagnosis-title\") !== null").await;
        browser
            .until("document.querySelector('[data-patient][aria-current]')?.innerText.trim() === \"Anna\"")
            .await;
        for (width, scheme) in [(1200, "light"), (1200, "dark"), (320, "light"), (320, "dark")] {
            browser.look(width, scheme).await;
            browser.picture(&format!("doctor-{name}-{width}-{scheme}")).await;
            assert_eq!(
                overflow(&mut browser).await,
                0,
                "{name} at {width}: something is wider than the window"
            );
        }
        // The stations stand below each other in a narrow window, and beside each other in a wide one.
        let across = "(() => { const [one, two] = document.querySelectorAll(\".stop\"); return one.offsetTop === two.offsetTop; })()";
        assert_eq!(browser.value(across).await, false, "{name}");
        browser.look(1200, "light").await;
        assert_eq!(browser.value(across).await, true, "{name}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_full_of_hostile_names_fits_and_runs_nothing() {
    let Some(program) = chromium() else { return };
    for kind in ["long", "override"] {
        let running = start_with(hostile(&hostile_names()[kind])).await;
        let mut browser = open(&running, program).await;
        browser.value(&format!("location.hash = \"#/doctor/{}\", true", device(1))).await;
        browser.until("document.querySelector(\"#diagnosis-title\") !== null").await;
        for width in [1200, 320] {
            browser.look(width, "light").await;
            browser.picture(&format!("doctor-hostile-{kind}-{width}")).await;
            assert_eq!(overflow(&mut browser).await, 0, "{kind} at {width}");
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_friend_is_looked_at_from_his_card_again_and_with_a_code() {
    let Some(program) = chromium() else { return };
    let running = start_with(diagnosed("offline")).await;
    let mut browser = open(&running, program).await;
    let anna = device(1);
    browser.press(&format!("#friend-{anna} a[href=\"#/doctor/{anna}\"]")).await;
    until_called(&running, &format!("doctor Some(\"{anna}\") with None")).await;
    browser
        .until("document.querySelector(\"#diagnosis-title\")?.innerText.includes(\"off or asleep\")")
        .await;
    let before = running.backend.calls().len();
    browser.press("[data-action=examine-again]").await;
    browser.until("!document.querySelector(\"#examine-again\").hidden").await;
    assert_eq!(running.backend.calls().len(), before + 1);

    browser.press("[data-dialog=explain][data-code=offline]").await;
    browser.until("document.querySelector(\"#explain\").open && document.querySelector(\"#explain-title\").innerText.includes(\"off or asleep\")").await;
    browser.press("#explain [data-close]").await;

    browser.press("[data-action=report-code]").await;
    browser.until("document.querySelector(\"[data-report-code]\").value.startsWith(\"kith-report:\")").await;
    until_called(&running, &format!("report code Some(\"{anna}\")")).await;
    browser.picture("doctor-report-code").await;
    browser.press("#report-code [data-close]").await;

    browser.type_in("form[data-form=examine] textarea", "kith-report:abc").await;
    browser.press("form[data-form=examine] button[type=submit]").await;
    until_called(&running, &format!("doctor Some(\"{anna}\") with Some(\"kith-report:abc\")")).await;
    browser
        .until("document.querySelector(\"#diagnosis\").innerText.includes(\"half is from the report code\")")
        .await;
    running.stop().await;
}

/// Types a line and waits for a word of its result.
async fn run(browser: &mut Browser, line: &str, result: &str) {
    browser.type_in("#command-line", line).await;
    browser.press("#command button[type=submit]").await;
    browser
        .until(&format!("document.querySelector(\"#command-output\").innerText.includes({result:?})"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_the_command_box_are_calls_of_the_engine_and_nothing_else() {
    let Some(program) = chromium() else { return };
    let running = start_with(diagnosed("mapping-off-here")).await;
    let mut browser = open(&running, program).await;
    for (line, result) in [
        ("help", "Several at once, separated by commas"),
        ("ra, friends", "Anna: connected, at 192.168.1.40:4242"),
        ("status", "2 of 3 friends are connected"),
        ("ports", "tcp "),
        ("pause 1h30m", "Backups are paused for 1h30m"),
        ("resume", "Backups go on"),
        ("backup Documents", "Backing up"),
        ("explain carrier-nat", "Many homes share one address"),
        ("DOCTOR anna", "What to do: Open http://192.168.1.1/"),
        ("look", "Computers nearby are looked for"),
        ("doktor", "Did you mean “doctor”?"),
        ("pause soon", "is not a duration"),
        ("restart, ra", "has to be the last one"),
        ("ra; rm -rf ~", "is not a command"),
    ] {
        run(&mut browser, line, result).await;
    }
    let calls = running.backend.calls();
    for call in ["ra", "pause 5400", "resume", "open near"] {
        assert!(calls.iter().any(|known| known == call), "{call} is not among {calls:?}");
    }
    // Of a line with something wrong in it nothing is done.
    assert_eq!(calls.iter().filter(|call| *call == "ra").count(), 1, "{calls:?}");
    assert!(!calls.iter().any(|call| call == "restart"), "{calls:?}");
    run(&mut browser, "help", "Several at once").await;
    for (width, scheme) in [(1200, "light"), (320, "dark")] {
        browser.look(width, scheme).await;
        browser.picture(&format!("box-help-{width}-{scheme}")).await;
        assert_eq!(overflow(&mut browser).await, 0);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_box_is_a_key_away_and_offers_what_matches() {
    let Some(program) = chromium() else { return };
    let running = start_with(rich()).await;
    let mut browser = open(&running, program).await;
    for key in ["{ key: \"/\" }", "{ key: \"k\", ctrlKey: true }"] {
        browser.value("document.activeElement.blur(), true").await;
        let pressed = format!(
            "document.dispatchEvent(new KeyboardEvent(\"keydown\", {key})), document.activeElement.id"
        );
        assert_eq!(browser.value(&pressed).await, "command-line");
    }
    browser.type_in("#command-line", "ra, doc").await;
    browser
        .until("document.querySelector(\"#command-matches li\")?.innerText.startsWith(\"doctor\") === true")
        .await;
    browser.picture("box-matches").await;
    let tab = "document.querySelector(\"#command-line\").dispatchEvent(new KeyboardEvent(\"keydown\", { key: \"Tab\", bubbles: true, cancelable: true })), document.querySelector(\"#command-line\").value";
    assert_eq!(browser.value(tab).await, "ra, doctor ");
    browser.until("document.querySelector(\"#command-matches\").innerText.includes(\"doctor Anna\")").await;
    browser.look(1200, "light").await;
    browser.picture("box-friends").await;
    browser.type_in("#command-line", "explain firewall").await;
    browser.until("document.querySelectorAll(\"#command-matches li\").length === 2").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_from_the_box_the_page_says_how_it_is_opened_again() {
    let Some(program) = chromium() else { return };
    // Below the range from which the system gives ports to others, who might take one between the two runs.
    let first = 30_000 + u16::try_from(std::process::id() % 1_000).unwrap() * 2;
    let running = start_at(rich(), first, first + 1).await;
    let mut browser = open(&running, program).await;
    run(&mut browser, "ra, restart", "type “kith open” in a terminal").await;
    until_called(&running, "restart").await;
    // What the daemon does then: it ends, and another run takes the same ports, with other tokens.
    let (api, app, socket) = (running.api(), running.app(), running.socket.with_file_name("second.sock"));
    let backend = running.backend.clone();
    let folder = running.end().await;
    let config = ControlConfig { group: None, ..ControlConfig::new(api, app, socket) };
    let second = ControlServer::start(config, backend).await.unwrap();
    assert_eq!(second.bound().app_port, app, "the port was taken meanwhile");
    browser.until("!document.querySelector(\"#locked\").hidden").await;
    browser
        .until(
            "document.querySelector(\"#locked\").innerText.includes(\"Kith was started anew, as you asked\")",
        )
        .await;
    browser.until("document.querySelector(\"#locked\").innerText.includes(\"kith open\")").await;
    // Nothing of what was shown is left in the page.
    assert_eq!(browser.value("document.body.innerText.includes(\"Anna\")").await, false);
    browser.look(1200, "light").await;
    browser.picture("locked-after-restart").await;
    second.shutdown(std::time::Duration::from_secs(2)).await;
    drop(folder);
}
