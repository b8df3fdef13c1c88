//! The archive at a friend, for this very process: requests go through the daemon's socket.

use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response};
use kith_control::view::ArchiveAccess;
use kith_control::{Client, ClientError, FailureKind};
use kith_wire::Body;

use crate::remote_store::{Carrier, CarrierError, Patience, RemoteStore};

/// How long a restore waits for a friend who went away: somebody sits before it, and the same command goes on later.
const PATIENCE: Duration = Duration::from_secs(40);

/// Carries requests through the daemon.
pub(super) struct SocketCarrier {
    client: Client,
    friend: String,
}

#[async_trait]
impl Carrier for SocketCarrier {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, CarrierError> {
        let answer = self.client.store(&self.friend, request).await.map_err(|error| match error {
            ClientError::Failure(failure) if failure.kind == FailureKind::Offline => {
                CarrierError::Away(failure.message)
            }
            ClientError::Failure(failure) if failure.kind == FailureKind::Failed => {
                CarrierError::Broken(failure.message)
            }
            // Ended or killed in the middle of a request: every one of them may be made again.
            ClientError::DaemonNotRunning { .. } | ClientError::Interrupted(_) => {
                CarrierError::Away(error.to_string())
            }
            other => CarrierError::Final(crate::daemon::with_sources(&other)),
        })?;
        Ok(answer)
    }

    async fn wait(&self, _patience: Duration) {
        // The daemon itself waits for the friend before it answers; the caller pauses between two tries.
    }
}

/// The store of an archive that the daemon gave access to.
pub(super) fn store(client: &Client, access: &ArchiveAccess) -> RemoteStore<SocketCarrier> {
    let carrier = SocketCarrier { client: client.clone(), friend: access.friend_id.to_string() };
    RemoteStore::new(carrier, access.archive.clone(), Patience(PATIENCE))
}
