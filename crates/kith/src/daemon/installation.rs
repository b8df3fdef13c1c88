//! Which installation of a computer writes. Every recovery makes a new one, and the one before only reads from then on:
//! here as the computer that was replaced, and as the friend of one.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use kith_control::view::SupersededView;
use kith_control::{Event, Failure, FailureKind};
use kith_identity::{DeviceId, Identity, InstallationId};
use kith_peer::{Caller, Standing};
use kith_vault::{CODE_HEADER, Code, Incarnation, SUPERSEDED_HEADER, StateError, VaultError};
use kith_wire::{Body, Hello, Installed, VISIT_CAPABILITY, bytes_body};
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::core::{Core, Exit, lock, owner, value};
use super::db::{Db, DbError, Table};
use super::failure::failure;
use super::numbers::Numbers;

/// At most once in this time a copy draws a new id: no friend can make it do so over and over.
const BETWEEN_NEW_IDS: SignedDuration = SignedDuration::from_hours(24);

/// Longest wait for what a hello said to be noted.
const NOTING: Duration = Duration::from_secs(5);

/// Another installation has taken over from this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Superseded {
    /// The one that writes now, signed with this computer's own key.
    pub(super) by: Installed,
    /// The friend who showed it.
    pub(super) told_by: String,
}

impl Superseded {
    /// When the other one was made, by its clock.
    pub(super) fn since(&self) -> Timestamp {
        Timestamp::from_millisecond(self.by.since).unwrap_or_default()
    }

    /// As the API shows it.
    pub(super) fn view(&self) -> SupersededView {
        SupersededView { since: self.since(), told_by: self.told_by.clone() }
    }

    /// What to say instead of a backup.
    pub(super) fn failure(&self) -> Failure {
        failure(
            FailureKind::Refused,
            format!(
                "this computer was recovered on another computer on {}: that one writes the backups now, and this one no \
                 longer does ({} says so, with proof)",
                self.since().strftime("%Y-%m-%d %H:%M UTC"),
                self.told_by
            ),
            HINT,
        )
    }
}

const HINT: &str = "snapshots can still be listed and restored here; to have this one write again, and the other one stop: \
    `kith recover --from HOST:PORT` (a friend's address) with this computer's 24 words; to make this a computer of its own: \
    `kith --home NEW_DIRECTORY daemon`, then pair it with friends";

/// What a home knows of its own installation.
pub(super) struct Ourselves {
    pub(super) installed: Installed,
    pub(super) superseded: Option<Superseded>,
}

impl Ourselves {
    /// Reads it, or makes a first installation.
    pub(super) async fn load(db: &Db, identity: &Identity) -> Result<Self, DbError> {
        let installation = match db.get(Table::Values, value::INSTALLATION).await? {
            Some(installation) => installation,
            None => {
                let installation = InstallationId::generate();
                db.put(Table::Values, value::INSTALLATION, &installation).await?;
                installation
            }
        };
        let since = match db.get(Table::Values, value::INSTALLED_SINCE).await? {
            Some(since) => since,
            None => {
                let since = Timestamp::now().as_millisecond();
                db.put(Table::Values, value::INSTALLED_SINCE, &since).await?;
                since
            }
        };
        let incarnation = db.get(Table::Values, value::INCARNATION).await?.unwrap_or(0);
        let installed = Installed::new(identity, incarnation, installation, since);
        let superseded = superseded(db).await?.filter(|other| other.by.rank() > installed.rank());
        Ok(Self { installed, superseded })
    }
}

/// Who has taken over from this home, as it was told last.
pub(super) async fn superseded(db: &Db) -> Result<Option<Superseded>, DbError> {
    Ok(db.get::<Option<Superseded>>(Table::Values, value::SUPERSEDED).await?.flatten())
}

/// The vault's word for an installation.
pub(super) fn incarnation(number: u64, installation: &InstallationId) -> Incarnation {
    Incarnation::new(number, *installation.as_bytes())
}

impl Core {
    /// Who has taken over from this computer, if anybody did.
    pub(super) fn superseded(&self) -> Option<Superseded> {
        self.superseded.borrow().clone()
    }

    /// Refuses what would write.
    pub(super) fn refuse_if_superseded(&self) -> Result<(), Failure> {
        self.superseded().map_or(Ok(()), |superseded| Err(superseded.failure()))
    }

    /// What place a friend's connection gets.
    pub(super) fn standing(self: &Arc<Self>, friend: &DeviceId, hello: &Hello) -> Standing {
        if hello.can(VISIT_CAPABILITY) {
            return Standing::Visitor;
        }
        let theirs = hello.installed();
        if !theirs.is_of(friend) {
            warn!(friend = %friend.short(), "a friend's installation is not signed with his key: it may read");
            // Whoever says so can say it often: not for as long as one whose installation is known.
            return Standing::Visitor;
        }
        let writer = incarnation(theirs.incarnation, &theirs.installation);
        if !owner(friend).is_ok_and(|owner| self.vault.may_write(&owner, writer)) {
            return Standing::Guest;
        }
        match &hello.report.newest {
            Some(newest) if self.note_newest(friend, newest) => Standing::LinkIfNone,
            _ => Standing::Link,
        }
    }

    /// A friend tells of the newest installation of ours that he knows. True if that is another than this, and newer.
    pub(super) fn note_newest(&self, friend: &DeviceId, newest: &Installed) -> bool {
        // Without the proof any friend could stop our backups to all others.
        if newest.rank() <= self.installed.rank() || !newest.is_of(&self.us()) {
            return false;
        }
        if !incarnation(newest.incarnation, &newest.installation).is_plausible_after(self.incarnation) {
            warn!(friend = %friend.short(), "he shows an installation with a number that no recovery gives: not believed");
            return false;
        }
        let told_by = self.roster.get(friend).map_or_else(|| friend.short(), |friend| friend.name);
        let news = Superseded { by: newest.clone(), told_by };
        let is_news = self.superseded.send_if_modified(|known| {
            let newer = known.as_ref().is_none_or(|known| known.by.rank() < news.by.rank());
            if newer {
                *known = Some(news.clone());
            }
            newer
        });
        if is_news {
            warn!(since = %news.since(), told_by = %news.told_by, "this computer was recovered elsewhere: it writes no more");
            let (db, events) = (self.db.clone(), self.events.clone());
            tokio::spawn(async move {
                // If it can't be saved, it is heard again after the next start.
                if let Err(error) = db.put(Table::Values, value::SUPERSEDED, &Some(news)).await {
                    error!(%error, "that another installation has taken over was not saved");
                }
                // Nobody listening is fine.
                drop(events.send(Event::Status));
            });
        }
        true
    }

    /// A friend has seen another running copy of this installation. This one takes another id and, as after a recovery, the
    /// next number: so it is the one that writes from then on, whatever the id is. Nothing proves the friend's word. If he lies, this
    /// restarts, once a day, and still is the one whom all others let write.
    pub(super) fn note_twin(self: &Arc<Self>, friend: &DeviceId) {
        let core = self.clone();
        let friend = *friend;
        tokio::spawn(async move {
            let now = Timestamp::now();
            let last = core.db.get::<Timestamp>(Table::Values, value::NEW_ID_AT).await.ok().flatten();
            if last.is_some_and(|last| now.duration_since(last).abs() < BETWEEN_NEW_IDS) {
                return;
            }
            match core.db.put_all(core.new_installation(now).await).await {
                Ok(()) => {
                    warn!(friend = %friend.short(), "another copy of this home runs: this one gets an id of its own");
                    core.exit.send_if_modified(|exit| {
                        *exit == Exit::No && std::mem::replace(exit, Exit::Restart) == Exit::No
                    });
                }
                Err(error) => error!(%error, "another copy of this home runs, and no new id could be saved"),
            }
        });
    }

    /// What makes another installation of this one. The copy has used numbers after ours.
    async fn new_installation(&self, now: Timestamp) -> Vec<(Table, String, serde_json::Value)> {
        let mut values = vec![
            (value::INSTALLATION, InstallationId::generate().to_string().into()),
            (value::INCARNATION, self.incarnation.saturating_add(1).into()),
            (value::NEW_ID_AT, now.to_string().into()),
            (value::INSTALLED_SINCE, now.as_millisecond().into()),
        ]
        .into_iter()
        .map(|(name, value)| (Table::Values, name.to_owned(), value))
        .collect::<Vec<_>>();
        if let Ok(known) = Numbers::load(&self.db).await
            && let Ok(Some(numbers)) = Numbers::beyond(known.sequence)
        {
            values.extend(numbers.documents());
        }
        values
    }

    /// A friend's installation has the link: it writes from now on, and no older one.
    pub(super) async fn take_writer(&self, friend: &DeviceId, hello: &Hello) {
        let theirs = hello.installed();
        if !theirs.is_of(friend) || hello.can(VISIT_CAPABILITY) {
            return;
        }
        let (rank, mut recovered) = (theirs.rank(), false);
        let changed = self.roster.change(friend, |friend| {
            match &friend.newest {
                Some(known) if known.rank() >= theirs.rank() => return,
                Some(_) => {
                    recovered = true;
                    friend.recovered = Timestamp::from_millisecond(theirs.since).ok();
                }
                None => {}
            }
            friend.newest = Some(theirs);
        });
        match changed.await {
            Ok(Some(friend)) if recovered => {
                info!(friend = %friend.name, since = ?friend.recovered, "a friend was recovered on another computer");
                self.tell(Event::Friend { device_id: friend.device_id });
            }
            Ok(_) => {}
            Err(error) => warn!(%error, "a friend's installation was not saved"),
        }
        // After that: whoever is refused from now on can be told by whom.
        if let Err(error) = self.claim(friend, rank.0, &rank.1).await {
            error!(friend = %friend.short(), error = &error as &dyn std::error::Error, "which installation of a friend writes was not noted");
        }
    }

    async fn claim(
        &self,
        friend: &DeviceId,
        number: u64,
        installation: &InstallationId,
    ) -> Result<(), VaultError> {
        let Ok(owner) = owner(friend) else { return Ok(()) };
        self.vault.writer(&owner, incarnation(number, installation)).await?;
        lock(&self.writers).insert(*friend, (number, *installation));
        Ok(())
    }

    /// Before a request that changes something: the caller must be the one who writes, and that must be durable.
    pub(super) async fn admit_writer(&self, caller: &Caller) -> Result<(), Response<Body>> {
        if matches!(caller.standing, Standing::Guest | Standing::Visitor) {
            let newest = owner(&caller.friend).ok().and_then(|owner| self.vault.newest_incarnation(&owner));
            return Err(superseded_answer(newest.map(|(_, since)| since)));
        }
        let rank = (caller.incarnation, caller.installation);
        if lock(&self.writers).get(&caller.friend) == Some(&rank) {
            return Ok(());
        }
        // Not before its proof is noted: whoever is refused because of it must be shown it. That is a matter of a moment.
        let noted =
            || self.roster.get(&caller.friend).and_then(|f| f.newest).is_some_and(|n| n.rank() >= rank);
        let patience = tokio::time::Instant::now() + NOTING;
        while !noted() && tokio::time::Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.claim(&caller.friend, rank.0, &rank.1).await.map_err(|error| {
            if let VaultError::NewerRecord { found, known, .. } = error {
                let told = StateError::NewerRecord { found, known };
                return refusal(Code::NotAccepted, &told.to_string());
            }
            let message =
                "the disk that keeps this archive failed: which installation writes could not be saved";
            warn!(error = &error as &dyn std::error::Error, "{message}");
            refusal(Code::StorageFailed, message)
        })
    }
}

/// Whether a request leaves everything as it is.
pub(super) fn reads_only(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn superseded_answer(since: Option<std::time::SystemTime>) -> Response<Body> {
    let mut answer = refusal(
        Code::Superseded,
        "this computer was recovered elsewhere, or runs twice, and the other one writes here: from here it can be read, \
         not changed",
    );
    if let Some(since) = since.and_then(|since| Timestamp::try_from(since).ok()) {
        answer.headers_mut().insert(SUPERSEDED_HEADER, since.as_millisecond().cast_unsigned().into());
    }
    answer
}

/// A refusal as the vault would say it.
pub(super) fn refusal(code: Code, message: &str) -> Response<Body> {
    let body = serde_json::json!({ "code": code.as_str(), "message": message }).to_string();
    let mut response = Response::new(bytes_body(body));
    *response.status_mut() = code.status();
    response.headers_mut().insert(CODE_HEADER, HeaderValue::from_static(code.as_str()));
    response
}

/// The refusal of a state object.
pub(super) fn state_refusal(error: &StateError) -> Response<Body> {
    let code = match error {
        StateError::Superseded { since } => return superseded_answer(Some(*since)),
        StateError::TooLarge { .. } => Code::TooLarge,
        StateError::NotAccepted | StateError::NewerRecord { .. } => Code::NotAccepted,
        StateError::DiskFull => Code::DiskFull,
        StateError::Stale { .. } | StateError::Conflict { .. } | StateError::TooFarAhead { .. } => {
            let mut response = Response::new(bytes_body(error.to_string()));
            *response.status_mut() = StatusCode::CONFLICT;
            return response;
        }
        _ => Code::StorageFailed,
    };
    refusal(code, &super::failure::with_sources(error))
}
