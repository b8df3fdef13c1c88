//! The keys by which friends are recognised when they call, and we by them: given out, replaced, looked up.

mod counters;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use jiff::Timestamp;
use kith_identity::{DeviceId, DialInKey, DialInRing, DialInSecret, DialInTag};
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
        })
    }

    /// The number of the key that is given out.
    pub(super) fn counter(&self) -> u32 {
        lock(&self.counters).current()
    }

    /// What friends are told.
    pub(super) fn keys(&self) -> DialInKeys {
        self.keys_of(self.counter())
    }

    fn keys_of(&self, counter: u32) -> DialInKeys {
        DialInKeys { key: self.secret.key(counter), recovery: self.recovery.clone() }
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
        open.fold(ring.lasting.recognises(tag), |known, (_, invite)| invite.recognises(tag) | known)
    }

    fn gather(&self, made_from: (u64, u64, Counters)) -> Ring {
        let friends = self.roster.all();
        let counters = made_from.2.accepted(friends.iter().map(|friend| friend.holds));
        let ours = counters.into_iter().map(|counter| self.dial_in.secret.key(counter));
        let theirs = friends.iter().filter_map(|friend| parsed(friend.recovery_key.as_ref()));
        // Whoever never told us a key may not have heard ours either.
        let us = self.us();
        let never_met = friends.iter().filter(|friend| friend.dial_in.is_none());
        let pairs = never_met.map(|friend| pair_key(&us, friend));
        let lasting: Vec<DialInKey> = ours.chain(theirs).chain(pairs).collect();
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
        let told = parsed(friend.dial_in.as_ref()).unwrap_or_else(|| pair_key(&self.us(), &friend));
        // The second one helps where he was told a newer key for us than we know of, as after a recovery of ours from an older state.
        vec![told, self.dial_in.recovery.clone()]
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
            let counter = self.dial_in.counter();
            match self.send_dial_in(friend, counter).await {
                Ok(()) => self.note_holds(friend, counter).await,
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

    async fn send_dial_in(&self, friend: &DeviceId, counter: u32) -> Result<(), String> {
        let link = self.peers().and_then(|peers| peers.link(friend)).ok_or("he is not connected")?;
        let body = json_body(&self.dial_in.keys_of(counter)).map_err(|error| error.to_string())?;
        let request = Request::put(paths::DIAL_IN)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| error.to_string())?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, link.request(request))
            .await
            .map_err(|_elapsed| "no answer".to_owned())?
            .map_err(|error| error.to_string())?;
        if answer.status() == StatusCode::NO_CONTENT { Ok(()) } else { Err(answer.status().to_string()) }
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
        });
        match kept.await {
            Ok(None) => plain(StatusCode::FORBIDDEN, "this computer is not a friend any more"),
            Ok(after) => {
                if before != after {
                    self.state_dirty.notify_one();
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

fn pair_key(us: &DeviceId, friend: &Friend) -> DialInKey {
    DialInKey::of_pair(us, &friend.device_id, friend.safety_words.as_deref().unwrap_or_default())
}
