//! What the API says: the types behind every JSON answer. Field names are a contract; fields may be added.
//! What is absent is `null`, never missing.

use jiff::Timestamp;
use kith_identity::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// This computer at a glance.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// This computer's device id.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// This computer's name, as friends see it.
    pub name: String,
    /// Version of the running daemon.
    pub version: String,
    /// When the daemon started.
    pub started: Timestamp,
    /// The inbound port.
    pub listener: ListenerView,
    /// The local ports of the API and the app.
    pub control: ControlView,
    /// The router's mapping of the inbound port.
    pub mapping: MappingView,
    /// Addresses of this computer inside its network, `ip:port`.
    pub internal: Vec<String>,
    /// Addresses under which this computer is seen from outside, `ip:port`.
    pub public: Vec<String>,
    /// What is kept here for friends.
    pub vault: VaultView,
    /// Until when backups are paused, if they are.
    pub paused_until: Option<Timestamp>,
    /// True when the recovery phrase has not been shown yet, so that the app can remind.
    pub recovery_unseen: bool,
    /// Jobs that run or wait, newest first, and the latest ended one of each set and friend.
    pub jobs: Vec<JobView>,
    /// Every friend.
    pub friends: Vec<FriendView>,
}

/// State of the inbound port.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListenerView {
    /// The port that is (or should be) listened on.
    pub port: u16,
    /// `listening`, `off` or `error`.
    pub state: ListenerState,
    /// The sentence that explains an `error`.
    pub error: Option<String>,
    /// The addresses bound, `ip:port`.
    pub addresses: Vec<String>,
}

/// See [`ListenerView::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerState {
    /// Connections are accepted.
    Listening,
    /// Switched off by the settings.
    Off,
    /// The port could not be bound.
    Error,
}

/// The local ports actually in use.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct ControlView {
    /// The API.
    pub port: u16,
    /// The app.
    pub app_port: u16,
}

/// The router's mapping.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MappingView {
    /// `off`, `searching`, `no-router`, `router-off`, `mapped`, `double-nat` or `blocked`.
    pub state: String,
    /// `upnp`, `nat-pmp`, `pcp`, `static` or null.
    pub protocol: Option<String>,
    /// Address of the router as seen from outside.
    pub external_ip: Option<String>,
    /// The port on the router.
    pub external_port: Option<u16>,
    /// Seconds until the lease ends.
    pub lease_seconds: Option<u64>,
    /// Whether a friend has dialled it from outside.
    pub proved: bool,
}

/// What is kept here for friends, in total.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VaultView {
    /// Where it lies.
    pub path: String,
    /// `off`, `own` or `friends`.
    pub accept: String,
    /// Bytes of live objects of all friends.
    pub live_bytes: u64,
    /// Bytes set aside by deletions.
    pub held_bytes: u64,
    /// Free bytes on that disk; null when unknown.
    pub free_bytes: Option<u64>,
}

/// Another computer we have paired with.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FriendView {
    /// Unique on this computer.
    pub name: String,
    /// The friend's device id.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// True for one's own other computers.
    pub own: bool,
    /// Whether a link is up.
    pub connected: bool,
    /// `lan`, `public`, `mapped`, `punched`, `relayed`, `proxied`; null when not connected.
    pub path: Option<String>,
    /// The address the link goes to, `ip:port`.
    pub address: Option<String>,
    /// Since when the link is up.
    pub connected_since: Option<Timestamp>,
    /// When the friend was last linked.
    pub last_seen: Option<Timestamp>,
    /// Addresses inside the friend's network, `host:port`.
    pub internal: Vec<String>,
    /// Addresses from outside, `host:port`; empty = unknown.
    pub public: Vec<String>,
    /// Addresses added by hand, `host:port`.
    pub configured: Vec<String>,
    /// Why the last attempt to reach the friend failed.
    pub last_error: Option<String>,
    /// Whether storing for this friend is paused.
    pub paused: bool,
    /// Bytes this computer offers the friend; null = the default.
    pub quota_bytes: Option<u64>,
    /// Bytes this computer keeps for the friend.
    pub stored_here_bytes: u64,
    /// Bytes set aside by the friend's deletions.
    pub held_here_bytes: u64,
    /// Bytes the friend offers us; null = unknown.
    pub offered_bytes: Option<u64>,
    /// Bytes of ours the friend keeps; null = unknown.
    pub stored_there_bytes: Option<u64>,
    /// Six words, the same on both computers, to compare by voice.
    pub safety_words: Option<String>,
    /// Version of the friend's program.
    pub version: Option<String>,
    /// When our last complete backup to this friend ended.
    pub last_backup: Option<Timestamp>,
}

/// A backup set.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SetView {
    /// Unique name.
    pub name: String,
    /// Absolute paths.
    pub paths: Vec<String>,
    /// Names of the friends it goes to.
    pub to: Vec<String>,
    /// Globs left out.
    pub exclude: Vec<String>,
    /// When a complete backup of it last ended, over all destinations.
    pub last_backup: Option<Timestamp>,
}

/// What kind of work a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// A set goes to a friend.
    Backup,
    /// An archive at a friend is checked.
    Check,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// Waits for its turn.
    Queued,
    /// Runs.
    Running,
    /// Runs, but the friend is away: goes on by itself when he is back.
    WaitingForFriend,
    /// A complete snapshot is durable at the friend, or the check found nothing wrong.
    Complete,
    /// Like complete, but files were skipped.
    CompleteWithOmissions,
    /// Ended with an error.
    Failed,
    /// Ended by the person.
    Cancelled,
    /// The daemon ended before the job did.
    Interrupted,
}

impl JobState {
    /// Whether the job is over.
    #[must_use]
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::WaitingForFriend)
    }
}

/// One job: a backup or a check.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Number, unique on this computer.
    pub id: u64,
    /// What it does.
    pub kind: JobKind,
    /// Name of the set; null for a check.
    pub set: Option<String>,
    /// Name of the friend.
    pub friend: String,
    /// The friend's device id.
    #[schema(value_type = String)]
    pub friend_id: DeviceId,
    /// How it stands.
    pub state: JobState,
    /// When it was asked for.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How far it is.
    pub progress: ProgressView,
    /// Id of the snapshot made, 64 hex digits.
    pub snapshot: Option<String>,
    /// The sentence that explains a failure.
    pub error: Option<String>,
    /// Files left out, up to a bound, each with the reason.
    pub skipped: Vec<SkippedView>,
    /// How many files were left out.
    pub skipped_count: u64,
    /// Findings of a check, sentences.
    pub findings: Vec<String>,
}

/// A file that is not in the snapshot.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SkippedView {
    /// Its path, lossy where it is not UTF-8.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// How far a job is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// What is done now: `connecting`, `loading`, `scanning`, `storing`, `finishing`, `checking`, `done`.
    pub phase: String,
    /// Files found so far.
    pub files_total: u64,
    /// Bytes found so far.
    pub bytes_total: u64,
    /// Whether the totals are final.
    pub totals_final: bool,
    /// Files dealt with.
    pub files_done: u64,
    /// Bytes dealt with.
    pub bytes_done: u64,
    /// Bytes sent to the friend.
    pub bytes_sent: u64,
    /// Bytes that were there already.
    pub bytes_saved: u64,
    /// Bytes dealt with per second, over the last seconds.
    pub bytes_per_second: u64,
    /// Least seconds left; null = unknown.
    pub seconds_left_least: Option<u64>,
    /// Most seconds left; null = unknown.
    pub seconds_left_most: Option<u64>,
    /// The file worked on.
    pub current: Option<String>,
    /// Files that could not be read so far.
    pub errors: u64,
}

/// A snapshot in an archive of ours at a friend.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SnapshotView {
    /// restic's snapshot id, 64 hex digits.
    pub id: String,
    /// When it was made.
    pub time: Timestamp,
    /// Name of the friend that keeps it.
    pub friend: String,
    /// Name of the set; null if it has none (made by another tool).
    pub set: Option<String>,
    /// What was backed up.
    pub paths: Vec<String>,
    /// Files in it; null when its maker did not say.
    pub files: Option<u64>,
    /// Bytes in it; null when its maker did not say.
    pub bytes: Option<u64>,
    /// Host it was made on.
    pub hostname: String,
    /// Tags.
    pub tags: Vec<String>,
}

/// One entry of a directory in a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryView {
    /// Full path in the snapshot, lossy where it is not UTF-8.
    pub path: String,
    /// `file`, `dir`, `symlink`, `dev`, `chardev`, `fifo` or `socket`.
    pub kind: String,
    /// Bytes of a file.
    pub size: u64,
    /// Permission bits as in `ls -l`, e.g. `-rw-r--r--`.
    pub mode: String,
    /// Owner, a name or else a number.
    pub user: String,
    /// Group, a name or else a number.
    pub group: String,
    /// When it was last changed.
    pub modified: Option<Timestamp>,
    /// Where a symbolic link points.
    pub target: Option<String>,
}

/// A hit of `find`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FoundView {
    /// The snapshot it is in.
    pub snapshot: String,
    /// Time of that snapshot.
    pub time: Timestamp,
    /// Name of the friend that keeps it.
    pub friend: String,
    /// The entry.
    pub entry: EntryView,
}

/// A port in use, for the port table.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PortView {
    /// The local address, `ip:port`.
    pub local: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `in`, `out` or `local`.
    pub direction: String,
    /// The other end, `ip:port`, or null for a listening port.
    pub remote: Option<String>,
    /// The friend at the other end.
    pub friend: Option<String>,
    /// What it is for, a sentence.
    pub purpose: String,
}

/// An invite, ready to be sent. Holds a secret.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct InviteView {
    /// The one line.
    pub invite: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// What came of `join`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JoinView {
    /// The new friend; null when no address answered.
    pub friend: Option<FriendView>,
    /// Six words to compare by voice.
    pub safety_words: String,
    /// To be sent to the inviter when no address answered.
    pub reply: Option<String>,
    /// Each address tried in vain.
    pub failures: Vec<AddressFailure>,
}

/// An address that did not answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AddressFailure {
    /// `host:port`.
    pub address: String,
    /// A sentence.
    pub reason: String,
}

/// What a process on this computer needs to read an archive of ours at a friend by itself.
/// Given over the Unix socket only. Holds a secret: never logged.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ArchiveAccess {
    /// The friend's name.
    pub friend: String,
    /// The friend's device id.
    #[schema(value_type = String)]
    pub friend_id: DeviceId,
    /// The archive's id, 32 hex digits: below `/v1/friends/{id}/store/{archive}/` lies its restic REST service.
    pub archive: String,
    /// The 64 bytes of its master key, hex.
    pub master_key: String,
}

/// A setting, for the options page and `settings get`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SettingView {
    /// Dotted key, `listener.port`.
    pub key: String,
    /// Value in force, as TOML text; secrets redacted.
    pub value: String,
    /// Default, as TOML text.
    pub default: String,
    /// The layer it comes from: `default`, a file's path, `environment`, `command line`.
    pub origin: String,
    /// Whether the administrator fixed it.
    pub locked: bool,
    /// What it does.
    pub description: String,
}
