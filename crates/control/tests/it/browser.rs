//! The page in a real browser, under its real policies. Left out, with a word, where no Chromium is installed; with CI=true
//! that is a failure.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Running, start, start_with};
use crate::stand_in::{hostile, hostile_names};

fn chromium() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        let mut command = Command::new(name);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    if found.is_none() {
        crate::harness::leave_out("no Chromium is installed");
    }
    found
}

/// Opens an address and returns what the page has become after a while, and what the browser complained about.
async fn open(program: &'static str, url: String) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(program);
    command
        .kill_on_drop(true)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-sync",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=3000", "--dump-dom", &url]);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let complaints =
        text(&output.stderr).lines().filter(|line| line.contains("CONSOLE")).collect::<Vec<_>>().join("\n");
    (text(&output.stdout), complaints)
}

async fn open_with_code(running: &Running, program: &'static str) -> (String, String) {
    let url = running.client().await.app_code().await.unwrap().url;
    open(program, url).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_opens_with_a_code_and_shows_everything_without_a_complaint() {
    let Some(program) = chromium() else { return };
    let running = start().await;
    let (page, complaints) = open_with_code(&running, program).await;
    assert_eq!(complaints, "");
    for shown in [
        "Everything is backed up",
        "Ben’s workshop",
        "192.168.1.40:4242",
        "Encrypting and sending to",
        ">Live<",
    ] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_code_the_page_shows_nothing_but_how_to_open_it() {
    let Some(program) = chromium() else { return };
    let running = start().await;
    let (page, complaints) = open(program, format!("http://127.0.0.1:{}/", running.app())).await;
    assert_eq!(complaints, "");
    assert!(page.contains("<section class=\"locked\" id=\"locked\" aria-labelledby"), "{page}");
    assert!(page.contains("kith open") && !page.contains("Anna"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_stay_text_in_the_browser() {
    let Some(program) = chromium() else { return };
    let name: String = hostile_names().into_values().collect();
    let running = start_with(hostile(&name)).await;
    let (page, complaints) = open_with_code(&running, program).await;
    assert_eq!(complaints, "");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    // The shell's own two pictures and one script.
    assert_eq!((page.matches("<img").count(), page.matches("<script").count()), (2, 1));
    running.stop().await;
}
