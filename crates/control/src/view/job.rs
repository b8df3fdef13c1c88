//! Backup sets and the work done for them.

use jiff::Timestamp;
use kith_identity::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A backup set.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SetView {
    /// Unique name.
    pub name: String,
    /// Absolute paths.
    pub paths: Vec<String>,
    /// Names of the friends it goes to.
    pub to: Vec<String>,
    /// Names of the friends who take over while one of those is away.
    #[serde(default)]
    pub alternate: Vec<String>,
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
