//! Backups that die, or meet a failing disk, at any call: the engine over its store, the vault behind it, and a disk that
//! keeps what was synced and as much of the rest as the test says.

mod crashes;
mod failures;
#[path = "../../../crates/vault/tests/it/simulated.rs"]
#[allow(dead_code, unreachable_pub, reason = "the vault's own tests use the rest of it")]
mod simulated;
mod vault_store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use e2e::{Random, assert_same, run};
use kith_archive::check::{CheckDepth, check};
use kith_archive::crypto::KeyFile;
use kith_archive::restore::{RestoreRequest, restore};
use kith_archive::{
    BackupReport, BackupRequest, FileId, FileKind, MasterKey, Polynomial, Repository, RepositoryError,
    Snapshot, Store, backup,
};
use kith_vault::{LocalDisk, Medium, Owner, Vault, VaultConfig};
use simulated::{SimulatedDisk, TestClock};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use vault_store::VaultStore;

/// Milliseconds since 1970 at which the clocks begin.
const BEGIN: u64 = 1_700_000_000_000;

fn key() -> Arc<MasterKey> {
    let bytes = std::array::from_fn(|number| u8::try_from(number).unwrap() ^ 0x33);
    Arc::new(MasterKey::from_bytes(&bytes).unwrap())
}

fn owner() -> Owner {
    Owner::parse("ANNA").unwrap()
}

/// What was acknowledged, and at which call of the disk that was.
type Acknowledged = Arc<Mutex<Vec<(usize, FileKind, FileId)>>>;

/// A place for simulated disks: memory, if there is.
fn fast_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("kith-store-").tempdir_in(place).unwrap()
}

async fn vault(root: &Path, medium: Arc<dyn Medium>) -> Option<Vault> {
    let config = VaultConfig { path: root.to_owned(), free_space_floor: 0 };
    let vault = Vault::open_on(config, medium, TestClock::at(BEGIN)).await.ok()?;
    vault.set_quota(&owner(), Some(1 << 40));
    Some(vault)
}

/// What two backups of one folder found there.
struct Sources {
    directory: TempDir,
}

impl Sources {
    fn new() -> Self {
        let directory = fast_directory();
        let sources = Self { directory };
        let mut chance = Random::new(8);
        std::fs::create_dir_all(sources.now().join("letters/2020")).unwrap();
        for (name, length) in
            [("photo", 700_000), ("letters/one", 3000), ("letters/2020/two", 20_000), ("empty", 0)]
        {
            std::fs::write(sources.now().join(name), chance.bytes(length)).unwrap();
        }
        sources.keep(1);
        sources
    }

    /// The folder that is backed up.
    fn now(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    /// What the folder was at a backup.
    fn then(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("then {number}"))
    }

    fn keep(&self, number: usize) {
        let (from, to) = (self.now(), self.then(number));
        run(Command::new("cp").arg("-a").arg(from).arg(to)).ok();
    }

    /// The folder changes between two backups.
    fn change(&self) {
        let mut chance = Random::new(9);
        std::fs::write(self.now().join("letters/one"), chance.bytes(5000)).unwrap();
        std::fs::write(self.now().join("new photo"), chance.bytes(600_000)).unwrap();
        std::fs::remove_file(self.now().join("empty")).unwrap();
        self.keep(2);
    }
}

/// The engine's view of a vault, with a note of what was acknowledged.
fn store(vault: &Vault, disk: Option<&Arc<SimulatedDisk>>, acknowledged: &Acknowledged) -> Arc<dyn Store> {
    Arc::new(VaultStore::new(vault.clone(), owner(), disk.cloned(), acknowledged.clone()))
}

async fn open_or_make(store: Arc<dyn Store>) -> Result<Arc<Repository>, RepositoryError> {
    match Repository::open(store.clone(), key()).await {
        Err(RepositoryError::NotInitialised) => {
            Repository::init(store, key(), Polynomial::derive(&[1; 32])).await
        }
        other => other,
    }
    .map(Arc::new)
}

/// One backup of the folder; what went wrong as a sentence.
async fn back_up(store: Arc<dyn Store>, source: &Path) -> Result<BackupReport, String> {
    let repository = open_or_make(store).await.map_err(|error| error.to_string())?;
    let request = BackupRequest::new(vec![source.to_owned()], "study", "anna");
    let report = backup(repository, request, |_| (), CancellationToken::new()).await;
    report.map_err(|error| {
        let source =
            std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        format!("{error}{source}")
    })
}

/// Restores a snapshot, which must be the folder as it was.
async fn comes_back(
    repository: &Arc<Repository>,
    snapshot: &Snapshot,
    source: &Path,
    then: &Path,
    what: &str,
) {
    let target = fast_directory();
    let request = RestoreRequest::new(snapshot.clone(), target.path());
    let report = restore(repository.clone(), request, |_| (), CancellationToken::new()).await;
    let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(report.is_complete(), "{what}: {:?}", report.failed);
    assert_same(then, &target.path().join(source.strip_prefix("/").unwrap()));
}

/// The vault on a disk that works again. What a failed backup left under way keeps it locked for a moment.
async fn reopened(root: &Path, what: &str) -> Vault {
    for _ in 0..500 {
        if let Some(vault) = vault(root, Arc::new(LocalDisk::default())).await {
            return vault;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{what}: not opened");
}

/// After a crash or a failure: nothing acknowledged is lost, the archive can be read, the next backup completes, and all is whole.
/// `snapshots`: the folder as it was, by snapshot that may be there. Leaves the vault with a clean archive.
async fn recovers(
    root: &Path,
    acknowledged: &[(FileKind, FileId)],
    sources: &Sources,
    snapshots: &BTreeMap<FileId, usize>,
    what: &str,
) {
    let vault = reopened(root, what).await;
    let noted = Acknowledged::default();
    let store = store(&vault, None, &noted);
    for (kind, id) in acknowledged {
        let bytes = store.load(*kind, id, None).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(
            *kind == FileKind::Config || FileId::of(&bytes) == *id,
            "{what}: {kind} {id} has other bytes"
        );
    }
    if acknowledged.iter().any(|(kind, _)| *kind == FileKind::Config) {
        let opened = Repository::open(store.clone(), key()).await;
        let repository = Arc::new(opened.unwrap_or_else(|error| panic!("{what}: {error}")));
        assert!(repository.warnings().is_empty(), "{what}: {:?}", repository.warnings());
        let list = repository.snapshots().await.unwrap();
        assert!(list.unreadable.is_empty(), "{what}: {:?}", list.unreadable);
        for (kind, id) in acknowledged {
            let there = list.snapshots.iter().any(|snapshot| FileId::from(snapshot.id) == *id);
            assert!(*kind != FileKind::Snapshot || there, "{what}: snapshot {id} is not listed");
        }
        // One that was not acknowledged may be there all the same; then it is whole.
        for snapshot in &list.snapshots {
            let number = snapshots[&FileId::from(snapshot.id)];
            comes_back(&repository, snapshot, &sources.now(), &sources.then(number), what).await;
        }
    }
    let report =
        back_up(store.clone(), &sources.now()).await.unwrap_or_else(|error| panic!("{what}: next: {error}"));
    assert!(report.is_complete(), "{what}: next: {:?}", report.skipped);
    let repository = Arc::new(Repository::open(store, key()).await.unwrap());
    let newest = repository.load_snapshot(&report.snapshot).await.unwrap();
    comes_back(&repository, &newest, &sources.now(), &sources.now(), what).await;
    let checked = check(repository, CheckDepth::ReadData, |_| (), CancellationToken::new()).await.unwrap();
    assert!(checked.is_clean(), "{what}: {:?}", checked.findings);
}

/// Stock restic finds the archive clean, and restores what is in the folder.
fn restic_is_content(image: &Path, sources: &Sources, key_file: &KeyFile, what: &str) {
    let archive = image.join("ANNA/a");
    std::fs::create_dir(archive.join("keys")).unwrap();
    std::fs::write(archive.join("keys").join(key_file.name.to_string()), &key_file.bytes).unwrap();
    let target = fast_directory();
    let restic = |args: &[&str]| {
        let mut command = Command::new("restic");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TZ", "UTC");
        command.env("RESTIC_PASSWORD", "secret").arg("--no-cache").arg("--repo").arg(&archive).args(args);
        let outcome = run(&mut command);
        assert_eq!(outcome.code, 0, "{what}: {outcome}");
    };
    restic(&["check", "--read-data"]);
    restic(&["restore", "latest", "--target", target.path().to_str().unwrap()]);
    assert_same(&sources.now(), &target.path().join(sources.now().strip_prefix("/").unwrap()));
}
