//! The keys by which friends are recognised when they call, and we by them: given out, replaced, looked up.

mod counters;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use jiff::Timestamp;
use kith_identity::{DeviceId, DialInKey, DialInRing, DialInSecret, DialInTag, PairKey, ReachKey};
use kith_wire::{Body, DIAL_IN_LIMIT, DialInKeys, collect, empty_body, json_body, paths};
use tracing::{debug, info, warn};

pub(super) use self::counters::Counters;
use super::core::{Core, lock, value};
use super::db::{Db, DbError, Table};
use super::host::plain;
use super::roster::Friend;

/// Longest wait for a friend to keep our keys.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Our own keys.
pub(super) struct DialIn {
    db: Db,
    secret: DialInSecret,
    recovery: DialInKey,
    counters: Mutex<Counters>,
    /// One change of the counters at a time, so that the disk and the memory agree.
    changing: tokio::sync::Mutex<()>,
    ring: RwLock<Arc<Ring>>,
    /// Friends who are being told our keys, and whether there is something new for them already. One after the other, so that what he
    /// keeps last is the newest.
    telling: Mutex<BTreeMap<DeviceId, bool>>,
    /// Friends who are being removed: they are told nothing any more.
    leaving: Mutex<BTreeSet<DeviceId>>,
}

/// A friend who is being removed, until this is dropped.
pub(super) struct Leaving<'a> {
    dial_in: &'a DialIn,
    friend: DeviceId,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        lock(&self.dial_in.leaving).remove(&self.friend);
    }
}

/// All keys by which callers are recognised, and what they were gathered from.
#[derive(Default)]
struct Ring {
    made_from: Option<(u64, u64, Counters)>,
    lasting: DialInRing,
    /// Those of invites, with their ends in Unix seconds.
    invites: Vec<(i64, DialInRing)>,
}

impl DialIn {
    /// Loads what is known of the keys that were given out.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn load(db: Db, secret: DialInSecret, recovery: DialInKey) -> Result<Self, DbError> {
        let counters: Counters = db.get(Table::Values, value::DIAL_IN).await?.unwrap_or_default();
        Ok(Self {
            db,
            secret,
            recovery,
            counters: Mutex::new(counters),
            changing: tokio::sync::Mutex::default(),
            ring: RwLock::default(),
            telling: Mutex::default(),
            leaving: Mutex::default(),
        })
    }

    /// The number of the key that is given out.
    pub(super) fn counter(&self) -> u32 {
        lock(&self.counters).current()
    }

    /// The key by which friends are to call from now on.
    pub(super) fn key(&self) -> DialInKey {
        self.secret.key(self.counter())
    }

    /// The key by which this computer calls when it has lost everything but its words.
    pub(super) fn recovery_key(&self) -> &DialInKey {
        &self.recovery
    }

    /// Our half of what we and a friend know.
    pub(super) fn reach_key(&self, friend: &DeviceId) -> ReachKey {
        self.secret.reach_key(friend)
    }

    /// What a friend is told, with its number; none if he is being removed.
    fn keys_for(&self, friend: &DeviceId) -> Option<(u32, DialInKeys)> {
        // The number first: whoever is removed is known to be so before there is a new one.
        let counter = self.counter();
        (!lock(&self.leaving).contains(friend)).then(|| {
            let (key, recovery) = (self.secret.key(counter), self.recovery.clone());
            (counter, DialInKeys { key, recovery, reach: Some(self.reach_key(friend)) })
        })
    }

    /// From now on this friend is not told any key, until he is no friend any more or the guard is dropped.
    pub(super) fn leave(&self, friend: DeviceId) -> Leaving<'_> {
        lock(&self.leaving).insert(friend);
        Leaving { dial_in: self, friend }
    }

    /// Gives out another key from now on: what is known to those who are no friends any more is worth nothing as soon as all others have
    /// the new one.
    ///
    /// # Errors
    /// Those of the database; the old key is given out then as before.
    pub(super) async fn rotate(&self) -> Result<(), DbError> {
        self.change(Counters::rotate).await
    }

    async fn change(&self, change: impl FnOnce(&mut Counters)) -> Result<(), DbError> {
        let _one_at_a_time = self.changing.lock().await;
        let mut counters = lock(&self.counters).clone();
        change(&mut counters);
        if *lock(&self.counters) != counters {
            // Durable first: a key that was given out is never forgotten, nor one that was taken back accepted again.
            self.db.put(Table::Values, value::DIAL_IN, &counters).await?;
            *lock(&self.counters) = counters;
        }
        Ok(())
    }
}

impl Core {
    /// Whether a tag was made with a key that somebody has from us. In memory, and made anew only after a change.
    pub(super) fn recognises(&self, tag: &DialInTag) -> bool {
        let now = (self.roster.generation(), self.invites.generation(), lock(&self.dial_in.counters).clone());
        let ring = self.dial_in.ring.read().unwrap_or_else(PoisonError::into_inner).clone();
        let ring = if ring.made_from.as_ref() == Some(&now) {
            ring
        } else {
            let ring = Arc::new(self.gather(now));
            *self.dial_in.ring.write().unwrap_or_else(PoisonError::into_inner) = ring.clone();
            ring
        };
        let seconds = Timestamp::now().as_second();
        let open = ring.invites.iter().filter(|(ends, _)| seconds < *ends);
        // All are tried, whichever it is.
        let known =
            open.fold(ring.lasting.recognises(tag), |known, (_, invite)| invite.recognises(tag) | known);
        self.recognises_nearby(tag) | known
    }

    fn gather(&self, made_from: (u64, u64, Counters)) -> Ring {
        let friends = self.roster.all();
        let counters = made_from.2.accepted(friends.iter().map(|friend| friend.holds));
        let ours = counters.into_iter().map(|counter| self.dial_in.secret.key(counter));
        let theirs = friends.iter().filter_map(recovery_key);
        let lasting: Vec<DialInKey> = ours.chain(theirs).collect();
        let invites = self.invites.dial_in_keys();
        Ring {
            made_from: Some(made_from),
            lasting: DialInRing::new(&lasting),
            invites: invites.iter().map(|(ends, key)| (*ends, DialInRing::new([key]))).collect(),
        }
    }

    /// The keys by which a friend may recognise our calls, best first.
    pub(super) fn dial_in_keys(&self, friend: &DeviceId) -> Vec<DialInKey> {
        let Some(friend) = self.roster.get(friend) else { return Vec::new() };
        // Our own helps where one of the two has lost what the other told, as after a recovery of ours from an older state.
        parsed(friend.dial_in.as_ref()).into_iter().chain([self.dial_in.recovery.clone()]).collect()
    }

    /// What we and a friend know and nobody else; none before he has told us his half.
    pub(super) fn pair_key(&self, friend: &DeviceId) -> Option<PairKey> {
        let theirs = ReachKey::from_hex(&self.roster.get(friend)?.reach_key?)?;
        let (us, ours) = (self.us(), self.dial_in.reach_key(friend));
        Some(PairKey::of_friends((&us, &ours), (friend, &theirs)))
    }

    /// Tells a linked friend our keys, and notes that he has them.
    pub(super) async fn hand_dial_in(&self, friend: &DeviceId) {
        {
            let mut telling = lock(&self.dial_in.telling);
            if let Some(again) = telling.get_mut(friend) {
                *again = true;
                return;
            }
            telling.insert(*friend, false);
        }
        loop {
            match self.send_dial_in(friend).await {
                Ok(counter) => self.note_holds(friend, counter).await,
                // He hears it with the next link.
                Err(reason) => {
                    debug!(friend = %friend.short(), %reason, "a friend did not take the dial-in key");
                }
            }
            let mut telling = lock(&self.dial_in.telling);
            if telling.insert(*friend, false) != Some(true) {
                telling.remove(friend);
                return;
            }
        }
    }

    /// Tells all linked friends, each by himself.
    pub(super) fn hand_dial_in_to_all(self: &Arc<Self>) {
        for friend in self.roster.all() {
            let core = self.clone();
            tokio::spawn(async move { core.hand_dial_in(&friend.device_id).await });
        }
    }

    /// Returns the number of the key that he has now.
    async fn send_dial_in(&self, friend: &DeviceId) -> Result<u32, String> {
        // He is looked for after the keys were taken: one who was removed before them gets none.
        let told = self.dial_in.keys_for(friend).filter(|_| self.roster.contains(friend));
        let (counter, keys) = told.ok_or("he is being removed, or was")?;
        let link = self.peers().and_then(|peers| peers.link(friend)).ok_or("he is not connected")?;
        let body = json_body(&keys).map_err(|error| error.to_string())?;
        let request = Request::put(paths::DIAL_IN)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| error.to_string())?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, link.request(request))
            .await
            .map_err(|_elapsed| "no answer".to_owned())?
            .map_err(|error| error.to_string())?;
        if answer.status() == StatusCode::NO_CONTENT { Ok(counter) } else { Err(answer.status().to_string()) }
    }

    async fn note_holds(&self, friend: &DeviceId, counter: u32) {
        let before = self.roster.get(friend).and_then(|friend| friend.holds);
        let noted = self.roster.change(friend, |friend| friend.holds = Some(counter)).await;
        let tidied = self.drop_older_keys().await;
        if let Err(error) = noted.map(drop).and(tidied) {
            warn!(%error, "which dial-in key a friend has was not saved");
        }
        if before != Some(counter) {
            self.state_dirty.notify_one();
        }
    }

    /// Accepts older keys no longer when all friends have the newest one.
    pub(super) async fn drop_older_keys(&self) -> Result<(), DbError> {
        let friends = self.roster.all();
        let held =
            |counters: &Counters| friends.iter().all(|friend| friend.holds == Some(counters.current()));
        self.dial_in
            .change(|counters| {
                if held(counters) && counters.drop_older() {
                    info!("all friends have the new dial-in key: older ones open nothing any more");
                }
            })
            .await
    }

    /// A friend tells us his keys.
    pub(super) async fn take_dial_in(&self, friend: &DeviceId, request: Request<Body>) -> Response<Body> {
        if request.method() != Method::PUT {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "the keys are handed over with PUT");
        }
        let Ok(body) = collect(request.into_body(), DIAL_IN_LIMIT).await else {
            return plain(StatusCode::BAD_REQUEST, "the keys broke off or are too long");
        };
        let keys: DialInKeys = match serde_json::from_slice(&body) {
            Ok(keys) => keys,
            Err(error) => return plain(StatusCode::BAD_REQUEST, &format!("these are no keys: {error}")),
        };
        let before = self.roster.get(friend);
        let kept = self.roster.change(friend, |friend| {
            friend.dial_in = Some(keys.key.to_hex().to_string());
            friend.recovery_key = Some(keys.recovery.to_hex().to_string());
            if let Some(reach) = &keys.reach {
                friend.reach_key = Some(reach.to_hex().to_string());
            }
        });
        match kept.await {
            Ok(None) => plain(StatusCode::FORBIDDEN, "this computer is not a friend any more"),
            Ok(after) => {
                if before != after {
                    self.state_dirty.notify_one();
                    self.near.refresh();
                }
                let mut response = Response::new(empty_body());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            Err(error) => {
                warn!(%error, "a friend's dial-in key was not saved");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the keys could not be kept")
            }
        }
    }
}

fn parsed(text: Option<&String>) -> Option<DialInKey> {
    DialInKey::from_hex(text?)
}

/// The key by which a friend calls who has lost everything but his words. One who was not met since release 0.1 told us none.
fn recovery_key(friend: &Friend) -> Option<DialInKey> {
    let told = parsed(friend.recovery_key.as_ref());
    told.or_else(|| Some(parsed(friend.dial_in.as_ref())?.recovery_of_older()))
}

#[cfg(test)]
mod tests {
    use kith_identity::StateKey;

    use super::*;

    #[tokio::test]
    async fn who_is_being_removed_is_told_no_key_that_comes_after_him() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(&directory.path().join("state.db")).unwrap();
        let recovery = StateKey::from_bytes([1; 32]).recovery_dial_in_key();
        let dial_in = DialIn::load(db, DialInSecret::from_bytes([5; 32]), recovery).await.unwrap();
        let [removed, other] = [1, 2].map(|byte| DeviceId::from_bytes([byte; 32]));
        let number = |friend: &DeviceId| dial_in.keys_for(friend).map(|(number, _)| number);
        assert_eq!((number(&removed), number(&other)), (Some(0), Some(0)));
        let leaving = dial_in.leave(removed);
        dial_in.rotate().await.unwrap();
        assert_eq!((number(&removed), number(&other)), (None, Some(1)));
        // If he stays, because he could not be removed, he is told again.
        drop(leaving);
        assert_eq!(number(&removed), Some(1));
    }
}
