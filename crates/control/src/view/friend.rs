//! Friends, and how they are made.

use jiff::Timestamp;
use kith_identity::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ArchiveView;

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
