//! What lies in the home and in the vault: sizes, numbers, modes. No content but the numbers of formats.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use kith_vault::layout::FORMAT_FILE;

use crate::home::{Home, LOG_FILES, Secret};

/// Files of a vault are counted up to here.
const MOST_FILES: u64 = 500_000;
/// Where SQLite keeps the version that a program gives its database (<https://www.sqlite.org/fileformat.html>, 1.3).
const USER_VERSION_AT: u64 = 60;
/// The file that holds the format of a vault is shorter.
const FORMAT_BYTES: u64 = 64;

/// What lies in the home and in the vault.
#[derive(Debug, Default)]
pub struct Storage {
    /// Version in the header of `state.db`.
    pub state_version: Option<u32>,
    /// Version of the vault's format.
    pub vault_version: Option<u32>,
    /// Files of the home with their sizes.
    pub files: Vec<(String, u64)>,
    /// Files of the vault by kind: how many, and their bytes.
    pub vault: BTreeMap<&'static str, (u64, u64)>,
    /// Who has something in the vault.
    pub owners: u64,
    /// Whether there were more files than are counted.
    pub cut_off: bool,
    /// Modes and owners that are not as they should be.
    pub faults: Vec<String>,
    /// Entries of `secrets/` that Kith did not make.
    pub foreign_secrets: u64,
}

impl Storage {
    /// Looks at a home and its vault.
    pub fn look(home: &Home, vault: &Path) -> Self {
        let mut storage = Self {
            state_version: state_version(&home.state_db()),
            vault_version: vault_version(&vault.join(FORMAT_FILE)),
            ..Self::default()
        };
        for (name, path) in plain_files(home) {
            if let Ok(data) = fs::symlink_metadata(path) {
                storage.files.push((name, data.len()));
            }
        }
        storage.check_modes(home, vault);
        storage.count_vault(vault);
        storage
    }

    fn check_modes(&mut self, home: &Home, vault: &Path) {
        let Ok(root) = fs::metadata(home.root()) else { return };
        let mut check = |name: &str, path: &Path, allowed: u32| {
            let Ok(data) = fs::symlink_metadata(path) else { return };
            self.faults.extend(fault(name, &data, allowed, root.uid()));
        };
        let (home_mode, run_mode) = if home.is_system() { (0o710, 0o750) } else { (0o700, 0o700) };
        check("the home", home.root(), home_mode);
        check("run", &home.run_dir(), run_mode);
        check("run/control.sock", &home.control_socket(), 0o660);
        check("logs", &home.logs_dir(), 0o700);
        check("secrets", &home.root().join("secrets"), 0o700);
        check("the vault", vault, 0o700);
        check("the vault's format file", &vault.join(FORMAT_FILE), 0o600);
        check("kith.toml", &home.settings_file(), 0o644);
        for secret in Secret::ALL {
            check(&format!("secrets/{}", secret.file_name()), &home.secrets().path(secret), 0o600);
        }
        for (name, path) in plain_files(home).into_iter().filter(|(name, _)| name != "kith.toml") {
            check(&name, &path, 0o600);
        }
        let known: Vec<_> = Secret::ALL.iter().map(|secret| secret.file_name()).collect();
        let entries = fs::read_dir(home.root().join("secrets")).into_iter().flatten().flatten();
        let foreign = entries.filter(|entry| !known.iter().any(|known| entry.file_name() == *known)).count();
        self.foreign_secrets = foreign as u64;
    }

    fn count_vault(&mut self, vault: &Path) {
        let mut open = vec![(vault.to_owned(), Vec::new())];
        let mut seen = 0;
        while let Some((directory, below)) = open.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                seen += 1;
                if seen > MOST_FILES {
                    self.cut_off = true;
                    return;
                }
                let Ok(data) = entry.metadata() else { continue };
                let name = entry.file_name().to_string_lossy().into_owned();
                let mut parts: Vec<String> = below.clone();
                parts.push(name);
                if data.is_dir() {
                    if parts.len() == 1
                        && !parts[0].starts_with('.')
                        && parts[0] != "tmp"
                        && parts[0] != "lost+found"
                    {
                        self.owners += 1;
                    }
                    open.push((entry.path(), parts));
                } else {
                    let counted = self.vault.entry(kind_of(&parts)).or_default();
                    counted.0 += 1;
                    counted.1 += data.len();
                }
            }
        }
    }
}

/// What a file of a vault is, by the names on the way to it.
fn kind_of(parts: &[String]) -> &'static str {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [own] if own.starts_with(FORMAT_FILE) => "the vault's own",
        ["tmp", ..] => "unfinished",
        [_, "held", ..] => "held",
        [_, "state", ..] => "state objects",
        [_, ".record", ..] => "records",
        [_, _, "config"] => "config",
        [_, _, "data", ..] => "packs",
        [_, _, "index", ..] => "index",
        [_, _, "snapshots", ..] => "snapshots",
        [_, _, "locks", ..] => "locks",
        [_, _, "keys", ..] => "keys",
        _ => "other",
    }
}

/// Files of the home that are neither secret nor a friend's.
fn plain_files(home: &Home) -> Vec<(String, PathBuf)> {
    let beside = |path: PathBuf, ending: &str| {
        let mut name = path.into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    let mut files = vec![
        ("kith.toml".to_owned(), home.settings_file()),
        ("state.db".to_owned(), home.state_db()),
        ("state.db-wal".to_owned(), beside(home.state_db(), "-wal")),
        ("state.db-shm".to_owned(), beside(home.state_db(), "-shm")),
        ("run/ports.json".to_owned(), home.ports_file()),
        ("run/token".to_owned(), home.token_file()),
        ("logs/kith.log".to_owned(), home.log_file()),
    ];
    for number in 1..LOG_FILES {
        files.push((format!("logs/kith.log.{number}"), beside(home.log_file(), &format!(".{number}"))));
    }
    files
}

/// What is wrong with the mode or the owner of a file.
fn fault(name: &str, data: &Metadata, allowed: u32, owner: u32) -> Option<String> {
    let mode = data.mode() & 0o7777;
    if data.file_type().is_symlink() {
        // Its own mode says nothing, and following it would be a look outside.
        return Some(format!("{name} is a symbolic link"));
    }
    if mode & !allowed != 0 {
        return Some(format!("{name} has mode {mode:03o}; it should have {allowed:03o} or less"));
    }
    (data.uid() != owner).then(|| format!("{name} belongs to another user than the home"))
}

fn state_version(path: &Path) -> Option<u32> {
    let mut number = [0; 4];
    File::open(path).ok()?.read_exact_at(&mut number, USER_VERSION_AT).ok()?;
    Some(u32::from_be_bytes(number))
}

fn vault_version(path: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path).ok()?.take(FORMAT_BYTES).read_to_string(&mut text).ok()?;
    text.trim().rsplit(' ').next()?.parse().ok()
}
