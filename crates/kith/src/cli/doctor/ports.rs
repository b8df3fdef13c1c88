//! Whether the app can get to the daemon: the two local ports, tried as the app's page and other programs do.

use std::time::Duration;

use kith_control::{Client, ClientError};

/// How long a port of this very computer may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A local port that does not answer as Kith's, though the daemon says that it has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShutPort {
    /// Its number.
    pub(super) port: u16,
    /// What came of trying it, a sentence without a full stop.
    pub(super) why: String,
    /// What that means.
    pub(super) cause: Cause,
}

/// Why a local port does not lead to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Something stops what goes there: nothing comes back, or the system forbids it.
    Filtered,
    /// Nobody listens.
    Nobody,
    /// Another program answers, or somebody who breaks off.
    SomebodyElse,
}

/// Those of the daemon's local ports that can't be reached. Nothing is known of a daemon that does not say which it has.
pub(super) async fn shut(client: &Client) -> Vec<ShutPort> {
    let Ok(Ok(status)) = tokio::time::timeout(PATIENCE, client.status()).await else { return Vec::new() };
    let (api, app) = tokio::join!(trial(status.control.port), trial(status.control.app_port));
    api.into_iter().chain(app).collect()
}

/// Without a token: that Kith says no is answer enough.
async fn trial(port: u16) -> Option<ShutPort> {
    let exchange = async { Client::tcp(port, "").await?.status().await };
    let (cause, why) = match tokio::time::timeout(PATIENCE, exchange).await {
        Err(_) => (Cause::Filtered, "nothing came back".to_owned()),
        Ok(Err(
            error @ (ClientError::PortUnreachable { .. }
            | ClientError::OtherProgram { .. }
            | ClientError::Interrupted(_)),
        )) => (cause(&error), said(&error)),
        Ok(_answered) => return None,
    };
    Some(ShutPort { port, why, cause })
}

/// A refusal comes from where nobody listens; what stops packets lets them vanish, forbids them, or says that nothing is there.
fn cause(error: &ClientError) -> Cause {
    use std::io::ErrorKind::{HostUnreachable, PermissionDenied, TimedOut};
    match error {
        ClientError::PortUnreachable { source, .. } => match source.kind() {
            TimedOut | PermissionDenied | HostUnreachable => Cause::Filtered,
            _ => Cause::Nobody,
        },
        _ => Cause::SomebodyElse,
    }
}

fn said(error: &ClientError) -> String {
    match error {
        ClientError::PortUnreachable { source, .. } if source.kind() == std::io::ErrorKind::TimedOut => {
            "nothing came back".to_owned()
        }
        ClientError::PortUnreachable { source, .. } => source.to_string(),
        ClientError::OtherProgram { .. } => "something that is not Kith answers".to_owned(),
        _ => "the connection stood, and broke off".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_refuses_is_no_firewalls_doing() {
        for (kind, expected) in [
            (std::io::ErrorKind::TimedOut, Cause::Filtered),
            (std::io::ErrorKind::PermissionDenied, Cause::Filtered),
            (std::io::ErrorKind::ConnectionRefused, Cause::Nobody),
        ] {
            let error = ClientError::PortUnreachable { port: 4243, source: kind.into() };
            assert_eq!(cause(&error), expected, "{kind}");
        }
        assert_eq!(cause(&ClientError::OtherProgram { port: 4243 }), Cause::SomebodyElse);
    }
}
