//! Computers in the local network whose people look for each other.

use jiff::Timestamp;
use kith_identity::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The search for computers nearby.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct NearView {
    /// Until when this computer shows itself in the network and lists others; null while it does not.
    pub open_until: Option<Timestamp>,
    /// Why it can't, a sentence; null if it can.
    pub unavailable: Option<String>,
    /// Computers that show themselves now, at most 16. Nothing of it is proved.
    pub computers: Vec<NearComputerView>,
    /// Meetings that are under way, and those that ended a moment ago.
    pub meetings: Vec<MeetingView>,
}

/// A computer that shows itself.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NearComputerView {
    /// The device id it says it has.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// The name it says it has.
    pub name: String,
    /// Where it is, `ip:port`.
    pub addresses: Vec<String>,
    /// Under which name this device id is a friend already; null if it is none.
    pub friend: Option<String>,
}

/// Two computers that are about to become friends: each person compares the words and agrees, or not.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MeetingView {
    /// Its number, for `confirm` and `refuse`.
    pub id: u64,
    /// The other computer; proved as soon as there are words.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// The name that the other says it has.
    pub name: String,
    /// Whether this computer has asked the other, and not the other this one.
    pub asked_here: bool,
    /// How far it has come.
    pub state: MeetingState,
    /// Six words, the same on both screens if nobody sits between them; null before both are connected.
    pub safety_words: Option<String>,
    /// Whether the person here has agreed.
    pub confirmed_here: bool,
    /// Whether the person there is known to have agreed.
    pub confirmed_there: bool,
    /// Whether the person here has said that both computers are his own.
    pub own: bool,
    /// When it ends by itself.
    pub expires: Timestamp,
    /// What came of it, a sentence; null while it is under way.
    pub outcome: Option<String>,
}

/// See [`MeetingView::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MeetingState {
    /// The two get connected.
    Connecting,
    /// The people compare the words.
    Comparing,
    /// Both have agreed: they are friends.
    Friends,
    /// Somebody refused, or nobody answered, or the connection broke off: nothing has changed.
    Ended,
}
