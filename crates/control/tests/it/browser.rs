//! The page in a real browser, under its real policies. Left out, with a word, where no Chromium is installed; with CI=true
//! that is a failure.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Running, start, start_with};
use crate::pressed::{Browser, open};
use crate::stand_in::{hostile, hostile_names};

pub(crate) fn chromium() -> Option<&'static str> {
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

/// Opens an address and returns what the page is when it is loaded, and what the browser complained about.
async fn loaded(program: &'static str, url: String) -> (String, String) {
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
        .args(["--dump-dom", &url]);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let complaints =
        text(&output.stderr).lines().filter(|line| line.contains("CONSOLE")).collect::<Vec<_>>().join("\n");
    (text(&output.stdout), complaints)
}

/// Every part of the overview is there, and the page listens to the engine.
const COMPLETE: &str = "document.querySelector(\"#connection-word\").innerText === \"Live\" && \
    [...document.querySelectorAll(\"#overview [data-section]\")].every(part => part.childElementCount > 0)";

async fn open_with_code(running: &Running, program: &'static str) -> (Browser, String) {
    let mut browser = open(running, program).await;
    browser.until(COMPLETE).await;
    let page = content(&mut browser).await;
    (browser, page)
}

async fn content(browser: &mut Browser) -> String {
    browser.value("document.documentElement.outerHTML").await.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_opens_with_a_code_and_shows_everything_without_a_complaint() {
    let Some(program) = chromium() else { return };
    let running = start().await;
    let (mut browser, page) = open_with_code(&running, program).await;
    assert_eq!(browser.complaints, Vec::<String>::new());
    for shown in [
        "Everything is backed up",
        "Ben’s workshop",
        "192.168.1.40:4242",
        "Encrypting and sending to",
        ">Live<",
    ] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    // It would have been heard.
    browser.value("document.body.setAttribute(\"style\", \"color: red\"), true").await;
    assert!(browser.complaints.concat().contains("Content Security Policy"), "{:?}", browser.complaints);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_code_the_page_shows_nothing_but_how_to_open_it() {
    let Some(program) = chromium() else { return };
    let running = start().await;
    let mut browser = Browser::start(program).await;
    browser.go(&format!("http://127.0.0.1:{}/", running.app())).await;
    browser.until("!document.querySelector(\"#locked\").hidden").await;
    let page = content(&mut browser).await;
    assert_eq!(browser.complaints, Vec::<String>::new());
    assert!(page.contains("<section class=\"locked\" id=\"locked\" aria-labelledby"), "{page}");
    assert!(page.contains("kith open") && !page.contains("Anna"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_stay_text_in_the_browser() {
    let Some(program) = chromium() else { return };
    let name: String = hostile_names().into_values().collect();
    let running = start_with(hostile(&name)).await;
    let (browser, page) = open_with_code(&running, program).await;
    assert_eq!(browser.complaints, Vec::<String>::new());
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    // The shell's own two pictures and one script.
    assert_eq!((page.matches("<img").count(), page.matches("<script").count()), (2, 1));
    running.stop().await;
}

/// What a page of another origin tries. It knows both ports, a code that is still open and even the API's token.
const ATTACK: &str = r#"<!doctype html><title>attack</title><img src="/until-done"><ul id="out"></ul><script>
const out = document.getElementById("out");
const say = (what, result) => {
  const line = document.createElement("li");
  line.textContent = what + ": " + result;
  out.append(line);
};
const read = answer => answer.text().then(text => "READ " + answer.status + " " + text);
const element = (tag, values) => new Promise(end => {
  const it = document.createElement(tag);
  it.onload = () => end("LOADED");
  it.onerror = () => end("refused");
  document.body.append(Object.assign(it, values));
});
// What is in a frame a page of another origin can't see: whether something was answered shows elsewhere.
const frame = () => {
  const it = Object.assign(document.createElement("iframe"), { name: "f" + Math.random() });
  document.body.append(it);
  return it;
};
const form = (action, fields, enctype) => {
  const form = Object.assign(document.createElement("form"), { action, enctype, method: "post", target: frame().name });
  for (const [name, value] of fields) form.append(Object.assign(document.createElement("input"), { name, value }));
  document.body.append(form);
  form.submit();
};
const stream = it => new Promise(end => {
  it.onopen = it.onmessage = () => end("OPEN");
  it.onerror = () => { it.close(); end("refused"); };
});
const bearer = { Authorization: "Bearer TOKEN" };
const json = { "Content-Type": "application/json" };
(async () => {
  const bases = [API, APP].flatMap(port => ["127.0.0.1", "localhost", "[::1]"].map(host => `http://${host}:${port}`));
  for (const base of bases) {
    const tries = {
      "read the status": () => fetch(base + "/v1/status").then(read),
      "read it with the token": () => fetch(base + "/v1/status", { headers: bearer }).then(read),
      "read a part of the page": () => fetch(base + "/fragments/friends", { headers: bearer }).then(read),
      "read the shell": () => fetch(base + "/").then(read),
      "read blindly": () => fetch(base + "/v1/status", { mode: "no-cors" }).then(read),
      "send with the token": () =>
        fetch(base + "/v1/restart", { method: "POST", headers: { ...bearer, ...json }, body: "{}" }).then(read),
      "send blindly": () => fetch(base + "/v1/ra", { method: "POST", mode: "no-cors", body: "{}" }).then(read),
      "exchange the code": () =>
        fetch(base + "/session", { method: "POST", headers: json, body: JSON.stringify({ code: "CODE" }) }).then(read),
      "exchange the code blindly": () =>
        fetch(base + "/session", { method: "POST", mode: "no-cors", body: JSON.stringify({ code: "CODE" }) }).then(read),
      "delete": () => fetch(base + "/v1/sets/docs", { method: "DELETE", headers: bearer }).then(read),
      "a picture": () => element("img", { src: base + "/icon.svg" }),
      "a script": () => element("script", { src: base + "/main.js" }),
      "a style": () => element("link", { rel: "stylesheet", href: base + "/app.css" }),
      "events": () => stream(new EventSource(base + "/v1/events")),
      "a web socket": () => stream(new WebSocket(base.replace("http", "ws") + "/v1/events")),
    };
    for (const [what, attempt] of Object.entries(tries))
      say(what + " at " + base, await attempt().catch(() => "refused"));
  }
  for (const base of bases) {
    frame().src = base + "/";
    form(base + "/v1/ra", [["{}", ""]], "text/plain");
    form(base + "/session", [["{\"code\":\"CODE\",\"x\":\"", "\"}"]], "text/plain");
  }
  setTimeout(() => { say("all", "done"); fetch("/done"); }, 1000);
})();
</script>"#;

/// For how long a code is worth something.
const CODE_LIFETIME: Duration = Duration::from_secs(30);
/// So often an attack may take longer than that, on a computer with much else to do, and is made again.
const MOST_SLOW: u32 = 3;

/// Serves a page to everybody who asks, until dropped. The page is loaded when it says that it is done.
struct ForeignPage {
    port: u16,
    _task: tokio::task::JoinSet<()>,
}

impl ForeignPage {
    async fn serve(page: String) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut task = tokio::task::JoinSet::new();
        task.spawn(async move {
            let done = std::sync::Arc::new(tokio::sync::Notify::new());
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (page, done) = (page.clone(), std::sync::Arc::clone(&done));
                connections.spawn(async move { drop(answer(stream, &page, &done).await) });
            }
        });
        Self { port, _task: task }
    }
}

async fn answer(
    mut stream: tokio::net::TcpStream,
    page: &str,
    done: &tokio::sync::Notify,
) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    // Browsers ask in one piece.
    let mut request = [0; 8192];
    let length = stream.read(&mut request).await?;
    let body = match std::str::from_utf8(&request[..length]).unwrap_or_default().split(' ').nth(1) {
        Some("/") => page,
        Some("/until-done") => {
            done.notified().await;
            ""
        }
        Some("/done") => {
            done.notify_one();
            ""
        }
        _ => return Ok(()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_reads_nothing_and_changes_nothing_whatever_it_tries() {
    let Some(program) = chromium() else { return };
    let running = start().await;
    let attack = ATTACK
        .replace("[API, APP]", &format!("[{}, {}]", running.api(), running.app()))
        .replace("TOKEN", &running.token());
    let (mut hosts, mut slow) = (vec!["127.0.0.1", "localhost"], 0);
    while let Some(&host) = hosts.last() {
        let begun = Instant::now();
        let code = running.code().await;
        let foreign = ForeignPage::serve(attack.replace("CODE", &code)).await;
        let (page, complaints) = loaded(program, format!("http://{host}:{}/", foreign.port)).await;
        assert!(page.contains("all: done"), "it did not come to its end: {page}");
        let tried: Vec<&str> = page
            .split("<li>")
            .skip(1)
            .filter_map(|line| line.split_once("</li>"))
            .map(|line| line.0)
            .collect();
        assert_eq!(tried.len(), 15 * 6 + 1, "{tried:?}");
        // A page of another origin can't see what is in a frame, but the browser says why nothing is.
        assert!(complaints.contains("frame-ancestors"), "{complaints}");
        for line in &tried[..tried.len() - 1] {
            assert!(line.ends_with(": refused"), "from {host}: {line}");
        }
        // The code is still worth what it was: nobody used it up. One that is over by itself tells nothing of that.
        match running.exchange(&code).await.status {
            200 => {
                hosts.pop();
            }
            _ if begun.elapsed() > CODE_LIFETIME && slow < MOST_SLOW => slow += 1,
            status => panic!("{status} from {host} after {:?}, {slow} times too late", begun.elapsed()),
        }
    }
    assert_eq!(running.backend.calls(), Vec::<String>::new(), "something was done");
    running.stop().await;
}
