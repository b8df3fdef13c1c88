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
    /// Another program answers.
    SomebodyElse,
}

/// Those of the daemon's local ports that can't be reached; none if it does not say in time which it has.
pub(super) async fn shut(client: &Client) -> Option<Vec<ShutPort>> {
    let Ok(Ok(status)) = tokio::time::timeout(PATIENCE, client.status()).await else { return None };
    let (api, app) = tokio::join!(trial(status.control.port), trial(status.control.app_port));
    Some(api.into_iter().chain(app).collect())
}

/// Without a token: that Kith says no is answer enough.
async fn trial(port: u16) -> Option<ShutPort> {
    let error = match tokio::time::timeout(PATIENCE, Client::tcp(port, "")).await {
        Err(_elapsed) => {
            return Some(ShutPort { port, why: "nothing came back".to_owned(), cause: Cause::Filtered });
        }
        Ok(Err(error)) => error,
        // Who takes the call and then is slow, or is ended in the middle of it, is there.
        Ok(Ok(client)) => match tokio::time::timeout(PATIENCE, client.status()).await {
            Ok(Err(error @ ClientError::OtherProgram { .. })) => error,
            _ => return None,
        },
    };
    let cause = match cause(&error) {
        // A firewall may refuse in the place of whoever listens.
        Cause::Nobody if is_held(port) => Cause::Filtered,
        cause => cause,
    };
    let why = said(&error);
    Some(ShutPort { port, why, cause })
}

/// Whether somebody listens at a port of this computer, whatever stops those who call it.
fn is_held(port: u16) -> bool {
    let bound = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port));
    bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// A refusal comes from where nobody listens; what stops packets lets them vanish, forbids them, or says that nothing is there.
fn cause(error: &ClientError) -> Cause {
    use std::io::ErrorKind::{HostUnreachable, NetworkUnreachable, PermissionDenied, TimedOut};
    match error {
        ClientError::PortUnreachable { source, .. } => match source.kind() {
            TimedOut | PermissionDenied | HostUnreachable | NetworkUnreachable => Cause::Filtered,
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
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_somebody_holds_is_told_from_one_that_nobody_has() {
        // Below the range from which the system gives ports to others, who might take it as soon as it is let go.
        let bind = |port: u16| std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).ok();
        let held = (30_000..32_000).find_map(bind).unwrap();
        let port = held.local_addr().unwrap().port();
        assert!(is_held(port));
        drop(held);
        // A program that another test starts at this moment has a copy of the listener until it runs.
        let begin = std::time::Instant::now();
        while is_held(port) {
            assert!(begin.elapsed() < Duration::from_secs(60), "{port} is still held");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(trial(port).await.map(|shut| shut.cause), Some(Cause::Nobody));
    }

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
