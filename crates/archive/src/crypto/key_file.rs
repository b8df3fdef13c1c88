//! Key files: a master key sealed with a password, as stock restic reads it from `keys/`.

use data_encoding::BASE64;
use jiff::Timestamp;
use scrypt::Params;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{CryptoError, MasterKey};
use crate::store::{FileId, FileKind, Store, StoreError};

/// Cost of the keys we write: 2^15 rounds, 32 MiB.
const LOG_N: u8 = 15;
const R: u32 = 8;
const P: u32 = 1;

/// What a file may ask for at most. It comes from the holder, who must not be able to exhaust our memory or time;
/// restic never uses more than 60 MiB.
const MOST_MEMORY: u64 = 256 * 1024 * 1024;
const LARGEST_P: u32 = 16;
/// Weaker parameters than these are not from restic and would help only someone who guesses.
const SMALLEST_LOG_N: u8 = 10;
const LARGEST_KEY_FILE: u64 = 64 * 1024;
/// A repository with more keys than this is not looked through.
const MOST_KEY_FILES: usize = 32;
const SALT_LENGTH: usize = 64;

/// Why no master key came out of a key file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// No key file opens with the password.
    #[error("the password opens none of the {0} key files of the archive")]
    WrongPassword(usize),
    /// There is no key file.
    #[error("the archive has no key file")]
    None,
    /// A key file is no key file.
    #[error("a key file can't be read: {0}")]
    Malformed(&'static str),
    /// Parameters that no honest program writes.
    #[error("a key file asks for too much work (N={n}, r={r}, p={p})")]
    Excessive {
        /// Rounds.
        n: u64,
        /// Block size.
        r: u32,
        /// Parallelism.
        p: u32,
    },
    /// Sealing failed.
    #[error("the key can't be sealed")]
    Crypto(#[from] CryptoError),
    /// The store failed.
    #[error("reading the key files failed")]
    Store(#[from] StoreError),
}

/// The JSON of a key file. Field order as restic writes it.
#[derive(Serialize, Deserialize)]
struct Json {
    created: Timestamp,
    #[serde(default)]
    username: String,
    #[serde(default)]
    hostname: String,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    salt: String,
    data: String,
}

#[derive(Serialize, Deserialize)]
struct MasterJson {
    mac: MacJson,
    encrypt: String,
}

#[derive(Serialize, Deserialize)]
struct MacJson {
    k: String,
    r: String,
}

impl Drop for MasterJson {
    fn drop(&mut self) {
        self.mac.k.zeroize();
        self.mac.r.zeroize();
        self.encrypt.zeroize();
    }
}

/// Writes key files.
pub struct KeyFile {
    /// The file's name below `keys/`: the hash of its bytes.
    pub name: FileId,
    /// The file's content.
    pub bytes: Vec<u8>,
}

impl KeyFile {
    /// Seals `master` with `password`. With the file put into `keys/` of a copy of the repository, stock restic opens it.
    /// Takes about 100 ms of computing and 32 MiB: not for an async thread.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn export(master: &MasterKey, password: &str, created: Timestamp) -> Result<Self, KeyFileError> {
        let mut salt = [0; SALT_LENGTH];
        getrandom::fill(&mut salt).map_err(|_| CryptoError::Library)?;
        let user = derive(password, &salt, LOG_N, R, P)?;
        let (encrypt, k, r) = master.parts();
        let json = MasterJson {
            mac: MacJson { k: BASE64.encode(k), r: BASE64.encode(r) },
            encrypt: BASE64.encode(encrypt),
        };
        let plain = Zeroizing::new(serde_json::to_vec(&json).map_err(|_| CryptoError::Library)?);
        let file = Json {
            created,
            username: "kith".to_owned(),
            hostname: String::new(),
            kdf: "scrypt".to_owned(),
            n: 1 << LOG_N,
            r: R,
            p: P,
            salt: BASE64.encode(&salt),
            data: BASE64.encode(&user.seal(&plain)?),
        };
        let bytes = serde_json::to_vec(&file).map_err(|_| CryptoError::Library)?;
        Ok(Self { name: FileId::of(&bytes), bytes })
    }
}

/// Finds the master key of a repository by a password, as restic does: the first key file that it opens.
///
/// # Errors
/// No file opens, a file asks for absurd parameters, or the store fails.
pub async fn open_with_password(store: &dyn Store, password: &str) -> Result<MasterKey, KeyFileError> {
    let mut files = store.list(FileKind::Key).await?;
    files.sort_unstable();
    files.retain(|file| file.size <= LARGEST_KEY_FILE);
    files.truncate(MOST_KEY_FILES);
    let mut trouble = None;
    for file in &files {
        let bytes = store.load(FileKind::Key, &file.id, None).await?;
        let password = Zeroizing::new(password.to_owned());
        let opened = tokio::task::spawn_blocking(move || open_file(&bytes, &password)).await;
        match opened.map_err(|_| CryptoError::Library)? {
            Ok(key) => return Ok(key),
            Err(KeyFileError::Crypto(CryptoError::Unauthenticated)) => {}
            Err(error) => trouble = Some(error),
        }
    }
    Err(match (trouble, files.len()) {
        (Some(error), _) => error,
        (None, 0) => KeyFileError::None,
        (None, count) => KeyFileError::WrongPassword(count),
    })
}

/// A key file that was read, and asks for no more work than an honest program does. Nothing has been computed yet.
#[derive(Debug)]
pub struct SealedKey {
    log_n: u8,
    r: u32,
    p: u32,
    salt: Vec<u8>,
    data: Vec<u8>,
}

impl SealedKey {
    /// Reads a key file. It comes from whoever keeps the repository.
    ///
    /// # Errors
    /// It is none, or its parameters are absurd.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let file: Json = serde_json::from_slice(bytes)
            .map_err(|_| KeyFileError::Malformed("it is not the JSON of a key"))?;
        if file.kdf != "scrypt" {
            return Err(KeyFileError::Malformed("its key derivation is not scrypt"));
        }
        let log_n = u8::try_from(file.n.trailing_zeros()).unwrap_or(u8::MAX);
        if !file.n.is_power_of_two() || log_n < SMALLEST_LOG_N || file.r == 0 || file.p == 0 {
            return Err(KeyFileError::Malformed("its scrypt parameters are invalid"));
        }
        let memory = file.n.checked_mul(128).and_then(|bytes| bytes.checked_mul(u64::from(file.r)));
        if memory.is_none_or(|bytes| bytes > MOST_MEMORY) || file.p > LARGEST_P {
            return Err(KeyFileError::Excessive { n: file.n, r: file.r, p: file.p });
        }
        let salt = BASE64
            .decode(file.salt.as_bytes())
            .map_err(|_| KeyFileError::Malformed("its salt is not base64"))?;
        if salt.len() != SALT_LENGTH {
            return Err(KeyFileError::Malformed("its salt has the wrong length"));
        }
        let data = BASE64
            .decode(file.data.as_bytes())
            .map_err(|_| KeyFileError::Malformed("its data is not base64"))?;
        Ok(Self { log_n, r: file.r, p: file.p, salt, data })
    }

    /// Bytes of memory that its password takes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        (128 << self.log_n) * u64::from(self.r)
    }

    /// The master key, if this is its password.
    ///
    /// # Errors
    /// It is another's, or there is no master key in it.
    pub fn open(&self, password: &str) -> Result<MasterKey, KeyFileError> {
        let user = derive(password, &self.salt, self.log_n, self.r, self.p)?;
        master_key(&Zeroizing::new(user.open(&self.data)?))
    }
}

/// Opens one key file.
pub(super) fn open_file(bytes: &[u8], password: &str) -> Result<MasterKey, KeyFileError> {
    SealedKey::parse(bytes)?.open(password)
}

/// The master key in what was sealed.
fn master_key(plain: &[u8]) -> Result<MasterKey, KeyFileError> {
    let json: MasterJson =
        serde_json::from_slice(plain).map_err(|_| KeyFileError::Malformed("it holds no master key"))?;
    let mut key = Zeroizing::new([0; 64]);
    for (part, text) in [(0..32, &json.encrypt), (32..48, &json.mac.k), (48..64, &json.mac.r)] {
        let bytes = BASE64.decode(text.as_bytes()).map(Zeroizing::new);
        match bytes {
            Ok(bytes) if bytes.len() == part.len() => key[part].copy_from_slice(&bytes),
            _ => return Err(KeyFileError::Malformed("its master key has the wrong length")),
        }
    }
    Ok(MasterKey::from_bytes(&key)?)
}

/// The key that a password stands for.
fn derive(password: &str, salt: &[u8], log_n: u8, r: u32, p: u32) -> Result<MasterKey, KeyFileError> {
    let params =
        Params::new(log_n, r, p).map_err(|_| KeyFileError::Malformed("its scrypt parameters are invalid"))?;
    let mut key = Zeroizing::new([0; 64]);
    scrypt::scrypt(password.as_bytes(), salt, &params, key.as_mut_slice())
        .map_err(|_| CryptoError::Library)?;
    Ok(MasterKey::from_bytes(&key)?)
}
