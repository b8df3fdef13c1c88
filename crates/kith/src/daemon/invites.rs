//! Open invites, and open replies to invites of others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use jiff::Timestamp;
use kith_identity::{DeviceId, DialInKey, Invite, OneTimeKey};
use serde::{Deserialize, Serialize};

use super::db::{Db, DbError, Table};

/// Most invites that are open at once.
pub(super) const MOST_INVITES: usize = 64;
/// An ended invite is remembered this long, so that a late joiner hears that it has ended.
const REMEMBERED_SECONDS: i64 = 30 * 24 * 3600;

/// For so long after it was used an invite stays open for its user, who may not have heard the answer.
const OPEN_AFTER_USE_SECONDS: i64 = 3600;

/// Which side of an invite we are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    /// We made the invite; the joiner dials us.
    Inviter,
    /// We were invited, but reached nobody: the inviter dials us with our reply line.
    Joiner,
}

/// An invite that waits for somebody, or that somebody has used.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// Our side.
    pub(super) role: Role,
    /// The invite's text; holds its secret.
    text: String,
    /// The one-time certificate that the other side will show.
    pub(super) one_time: DeviceId,
    /// When it ends, Unix seconds.
    pub(super) expires: i64,
    /// Bytes we offer the other side; none = the setting.
    pub(super) quota_bytes: Option<u64>,
    /// Whether we take the other for one's own computer.
    pub(super) own: bool,
    /// Who used it.
    pub(super) used_by: Option<DeviceId>,
    /// When, Unix seconds; none also of one that was used before this was noted.
    #[serde(default)]
    used_at: Option<i64>,
}

/// Why an invite can't be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvitesError {
    /// Too many.
    #[error("{MOST_INVITES} invites are open already; wait until some have been used or have expired")]
    TooMany,
    /// No key could be made from it.
    #[error("the invite can't be used: {0}")]
    Key(String),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Record {
    /// Makes a record.
    ///
    /// # Errors
    /// If no key can be made from the invite's secret.
    pub(super) fn new(
        role: Role,
        invite: &Invite,
        quota_bytes: Option<u64>,
        own: bool,
    ) -> Result<Self, InvitesError> {
        let key = match role {
            Role::Inviter => OneTimeKey::for_invite(invite.secret()),
            Role::Joiner => OneTimeKey::for_reply(invite.secret()),
        };
        let key = key.map_err(|error| InvitesError::Key(error.to_string()))?;
        Ok(Self {
            role,
            text: invite.to_text().to_string(),
            one_time: key.id(),
            expires: i64::try_from(invite.terms().expires).unwrap_or(i64::MAX),
            quota_bytes,
            own,
            used_by: None,
            used_at: None,
        })
    }

    /// The invite itself; none if this program can't read it any more.
    #[must_use]
    pub(super) fn invite(&self) -> Option<Invite> {
        Invite::parse(&self.text).ok()
    }

    fn is_open(&self, now: Timestamp) -> bool {
        now.as_second() < self.ends()
    }

    /// When it opens nothing any more, Unix seconds.
    fn ends(&self) -> i64 {
        let after_use = || self.used_at.map_or(i64::MIN, |at| at.saturating_add(OPEN_AFTER_USE_SECONDS));
        self.used_by.map_or(self.expires, |_user| self.expires.min(after_use()))
    }
}

/// All invites, in memory and in `state.db`.
pub(super) struct Invites {
    db: Db,
    records: RwLock<BTreeMap<DeviceId, Record>>,
    /// Raised by every change.
    generation: AtomicU64,
    /// One claim at a time: an invite serves once.
    claiming: tokio::sync::Mutex<()>,
}

impl Invites {
    /// Loads them; those that ended long ago are removed.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn load(db: Db) -> Result<Self, DbError> {
        let records: Vec<Record> = db.all(Table::Invites).await?;
        let now = Timestamp::now().as_second();
        let (old, records): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| record.expires.saturating_add(REMEMBERED_SECONDS) < now);
        for record in old {
            db.remove(Table::Invites, &record.one_time.to_string()).await?;
        }
        let records = records.into_iter().map(|record| (record.one_time, record)).collect();
        Ok(Self {
            db,
            records: RwLock::new(records),
            generation: AtomicU64::new(0),
            claiming: tokio::sync::Mutex::default(),
        })
    }

    /// Keeps an invite.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub(super) async fn put(&self, record: Record) -> Result<(), InvitesError> {
        let now = Timestamp::now();
        let open = self.read().values().filter(|r| r.is_open(now) && r.used_by.is_none()).count();
        if open >= MOST_INVITES && !self.read().contains_key(&record.one_time) {
            return Err(InvitesError::TooMany);
        }
        self.db.put(Table::Invites, &record.one_time.to_string(), &record).await?;
        self.write().insert(record.one_time, record);
        Ok(())
    }

    /// Marks an invite as used by this computer; false if there is none, or another computer was first.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub(super) async fn claim(&self, one_time: &DeviceId, user: DeviceId) -> Result<bool, InvitesError> {
        let _one_at_a_time = self.claiming.lock().await;
        let Some(mut record) = self.get(one_time) else { return Ok(false) };
        if let Some(by) = record.used_by {
            return Ok(by == user);
        }
        record.used_by = Some(user);
        record.used_at = Some(Timestamp::now().as_second());
        self.put(record).await?;
        Ok(true)
    }

    /// Forgets the invites through which a computer could pair again.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn withdraw_of(&self, friend: &DeviceId) -> Result<(), DbError> {
        let _one_at_a_time = self.claiming.lock().await;
        let opens = |record: &&Record| {
            let invited_by = || record.invite().is_some_and(|invite| invite.inviter() == *friend);
            record.used_by == Some(*friend) || (record.role == Role::Joiner && invited_by())
        };
        let gone: Vec<DeviceId> = self.read().values().filter(opens).map(|record| record.one_time).collect();
        for one_time in gone {
            self.db.remove(Table::Invites, &one_time.to_string()).await?;
            self.write().remove(&one_time);
        }
        Ok(())
    }

    /// Whether a one-time certificate belongs to an open invite. A used one stays open for its user for an hour.
    #[must_use]
    pub(super) fn admits(&self, one_time: &DeviceId) -> bool {
        self.read().get(one_time).is_some_and(|record| record.is_open(Timestamp::now()))
    }

    /// The record of a one-time certificate.
    #[must_use]
    pub(super) fn get(&self, one_time: &DeviceId) -> Option<Record> {
        self.read().get(one_time).cloned()
    }

    /// The record with this public id of the invite that we made.
    #[must_use]
    pub(super) fn made_with_id(&self, id: &str) -> Option<Record> {
        let records = self.read();
        let mut ours = records.values().filter(|record| record.role == Role::Inviter);
        ours.find(|record| record.invite().is_some_and(|invite| invite.id().to_string() == id)).cloned()
    }

    /// The keys by which those are recognised who hold an open invite, or our reply line, each with its end in Unix seconds.
    pub(super) fn dial_in_keys(&self) -> Vec<(i64, DialInKey)> {
        let key = |record: &Record| {
            let invite = record.invite()?;
            let key = match record.role {
                Role::Inviter => invite.secret().dial_in_key(),
                Role::Joiner => invite.secret().reply_dial_in_key(),
            };
            Some((record.ends(), key))
        };
        let now = Timestamp::now();
        self.read().values().filter(|record| record.is_open(now)).filter_map(key).collect()
    }

    /// Those that we made and that name a hub, as long as they are open, each with its end in Unix seconds.
    pub(super) fn open_at_hubs(&self) -> Vec<(i64, DeviceId, Invite)> {
        let now = Timestamp::now();
        let records = self.read();
        let open = records.values().filter(|record| record.role == Role::Inviter && record.is_open(now));
        let open = open.filter_map(|record| Some((record.ends(), record.one_time, record.invite()?)));
        open.filter(|(_, _, invite)| !invite.hubs().is_empty()).collect()
    }

    /// A number that is another one after every change.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<DeviceId, Record>> {
        let records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        // Inside the lock: who sees the new number waits there for the new records.
        self.generation.fetch_add(1, Ordering::Release);
        records
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<DeviceId, Record>> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kith_identity::{InviteSecret, InviteTerms, Ownership};

    use super::*;

    #[test]
    fn a_used_invite_stays_open_for_an_hour_and_never_for_longer_than_it_was_made_for() {
        let terms = InviteTerms {
            inviter: DeviceId::from_bytes([1; 32]),
            addresses: Vec::new(),
            hubs: Vec::new(),
            expires: 100_000,
            quota_bytes: 0,
            ownership: Ownership::Friend,
            name: "anna".into(),
        };
        let invite = Invite::with_secret(terms, InviteSecret::from_bytes([7; 16])).unwrap();
        let mut record = Record::new(Role::Inviter, &invite, None, false).unwrap();
        let open = |record: &Record, second| record.is_open(Timestamp::from_second(second).unwrap());
        assert!(open(&record, 99_999) && !open(&record, 100_000));
        record.used_by = Some(DeviceId::from_bytes([2; 32]));
        record.used_at = Some(50_000);
        assert!(open(&record, 53_599) && !open(&record, 53_600));
        record.used_at = Some(99_000);
        assert!(open(&record, 99_999) && !open(&record, 100_000));
        // Used before the time was noted.
        record.used_at = None;
        assert!(!open(&record, 0));
    }
}
