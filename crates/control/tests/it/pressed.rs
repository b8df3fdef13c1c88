//! What a person presses and types, in a real browser: that it reaches the engine, and how the page looks meanwhile.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kith_control::view::NearView;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::browser::chromium;
use crate::harness::{Running, start_with};
use crate::stand_in::{device, hubs, looking, rich};

/// Longest wait for anything that the browser does, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page, driven by its own protocol over two named pipes: no port is open for it.
pub(crate) struct Browser {
    _child: Child,
    _profile: tempfile::TempDir,
    commands: tokio::fs::File,
    answers: BufReader<tokio::fs::File>,
    last: u64,
    page: String,
    /// Documents that are loaded.
    loaded: Vec<String>,
    /// What the browser said about the page, and the page itself, to whoever debugs it.
    pub(crate) complaints: Vec<String>,
}

impl Browser {
    /// Starts a browser with an empty page.
    pub(crate) async fn start(program: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let pipe = |name: &str| {
            let path = profile.path().join(name);
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            path
        };
        let (to, from) = (pipe("to"), pipe("from"));
        // The browser reads its third file and writes its fourth.
        let script = "exec \"$0\" \"$@\" 3<\"$TO\" 4>\"$FROM\"";
        let child = Command::new("sh")
            .args(["-c", script, program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-sync", "--disable-background-networking", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().join("profile").display()))
            .env("TO", &to)
            .env("FROM", &from)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // Both ways at once: opening one end alone waits for the other.
        let both = |path: &Path| {
            tokio::fs::File::from_std(std::fs::File::options().read(true).write(true).open(path).unwrap())
        };
        let (commands, answers) = (both(&to), BufReader::new(both(&from)));
        let mut browser = Self {
            _child: child,
            _profile: profile,
            commands,
            answers,
            last: 0,
            page: String::new(),
            loaded: Vec::new(),
            complaints: Vec::new(),
        };
        let empty = json!({ "url": "about:blank" });
        let target = browser.ask("Target.createTarget", empty).await["targetId"].clone();
        let attached =
            browser.ask("Target.attachToTarget", json!({ "targetId": target, "flatten": true })).await;
        browser.page = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            browser.ask(&format!("{domain}.enable"), json!({})).await;
        }
        browser.ask("Page.setLifecycleEventsEnabled", json!({ "enabled": true })).await;
        browser
    }

    /// Goes to an address and waits until it is loaded: on the way there another process may take over the page, and what
    /// was asked of the first one has no answer.
    pub(crate) async fn go(&mut self, url: &str) {
        let begun = self.ask("Page.navigate", json!({ "url": url })).await;
        assert!(begun["errorText"].is_null(), "{url}: {begun:#}");
        let document = begun["loaderId"].as_str().unwrap().to_owned();
        let loading = async {
            while !self.loaded.contains(&document) {
                let message = self.message().await;
                self.hear(&message);
            }
        };
        tokio::time::timeout(PATIENCE, loading).await.unwrap_or_else(|_| panic!("{url} does not load"));
    }

    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, params).await;
        assert!(answer["error"].is_null(), "{method}: {answer:#}");
        answer["result"].clone()
    }

    async fn answer(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": params });
        if !self.page.is_empty() {
            command["sessionId"] = json!(self.page);
        }
        let mut bytes = serde_json::to_vec(&command).unwrap();
        bytes.push(0);
        self.commands.write_all(&bytes).await.unwrap();
        self.commands.flush().await.unwrap();
        let answered = async {
            loop {
                let message = self.message().await;
                if message["id"] == self.last {
                    return message;
                }
                self.hear(&message);
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("{method} has no answer"))
    }

    async fn message(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes).await.unwrap();
        bytes.pop();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn hear(&mut self, event: &Value) {
        let about = &event["params"];
        match event["method"].as_str() {
            Some("Page.lifecycleEvent") if about["name"] == "load" => {
                self.loaded.push(about["loaderId"].as_str().unwrap().to_owned());
            }
            Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded") => {
                self.complaints.push(about.to_string());
            }
            _ => {}
        }
    }

    /// What an expression is worth in the page.
    pub(crate) async fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", params).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer:#}");
        answer["result"]["value"].clone()
    }

    pub(crate) async fn until(&mut self, expression: &str) {
        let waiting = async {
            while self.value(expression).await != true {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(
            waited.is_ok(),
            "it did not become true: {expression}\n{}",
            self.value("document.body.innerText").await
        );
    }

    /// Waits for an element that can be pressed, and presses it.
    pub(crate) async fn press(&mut self, selector: &str) {
        let it = format!("document.querySelector({})", json!(selector));
        // In one step: the page may put another element in its place at any moment.
        let pressed = format!(
            "(() => {{ const it = {it}; if (it === null || it.disabled || it.getClientRects().length === 0) return false; it.click(); return true; }})()"
        );
        self.until(&pressed).await;
    }

    pub(crate) async fn type_in(&mut self, selector: &str, text: &str) {
        let it = format!("document.querySelector({})", json!(selector));
        self.until(&format!("{it} !== null")).await;
        let typed = format!(
            "(() => {{ const it = {it}; it.focus(); it.value = {}; it.dispatchEvent(new Event(\"input\", {{ bubbles: true }})); return it.value; }})()",
            json!(text)
        );
        assert_eq!(self.value(&typed).await, text);
    }

    /// Sets how wide the page is, and whether it is dark.
    pub(crate) async fn look(&mut self, width: u32, scheme: &str) {
        self.window(width, 900, scheme).await;
    }

    /// As [`Self::look`], and how high the window is.
    pub(crate) async fn window(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            // Nothing is half on its way in a picture.
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Keeps a picture of the whole page where a person asked for them: the folder is named by `KITH_PICTURES`.
    pub(crate) async fn picture(&mut self, name: &str) {
        self.keep(name, json!({ "captureBeyondViewport": true })).await;
    }

    /// The same of what is in the window, but for the bars by which it is moved.
    pub(crate) async fn picture_of_window(&mut self, name: &str) {
        self.ask("Emulation.setScrollbarsHidden", json!({ "hidden": true })).await;
        self.keep(name, json!({})).await;
    }

    async fn keep(&mut self, name: &str, how: Value) {
        let Ok(folder) = std::env::var("KITH_PICTURES") else { return };
        let picture = self.ask("Page.captureScreenshot", how).await;
        let bytes = data_encoding::BASE64.decode(picture["data"].as_str().unwrap().as_bytes()).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
    }
}

pub(crate) async fn open(running: &Running, program: &str) -> Browser {
    let mut browser = Browser::start(program).await;
    // A code is worth something for 30 s: the browser is there already.
    let url = running.client().await.app_code().await.unwrap().url;
    browser.go(&url).await;
    browser.until("document.querySelector(\"#near-title\") !== null").await;
    browser
}

pub(crate) async fn until_called(running: &Running, call: &str) {
    let waiting = async {
        while !running.backend.calls().iter().any(|known| known == call) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{call} is not among {:?}", running.backend.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn computers_nearby_are_looked_for_met_confirmed_and_refused_by_pressing() {
    let Some(program) = chromium() else { return };
    let running = start_with(rich()).await;
    let mut browser = open(&running, program).await;
    browser.press("[data-action=open-near]").await;
    until_called(&running, "open near").await;
    browser.press("[data-action=close-near]").await;
    until_called(&running, "close near").await;

    running.backend.state().near = NearView { open_until: None, ..looking() };
    browser.press("[data-action=open-near]").await;
    let carla = device(32);
    browser.press(&format!("[data-action=meet][data-device=\"{carla}\"]")).await;
    until_called(&running, &format!("meet {carla}")).await;
    // With whom words are compared already, nobody can be asked a second time.
    let ben =
        format!("document.querySelector('[data-action=meet][data-device=\"{}\"]').disabled", device(33));
    assert_eq!(browser.value(&ben).await, true);
    // That it is an own computer is said by the person, and by nothing else.
    let form = "form[data-form=meeting][data-meeting=\"4\"]";
    assert_eq!(browser.value(&format!("document.querySelector('{form}').elements.own.checked")).await, false);
    browser.press(&format!("{form} input[name=own]")).await;
    browser.press(&format!("{form} button[type=submit]")).await;
    until_called(&running, "confirm 4 MeetingConsent { own: true, quota_bytes: None }").await;
    browser.press(&format!("{form} [data-action=refuse-meeting]")).await;
    until_called(&running, "refuse 4").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_out_is_chosen_in_the_options_and_nothing_half_is_saved() {
    let Some(program) = chromium() else { return };
    let mut state = rich();
    let proxy = state.settings.iter_mut().find(|setting| setting.key == "network.proxy").unwrap();
    proxy.locked = false;
    proxy.value = "\"\"".to_owned();
    let mut mapped = proxy.clone();
    (mapped.key, mapped.value) = ("network.mapped".to_owned(), "{}".to_owned());
    state.settings.push(mapped);
    let running = start_with(state).await;
    let mut browser = open(&running, program).await;
    browser.value("location.hash = \"#/options\", true").await;
    let submit = "form[data-form=outward] button[type=submit]";
    browser.press("form[data-form=outward] input[value=socks5]").await;
    // Without a host it is no proxy.
    browser.press(submit).await;
    browser.until("document.body.innerText.includes(\"needs a host and a port\")").await;
    assert!(
        running.backend.calls().iter().all(|call| !call.starts_with("set ")),
        "{:?}",
        running.backend.calls()
    );
    browser.type_in("form[data-form=outward] input[name=host]", "proxy.example").await;
    browser.type_in("form[data-form=outward] input[name=port]", "1080").await;
    browser.type_in("form[data-form=outward] input[name=user]", "anna").await;
    browser.type_in("form[data-form=outward] input[name=password]", "a:b@c").await;
    browser.press(submit).await;
    until_called(&running, "set network.proxy = socks5://anna:a%3Ab%40c@proxy.example:1080").await;

    // The page shows the settings anew before it says that it is done.
    browser.until("document.body.innerText.includes(\"Friends are called by this way now\")").await;
    browser.press("form[data-form=outward] input[value=mapped]").await;
    browser.type_in("form[data-form=outward] textarea", "hub.example:443 = fw.example:7000\n").await;
    browser.press(submit).await;
    until_called(&running, "set network.mapped = { \"hub.example:443\" = \"fw.example:7000\" }").await;
    until_called(&running, "set network.proxy = ").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_page_fits_wide_and_narrow_windows_light_and_dark() {
    let Some(program) = chromium() else { return };
    let mut state = rich();
    state.status.hubs = hubs();
    let running = start_with(state).await;
    let mut browser = open(&running, program).await;
    browser.value("location.hash = \"#/network\", true").await;
    browser.until("document.querySelector(\"#hubs-title\") !== null").await;
    for (width, scheme) in [(1200, "light"), (1200, "dark"), (390, "light"), (390, "dark")] {
        browser.look(width, scheme).await;
        browser.picture(&format!("network-{width}-{scheme}")).await;
        let overflow = browser
            .value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            .await;
        assert_eq!(overflow, 0, "at {width} pixels something is wider than the window");
        // Text that can't be told from what it stands on.
        let same = "[...document.querySelectorAll(\"#network *\")].filter(it => { const style = getComputedStyle(it); \
                    return it.innerText && style.color === style.backgroundColor; }).length";
        assert_eq!(browser.value(same).await, 0, "{scheme}");
    }
    let page = browser.value("document.querySelector(\"#network\").innerText").await;
    for shown in [
        "hub.example.org:4287",
        "Registered",
        "moves to new.example.org:443",
        "Refused",
        "used to reach Anna",
    ] {
        assert!(page.as_str().unwrap().contains(shown), "{shown} in {page}");
    }
    running.stop().await;
}
