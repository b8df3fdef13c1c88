//! Why a friend can't be reached: gathers what is known of both computers, and has the doctor judge it.

use std::sync::Arc;

use kith_control::view::ReportCodeView;
use kith_control::{DoctorRequest, Failure, FailureKind};
use kith_doctor::Diagnosis;

use super::core::Core;
use super::failure::failure;

impl Core {
    /// One cause, and one thing to do.
    pub(super) async fn doctor(self: &Arc<Self>, _request: DoctorRequest) -> Result<Diagnosis, Failure> {
        std::future::ready(Err(not_yet())).await
    }

    /// What this computer says of itself, in one line.
    pub(super) async fn report_code(
        self: &Arc<Self>,
        _friend: Option<String>,
    ) -> Result<ReportCodeView, Failure> {
        std::future::ready(Err(not_yet())).await
    }
}

fn not_yet() -> Failure {
    failure(FailureKind::Failed, "the daemon is just starting", "try again in a few seconds")
}
