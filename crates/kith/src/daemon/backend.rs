//! The daemon as the API sees it.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use kith_backup::BackupSet;
use kith_control::view::{
    ArchiveAccess, EntryView, FindsView, FirewallView, FriendView, InviteView, JobView, JoinView,
    MeetingView, NearView, PortView, ReportCodeView, SetView, SettingView, SnapshotView, StatusView,
    UndeleteView,
};
use kith_control::{
    Backend, BackupRequest, Body, CheckRequest, DoctorRequest, Event, Failure, FailureKind, FriendChange,
    InviteRequest, JoinRequest, MeetingConsent, MeetingRequest, RecoverRequest, RecoverView, SetRequest,
    SnapshotQuery, UndeleteRequest,
};
use kith_doctor::Diagnosis;
use tokio::sync::broadcast;

use super::core::{Core, Exit, lock, value};
use super::db::Table;
use super::failure::{failed, failure};
use super::near::Decision;
use crate::settings::{Entry, Loaded, Network, SettingsError, edit};

/// Longest pause.
const LONGEST_PAUSE_SECONDS: u64 = 365 * 24 * 3600;

/// The daemon behind the API.
pub(super) struct Daemon(pub(super) Arc<Core>);

#[async_trait]
impl Backend for Daemon {
    async fn status(&self) -> StatusView {
        self.0.status_view().await
    }

    async fn friends(&self) -> Vec<FriendView> {
        self.0.friend_views()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    async fn invite(&self, request: InviteRequest) -> Result<InviteView, Failure> {
        self.0.make_invite(request).await
    }

    async fn join(&self, request: JoinRequest) -> Result<JoinView, Failure> {
        self.0.join(request).await
    }

    async fn change_friend(&self, friend: &str, change: FriendChange) -> Result<FriendView, Failure> {
        let core = &self.0;
        let known = core.find_friend(friend)?;
        let id = known.device_id;
        if let Some(name) = &change.name {
            checked_name(core, &id, name)?;
        }
        if let Some(address) = &change.add_address {
            address.parse::<crate::settings::HostPort>().map_err(|error| {
                failure(
                    FailureKind::Invalid,
                    format!("{address:?} is not an address: {error}"),
                    "write it as HOST:PORT, as in 192.168.1.20:4242 or [2001:db8::1]:4242",
                )
            })?;
        }
        if change.accept_loss == Some(true) {
            core.accept_loss(&known).await?;
        }
        let changed = core.roster.change(&id, |friend| {
            if let Some(name) = change.name {
                friend.rename(name);
            }
            if let Some(paused) = change.paused {
                friend.paused = paused;
            }
            if let Some(quota) = change.quota_bytes {
                friend.quota_bytes = Some(quota);
            }
            if let Some(address) = change.add_address
                && !friend.addresses.configured.contains(&address)
            {
                friend.addresses.configured.insert(0, address);
            }
        });
        let changed = changed.await.map_err(failed)?;
        let friend =
            changed.ok_or_else(|| failure(FailureKind::NotFound, "the friend is gone", "`kith friends`"))?;
        core.apply_vault_policy();
        if let Some(peers) = core.peers() {
            peers.set_friend(id, friend.addresses.book());
        }
        core.forget_unless_friend(&id);
        core.report_to_all();
        core.state_dirty.notify_one();
        core.tell(Event::Friend { device_id: id });
        Ok(core.friend_view(&friend))
    }

    async fn remove_friend(&self, friend: &str) -> Result<(), Failure> {
        let core = &self.0;
        let friend = core.find_friend(friend)?;
        let uses = |set: &&BackupSet| {
            set.friends().any(|to| {
                core.roster.find(to).is_ok_and(|destination| destination.device_id == friend.device_id)
            })
        };
        if let Some(set) = core.settings().sets.iter().find(uses) {
            return Err(failure(
                FailureKind::Conflict,
                format!("the backup set {:?} goes to {}", set.name().as_str(), friend.name),
                "remove the set first, or give it another destination",
            ));
        }
        core.invites.withdraw_of(&friend.device_id).await.map_err(failed)?;
        // He may reconnect as long as he is a friend: he must not hear the key that is made because of him.
        let _leaving = core.dial_in.leave(friend.device_id);
        // Before he is forgotten: whatever happens in between, what he knows is worth nothing any more.
        core.dial_in.rotate().await.map_err(failed)?;
        core.note_removal(friend.device_id).await.map_err(failed)?;
        core.roster.remove(&friend.device_id).await.map_err(failed)?;
        core.jobs.cancel_friend(&friend.device_id).await;
        if let Some(peers) = core.peers() {
            peers.remove_friend(&friend.device_id);
        }
        core.carrier.removed(&friend.device_id);
        core.drop_older_keys().await.map_err(failed)?;
        core.hand_dial_in_to_all();
        core.state_dirty.notify_one();
        core.tell(Event::Friends);
        Ok(())
    }

    async fn near(&self) -> NearView {
        self.0.near_view()
    }

    async fn open_near(&self) -> Result<NearView, Failure> {
        self.0.open_near()
    }

    async fn close_near(&self) -> Result<(), Failure> {
        self.0.close_near();
        Ok(())
    }

    async fn ask_meeting(&self, request: MeetingRequest) -> Result<MeetingView, Failure> {
        self.0.ask_meeting(&request)
    }

    async fn confirm_meeting(&self, id: u64, consent: MeetingConsent) -> Result<MeetingView, Failure> {
        self.0.decide_meeting(id, Decision::Agreed(consent))
    }

    async fn refuse_meeting(&self, id: u64) -> Result<MeetingView, Failure> {
        self.0.decide_meeting(id, Decision::Refused)
    }

    async fn sets(&self) -> Result<Vec<SetView>, Failure> {
        Ok(self.0.settings().sets.iter().map(|set| self.0.set_view(set)).collect())
    }

    async fn add_set(&self, request: SetRequest) -> Result<SetView, Failure> {
        let core = &self.0;
        for friend in request.to.iter().chain(&request.alternate) {
            core.find_friend(friend)?;
        }
        for pattern in &request.exclude {
            kith_archive::backup::Exclude::new(pattern.as_str()).map_err(|error| {
                failure(
                    FailureKind::Invalid,
                    error,
                    "patterns are globs such as *.tmp, cache or /home/*/Downloads",
                )
            })?;
        }
        let paths = request.paths.iter().map(std::path::PathBuf::from).collect::<Vec<_>>();
        if let Some(missing) =
            paths.iter().find(|path| path.is_absolute() && std::fs::symlink_metadata(path).is_err())
        {
            return Err(failure(
                FailureKind::NotFound,
                format!("{} does not exist, or this computer's Kith may not see it", missing.display()),
                "check the spelling",
            ));
        }
        // A link alone would be a backup of nothing that looks like one.
        if let Some((path, reason)) = paths
            .iter()
            .filter(|path| path.is_absolute())
            .find_map(|path| kith_archive::backup::link_reason(path).map(|reason| (path, reason)))
        {
            return Err(failure(
                FailureKind::Invalid,
                format!("{} can't be in a backup set: {reason}", path.display()),
                "links inside of a folder are stored as links",
            ));
        }
        let set = BackupSet::new(request.name, paths, request.to, request.exclude)
            .and_then(|set| set.with_alternates(request.alternate))
            .map_err(|error| failure(FailureKind::Invalid, error, "`kith set add --help` shows the form"))?;
        let added = set.clone();
        core.edit(move |sources| edit::add_set(&sources, &added)).await?;
        core.tell(Event::Sets);
        Ok(core.set_view(&set))
    }

    async fn remove_set(&self, name: &str) -> Result<(), Failure> {
        let (name, removed) = (name.to_owned(), name.to_owned());
        self.0.edit(move |sources| edit::remove_set(&sources, &name)).await?;
        self.0.jobs.cancel_set(&removed).await;
        self.0.tell(Event::Sets);
        Ok(())
    }

    async fn start_backup(&self, request: BackupRequest) -> Result<Vec<JobView>, Failure> {
        self.0.start_backups(request).await
    }

    async fn start_check(&self, request: CheckRequest) -> Result<JobView, Failure> {
        self.0.start_check_job(request).await
    }

    async fn jobs(&self) -> Result<Vec<JobView>, Failure> {
        self.0.jobs.all(|id| self.0.name_of(id)).await
    }

    async fn job(&self, id: u64) -> Result<JobView, Failure> {
        self.0.jobs.get(id, |id| self.0.name_of(id)).await
    }

    async fn cancel_job(&self, id: u64) -> Result<JobView, Failure> {
        self.0.jobs.cancel(id).await;
        self.job(id).await
    }

    async fn snapshots(&self, query: SnapshotQuery) -> Result<Vec<SnapshotView>, Failure> {
        self.0.snapshot_views(query).await
    }

    async fn list_entries(
        &self,
        snapshot: &str,
        path: Option<&str>,
        friend: Option<&str>,
        as_of: Option<Timestamp>,
    ) -> Result<Vec<EntryView>, Failure> {
        self.0.entry_views(snapshot, path, friend, as_of).await
    }

    async fn find(
        &self,
        pattern: &str,
        friend: Option<&str>,
        as_of: Option<Timestamp>,
    ) -> Result<FindsView, Failure> {
        self.0.found_views(pattern, friend, as_of).await
    }

    async fn undelete(&self, friend: &str, request: UndeleteRequest) -> Result<UndeleteView, Failure> {
        self.0.undelete(friend, request.as_of).await
    }

    async fn scrub(&self) -> Result<(), Failure> {
        self.0.scrub_now().await
    }

    async fn archive_access(&self, friend: &str) -> Result<ArchiveAccess, Failure> {
        self.0.access(friend).await
    }

    async fn store(&self, friend: &str, request: Request<Body>) -> Result<Response<Body>, Failure> {
        self.0.forward(friend, request).await
    }

    async fn settings(&self) -> Result<Vec<SettingView>, Failure> {
        Ok(self.0.loaded().list().into_iter().map(setting_view).collect())
    }

    async fn change_setting(&self, key: &str, value: &str) -> Result<SettingView, Failure> {
        let (name, text) = (key.to_owned(), value.to_owned());
        let edited = self.0.edit(move |sources| edit::set(&sources, &name, &text)).await?;
        Ok(setting_view(edited.entry))
    }

    async fn pause(&self, seconds: u64) -> Result<(), Failure> {
        if seconds == 0 || seconds > LONGEST_PAUSE_SECONDS {
            return Err(failure(
                FailureKind::Invalid,
                "a pause lasts from 1 second to 365 days",
                "give a duration such as 30m or 8h",
            ));
        }
        let until = Timestamp::now() + SignedDuration::from_secs(seconds.cast_signed());
        self.0.set_pause(Some(until)).await
    }

    async fn resume(&self) -> Result<(), Failure> {
        self.0.set_pause(None).await
    }

    async fn reauthenticate(&self) -> Result<(), Failure> {
        self.0.begin_afresh();
        Ok(())
    }

    async fn restart(&self) -> Result<(), Failure> {
        self.0.exit.send_replace(Exit::Restart);
        Ok(())
    }

    async fn ports(&self) -> Result<Vec<PortView>, Failure> {
        Ok(self.0.port_views())
    }

    async fn firewall(&self) -> Result<FirewallView, Failure> {
        Ok(self.0.firewall_view())
    }

    async fn doctor(&self, request: DoctorRequest) -> Result<Diagnosis, Failure> {
        self.0.doctor(request).await
    }

    async fn report_code(&self, friend: Option<String>) -> Result<ReportCodeView, Failure> {
        self.0.report_code(friend).await
    }

    async fn recover(&self, request: RecoverRequest) -> Result<RecoverView, Failure> {
        let view = super::recover::recover(&self.0.home, &self.0.sources, &self.0.db, request).await?;
        self.0.exit.send_replace(Exit::Restart);
        Ok(view)
    }
}

impl Core {
    fn set_view(&self, set: &BackupSet) -> SetView {
        SetView {
            name: set.name().to_string(),
            paths: set.paths().iter().map(|path| path.display().to_string()).collect(),
            to: set.destinations().iter().map(|to| self.name_today(to)).collect(),
            alternate: set.alternates().iter().map(|to| self.name_today(to)).collect(),
            exclude: set.excludes().to_vec(),
            last_backup: self.jobs.last_complete(Some(set.name().as_str()), None),
        }
    }

    /// A set may use a former name.
    fn name_today(&self, destination: &str) -> String {
        self.roster.find(destination).map_or_else(|_| destination.to_owned(), |friend| friend.name)
    }

    fn name_of(&self, friend: &kith_identity::DeviceId) -> Option<String> {
        self.roster.get(friend).map(|friend| friend.name)
    }

    /// Until when backups are paused.
    pub(super) fn paused_until(&self) -> Option<Timestamp> {
        lock(&self.paused_until).filter(|until| *until > Timestamp::now())
    }

    async fn set_pause(&self, until: Option<Timestamp>) -> Result<(), Failure> {
        self.db.put(Table::Values, value::PAUSED_UNTIL, &until).await.map_err(failed)?;
        *lock(&self.paused_until) = until;
        match until {
            Some(until) => self.jobs.pause(until),
            None => self.jobs.resume(),
        }
        self.tell(Event::Status);
        Ok(())
    }

    /// Changes the settings file and puts the change in force. What can't be put in force is taken back.
    pub(super) async fn edit<F>(self: &Arc<Self>, change: F) -> Result<edit::Edited, Failure>
    where
        F: FnOnce(crate::settings::SettingsSources) -> Result<edit::Edited, SettingsError> + Send + 'static,
    {
        let _one_at_a_time = self.editing.lock().await;
        let (sources, file) = (self.sources.clone(), self.home.settings_file());
        let changing = tokio::task::spawn_blocking(move || {
            let before = std::fs::read(&file).ok();
            change(sources).map(|edited| (before, edited))
        });
        let (before, edited) = match changing.await {
            Ok(changed) => changed.map_err(settings_failure)?,
            Err(_ending) => return Err(failure(FailureKind::Failed, "the daemon ends", "start it again")),
        };
        let old = self.loaded();
        self.put_in_force(edited.loaded.clone()).await;
        // A port that was in use before this change is no fault of the change.
        let touched = old.settings().listener != edited.loaded.settings().listener;
        let refusal = lock(&self.listener_error).clone().filter(|_| touched);
        let Some(refusal) = refusal else { return Ok(edited) };
        let file = self.home.settings_file();
        let taken_back = tokio::task::spawn_blocking(move || match before {
            Some(before) => crate::home::write_atomically(&file, &before, 0o600),
            None => std::fs::remove_file(&file),
        });
        if let Ok(Err(error)) = taken_back.await {
            tracing::error!(%error, "a change of the settings could not be taken back");
        }
        self.put_in_force((*old).clone()).await;
        Err(failure(FailureKind::Conflict, refusal, "nothing was changed"))
    }

    /// Reads the settings anew.
    pub(super) async fn reload(self: &Arc<Self>) -> Result<(), SettingsError> {
        let sources = self.sources.clone();
        let Ok(loaded) = tokio::task::spawn_blocking(move || sources.load()).await else { return Ok(()) };
        let loaded = loaded?;
        self.put_in_force(loaded).await;
        Ok(())
    }

    /// A person wants everything anew: links, registrations, the addresses of friends and of this computer.
    fn begin_afresh(&self) {
        if let Some(peers) = self.peers() {
            peers.reauthenticate();
        }
        if let Some(nat) = self.nat() {
            nat.ask_anew();
        }
        self.near.look();
    }

    async fn put_in_force(self: &Arc<Self>, loaded: Loaded) {
        let before = self.loaded();
        let ways = |loaded: &Loaded| {
            let network = &loaded.settings().network;
            let Network { proxy, mapped, allowed_destinations, outgoing_ports, outbound_only, .. } =
                network.clone();
            (proxy, mapped, allowed_destinations, outgoing_ports, outbound_only)
        };
        let ways_changed = ways(&before) != ways(&loaded);
        self.outbound.set(loaded.settings().network.outbound_rules());
        self.set_loaded(loaded);
        if ways_changed {
            self.say_what_is_mapped();
            // A link by a way that is not allowed any more must not live on.
            if let Some(peers) = self.peers() {
                peers.reauthenticate();
            }
        }
        self.apply_vault_policy();
        self.apply_carrier();
        self.apply_listener().await;
        self.report_to_all();
        self.state_dirty.notify_one();
        self.tell(Event::Status);
    }
}

fn checked_name(core: &Core, id: &kith_identity::DeviceId, name: &str) -> Result<(), Failure> {
    if name.is_empty() || kith_identity::sanitise_name(name) != name {
        return Err(failure(
            FailureKind::Invalid,
            format!("{name:?} can't be a friend's name"),
            "use 1 to 64 printable characters",
        ));
    }
    match core.roster.find(name) {
        Ok(other) if other.device_id != *id => Err(failure(
            FailureKind::Conflict,
            format!("another friend is called {name:?} already"),
            "choose another name",
        )),
        _ => Ok(()),
    }
}

fn settings_failure(error: SettingsError) -> Failure {
    let kind = match &error {
        SettingsError::NoSuchSet { .. } | SettingsError::UnknownKey { .. } => FailureKind::NotFound,
        SettingsError::SetExists { .. } => FailureKind::Conflict,
        SettingsError::Locked { .. } => FailureKind::Refused,
        _ => FailureKind::Invalid,
    };
    Failure { kind, message: super::failure::with_sources(&error), hint: None }
}

fn setting_view(entry: Entry) -> SettingView {
    SettingView {
        key: entry.key.to_owned(),
        value: entry.value,
        default: entry.default.to_owned(),
        origin: entry.origin.to_string(),
        locked: entry.locked,
        description: entry.help.to_owned(),
    }
}
