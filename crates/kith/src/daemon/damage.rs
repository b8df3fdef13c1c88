//! What of friends' archives is damaged here, and what of ours is damaged at friends: told, remembered until it is
//! repaired, and repaired by the next backup.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use http::{Request, Response};
use jiff::Timestamp;
use kith_archive::check::{CheckReport, Finding};
use kith_archive::repository::{Retired, Salvaged};
use kith_archive::{FileId, FileKind, Repository, RepositoryError, StoreError};
use kith_identity::DeviceId;
use kith_vault::Owner;
use kith_wire::{Body, bytes_body, collect, empty_body, json_body, paths};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::core::{Core, lock};
use super::db::Table;
use super::failure::with_sources;
use super::roster::Friend;

/// Most objects in one answer: it fits into a message. When they are repaired, the others are told.
const MOST_TOLD: usize = 300;
/// Most that is remembered of one check.
const MOST_FOUND: usize = 1000;
/// A pack that has to stay although it is damaged is read again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest wait for the list.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The answer to [`paths::DAMAGED`].
#[derive(Debug, Default, Serialize, Deserialize)]
struct DamagedList {
    damaged: Vec<Told>,
    /// There are more than these.
    more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Told {
    archive: String,
    /// `data/<name>`, `index/<name>`, `snapshots/<name>`.
    object: String,
    /// `changed` or `unreadable`.
    damage: String,
    /// When it was found, Unix milliseconds.
    found: i64,
}

impl Core {
    /// Tells an owner what of his is damaged here.
    pub(super) fn damaged_answer(&self, owner: &Owner, archive: Option<&str>) -> Response<Body> {
        let mut all = self.vault.damaged(owner);
        // Before some are left out: an archive that nobody uses any more must not hide another one.
        all.retain(|object| archive.is_none_or(|archive| object.archive.as_str() == archive));
        let more = all.len() > MOST_TOLD;
        all.truncate(MOST_TOLD);
        let damaged = all.into_iter().map(|object| Told {
            archive: object.archive.to_string(),
            object: object.object,
            damage: object.damage.to_string(),
            found: Timestamp::try_from(object.found).map_or(0, Timestamp::as_millisecond),
        });
        let list = DamagedList { damaged: damaged.collect(), more };
        json_body(&list).map_or_else(|error| Response::new(bytes_body(error.to_string())), Response::new)
    }

    /// Loads what earlier checks found.
    pub(super) async fn load_damage(&self) {
        for friend in self.roster.all() {
            if let Ok(Some(found)) =
                self.db.get::<BTreeSet<String>>(Table::Values, &key(&friend.device_id)).await
                && !found.is_empty()
            {
                lock(&self.found_damaged).insert(friend.device_id, found);
            }
        }
    }

    /// How many objects of ours are damaged at a friend, as far as is known.
    pub(super) fn damaged_there(&self, friend: &Friend) -> u64 {
        let found = lock(&self.found_damaged).get(&friend.device_id).map_or(0, BTreeSet::len);
        friend.damaged.max(found as u64)
    }

    /// Files of the archive at a friend that are said to be damaged: by his scrub, and by our checks.
    async fn suspects(&self, friend: &Friend) -> Vec<(FileKind, FileId)> {
        let mut objects = lock(&self.found_damaged).get(&friend.device_id).cloned().unwrap_or_default();
        if friend.damaged > 0 || self.roster.get(&friend.device_id).is_some_and(|friend| friend.damaged > 0) {
            match self.ask_for_damage(friend).await {
                Ok(told) => objects.extend(told),
                Err(reason) => {
                    warn!(friend = %friend.name, %reason, "the friend did not say what is damaged");
                }
            }
        }
        objects.iter().filter_map(|object| parse(object)).collect()
    }

    async fn ask_for_damage(&self, friend: &Friend) -> Result<Vec<String>, String> {
        let link =
            self.peers().and_then(|peers| peers.link(&friend.device_id)).ok_or("he is not connected")?;
        let archive = friend.archive.to_string();
        let request = Request::get(format!("{}?archive={archive}", paths::DAMAGED));
        let request = request.body(empty_body()).map_err(|error| error.to_string())?;
        let asked = async {
            let answer = link.request(request).await.map_err(|error| error.to_string())?;
            collect(answer.into_body(), kith_wire::MESSAGE_LIMIT).await.map_err(|error| error.to_string())
        };
        let body = tokio::time::timeout(ANSWER_TIMEOUT, asked).await.map_err(|_elapsed| "no answer")??;
        named(&body, &archive)
    }

    /// Before a backup: saves what can be read of files that are said to be damaged. That it does not get to the end is told, and
    /// no reason to make no backup.
    ///
    /// # Errors
    /// The friend is away.
    pub(super) async fn salvage(
        &self,
        repository: &Repository,
        friend: &Friend,
    ) -> Result<(Salvaged, Vec<String>), RepositoryError> {
        let mut suspects = self.suspects(friend).await;
        // Our own eyes are as good as anybody's word.
        let seen = repository.warnings().iter().filter(|warning| warning.kind == FileKind::Index);
        suspects.extend(seen.map(|warning| (FileKind::Index, warning.id)));
        let known = self.kept_damaged(&friend.device_id);
        if suspects.is_empty() && known.is_empty() {
            return Ok((Salvaged::default(), Vec::new()));
        }
        let salvaged = match repository.salvage(&suspects, &known).await {
            Ok(salvaged) => salvaged,
            Err(error @ RepositoryError::Store(StoreError::Unavailable(_))) => return Err(error),
            Err(error) => {
                let reason = with_sources(&error);
                warn!(friend = %friend.name, %reason, "damaged files were not looked at to the end");
                let said = format!(
                    "what is damaged in the archive at {} could not be saved ({reason}): the next backup tries again",
                    friend.name
                );
                return Ok((Salvaged::default(), vec![said]));
            }
        };
        info!(
            friend = %friend.name,
            suspects = suspects.len(),
            damaged = salvaged.damaged.len(),
            copied = salvaged.blobs_copied,
            lost = salvaged.blobs_lost,
            "files of the archive were said to be damaged"
        );
        Ok((salvaged, Vec::new()))
    }

    /// After a backup: removes what was replaced, and says what came of it.
    pub(super) async fn retire(
        &self,
        repository: &Repository,
        friend: &Friend,
        salvaged: &Salvaged,
    ) -> Vec<String> {
        let name = &friend.name;
        if salvaged.damaged.is_empty() {
            // What a check had found is not so any more.
            if salvaged.intact > 0 && !salvaged.cut_short {
                self.note_damage(&friend.device_id, BTreeSet::new()).await;
            }
            return Vec::new();
        }
        let Retired { replaced, kept, unsound } = match repository.retire(&salvaged.damaged).await {
            Ok(retired) => retired,
            Err(error) => {
                let reason = with_sources(&error);
                return vec![format!(
                    "damaged files of the archive at {name} could not be replaced yet ({reason}): the next backup tries again"
                )];
            }
        };
        let mut said = Vec::new();
        if replaced > 0 {
            said.push(format!(
                "{replaced} damaged files of the archive at {name} were replaced: what could be read of them was kept, the rest \
                 was stored again from this computer"
            ));
        }
        let whole = !salvaged.cut_short && unsound.is_empty();
        self.keep_damaged(&friend.device_id, if whole { kept.as_slice() } else { &[] });
        if !unsound.is_empty() {
            let known = lock(&self.found_damaged).get(&friend.device_id).cloned().unwrap_or_default();
            let suspects = unsound.iter().map(|id| object(FileKind::Pack, id));
            self.note_damage(&friend.device_id, known.into_iter().chain(suspects).collect()).await;
            said.push(format!(
                "{} more packs of the archive at {name} turned out to be damaged: the next backup repairs them",
                unsound.len()
            ));
        } else if kept.is_empty() {
            if !salvaged.cut_short {
                self.note_damage(&friend.device_id, BTreeSet::new()).await;
            }
        } else {
            said.push(format!(
                "{} damaged files of the archive at {name} have something that is nowhere else any more: \
                 `kith check {name} --read-data` names what that costs",
                kept.len()
            ));
        }
        said
    }

    /// Packs that were found to be damaged lately, and have something that nobody has any more: they need not be read again.
    fn kept_damaged(&self, friend: &DeviceId) -> Vec<FileId> {
        let mut all = lock(&self.kept_damaged);
        all.retain(|_, (since, _)| since.elapsed() < LOOK_AGAIN);
        all.get(friend).map(|(_, packs)| packs.iter().copied().collect()).unwrap_or_default()
    }

    fn keep_damaged(&self, friend: &DeviceId, kept: &[(FileKind, FileId)]) {
        let packs = kept.iter().filter(|(kind, _)| *kind == FileKind::Pack).map(|(_, id)| *id);
        let packs: BTreeSet<FileId> = packs.take(MOST_FOUND).collect();
        let mut all = lock(&self.kept_damaged);
        if packs.is_empty() {
            all.remove(friend);
            return;
        }
        // Since the first look: what is damaged may be put right on that disk.
        let since = all.get(friend).map_or_else(Instant::now, |(since, _)| *since);
        all.insert(*friend, (since, packs));
    }

    /// Remembers what a check that read everything found, for the next backup to repair.
    pub(super) async fn note_check(&self, friend: &DeviceId, report: &CheckReport) {
        let objects = report.findings.items.iter().filter_map(|finding| match finding {
            Finding::DamagedPack { id, .. } | Finding::IndexMismatch { id } => {
                Some(object(FileKind::Pack, id))
            }
            Finding::DamagedBlob { pack, .. } => Some(object(FileKind::Pack, pack)),
            Finding::UnreadableIndex { id, .. } => Some(object(FileKind::Index, id)),
            _ => None,
        });
        self.note_damage(friend, objects.take(MOST_FOUND).collect()).await;
    }

    async fn note_damage(&self, friend: &DeviceId, found: BTreeSet<String>) {
        let known = lock(&self.found_damaged).get(friend).cloned().unwrap_or_default();
        if known == found {
            return;
        }
        if let Err(error) = self.db.put(Table::Values, &key(friend), &found).await {
            warn!(%error, "what a check found was not saved");
        }
        let mut all = lock(&self.found_damaged);
        if found.is_empty() {
            all.remove(friend);
        } else {
            all.insert(*friend, found);
        }
        drop(all);
        self.tell(kith_control::Event::Friend { device_id: *friend });
    }
}

fn key(friend: &DeviceId) -> String {
    format!("damaged:{friend}")
}

pub(super) fn object(kind: FileKind, id: &FileId) -> String {
    format!("{}/{id}", kind.dir_name())
}

/// The objects of an archive that an answer names, as many as one may have.
pub(super) fn named(answer: &[u8], archive: &str) -> Result<Vec<String>, String> {
    let list: DamagedList = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    let ours = list.damaged.into_iter().filter(|told| told.archive == archive);
    Ok(ours.map(|told| told.object).take(MOST_TOLD).collect())
}

/// Packs and index files can be replaced, snapshots can't.
pub(super) fn parse(object: &str) -> Option<(FileKind, FileId)> {
    let (kind, id) = object.split_once('/')?;
    let kind = [FileKind::Pack, FileKind::Index].into_iter().find(|known| known.dir_name() == kind)?;
    Some((kind, id.parse().ok()?))
}
