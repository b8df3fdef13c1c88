//! The state object: what a blank computer needs to become this one again. Sealed, and kept at every friend.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use jiff::Timestamp;
use kith_control::Event;
use kith_identity::DeviceId;
use kith_wire::{Link, bytes_body, collect, empty_body, paths};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::core::{Core, value};
use super::db::{DbError, Table};
use super::failure::with_sources;
use super::heads::Told;
use super::numbers::Numbers;
use super::roster::Friend;

/// Layout of the document.
const VERSION: u32 = 1;
/// Changes within this time go out together.
const GATHER: Duration = Duration::from_millis(500);
/// How often a friend is tried who says that he keeps a newer one.
const MOST_TRIES: u32 = 4;
/// Friends remembered as removed.
const MOST_REMOVED: usize = 256;
/// Largest state object.
pub(super) const MOST_BYTES: usize = 1024 * 1024;
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
    /// Counter of the dial-in key that is given out.
    #[serde(default)]
    pub(super) dial_in: u32,
    /// All friends, with the ids of our archives there.
    pub(super) friends: Vec<Friend>,
    /// The home's settings file, sets included.
    pub(super) settings: Option<String>,
    /// What our archives must hold.
    #[serde(default)]
    pub(super) archives: Vec<Told>,
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
    /// Friends whose copy was looked at since they said which one they keep.
    met: BTreeSet<DeviceId>,
    /// Friends whose copy was read since the daemon started, whatever its number.
    read: BTreeSet<DeviceId>,
}

#[derive(Clone)]
struct Sealed {
    sequence: u64,
    bytes: Bytes,
    /// What it was made from: the same again needs no new document.
    essence: Vec<u8>,
}

impl Core {
    /// Sequence of the newest state object; 0 before the first.
    async fn state_sequence(&self) -> Result<u64, DbError> {
        Ok(self.db.get(Table::Values, value::STATE_SEQUENCE).await?.unwrap_or(0))
    }

    /// The sealed state as of now.
    async fn seal_state(self: &Arc<Self>, newest: &mut Newest) -> Result<Sealed, DbError> {
        let core = self.clone();
        let essence = tokio::task::spawn_blocking(move || core.state_essence()).await.unwrap_or_default();
        if let Some(sealed) = newest.sealed.as_ref().filter(|sealed| sealed.essence == essence) {
            return Ok(sealed.clone());
        }
        let sequence = self.state_sequence().await?.checked_add(1).ok_or(DbError::NoNumbers)?;
        let file = self.home.settings_file();
        let settings = tokio::task::spawn_blocking(move || std::fs::read_to_string(file).ok()).await;
        let friends = self.roster.all();
        let archives = self.told(&friends);
        let document = StateDocument {
            version: VERSION,
            sequence,
            time: Timestamp::now(),
            incarnation: self.incarnation,
            name: self.loaded().settings().computer_name(),
            dial_in: self.dial_in.counter(),
            friends,
            settings: settings.ok().flatten(),
            archives,
        };
        let bytes = serde_json::to_vec(&document)
            .map_err(|source| DbError::Damaged { table: "state object", source })?;
        // Stored before it is sent: a sequence number is never used for two different documents.
        self.db.put(Table::Values, value::STATE_SEQUENCE, &sequence).await?;
        let sealed = Sealed { sequence, bytes: self.state_key.seal(&bytes).into(), essence };
        newest.sealed = Some(sealed.clone());
        Ok(sealed)
    }

    /// What of the state object matters, without what changes with every link.
    fn state_essence(&self) -> Vec<u8> {
        let friends = self.roster.all();
        let archives = self.told(&friends);
        let friends = friends.into_iter().map(|friend| Friend {
            last_seen: None,
            stored_there_bytes: None,
            offered_bytes: None,
            program: None,
            trouble: None,
            damaged: 0,
            condition: None,
            ..friend
        });
        let settings = std::fs::read_to_string(self.home.settings_file()).ok();
        let essence = (friends.collect::<Vec<_>>(), settings, archives);
        serde_json::to_vec(&essence).unwrap_or_default()
    }

    /// Makes sure that a friend keeps the state as it is now: without it, the archive at him can't be found again from
    /// the 24 words.
    ///
    /// # Errors
    /// A sentence.
    pub(super) async fn keep_state_at(self: &Arc<Self>, friend: &DeviceId) -> Result<(), String> {
        if let Some(superseded) = self.superseded() {
            return Err(superseded.failure().message);
        }
        for _ in 0..MOST_TRIES {
            // What he keeps may be newer than what we know: it is looked at before it is replaced.
            if !self.newest_state.lock().await.met.contains(friend) {
                self.meet_state(friend).await?;
            }
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
                Err(reason) => {
                    drop(newest);
                    // He may have one from another installation of this computer.
                    if !self.meet_state(friend).await? {
                        return Err(reason);
                    }
                }
            }
        }
        Err("he keeps newer ones again and again: does a second installation of this computer run?"
            .to_owned())
    }

    /// A friend said which state object of ours he keeps.
    pub(super) async fn note_kept_state(self: &Arc<Self>, friend: &DeviceId, sequence: Option<u64>) {
        let mut newest = self.newest_state.lock().await;
        match sequence {
            Some(sequence) => newest.kept_by.insert(*friend, sequence),
            None => newest.kept_by.remove(friend),
        };
        // Before ours replaces what he has.
        newest.met.remove(friend);
        let was_read = newest.read.contains(friend);
        drop(newest);
        let is_news = match sequence {
            Some(_) if !was_read => Ok(true),
            Some(sequence) => self.is_news(sequence).await.map_err(|error| error.to_string()),
            None => Ok(false),
        };
        let met = match is_news {
            Ok(true) => self.meet_state(friend).await,
            Ok(false) => {
                self.newest_state.lock().await.met.insert(*friend);
                Ok(false)
            }
            Err(reason) => Err(reason),
        };
        self.state_dirty.notify_one();
        let learnt = met.unwrap_or_else(|reason| {
            warn!(%friend, %reason, "what a friend keeps of our state was not looked at");
            false
        });
        // What one friend knows may expose another.
        for other in self.roster.all() {
            let linked = self.peers().is_some_and(|peers| peers.link(&other.device_id).is_some());
            if linked && (learnt || other.device_id == *friend) {
                self.glance(&other).await;
            }
        }
    }

    /// Looks at the state object that a friend keeps. One that this installation did not write may know more than we do:
    /// after a recovery from an older one, or when this home was set back. True if something was taken over.
    ///
    /// A home that was set back and went on gives its objects numbers that were given before. So what is no news by its number
    /// is read once, too, and its heads are compared; nothing else of it counts, as it may be older than what is known here.
    async fn meet_state(self: &Arc<Self>, friend: &DeviceId) -> Result<bool, String> {
        let _one_at_a_time = self.heads.meeting.lock().await;
        let link = self.peers().and_then(|peers| peers.link(friend)).ok_or("the friend is not connected")?;
        let request = Request::get(paths::STATE).body(empty_body()).map_err(|error| error.to_string())?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, link.request(request)).await;
        let answer = answer.map_err(|_elapsed| "no answer")?.map_err(|error| error.to_string())?;
        let sequence = paths::state_sequence(answer.headers());
        let mut taken = false;
        let was_read = self.newest_state.lock().await.read.contains(friend);
        if let (StatusCode::OK, Some(sequence)) = (answer.status(), sequence)
            && (!was_read || self.is_news(sequence).await.map_err(|error| error.to_string())?)
        {
            let body = tokio::time::timeout(ANSWER_TIMEOUT, collect(answer.into_body(), MOST_BYTES)).await;
            let sealed = body.map_err(|_elapsed| "no answer")?.map_err(|error| error.to_string())?;
            match self.state_key.open(&sealed) {
                // The number outside of the seal is the friend's word; the one inside is ours.
                Ok(opened) => {
                    let document = StateDocument::parse(&opened)?;
                    if self.is_news(document.sequence).await.map_err(|error| error.to_string())? {
                        self.take_over(friend, document).await?;
                        taken = true;
                    } else {
                        let merged = self.merge_told(&document.archives).await;
                        taken = merged.map_err(|error| with_sources(&error))?;
                    }
                }
                // He keeps rubbish: ours replaces it, if he lets it.
                Err(error) => {
                    warn!(%friend, error = %with_sources(&error), "what a friend keeps as our state");
                }
            }
        }
        let mut newest = self.newest_state.lock().await;
        newest.met.insert(*friend);
        newest.read.insert(*friend);
        Ok(taken)
    }

    /// Whether this installation did not write the state object with this number, and has not taken it over.
    async fn is_news(&self, sequence: u64) -> Result<bool, DbError> {
        Ok(Numbers::load(&self.db).await?.is_news(sequence))
    }

    /// Takes over what a newer state object knows: heads and snapshots, friends, sets.
    async fn take_over(self: &Arc<Self>, from: &DeviceId, document: StateDocument) -> Result<(), String> {
        self.merge_told(&document.archives).await.map_err(|error| with_sources(&error))?;
        let new = self.take_over_friends(&document.friends).await.map_err(|error| with_sources(&error))?;
        let sources = self.sources.clone();
        let sets = document.settings.clone();
        let sets =
            tokio::task::spawn_blocking(move || super::recover::sets_missing(&sources, sets.as_deref()))
                .await;
        let sets = sets.map_err(|_ending| "the program ends")?.map_err(|failure| failure.message)?;
        for set in &sets {
            let set = set.clone();
            let added = self.edit(move |sources| crate::settings::edit::add_set(&sources, &set)).await;
            added.map_err(|failure| failure.message)?;
        }
        info!(
            from = %self.roster.get(from).map_or_else(|| from.short(), |friend| friend.name),
            time = %document.time, friends = new, sets = sets.len(), "a newer state object was taken over"
        );
        let known = self.state_sequence().await.map_err(|error| with_sources(&error))?;
        let put = if document.sequence <= known {
            self.db.put(Table::Values, value::STATE_BASE, &document.sequence).await
        } else if let Some(numbers) = Numbers::beyond(document.sequence).map_err(|error| error.to_string())? {
            // Others who were away may keep later documents than this one.
            self.db.put_all(numbers.documents().to_vec()).await
        } else {
            warn!(sequence = document.sequence, "no computer has written so many state objects: not counted");
            Ok(())
        };
        put.map_err(|error| with_sources(&error))?;
        self.newest_state.lock().await.sealed = None;
        if new > 0 {
            self.tell(Event::Friends);
        }
        Ok(())
    }

    /// Friends that we don't know, and who were not removed here. Says how many.
    async fn take_over_friends(&self, friends: &[Friend]) -> Result<usize, DbError> {
        let removed: Vec<DeviceId> = self.db.get(Table::Values, value::REMOVED).await?.unwrap_or_default();
        let mut new = 0;
        for friend in friends {
            let id = friend.device_id;
            if removed.contains(&id) || id == self.us() {
                continue;
            }
            let book = match self.roster.get(&id) {
                None => {
                    new += 1;
                    let friend = Friend { last_seen: None, ..friend.clone() };
                    Some(self.roster.put(friend).await?.addresses.book())
                }
                // He was paired anew meanwhile, and this installation has not backed up to the old archive.
                Some(known)
                    if known.archive != friend.archive
                        && self.jobs.last_complete(None, Some(&id)).is_none() =>
                {
                    let archive = friend.archive;
                    self.roster.change(&id, |friend| friend.archive = archive).await?;
                    None
                }
                Some(_) => None,
            };
            if let (Some(book), Some(peers)) = (book, self.peers()) {
                peers.set_friend(id, book);
            }
        }
        if new > 0 {
            self.apply_vault_policy();
        }
        Ok(new)
    }

    /// No older state object brings this friend back.
    pub(super) async fn note_removal(&self, friend: DeviceId) -> Result<(), DbError> {
        let mut removed: Vec<DeviceId> =
            self.db.get(Table::Values, value::REMOVED).await?.unwrap_or_default();
        removed.retain(|other| *other != friend);
        removed.insert(0, friend);
        removed.truncate(MOST_REMOVED);
        self.db.put(Table::Values, value::REMOVED, &removed).await
    }
}

/// Keeps the newest state object at every friend, for as long as the daemon runs.
pub(super) async fn keep_at_friends(core: Arc<Core>) {
    loop {
        core.state_dirty.notified().await;
        tokio::time::sleep(GATHER).await;
        if core.superseded().is_some() {
            continue;
        }
        for friend in core.roster.all() {
            let linked = core.peers().is_some_and(|peers| peers.link(&friend.device_id).is_some());
            if linked && let Err(reason) = core.keep_state_at(&friend.device_id).await {
                warn!(friend = %friend.name, %reason, "the state object was not taken");
                // He may know of a newer installation.
                core.fetch_report(&friend.device_id).await;
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
    let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let said = said.and_then(|said| said.get("message")?.as_str().map(str::to_owned));
    let said = said.unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned());
    Err(format!("{status}: {}", kith_control::terminal::safe(&said)))
}
