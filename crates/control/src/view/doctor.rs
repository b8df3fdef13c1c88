//! What the doctor hands out beside a diagnosis, which is `kith-doctor`'s own type.

use jiff::Timestamp;
use kith_doctor::{Code, Part, Weight};
use kith_identity::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a computer says of itself, for a friend's doctor that can't ask it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportCodeView {
    /// One line, to be sent by mail or messenger.
    pub code: String,
    /// What is in it and what to do with it, a sentence or two.
    pub note: String,
}

/// What the daemon has found to be in the way by itself. It is gone as soon as it works again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeView {
    /// A stable code, see `kith explain`.
    #[schema(value_type = String)]
    pub code: Code,
    /// The friend it is about, by name; null: this computer, or what it has in common with several friends.
    pub friend: Option<String>,
    /// The same by device id.
    #[schema(value_type = Option<String>)]
    pub friend_id: Option<DeviceId>,
    /// All friends to whom it is in the way, by device id; none: it is about this computer alone.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub friend_ids: Vec<DeviceId>,
    /// The friend for whom the doctor says more; null: this computer alone.
    #[schema(value_type = Option<String>)]
    pub doctor_id: Option<DeviceId>,
    /// The part of the way that is to blame.
    pub part: Part,
    /// `fault`; `note`: a friend's computer that is only off, or without Kith, as far as can be seen, which calls nobody.
    pub weight: Weight,
    /// What is wrong, a sentence without a full stop.
    pub sentence: String,
    /// The one thing to do; null: nothing.
    pub next_step: Option<String>,
    /// Since when it does not work.
    pub since: Timestamp,
}
