//! The friends: in memory for answers, in `state.db` for good.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use jiff::Timestamp;
use kith_identity::{ArchiveId, DeviceId, DialInKey, InstallationId};
use kith_peer::AddressBook;
use kith_wire::{Condition, Installed};
use serde::{Deserialize, Serialize};

use super::db::{Db, DbError, Table};

/// Most addresses kept of one kind.
const MOST_ADDRESSES: usize = 16;
/// Most former names kept.
const MOST_FORMER_NAMES: usize = 8;

/// Everything known of a friend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Friend {
    /// Who.
    pub(super) device_id: DeviceId,
    /// How the person calls him; unique here.
    pub(super) name: String,
    /// Whether the name was chosen here: then the friend's own changes of name don't touch it.
    #[serde(default)]
    pub(super) named_here: bool,
    /// Names that the person gave him before, newest last: backup sets may still use them.
    #[serde(default)]
    pub(super) former_names: Vec<String>,
    /// One's own other computer, confirmed at both ends.
    #[serde(default)]
    pub(super) own: bool,
    /// Since when.
    pub(super) added: Timestamp,
    /// Six words to compare by voice.
    #[serde(default)]
    pub(super) safety_words: Option<String>,
    /// Our archive at the friend.
    pub(super) archive: ArchiveId,
    /// Bytes offered to the friend; none = the setting.
    #[serde(default)]
    pub(super) quota_bytes: Option<u64>,
    /// Nothing is taken from the friend for now.
    #[serde(default)]
    pub(super) paused: bool,
    /// Key for dialling in at the friend, hex.
    #[serde(default)]
    pub(super) dial_in: Option<String>,
    /// Key by which the friend calls if he has lost everything but his words, hex.
    #[serde(default)]
    pub(super) recovery_key: Option<String>,
    /// The friend's half of what we two know and nobody else, hex.
    #[serde(default)]
    pub(super) reach_key: Option<String>,
    /// Which of our dial-in keys the friend is known to hold, by its counter; none is the first one, of which pairings before there were
    /// others told him.
    #[serde(default)]
    pub(super) holds: Option<u32>,
    /// Addresses.
    #[serde(default)]
    pub(super) addresses: Addresses,
    /// When the friend was last linked.
    #[serde(default)]
    pub(super) last_seen: Option<Timestamp>,
    /// The friend's program.
    #[serde(default)]
    pub(super) program: Option<String>,
    /// Highest incarnation the friend has shown, and its installation.
    #[serde(default)]
    pub(super) incarnation: u64,
    /// See [`Friend::incarnation`].
    #[serde(default)]
    pub(super) installation: Option<InstallationId>,
    /// His newest installation, with its proof.
    #[serde(default)]
    pub(super) newest: Option<Installed>,
    /// When he was recovered on another computer, if we have seen that.
    #[serde(default)]
    pub(super) recovered: Option<Timestamp>,
    /// Why he stores nothing for anybody at present, in his words.
    #[serde(default)]
    pub(super) trouble: Option<String>,
    /// How many objects of ours his scrub found to be damaged.
    #[serde(default)]
    pub(super) damaged: u64,
    /// Bytes the friend offers us.
    #[serde(default)]
    pub(super) offered_bytes: Option<u64>,
    /// Bytes of ours the friend keeps.
    #[serde(default)]
    pub(super) stored_there_bytes: Option<u64>,
    /// How the friend is, as he told last.
    #[serde(default)]
    pub(super) condition: Option<Condition>,
}

impl Friend {
    /// Gives him another name by the person's word.
    pub(super) fn rename(&mut self, name: String) {
        let old = std::mem::replace(&mut self.name, name);
        self.former_names.retain(|former| *former != old && *former != self.name);
        self.former_names.push(old);
        if self.former_names.len() > MOST_FORMER_NAMES {
            self.former_names.remove(0);
        }
        self.named_here = true;
    }

    fn is_or_was_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
            || self.former_names.iter().any(|former| former.eq_ignore_ascii_case(name))
    }
}

/// What the command line needs of a friend when no daemon runs.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct KnownFriend {
    /// Who.
    pub(crate) device_id: DeviceId,
    /// The name on this computer.
    pub(crate) name: String,
    /// Our archive at the friend.
    pub(crate) archive: ArchiveId,
    #[serde(default)]
    dial_in: Option<String>,
    #[serde(default)]
    addresses: Addresses,
}

impl From<Friend> for KnownFriend {
    fn from(friend: Friend) -> Self {
        let Friend { device_id, name, archive, dial_in, addresses, .. } = friend;
        Self { device_id, name, archive, dial_in, addresses }
    }
}

impl KnownFriend {
    /// The key by which he recognises our calls.
    pub(crate) fn dial_in_key(&self) -> Option<DialInKey> {
        DialInKey::from_hex(self.dial_in.as_deref()?)
    }

    /// Every address known, internal ones first.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let known = &self.addresses;
        let all = known.internal.iter().chain(&known.public).chain(&known.configured).chain(&known.invited);
        let mut addresses: Vec<String> = all.cloned().collect();
        let mut seen = std::collections::BTreeSet::new();
        addresses.retain(|address| seen.insert(address.clone()));
        addresses
    }
}

/// What is known of a friend's addresses; every entry is `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Addresses {
    /// Where he was reached last.
    pub(super) last_good: Option<String>,
    /// Added by hand.
    pub(super) configured: Vec<String>,
    /// Inside his network.
    pub(super) internal: Vec<String>,
    /// From outside.
    pub(super) public: Vec<String>,
    /// From the invite.
    pub(super) invited: Vec<String>,
}

impl Friend {
    /// Every address by which he may be reached, each once, the likeliest first.
    #[must_use]
    pub(super) fn all_addresses(&self) -> Vec<String> {
        let Addresses { last_good, configured, internal, public, invited } = &self.addresses;
        let mut all: Vec<String> = Vec::new();
        for address in configured.iter().chain(public).chain(internal).chain(last_good).chain(invited) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }
}

impl Addresses {
    /// What the dialler needs.
    #[must_use]
    pub(super) fn book(&self) -> AddressBook {
        AddressBook {
            last_good: self.last_good.clone(),
            configured: self.configured.clone(),
            internal: self.internal.clone(),
            public: self.public.clone(),
            invited: self.invited.clone(),
            ..AddressBook::default()
        }
    }

    /// Bounds what a hostile friend may say.
    pub(super) fn bound(&mut self) {
        for list in [&mut self.configured, &mut self.internal, &mut self.public, &mut self.invited] {
            list.truncate(MOST_ADDRESSES);
        }
    }
}

/// All friends.
pub(super) struct Roster {
    db: Db,
    friends: RwLock<BTreeMap<DeviceId, Friend>>,
    /// Raised by every change.
    generation: AtomicU64,
    /// One change at a time, so that the disk and the memory agree.
    writing: tokio::sync::Mutex<()>,
}

/// Why a friend could not be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FindError {
    /// There are no friends.
    #[error("there are no friends yet")]
    Empty,
    /// There is no such friend.
    #[error("there is no friend called {name:?}; friends are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Who there is.
        known: String,
    },
}

impl Roster {
    /// Loads all friends.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn load(db: Db) -> Result<Self, DbError> {
        let friends: Vec<Friend> = db.all(Table::Friends).await?;
        let friends = friends.into_iter().map(|friend| (friend.device_id, friend)).collect();
        Ok(Self {
            db,
            friends: RwLock::new(friends),
            generation: AtomicU64::new(0),
            writing: tokio::sync::Mutex::new(()),
        })
    }

    /// One friend.
    #[must_use]
    pub(super) fn get(&self, id: &DeviceId) -> Option<Friend> {
        self.read().get(id).cloned()
    }

    /// Whether this is a friend.
    #[must_use]
    pub(super) fn contains(&self, id: &DeviceId) -> bool {
        self.read().contains_key(id)
    }

    /// All friends, by name.
    #[must_use]
    pub(super) fn all(&self) -> Vec<Friend> {
        let mut friends: Vec<Friend> = self.read().values().cloned().collect();
        friends.sort_by_key(|friend| friend.name.to_lowercase());
        friends
    }

    /// A number that is another one after every change.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A friend by name, device id, or the beginning of one's device id.
    ///
    /// # Errors
    /// If there is none, with those there are.
    pub(super) fn find(&self, wanted: &str) -> Result<Friend, FindError> {
        let friends = self.read();
        let by_id = wanted.parse::<DeviceId>().ok().and_then(|id| friends.get(&id));
        let by_name = || friends.values().find(|friend| friend.name == wanted);
        let by_loose_name = || {
            let mut same = friends.values().filter(|friend| friend.name.eq_ignore_ascii_case(wanted));
            same.next().filter(|_| same.next().is_none())
        };
        let by_former_name =
            || friends.values().find(|friend| friend.former_names.iter().any(|name| name == wanted));
        by_id.or_else(by_name).or_else(by_loose_name).or_else(by_former_name).cloned().ok_or_else(|| {
            if friends.is_empty() {
                return FindError::Empty;
            }
            let mut known: Vec<&str> = friends.values().map(|friend| friend.name.as_str()).collect();
            known.sort_unstable();
            FindError::Unknown { name: wanted.to_owned(), known: known.join(", ") }
        })
    }

    /// Adds or replaces a friend; the name is made unique.
    ///
    /// # Errors
    /// Those of the database; the memory then is as before.
    pub(super) async fn put(&self, mut friend: Friend) -> Result<Friend, DbError> {
        let _one_at_a_time = self.writing.lock().await;
        friend.name = self.unique_name(&friend.name, &friend.device_id);
        friend.addresses.bound();
        self.db.put(Table::Friends, &friend.device_id.to_string(), &friend).await?;
        self.write().insert(friend.device_id, friend.clone());
        Ok(friend)
    }

    /// Changes a friend; true if anything is different afterwards.
    ///
    /// # Errors
    /// Those of the database; the memory then is as before.
    pub(super) async fn change(
        &self,
        id: &DeviceId,
        change: impl FnOnce(&mut Friend) + Send,
    ) -> Result<Option<Friend>, DbError> {
        let _one_at_a_time = self.writing.lock().await;
        let Some(old) = self.get(id) else { return Ok(None) };
        let mut friend = old.clone();
        change(&mut friend);
        friend.addresses.bound();
        if friend.name != old.name {
            friend.name = self.unique_name(&friend.name, id);
        }
        if friend != old {
            self.db.put(Table::Friends, &id.to_string(), &friend).await?;
            self.write().insert(*id, friend.clone());
        }
        Ok(Some(friend))
    }

    /// Forgets a friend.
    ///
    /// # Errors
    /// Those of the database; the memory then is as before.
    pub(super) async fn remove(&self, id: &DeviceId) -> Result<(), DbError> {
        let _one_at_a_time = self.writing.lock().await;
        self.db.remove(Table::Friends, &id.to_string()).await?;
        self.write().remove(id);
        Ok(())
    }

    /// The name itself, or with " (2)", " (3)"... behind it.
    fn unique_name(&self, wanted: &str, id: &DeviceId) -> String {
        let wanted = kith_identity::sanitise_name(wanted);
        let friends = self.read();
        let taken = |name: &str| {
            friends.values().any(|friend| friend.device_id != *id && friend.is_or_was_called(name))
        };
        if !taken(&wanted) {
            return wanted;
        }
        // There are fewer friends than numbers.
        (2..).map(|n: u32| format!("{wanted} ({n})")).find(|name| !taken(name)).unwrap_or(wanted)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<DeviceId, Friend>> {
        self.friends.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<DeviceId, Friend>> {
        let friends = self.friends.write().unwrap_or_else(PoisonError::into_inner);
        // Inside the lock: who sees the new number waits there for the new friends.
        self.generation.fetch_add(1, Ordering::Release);
        friends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn friend(n: u8, name: &str) -> Friend {
        Friend {
            device_id: DeviceId::from_bytes([n; 32]),
            name: name.into(),
            named_here: false,
            former_names: Vec::new(),
            own: false,
            added: Timestamp::UNIX_EPOCH,
            safety_words: None,
            archive: ArchiveId::from_bytes([n; 16]),
            quota_bytes: None,
            paused: false,
            dial_in: None,
            recovery_key: None,
            reach_key: None,
            holds: None,
            addresses: Addresses::default(),
            last_seen: None,
            program: None,
            incarnation: 0,
            installation: None,
            newest: None,
            recovered: None,
            trouble: None,
            damaged: 0,
            offered_bytes: None,
            stored_there_bytes: None,
            condition: None,
        }
    }

    #[tokio::test]
    async fn names_are_unique_and_friends_are_found_by_name_or_id() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(&directory.path().join("state.db")).unwrap();
        let roster = Roster::load(db.clone()).await.unwrap();
        assert_eq!(roster.find("anna").unwrap_err(), FindError::Empty);
        roster.put(friend(1, "anna")).await.unwrap();
        assert_eq!(roster.put(friend(2, "Anna")).await.unwrap().name, "Anna (2)");
        assert_eq!(roster.put(friend(3, "\u{202e}\n")).await.unwrap().name, "unnamed");
        assert_eq!(roster.find("anna").unwrap().device_id, DeviceId::from_bytes([1; 32]));
        let id = DeviceId::from_bytes([2; 32]);
        assert_eq!(roster.find(&id.to_string()).unwrap().name, "Anna (2)");
        assert!(roster.find("bert").unwrap_err().to_string().contains("anna, "));
        roster.change(&id, |friend| friend.rename("Cleo".into())).await.unwrap();
        assert_eq!(roster.find("Anna (2)").unwrap().name, "Cleo", "sets may still use the old name");
        assert_eq!(roster.put(friend(4, "Anna (2)")).await.unwrap().name, "Anna (2) (2)");
        let again = Roster::load(db).await.unwrap();
        assert_eq!(again.all(), roster.all());
    }
}
