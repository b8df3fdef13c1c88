//! This computer.

use jiff::Timestamp;
use kith_identity::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FriendView, GatewayView, HubView, JobView, MappingView, NoticeView};

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
    /// The verdict about the router: whether friends elsewhere reach the inbound port. Its fields describe the mapping that friends
    /// are told first.
    pub mapping: MappingView,
    /// Every mapping there is, the first one first: of each router, of each family of addresses, and those made by hand.
    pub mappings: Vec<MappingView>,
    /// Every router that is known, the preferred one first.
    pub gateways: Vec<GatewayView>,
    /// Addresses of this computer inside its network, `ip:port`.
    pub internal: Vec<String>,
    /// Addresses under which this computer is seen from outside, `ip:port`.
    pub public: Vec<String>,
    /// What is kept here for friends.
    pub vault: VaultView,
    /// What is carried for friends who can't reach each other.
    pub relay: RelayView,
    /// The hubs that are used, or stand by; empty: none.
    pub hubs: Vec<HubView>,
    /// Until when backups are paused, if they are.
    pub paused_until: Option<Timestamp>,
    /// True when the recovery phrase has not been shown yet, so that the app can remind.
    pub recovery_unseen: bool,
    /// Set when this computer was recovered on another one, which writes the backups now: this one can only read.
    pub superseded: Option<SupersededView>,
    /// What stands in the way of friends and was seen before anybody asked, the worst first; empty: nothing.
    pub notices: Vec<NoticeView>,
    /// Jobs that run or wait, newest first, and the latest ended one of each set and friend.
    pub jobs: Vec<JobView>,
    /// Every friend.
    pub friends: Vec<FriendView>,
}

/// The installation that has taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SupersededView {
    /// When the other computer was recovered, by its clock.
    pub since: Timestamp,
    /// The friend who told, with proof.
    pub told_by: String,
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
    /// What failed on that disk, a sentence: nothing is changed there until the daemon was restarted. Null when all is well.
    pub failure: Option<String>,
    /// Whether what is kept can still be read.
    pub scrub: ScrubView,
}

/// What this computer carries for friends who can't reach each other. It sees nothing of what that is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RelayView {
    /// Whether the settings allow it.
    pub allowed: bool,
    /// Bytes in a second for all friends together; null: without a limit.
    pub rate: Option<u64>,
    /// Bytes in 24 hours for one friend; null: without a limit.
    pub daily: Option<u64>,
    /// Connections that are carried now.
    pub sessions: usize,
    /// For whom something is carried now, or was today.
    pub friends: Vec<RelayedView>,
}

/// What is carried for one friend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RelayedView {
    /// The friend.
    pub name: String,
    /// The friend's device id.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// Connections of his that are carried now.
    pub sessions: usize,
    /// Bytes that were counted for him in these 24 hours, in both directions. For whomever he is connected with the same bytes are counted
    /// too.
    pub bytes_today: u64,
}

/// Reading everything that is kept here, and comparing it with its names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrubView {
    /// Whether a round is under way.
    pub under_way: bool,
    /// When it began; of the last one, if none is under way.
    pub started: Option<Timestamp>,
    /// When the last whole round ended; null before the first.
    pub finished: Option<Timestamp>,
    /// Bytes read in this round, of [`VaultView::live_bytes`].
    pub read_bytes: u64,
    /// Objects that are damaged on this disk.
    pub damaged: u64,
    /// What could not be read at all in this round or, if none is under way, in the last one, and why; such a round does not count as
    /// a whole one.
    #[serde(default)]
    pub trouble: Option<String>,
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
