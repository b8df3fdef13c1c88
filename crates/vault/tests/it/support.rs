//! A vault in a temporary directory, requests to it, and a loopback server in front of it.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kith_vault::{CODE_HEADER, Clock, LocalDisk, Medium, Owner, Vault, VaultConfig, VaultError};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::simulated::TestClock;

pub(crate) const QUOTA: u64 = 1 << 30;

pub(crate) fn owner(name: &str) -> Owner {
    Owner::parse(name).unwrap()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The path of a pack with these bytes in archive `a`.
pub(crate) fn pack_path(bytes: &[u8]) -> String {
    format!("/a/data/{}", sha256(bytes))
}

/// Bytes that differ for every `seed`.
pub(crate) fn bytes_of(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| step()).take(length).collect()
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The refusal's code; the header and the body must agree.
    #[track_caller]
    pub(crate) fn code(&self) -> &str {
        let header = self.headers.get(CODE_HEADER).map(|value| value.to_str().unwrap()).unwrap_or_default();
        if !header.is_empty() && !self.body.is_empty() {
            let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
            assert_eq!(body["code"], header);
            assert!(body["message"].as_str().is_some_and(|message| message.len() > 10), "{body}");
        }
        header
    }

    #[track_caller]
    pub(crate) fn expect_ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        self
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{:?}", self.body);
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A vault with one owner who has an archive `a` and a quota.
pub(crate) struct Fixture {
    pub(crate) directory: TempDir,
    pub(crate) owner: Owner,
    vault: Option<Vault>,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let fixture = Self::open_in(tempfile::tempdir().unwrap()).await;
        fixture.post("/a/?create=true", b"").await.expect_ok();
        fixture
    }

    pub(crate) async fn open_in(directory: TempDir) -> Self {
        let owner = owner("ALICE");
        let vault = open(&directory.path().join("vault")).await.unwrap();
        vault.set_quota(&owner, Some(QUOTA));
        Self { directory, owner, vault: Some(vault) }
    }

    /// Like [`Fixture::new`], by clocks of the test's own; the window of what is deleted is an hour.
    pub(crate) async fn by(clock: &Arc<TestClock>) -> Self {
        let mut fixture = Self::closed();
        fixture.start(clock).await;
        fixture.post("/a/?create=true", b"").await.expect_ok();
        fixture
    }

    /// A place for a vault that is not open.
    pub(crate) fn closed() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), owner: owner("ALICE"), vault: None }
    }

    /// Opens the vault by clocks of the test's own.
    pub(crate) async fn start(&mut self, clock: &Arc<TestClock>) {
        self.start_on(Arc::new(LocalDisk::default()), clock).await;
    }

    /// The same, on a disk of the test's own.
    pub(crate) async fn start_on(&mut self, medium: Arc<dyn Medium>, clock: &Arc<TestClock>) {
        let vault = open_on(&self.root(), medium, clock).await.unwrap();
        vault.set_quota(&self.owner, Some(QUOTA));
        vault.set_hold(HOLD);
        self.vault = Some(vault);
    }

    /// Closes the vault.
    pub(crate) fn stop(&mut self) {
        self.vault = None;
    }

    pub(crate) fn vault(&self) -> &Vault {
        self.vault.as_ref().unwrap()
    }

    /// Closes the vault and opens it again.
    pub(crate) async fn reopen(mut self) -> Self {
        self.vault = None;
        // Work that was cut off may still be cleaning up.
        let path = self.root();
        let vault = loop {
            match open(&path).await {
                Err(VaultError::InUse { .. }) => tokio::task::yield_now().await,
                opened => break opened.unwrap(),
            }
        };
        vault.set_quota(&self.owner, Some(QUOTA));
        self.vault = Some(vault);
        self
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("vault")
    }

    /// The directory of archive `a`.
    pub(crate) fn archive(&self) -> PathBuf {
        self.root().join("ALICE/a")
    }

    pub(crate) fn pack_file(&self, bytes: &[u8]) -> PathBuf {
        let name = sha256(bytes);
        self.archive().join("data").join(&name[..2]).join(name)
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        call(self.vault(), &self.owner, method, path, headers, body).await
    }

    pub(crate) async fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.call("POST", path, &[], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], b"").await
    }

    /// Names and sizes of the objects of a type.
    pub(crate) async fn list(&self, kind: &str) -> Vec<(String, u64)> {
        let accept = [("accept", "application/vnd.x.restic.rest.v2")];
        let answer = self.call("GET", &format!("/a/{kind}/"), &accept, b"").await.expect_ok();
        assert_eq!(answer.headers["content-type"], "application/vnd.x.restic.rest.v2");
        let mut objects: Vec<_> = answer
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|object| (object["name"].as_str().unwrap().to_owned(), object["size"].as_u64().unwrap()))
            .collect();
        objects.sort();
        objects
    }

    pub(crate) fn temporary_files(&self) -> usize {
        files(&self.root().join("tmp")).len()
    }

    /// Live and held bytes.
    pub(crate) fn usage(&self) -> (u64, u64) {
        let usage = self.vault().usage(&self.owner);
        (usage.live_bytes, usage.held_bytes)
    }
}

pub(crate) async fn open(path: &Path) -> Result<Vault, VaultError> {
    Vault::open(VaultConfig { path: path.to_owned(), free_space_floor: 0 }).await
}

/// The window of vaults whose time is a test's.
pub(crate) const HOLD: Duration = Duration::from_secs(3600);

pub(crate) async fn open_on(
    path: &Path,
    medium: Arc<dyn Medium>,
    clock: &Arc<TestClock>,
) -> Result<Vault, VaultError> {
    let config = VaultConfig { path: path.to_owned(), free_space_floor: 0 };
    Vault::open_on(config, medium, Arc::clone(clock) as Arc<dyn Clock>).await
}

/// A temporary directory in memory, where there is one: these tests write much and need nothing of it after a crash.
pub(crate) fn fast_directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) async fn call(
    vault: &Vault,
    owner: &Owner,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
    let (head, body) = vault.handle(owner, request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

/// All regular files below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(directory) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Waits until a condition holds that other threads bring about.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed().as_secs() < 20, "the condition did not come true");
        tokio::task::yield_now().await;
    }
}

/// Serves one owner's archives on a loopback port, until dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(vault: &Vault, owner: &Owner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (vault, owner) = (vault.clone(), Arc::new(owner.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (vault, owner) = (vault.clone(), Arc::clone(&owner));
                let service = service_fn(move |request| {
                    let (vault, owner) = (vault.clone(), Arc::clone(&owner));
                    async move { Ok::<_, Infallible>(vault.handle(&owner, request).await) }
                });
                connections.spawn(async move {
                    let served = hyper::server::conn::http1::Builder::new()
                        .half_close(true)
                        .serve_connection(TokioIo::new(stream), service);
                    drop(served.await);
                });
            }
        });
        Self { port, _tasks: tasks }
    }
}

/// Runs one test of this binary again in a process of its own, where `KITH_VAULT_CHILD` holds `argument`.
pub(crate) fn child(test: &str, argument: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("KITH_VAULT_CHILD", argument);
    command
}

/// The argument, if this process was started by [`child`].
pub(crate) fn child_argument() -> Option<PathBuf> {
    std::env::var_os("KITH_VAULT_CHILD").map(PathBuf::from)
}

#[track_caller]
pub(crate) fn succeeded(output: &Output) -> String {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}
