//! Small bodies of requests and answers that belong to the API alone, not to the backend.

use kith_doctor::firewall::Texts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How long backups pause.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// Seconds from now.
    pub seconds: u64,
}

/// Whom the doctor is to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DoctorRequest {
    /// The friend, by name or device id; null = this computer alone.
    pub friend: Option<String>,
    /// A report code that the friend sent, for when his computer can't be asked.
    pub with: Option<String>,
    /// What the programs printed that know the rules of this computer's firewall, from somebody who may read them: it is used for this
    /// answer alone, and only where the daemon may not read them itself. null = whatever the daemon can read.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firewall: Option<Box<Texts>>,
}

/// For whom a report code is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReportCodeRequest {
    /// The friend who gets it, by name or device id: it then tells how this computer gets to his; null = nobody in particular.
    pub(crate) friend: Option<String>,
}

/// A setting's new value.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingChange {
    /// As TOML or as plain text.
    pub value: String,
}

/// An address that opens the app once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct AppCodeView {
    /// To be opened in a browser on this computer. It holds a one-time code: never logged.
    pub url: String,
    /// Seconds after which the code is worth nothing.
    pub expires_seconds: u64,
}

/// The body of a request that needs to say nothing: `{}` or empty.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// A path inside a snapshot, and where to look.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EntriesQuery {
    pub(crate) path: Option<String>,
    pub(crate) friend: Option<String>,
    pub(crate) as_of: Option<jiff::Timestamp>,
}

/// What to look for, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindQuery {
    pub(crate) pattern: String,
    #[serde(default)]
    pub(crate) friend: Option<String>,
    #[serde(default)]
    pub(crate) as_of: Option<jiff::Timestamp>,
}
