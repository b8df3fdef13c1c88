//! Friends, and how they are made.

use jiff::Timestamp;
use kith_identity::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ArchiveView;
pub use kith_doctor::history::Cause;

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
    /// Whether this computer made the connection; null when not connected.
    pub dialled: Option<bool>,
    /// Name of the friend, or host of the hub, that passes on what the two say; null unless `path` is `relayed`.
    pub relayed_by: Option<String>,
    /// Since when the link takes this way, or there is none; null before the first one.
    pub path_since: Option<Timestamp>,
    /// How long the friend's computer takes to answer, milliseconds; null when that is not known.
    pub round_trip_ms: Option<u64>,
    /// The latest change of the way; null before the first one.
    pub last_change: Option<PathChangeView>,
    /// What was tried in vain since it last led to the friend, the newest failure of each candidate, the newest last.
    pub attempts: Vec<AttemptView>,
    /// What would make the way better, a sentence; null when nothing needs to be better, or nothing is known that helps.
    pub better: Option<String>,
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
    /// When the friend was recovered on another computer; null if that was never seen.
    pub recovered: Option<Timestamp>,
    /// Why the friend stores nothing for anybody at present, in his words; null when all is well.
    pub trouble: Option<String>,
    /// By how many seconds the friend's clock is ahead of ours, as of the last hello; null if not known.
    pub clock_ahead_seconds: Option<i64>,
    /// Objects kept for the friend that are damaged on this computer's disk.
    pub damaged_here: u64,
    /// Objects of ours that are damaged at the friend: found by his scrub, or by our check.
    pub damaged_there: u64,
    /// When our last complete backup to this friend ended.
    pub last_backup: Option<Timestamp>,
    /// Our archive there, compared with what we know of it.
    pub archive: ArchiveView,
    /// How the friend is, as he told last, whether or not one of the two stores for the other; null when he has told nothing.
    pub condition: Option<ConditionView>,
    /// How well the friend could be reached in the last days; null while too little is known.
    pub reachability: Option<ReachabilityView>,
}

/// How well a friend could be reached in the last seven days, or since he began to be watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReachabilityView {
    /// All of it in a part of a sentence.
    pub sentence: String,
    /// The share of `watched_seconds` with a link, in percent, rounded down to one decimal; null if there was too little to tell of.
    pub percent: Option<f64>,
    /// Since when.
    pub since: Timestamp,
    /// Time in which the friend could have been reached and this computer looked: without all of the following.
    pub watched_seconds: u64,
    /// Time in which the friend's computer slept, as it told itself.
    pub asleep_seconds: u64,
    /// Time in which this computer slept.
    pub asleep_here_seconds: u64,
    /// Time in which Kith did not run on this computer.
    pub unwatched_seconds: u64,
    /// What was in the way in the rest of `watched_seconds`, the longest first, as far as it was found out.
    pub causes: Vec<Cause>,
}

/// A link came, went, or took another way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PathChangeView {
    /// When.
    pub at: Timestamp,
    /// The way before, as [`FriendView::path`]; null: there was no link.
    pub from: Option<String>,
    /// The way since.
    pub to: Option<String>,
    /// Why, a part of a sentence.
    pub reason: String,
}

/// A way to a friend that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// `host:port`; of a call, who helped or was to help, by name, or a few words where nobody did.
    pub address: String,
    /// `lan`, `last-good`, `static`, `invited`, `public`, `router`, `punched` or `relayed`.
    pub kind: String,
    /// Why it came to nothing, a sentence.
    pub error: String,
    /// When.
    pub at: Timestamp,
}

impl FriendView {
    /// The way of the link in words, with who relays; none when not connected.
    #[must_use]
    pub fn path_words(&self) -> Option<String> {
        let words = match self.path.as_deref()? {
            "lan" => "direct on your network",
            "public" => "direct, over the Internet",
            "mapped" if self.dialled == Some(true) => "direct, through the router there",
            "mapped" => "direct, through your router",
            "punched" => "direct, through both routers (punched)",
            "relayed" => {
                let by = self.relayed_by.as_deref().unwrap_or("another computer");
                return Some(format!("relayed by {by}, slower"));
            }
            "proxied" => "through the proxy",
            other => other,
        };
        Some(words.to_owned())
    }

    /// How long the friend's computer takes to answer, in words.
    #[must_use]
    pub fn round_trip_words(&self) -> Option<String> {
        Some(match self.round_trip_ms? {
            0 => "under 1 ms there and back".to_owned(),
            ms => format!("{ms} ms there and back"),
        })
    }
}

/// How another computer is, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConditionView {
    /// Whether it takes no calls and only makes them.
    pub outbound_only: bool,
    /// What is free on the disk on which it keeps backups of friends; null when it is not known.
    pub free_bytes: Option<u64>,
    /// Until when its own backups are paused, if they are.
    pub paused_until: Option<Timestamp>,
    /// The last of its own backups that made a snapshot, to whomever; null when there was none.
    pub last_backup: Option<LastBackupView>,
    /// `idle`, `running`, `waiting` or `unknown`: what its backups do.
    pub work: WorkView,
    /// How far they are, 0 to 100; null when nothing runs, or when it is not known.
    pub percent: Option<u8>,
}

/// See [`ConditionView::last_backup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastBackupView {
    /// When it ended, by that computer's clock.
    pub time: Timestamp,
    /// Whether nothing was left out.
    pub complete: bool,
}

/// See [`ConditionView::work`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorkView {
    /// No backup is under way.
    Idle,
    /// At least one runs.
    Running,
    /// One is under way, but waits.
    Waiting,
    /// Something that this program has no word for.
    Unknown,
}

impl ConditionView {
    /// What its backups do, in a few words; none when they do nothing.
    #[must_use]
    pub fn at_work(&self) -> Option<String> {
        match (self.work, self.percent) {
            (WorkView::Running, Some(percent)) => Some(format!("backing up, {percent} % done")),
            (WorkView::Running, None) => Some("backing up".to_owned()),
            (WorkView::Waiting, _) => Some("a backup waits".to_owned()),
            (WorkView::Idle | WorkView::Unknown, _) => None,
        }
    }
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
