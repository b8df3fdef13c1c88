//! The secret files: one key each, so that no part of the program reads more than it needs.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{HomeError, make_dir, write_atomically};

/// No secret is larger; more means that something else lies there.
const LARGEST: u64 = 64 * 1024;

/// One secret file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret {
    /// The 24 words. Read only to show them, and to derive the other keys.
    Phrase,
    /// The key that proves who this computer is.
    IdentityKey,
    /// The key that lets friends' calls through to the listener.
    DialInKey,
    /// The key that seals the state object kept at friends.
    StateKey,
    /// Seed of the chunker polynomial.
    ChunkerSeed,
    /// The key from which the archives' master keys are derived.
    ArchiveKey,
}

impl Secret {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Phrase,
        Self::IdentityKey,
        Self::DialInKey,
        Self::StateKey,
        Self::ChunkerSeed,
        Self::ArchiveKey,
    ];

    /// Name of the file inside `secrets/`.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Phrase => "phrase",
            Self::IdentityKey => "identity.key",
            Self::DialInKey => "dial-in.key",
            Self::StateKey => "state.key",
            Self::ChunkerSeed => "chunker.seed",
            Self::ArchiveKey => "archive.key",
        }
    }
}

/// The directory of the secret files. Holds no secret itself.
#[derive(Debug, Clone)]
pub struct Secrets {
    directory: PathBuf,
}

impl Secrets {
    pub(super) fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where a secret lies.
    pub fn path(&self, secret: Secret) -> PathBuf {
        self.directory.join(secret.file_name())
    }

    /// Makes the directory, and refuses one that is open to others.
    pub(super) fn prepare(&self) -> Result<(), HomeError> {
        make_dir(&self.directory, 0o700)?;
        let data = std::fs::metadata(&self.directory).map_err(|source| HomeError::Directory {
            action: "read",
            path: self.directory.clone(),
            source,
        })?;
        refuse_open(&self.directory, data.mode(), 0o700)
    }

    /// True when the file is there.
    pub fn exists(&self, secret: Secret) -> bool {
        self.path(secret).exists()
    }

    /// Stores a secret durably, mode 0600, in place of an older one. It makes the directory when needed.
    ///
    /// # Errors
    /// [`HomeError`] that names the file.
    pub fn write(&self, secret: Secret, content: &[u8]) -> Result<(), HomeError> {
        self.prepare()?;
        let path = self.path(secret);
        write_atomically(&path, content, 0o600).map_err(|source| HomeError::File {
            action: "write",
            path,
            source,
        })
    }

    /// Reads a secret; `None` when it was never stored. The buffer is wiped when dropped.
    ///
    /// # Errors
    /// [`HomeError::OpenToOthers`] with the command to run, [`HomeError::ForeignOwner`], or a file error.
    pub fn read(&self, secret: Secret) -> Result<Option<Zeroizing<Vec<u8>>>, HomeError> {
        let path = self.path(secret);
        let failed = |source| HomeError::File { action: "read", path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        // Checked on the open file, so that what was checked is what is read.
        let data = file.metadata().map_err(failed)?;
        refuse_open(&path, data.mode(), 0o600)?;
        self.refuse_foreign(&path, data.uid())?;
        if data.len() > LARGEST {
            let problem = format!("{} bytes are more than any secret has", data.len());
            return Err(HomeError::Damaged { path, problem });
        }
        // Room for all of it at once: a growing buffer would leave copies behind in freed memory.
        let mut content = Zeroizing::new(Vec::with_capacity(LARGEST as usize + 1));
        file.take(LARGEST).read_to_end(&mut content).map_err(failed)?;
        Ok(Some(content))
    }

    fn refuse_foreign(&self, path: &Path, owner: u32) -> Result<(), HomeError> {
        let user = nix::unistd::geteuid().as_raw();
        let directory_owner = std::fs::metadata(&self.directory).map(|data| data.uid()).unwrap_or(user);
        // The superuser may look into the home of the daemon's user; nobody else's file is trusted there either.
        if owner == user || (user == 0 && owner == directory_owner) {
            return Ok(());
        }
        Err(HomeError::ForeignOwner { path: path.to_path_buf(), owner, user: directory_owner })
    }
}

fn refuse_open(path: &Path, mode: u32, wanted: u32) -> Result<(), HomeError> {
    let mode = mode & 0o777;
    if mode & 0o077 != 0 {
        return Err(HomeError::OpenToOthers { path: path.to_path_buf(), mode, wanted });
    }
    Ok(())
}
