//! What the doctor hands out beside a diagnosis, which is `kith-doctor`'s own type.

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
