//! The state object: what a blank computer needs to become this one again. Sealed, and kept at every friend.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use kith_identity::DeviceId;
use kith_wire::{Link, bytes_body, collect, paths};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::core::{Core, value};
use super::db::Table;
use super::roster::Friend;

/// Layout of the document.
const VERSION: u32 = 1;
/// Changes within this time go out together.
const GATHER: Duration = Duration::from_millis(500);
/// Longest wait for a friend's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The document inside the seal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StateDocument {
    /// Layout; a newer one is refused.
    pub(super) version: u32,
    /// Raised by every change.
    pub(super) sequence: u64,
    /// When it was written.
    pub(super) time: Timestamp,
    /// Raised by every recovery.
    pub(super) incarnation: u64,
    /// This computer's name.
    pub(super) name: String,
    /// All friends, with the ids of our archives there.
    pub(super) friends: Vec<Friend>,
    /// The home's settings file, sets included.
    pub(super) settings: Option<String>,
}

impl StateDocument {
    /// Reads a document from inside the seal.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(bytes)
            .map_err(|error| format!("the state object makes no sense: {error}"))?;
        if version > VERSION {
            return Err(format!(
                "the state object has layout {version}, and this program knows layouts up to {VERSION}: \
                 install the newer Kith"
            ));
        }
        serde_json::from_slice(bytes).map_err(|error| format!("the state object makes no sense: {error}"))
    }
}

/// The newest sealed document, and who has it.
#[derive(Default)]
pub(super) struct Newest {
    sealed: Option<Sealed>,
    /// Sequence that each friend is known to keep.
    kept_by: BTreeMap<DeviceId, u64>,
}

#[derive(Clone)]
struct Sealed {
    sequence: u64,
    bytes: Bytes,
    /// What it was made from: the same again needs no new document.
    essence: Vec<u8>,
}

impl Core {
    /// Sequence of the newest state object; none before the first.
    async fn state_sequence(&self) -> Result<Option<u64>, super::db::DbError> {
        self.db.get(Table::Values, value::STATE_SEQUENCE).await
    }

    /// The sealed state as of now.
    async fn seal_state(self: &Arc<Self>, newest: &mut Newest) -> Result<Sealed, super::db::DbError> {
        let core = self.clone();
        let essence = tokio::task::spawn_blocking(move || core.state_essence()).await.unwrap_or_default();
        if let Some(sealed) = newest.sealed.as_ref().filter(|sealed| sealed.essence == essence) {
            return Ok(sealed.clone());
        }
        let sequence = self.state_sequence().await?.unwrap_or(0) + 1;
        let file = self.home.settings_file();
        let settings = tokio::task::spawn_blocking(move || std::fs::read_to_string(file).ok()).await;
        let document = StateDocument {
            version: VERSION,
            sequence,
            time: Timestamp::now(),
            incarnation: self.incarnation,
            name: self.loaded().settings().computer_name(),
            friends: self.roster.all(),
            settings: settings.ok().flatten(),
        };
        let bytes = serde_json::to_vec(&document)
            .map_err(|source| super::db::DbError::Damaged { table: "state object", source })?;
        // Stored before it is sent: a sequence number is never used for two different documents.
        self.db.put(Table::Values, value::STATE_SEQUENCE, &sequence).await?;
        let sealed = Sealed { sequence, bytes: self.state_key.seal(&bytes).into(), essence };
        newest.sealed = Some(sealed.clone());
        Ok(sealed)
    }

    /// What of the state object matters, without what changes with every link.
    fn state_essence(&self) -> Vec<u8> {
        let friends = self.roster.all().into_iter().map(|friend| Friend {
            last_seen: None,
            stored_there_bytes: None,
            offered_bytes: None,
            program: None,
            ..friend
        });
        let essence = (friends.collect::<Vec<_>>(), std::fs::read_to_string(self.home.settings_file()).ok());
        serde_json::to_vec(&essence).unwrap_or_default()
    }

    /// Makes sure that a friend keeps the state as it is now: without it, the archive at him can't be found again from
    /// the 24 words.
    ///
    /// # Errors
    /// A sentence.
    pub(super) async fn keep_state_at(self: &Arc<Self>, friend: &DeviceId) -> Result<(), String> {
        loop {
            let sealed = {
                let mut newest = self.newest_state.lock().await;
                let sealed = self.seal_state(&mut newest).await.map_err(|error| error.to_string())?;
                if newest.kept_by.get(friend) == Some(&sealed.sequence) {
                    return Ok(());
                }
                sealed
            };
            let link =
                self.peers().and_then(|peers| peers.link(friend)).ok_or("the friend is not connected")?;
            // Nothing is locked meanwhile: one slow friend must not hold up the others.
            let sent = tokio::time::timeout(ANSWER_TIMEOUT, put(&link, sealed.sequence, sealed.bytes)).await;
            let sent = sent.unwrap_or_else(|_elapsed| Err("no answer".to_owned()));
            let mut newest = self.newest_state.lock().await;
            match sent {
                Ok(()) => {
                    newest.kept_by.insert(*friend, sealed.sequence);
                    return Ok(());
                }
                // A newer one was sent in the meantime, and this one came too late.
                Err(_) if newest.sealed.as_ref().is_some_and(|n| n.sequence > sealed.sequence) => {}
                Err(reason) => return Err(reason),
            }
        }
    }

    /// A friend said which state object of ours he keeps.
    pub(super) async fn note_kept_state(&self, friend: &DeviceId, sequence: Option<u64>) {
        let mut newest = self.newest_state.lock().await;
        match sequence {
            Some(sequence) => newest.kept_by.insert(*friend, sequence),
            None => newest.kept_by.remove(friend),
        };
        drop(newest);
        self.state_dirty.notify_one();
    }
}

/// Keeps the newest state object at every friend, for as long as the daemon runs.
pub(super) async fn keep_at_friends(core: Arc<Core>) {
    loop {
        core.state_dirty.notified().await;
        tokio::time::sleep(GATHER).await;
        for friend in core.roster.all() {
            let linked = core.peers().is_some_and(|peers| peers.link(&friend.device_id).is_some());
            if linked && let Err(reason) = core.keep_state_at(&friend.device_id).await {
                warn!(friend = %friend.name, %reason, "the state object was not taken");
            }
        }
    }
}

async fn put(link: &Link, sequence: u64, sealed: Bytes) -> Result<(), String> {
    let request = Request::put(paths::STATE)
        .header(paths::STATE_SEQUENCE_HEADER, sequence)
        .body(bytes_body(sealed))
        .map_err(|error| error.to_string())?;
    let answer = link.request(request).await.map_err(|error| error.to_string())?;
    if answer.status().is_success() {
        return Ok(());
    }
    let status = answer.status();
    let body = collect(answer.into_body(), kith_wire::MESSAGE_LIMIT).await.unwrap_or_default();
    // It goes into logs and onto terminals.
    let body = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    Err(format!("{status}: {}", kith_control::terminal::safe(&body)))
}
