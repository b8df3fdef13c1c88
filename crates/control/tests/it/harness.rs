//! A running server, and HTTP written by hand: what an attacker sends is not what a library would.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kith_control::{Client, ControlConfig, ControlServer};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stand_in::{StandIn, State, rich};

pub(crate) struct Running {
    pub(crate) server: ControlServer,
    pub(crate) backend: Arc<StandIn>,
    pub(crate) socket: PathBuf,
    folder: tempfile::TempDir,
}

pub(crate) async fn start() -> Running {
    start_with(rich()).await
}

pub(crate) async fn start_with(state: State) -> Running {
    start_at(state, 0, 0).await
}

/// As [`start_with`], at these ports of the API and the app.
pub(crate) async fn start_at(state: State, api: u16, app: u16) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let backend = Arc::new(StandIn::new(state));
    let config = ControlConfig { group: None, ..ControlConfig::new(api, app, socket.clone()) };
    let server = ControlServer::start(config, backend.clone()).await.unwrap();
    Running { server, backend, socket, folder }
}

impl Running {
    pub(crate) fn api(&self) -> u16 {
        self.server.bound().api_port
    }

    pub(crate) fn app(&self) -> u16 {
        self.server.bound().app_port
    }

    pub(crate) fn token(&self) -> String {
        self.server.token().reveal()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.socket).await.unwrap()
    }

    /// A fresh one-time code, as `kith open` gets it.
    pub(crate) async fn code(&self) -> String {
        let url = self.client().await.app_code().await.unwrap().url;
        let (page, code) = url.split_once("#code=").unwrap();
        assert_eq!(page, format!("http://127.0.0.1:{}/", self.app()));
        code.to_owned()
    }

    /// A page's token, got as the page gets it.
    pub(crate) async fn session(&self) -> String {
        let answer = self.exchange(&self.code().await).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn exchange(&self, code: &str) -> Answer {
        let body = format!("{{\"code\":\"{code}\"}}");
        Ask::new("POST", self.app(), "/session").json(&body).send().await
    }

    /// Ends, and leaves the folder of its socket.
    pub(crate) async fn end(self) -> tempfile::TempDir {
        self.server.shutdown(Duration::from_secs(2)).await;
        self.folder
    }

    pub(crate) async fn stop(self) {
        self.server.shutdown(Duration::from_secs(2)).await;
    }
}

/// A request, line by line.
pub(crate) struct Ask {
    port: u16,
    method: String,
    target: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: String,
}

impl Ask {
    pub(crate) fn new(method: &str, port: u16, target: &str) -> Self {
        Self {
            port,
            method: method.to_owned(),
            target: target.to_owned(),
            host: Some(format!("127.0.0.1:{port}")),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    pub(crate) fn get(port: u16, target: &str) -> Self {
        Self::new("GET", port, target)
    }

    pub(crate) fn host(mut self, host: Option<&str>) -> Self {
        self.host = host.map(str::to_owned);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &str) -> Self {
        self.header("Content-Type", "application/json").body(body)
    }

    pub(crate) fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if let Some(host) = &self.host {
            text.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
            self.body.len(),
            self.body
        ));
        // The server may refuse, and close, before it has read everything.
        stream.write_all(text.as_bytes()).await.unwrap_or_default();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap_or_default();
        Answer::parse(&String::from_utf8(bytes).unwrap())
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { status, headers, body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Fails unless this is an error with this status, told as JSON.
    pub(crate) fn assert_refused(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        let failure = self.json();
        assert!(failure["kind"].is_string() && failure["message"].is_string(), "{failure}");
    }
}

/// Says what a test leaves out on this machine. With CI=true nothing may be left out.
#[expect(clippy::print_stderr, reason = "a test says on standard error what it leaves out")]
pub(crate) fn leave_out(reason: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "nothing may be left out here: {reason}"
    );
    eprintln!("skipped: {reason}");
}
