//! The state object: what a blank computer needs to become this one again. Sealed, and kept at every friend.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use kith_wire::{Link, bytes_body, collect, paths};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

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

impl Core {
    /// Sequence of the newest state object; none before the first.
    pub(super) async fn state_sequence(&self) -> Option<u64> {
        self.db.get(Table::Values, value::STATE_SEQUENCE).await.ok().flatten()
    }

    async fn seal_state(&self) -> Result<(u64, Bytes), super::db::DbError> {
        let sequence = self.state_sequence().await.unwrap_or(0) + 1;
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
        Ok((sequence, self.state_key.seal(&bytes).into()))
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
}

/// Keeps the newest state object at every friend, for as long as the daemon runs.
pub(super) async fn keep_at_friends(core: Arc<Core>) {
    let mut current: Option<(u64, Bytes, Vec<u8>)> = None;
    loop {
        core.state_dirty.notified().await;
        tokio::time::sleep(GATHER).await;
        let essence = {
            let core = core.clone();
            tokio::task::spawn_blocking(move || core.state_essence()).await.unwrap_or_default()
        };
        let fresh = match current.take() {
            Some(known) if known.2 == essence => Ok((known.0, known.1)),
            _ => core.seal_state().await,
        };
        let (sequence, sealed) = match fresh {
            Ok(fresh) => fresh,
            Err(error) => {
                warn!(%error, "the state object was not written");
                continue;
            }
        };
        let Some(peers) = core.peers() else { continue };
        for friend in core.roster.all() {
            if let Some(link) = peers.link(&friend.device_id) {
                match put(&link, sequence, sealed.clone()).await {
                    Ok(()) => debug!(friend = %friend.name, sequence, "the state object is kept"),
                    Err(reason) => warn!(friend = %friend.name, %reason, "the state object was not taken"),
                }
            }
        }
        current = Some((sequence, sealed, essence));
    }
}

async fn put(link: &Link, sequence: u64, sealed: Bytes) -> Result<(), String> {
    let request = Request::put(paths::STATE)
        .header(paths::STATE_SEQUENCE_HEADER, sequence)
        .body(bytes_body(sealed))
        .map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, link.request(request))
        .await
        .map_err(|_elapsed| "no answer".to_owned())?
        .map_err(|error| error.to_string())?;
    if answer.status().is_success() {
        return Ok(());
    }
    let status = answer.status();
    let body = collect(answer.into_body(), kith_wire::MESSAGE_LIMIT).await.unwrap_or_default();
    Err(format!("{status}: {}", String::from_utf8_lossy(&body)))
}
