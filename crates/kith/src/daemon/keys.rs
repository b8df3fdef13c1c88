//! Who this computer is: made at first start, read from the secret files afterwards.

use kith_identity::{
    ArchiveRootKey, ChunkerSeed, DerivedSecrets, DialInSecret, Identity, IdentitySeed, RecoveryPhrase,
    StateKey,
};
use zeroize::Zeroizing;

use crate::home::{Home, HomeError, Secret};

/// The keys that the part facing the Internet needs. The phrase and the archive key stay in their files.
pub struct Keys {
    /// Proves who we are.
    pub identity: Identity,
    /// Source of the key that friends dial in with.
    pub dial_in: DialInSecret,
    /// Seals the state object.
    pub state: StateKey,
}

/// Why the keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file can't be read or written.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A file is missing or does not hold what it should.
    #[error("the secret file {} {problem}", .path.display())]
    Damaged {
        /// Which.
        path: std::path::PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The certificate could not be made.
    #[error("the identity can't be used: {0}")]
    Identity(String),
}

/// Loads the keys; a home without any gets a new identity. Blocks.
///
/// # Errors
/// See [`KeysError`].
pub fn load_or_create(home: &Home) -> Result<Keys, KeysError> {
    let secrets = home.secrets();
    if !Secret::ALL.iter().any(|secret| secrets.exists(*secret)) {
        write(home, &RecoveryPhrase::generate())?;
        tracing::info!("a new identity was made; `kith recovery show` prints its 24 words");
    } else if Secret::ALL.iter().any(|secret| !secrets.exists(*secret)) {
        // A start that was cut off, or a file that got lost: all keys follow from the phrase.
        let phrase = phrase(home)?;
        write(home, &phrase)?;
    }
    load(home)
}

/// Loads the keys of a home that has an identity. Blocks.
///
/// # Errors
/// See [`KeysError`].
pub fn load(home: &Home) -> Result<Keys, KeysError> {
    let seed = IdentitySeed::from_slice(&bytes(home, Secret::IdentityKey)?)
        .map_err(|_| damaged(home, Secret::IdentityKey))?;
    let identity = Identity::from_seed(&seed).map_err(|error| KeysError::Identity(error.to_string()))?;
    let dial_in = DialInSecret::from_slice(&bytes(home, Secret::DialInKey)?)
        .map_err(|_| damaged(home, Secret::DialInKey))?;
    let state =
        StateKey::from_slice(&bytes(home, Secret::StateKey)?).map_err(|_| damaged(home, Secret::StateKey))?;
    Ok(Keys { identity, dial_in, state })
}

/// Whether the home has an identity.
#[must_use]
pub fn exist(home: &Home) -> bool {
    home.secrets().exists(Secret::Phrase)
}

/// Writes the phrase and everything that follows from it; the phrase first, because the rest can be made anew from
/// it. Blocks.
///
/// # Errors
/// See [`KeysError`].
pub fn write(home: &Home, phrase: &RecoveryPhrase) -> Result<(), KeysError> {
    let secrets = home.secrets();
    // Keys of an older phrase beside a new one would never be noticed: missing ones are made anew at the next start.
    for secret in Secret::ALL.into_iter().filter(|secret| *secret != Secret::Phrase) {
        let path = secrets.path(secret);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(HomeError::File { action: "replace", path, source }.into());
            }
            _ => {}
        }
    }
    let words = Zeroizing::new(phrase.words().join(" ") + "\n");
    secrets.write(Secret::Phrase, words.as_bytes())?;
    let derived: DerivedSecrets = phrase.derive();
    secrets.write(Secret::IdentityKey, derived.identity.as_bytes())?;
    secrets.write(Secret::DialInKey, derived.dial_in.as_bytes())?;
    secrets.write(Secret::StateKey, derived.state.as_bytes())?;
    secrets.write(Secret::ChunkerSeed, derived.chunker.as_bytes())?;
    secrets.write(Secret::ArchiveKey, derived.archive_root.as_bytes())?;
    Ok(())
}

/// The phrase. Read only to show it and to derive from it. Blocks.
///
/// # Errors
/// See [`KeysError`].
pub fn phrase(home: &Home) -> Result<RecoveryPhrase, KeysError> {
    let text = bytes(home, Secret::Phrase)?;
    let text = std::str::from_utf8(&text).map_err(|_| damaged(home, Secret::Phrase))?;
    RecoveryPhrase::parse(text).map_err(|_| damaged(home, Secret::Phrase))
}

/// The key from which the archives' master keys come. Blocks.
///
/// # Errors
/// See [`KeysError`].
pub fn archive_root(home: &Home) -> Result<ArchiveRootKey, KeysError> {
    ArchiveRootKey::from_slice(&bytes(home, Secret::ArchiveKey)?)
        .map_err(|_| damaged(home, Secret::ArchiveKey))
}

/// The seed of the chunker's polynomial. Blocks.
///
/// # Errors
/// See [`KeysError`].
pub fn chunker_seed(home: &Home) -> Result<ChunkerSeed, KeysError> {
    ChunkerSeed::from_slice(&bytes(home, Secret::ChunkerSeed)?)
        .map_err(|_| damaged(home, Secret::ChunkerSeed))
}

fn bytes(home: &Home, secret: Secret) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    home.secrets()
        .read(secret)?
        .ok_or_else(|| KeysError::Damaged { path: home.secrets().path(secret), problem: "is missing" })
}

fn damaged(home: &Home, secret: Secret) -> KeysError {
    KeysError::Damaged { path: home.secrets().path(secret), problem: "does not hold what it should" }
}
