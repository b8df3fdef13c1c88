//! What the daemon must be able to do for the API. `kith` implements it; tests of this crate use a small stand-in.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response, StatusCode};
use kith_doctor::Diagnosis;
use kith_identity::DeviceId;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use utoipa::ToSchema;

use crate::request::DoctorRequest;
use crate::view::{
    ArchiveAccess, EntryView, FindsView, FirewallView, FriendView, InviteView, JobView, JoinView,
    MeetingView, NearView, PortView, ReportCodeView, SetView, SettingView, SnapshotView, StatusView,
    UndeleteView,
};

/// A streaming body, in either direction.
pub type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BodyError>;
/// Why a body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong, for the person: the kind decides the HTTP status and the exit code.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, ToSchema)]
#[error("{message}")]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// What failed and why, a sentence without a full stop at its end.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// See [`Failure::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The request makes no sense: 400.
    Invalid,
    /// There is no such thing: 404.
    NotFound,
    /// It clashes with what is there: 409.
    Conflict,
    /// Not allowed, by policy or by a lock: 403.
    Refused,
    /// The friend is not connected: 503.
    Offline,
    /// Anything else: 500.
    Failed,
}

impl Failure {
    /// A failure without a hint.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The same, with what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl FailureKind {
    /// The HTTP status that stands for it.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Refused => StatusCode::FORBIDDEN,
            Self::Offline => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What changed, told to everybody who listens. Listeners fetch the view again where an event names only the thing.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// Something of the status: ports, mapping, vault, pause.
    Status,
    /// A friend came, went, or changed.
    Friend {
        /// Which.
        #[schema(value_type = String)]
        device_id: DeviceId,
    },
    /// The link to a friend came, went, or took another way. An event of the friend comes with it.
    #[serde(rename = "friend.path")]
    FriendPath {
        /// Which friend.
        #[schema(value_type = String)]
        device_id: DeviceId,
        /// The way before, as in the friend's `path`; null when he was not connected.
        from: Option<String>,
        /// The way since; null when he is not connected.
        to: Option<String>,
        /// Why, a part of a sentence.
        reason: String,
    },
    /// Friends were added or removed.
    Friends,
    /// Sets changed.
    Sets,
    /// The search for computers nearby: opened, closed, somebody listed or gone, a meeting.
    Near,
    /// A job moved; at most five times a second per job.
    Job {
        /// The job as it is now.
        job: Box<JobView>,
    },
}

/// How to ask for an invite.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InviteRequest {
    /// Bytes offered to the friend; null = the setting.
    pub quota_bytes: Option<u64>,
    /// Seconds until it ends; null = seven days.
    pub expires_seconds: Option<u64>,
    /// Whether the joiner is one's own other computer.
    pub own: bool,
}

/// How to join.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The invite or the reply line.
    pub invite: String,
    /// Bytes offered to the inviter; null = the setting.
    pub quota_bytes: Option<u64>,
    /// Confirms that the inviter is one's own other computer.
    #[serde(default)]
    pub own: bool,
}

/// Whom to ask for a meeting.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeetingRequest {
    /// The device id of a computer that shows itself.
    pub device_id: String,
}

/// The person has compared the words, and agrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MeetingConsent {
    /// Whether both computers are this person's own. It counts if it is said on both.
    pub own: bool,
    /// Bytes offered to the other; null = the setting.
    pub quota_bytes: Option<u64>,
}

/// What to change of a friend. Absent = unchanged.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FriendChange {
    /// A new name.
    pub name: Option<String>,
    /// Pause or resume storing for the friend.
    pub paused: Option<bool>,
    /// Bytes offered.
    pub quota_bytes: Option<u64>,
    /// An address to try besides those known, `host:port`.
    pub add_address: Option<String>,
    /// The person knows that what is missing in our archive there is lost: it is not asked for any more.
    pub accept_loss: Option<bool>,
}

/// A new set.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    /// Unique name.
    pub name: String,
    /// Absolute paths.
    pub paths: Vec<String>,
    /// Friends, by name or device id.
    pub to: Vec<String>,
    /// Friends who take over while one of those is away, by name or device id: the first who is there.
    #[serde(default)]
    pub alternate: Vec<String>,
    /// Globs left out.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// What to back up. All sets to all their destinations when empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BackupRequest {
    /// Only this set.
    pub set: Option<String>,
    /// Only to this friend, by name or device id.
    pub friend: Option<String>,
}

/// What to check.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// The friend, by name or device id.
    pub friend: String,
    /// Read every byte too.
    #[serde(default)]
    pub read_data: bool,
}

/// Which snapshots.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotQuery {
    /// Only at this friend, by name or device id.
    pub friend: Option<String>,
    /// Only of this set.
    pub set: Option<String>,
    /// As the archives were at this time, by the clocks of those who keep them.
    pub as_of: Option<jiff::Timestamp>,
}

/// From when on to undo deletions.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndeleteRequest {
    /// What was deleted after this time, by the friend's clock, is brought back.
    pub as_of: jiff::Timestamp,
}

/// How to recover, from words and one address.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoverRequest {
    /// The 24 words.
    pub words: String,
    /// Addresses to try, `host:port`.
    pub from: Vec<String>,
}

/// What came of a recovery.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RecoverView {
    /// The device id this computer has again.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// The friend that answered.
    pub from: String,
    /// Friends known again.
    pub friends: Vec<String>,
    /// Sets known again.
    pub sets: Vec<String>,
    /// When the state that was found had been written.
    pub state_time: jiff::Timestamp,
    /// The newest backup that is known of, and who keeps it: for the person to compare with memory.
    pub newest_backup: Option<NewestBackup>,
    /// Friends who could be asked, each for the newest that they keep.
    pub asked: Vec<String>,
    /// Friends who could not. What they know is taken over when they are met.
    pub not_asked: Vec<String>,
    /// Newer state objects that could not be used, one sentence for each friend: what was written last may be missing.
    #[serde(default)]
    pub passed_over: Vec<String>,
}

/// See [`RecoverView::newest_backup`].
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewestBackup {
    /// When it was made.
    pub time: jiff::Timestamp,
    /// The friend that keeps it.
    pub friend: String,
    /// Of which set.
    pub set: Option<String>,
}

/// The daemon, seen by the API. `friend` arguments take a name or a device id. Nothing here waits for the network
/// but where said.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// This computer at a glance. Answers from memory.
    async fn status(&self) -> StatusView;
    /// All friends. Answers from memory.
    async fn friends(&self) -> Vec<FriendView>;
    /// Events from now on; a slow listener loses the oldest and fetches anew.
    fn events(&self) -> broadcast::Receiver<Event>;
    /// Makes an invite.
    async fn invite(&self, request: InviteRequest) -> Result<InviteView, Failure>;
    /// Joins by an invite or a reply line. Waits for the network.
    async fn join(&self, request: JoinRequest) -> Result<JoinView, Failure>;
    /// Changes a friend.
    async fn change_friend(&self, friend: &str, change: FriendChange) -> Result<FriendView, Failure>;
    /// Forgets a friend. What is stored here for him stays on the disk.
    async fn remove_friend(&self, friend: &str) -> Result<(), Failure>;
    /// Computers nearby, and meetings with them. Answers from memory.
    async fn near(&self) -> NearView;
    /// Shows this computer in the local network and lists others, for ten minutes from now.
    async fn open_near(&self) -> Result<NearView, Failure>;
    /// Ends that at once.
    async fn close_near(&self) -> Result<(), Failure>;
    /// Asks a computer nearby for a meeting; answers before it does.
    async fn ask_meeting(&self, request: MeetingRequest) -> Result<MeetingView, Failure>;
    /// The person agrees: as soon as the other does too, the two are friends.
    async fn confirm_meeting(&self, id: u64, consent: MeetingConsent) -> Result<MeetingView, Failure>;
    /// The person does not: nothing has happened.
    async fn refuse_meeting(&self, id: u64) -> Result<MeetingView, Failure>;
    /// All sets.
    async fn sets(&self) -> Result<Vec<SetView>, Failure>;
    /// Adds a set.
    async fn add_set(&self, request: SetRequest) -> Result<SetView, Failure>;
    /// Removes a set. Its snapshots stay.
    async fn remove_set(&self, name: &str) -> Result<(), Failure>;
    /// Starts backups and answers at once.
    async fn start_backup(&self, request: BackupRequest) -> Result<Vec<JobView>, Failure>;
    /// Starts a check and answers at once.
    async fn start_check(&self, request: CheckRequest) -> Result<JobView, Failure>;
    /// Jobs, newest first: running, waiting, and the history.
    async fn jobs(&self) -> Result<Vec<JobView>, Failure>;
    /// One job.
    async fn job(&self, id: u64) -> Result<JobView, Failure>;
    /// Ends a job within a second.
    async fn cancel_job(&self, id: u64) -> Result<JobView, Failure>;
    /// Snapshots, oldest first. Waits for the network.
    async fn snapshots(&self, query: SnapshotQuery) -> Result<Vec<SnapshotView>, Failure>;
    /// The entries of a directory (or the one file) in a snapshot. `friend` = where to look, else everywhere. Waits for the network.
    async fn list_entries(
        &self,
        snapshot: &str,
        path: Option<&str>,
        friend: Option<&str>,
        as_of: Option<jiff::Timestamp>,
    ) -> Result<Vec<EntryView>, Failure>;
    /// Entries whose name or path matches a glob, over all snapshots. Waits for the network.
    async fn find(
        &self,
        pattern: &str,
        friend: Option<&str>,
        as_of: Option<jiff::Timestamp>,
    ) -> Result<FindsView, Failure>;
    /// Brings back what was deleted from our archive at a friend. Waits for the network.
    async fn undelete(&self, friend: &str, request: UndeleteRequest) -> Result<UndeleteView, Failure>;
    /// Reads everything that is kept for friends and compares it with its names, from now on and as fast as the disk goes.
    async fn scrub(&self) -> Result<(), Failure>;
    /// Key and place of an archive. Only ever called for the Unix socket.
    async fn archive_access(&self, friend: &str) -> Result<ArchiveAccess, Failure>;
    /// Hands a restic REST request to the friend that keeps the archive; the path is what follows `store`.
    /// Only ever called for the Unix socket. Waits for the network.
    async fn store(&self, friend: &str, request: Request<Body>) -> Result<Response<Body>, Failure>;
    /// Every setting.
    async fn settings(&self) -> Result<Vec<SettingView>, Failure>;
    /// Changes a setting, written as TOML or as plain text, in the settings file, and puts it in force.
    async fn change_setting(&self, key: &str, value: &str) -> Result<SettingView, Failure>;
    /// Pauses backups.
    async fn pause(&self, seconds: u64) -> Result<(), Failure>;
    /// Ends a pause.
    async fn resume(&self) -> Result<(), Failure>;
    /// Drops every link, fetches addresses afresh, dials and authenticates again.
    async fn reauthenticate(&self) -> Result<(), Failure>;
    /// Ends the daemon cleanly and starts it anew.
    async fn restart(&self) -> Result<(), Failure>;
    /// The port table.
    async fn ports(&self) -> Result<Vec<PortView>, Failure>;
    /// What firewalls must let through.
    async fn firewall(&self) -> Result<FirewallView, Failure>;
    /// Looks for the one cause, of what is wrong with a friend or with this computer alone. Waits for the network, ten seconds at most.
    async fn doctor(&self, request: DoctorRequest) -> Result<Diagnosis, Failure>;
    /// What this computer says of itself, as one line to be sent to a friend whose doctor can't ask it.
    async fn report_code(&self, friend: Option<String>) -> Result<ReportCodeView, Failure>;
    /// Becomes the computer of the 24 words. Only ever called for the Unix socket. Waits for the network.
    async fn recover(&self, request: RecoverRequest) -> Result<RecoverView, Failure>;
}

/// A shared backend.
pub type SharedBackend = Arc<dyn Backend>;
