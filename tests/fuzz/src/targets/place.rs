//! A vault in a temporary directory, with something beside it that nobody may reach.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use kith_vault::{CODE_HEADER, LocalDisk, Medium, MediumFile, Owner, SystemClock, Usage, Vault, VaultConfig};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// What lies beside the vault, and must never be answered.
pub(super) const SECRET: &[u8] = b"not for you";

/// A vault.
pub(super) struct Place {
    runtime: Runtime,
    vault: Vault,
    /// Goes with the thread.
    directory: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        // Memory, where there is a place for it: a hundred thousand inputs make a million files.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let directory = directory.expect("there is a place for temporary files");
        std::fs::write(directory.path().join("secret"), SECRET).expect("it can be written");
        let runtime =
            Builder::new_current_thread().enable_all().build().expect("the system lets a runtime begin");
        let config = VaultConfig { free_space_floor: 0, ..VaultConfig::new(directory.path().join("vault")) };
        let clock = Arc::new(SystemClock::default());
        let vault = runtime.block_on(Vault::open_on(config, Arc::new(Unsynced(LocalDisk::default())), clock));
        Self { runtime, vault: vault.expect("a new vault can be opened"), directory }
    }

    pub(super) fn set_quota(&self, owner: &str, bytes: u64) {
        self.vault.set_quota(&named(owner), Some(bytes));
    }

    pub(super) fn usage(&self, owner: &str) -> Usage {
        self.vault.usage(&named(owner))
    }

    /// Makes an archive.
    pub(super) fn create(&self, owner: &str, archive: &str) {
        self.succeed(owner, Method::POST, &format!("/{archive}/?create=true"), b"");
    }

    /// Stores a pack, and tells its name.
    pub(super) fn store(&self, owner: &str, archive: &str, content: &[u8]) -> String {
        let name = HEXLOWER.encode(&Sha256::digest(content));
        self.succeed(owner, Method::POST, &format!("/{archive}/data/{name}"), content);
        name
    }

    /// A request that is answered as it should be.
    pub(super) fn succeed(&self, owner: &str, method: Method, path: &str, content: &[u8]) {
        let mut request = Request::new(Bytes::copy_from_slice(content));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::try_from(path).expect("it is a path");
        request.headers_mut().insert(header::CONTENT_LENGTH, content.len().into());
        let (status, code, _) = self.answer(owner, request);
        assert!(status.is_success(), "{path}: {status} {code:?}");
    }

    pub(super) fn answer(&self, owner: &str, request: Request<Bytes>) -> (StatusCode, Option<String>, Bytes) {
        let owner = named(owner);
        self.runtime.block_on(async {
            let response = self.vault.handle(&owner, request.map(Full::new)).await;
            let code = response.headers().get(&CODE_HEADER);
            let code = code.map(|code| String::from_utf8_lossy(code.as_bytes()).into_owned());
            let status = response.status();
            let body = response.into_body().collect().await.expect("the disk can be read").to_bytes();
            (status, code, body)
        })
    }

    /// Nothing unfinished is left, and nothing outside was touched.
    pub(super) fn check(&self) {
        let entries = |path: &Path| {
            let names = std::fs::read_dir(path).expect("it can be listed");
            let names = names.map(|entry| entry.expect("it can be listed").file_name().into_string());
            let mut names: Vec<_> = names.map(|name| name.expect("it is text")).collect();
            names.sort();
            names
        };
        let path = self.directory.path();
        assert_eq!(entries(&path.join("vault/tmp")), [""; 0], "something unfinished is left");
        assert_eq!(entries(path), ["secret", "vault"], "something lies outside of the vault");
    }
}

fn named(owner: &str) -> Owner {
    Owner::parse(owner).expect("it is a name of an owner")
}

/// A disk that syncs nothing: what a power failure would leave is tested elsewhere, and here it takes the time of a thousand inputs.
#[derive(Debug)]
struct Unsynced(LocalDisk);

impl Medium for Unsynced {
    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        Ok(Box::new(UnsyncedFile(self.0.create(path)?)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        Ok(Box::new(UnsyncedFile(self.0.append(path)?)))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename_new(from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.replace(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.0.make_directory(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.0.remove_directory(path)
    }

    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_everything(&self, _root: &Path) -> io::Result<()> {
        Ok(())
    }
}

struct UnsyncedFile(Box<dyn MediumFile>);

impl MediumFile for UnsyncedFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.0.set_modified(time)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
