//! Why a call to the daemon failed.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::backend::{BodyError, Failure};
use crate::server::{owners, user_name};

/// Why a call to the daemon failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no daemon is running: nothing answers on {}", path.display())]
    DaemonNotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon belongs to somebody else. A sentence that says who may.
    #[error("{0}")]
    NotAllowed(String),
    /// The socket is there, but something else is wrong with it.
    #[error("cannot reach the daemon through {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The API's port does not answer.
    #[error(
        "cannot reach the daemon at 127.0.0.1:{port}; if it runs, a firewall on this computer must allow TCP port {port} \
         from localhost to localhost"
    )]
    PortUnreachable {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// Something that is not Kith holds the port.
    #[error("another program answers at 127.0.0.1:{port}, not Kith's daemon")]
    OtherProgram {
        /// The port.
        port: u16,
    },
    /// The daemon went away in the middle.
    #[error("the connection to the daemon broke off")]
    Interrupted(#[source] BodyError),
    /// The daemon says no.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// Command line and daemon don't understand each other: most likely they are of different versions.
    #[error("the daemon's answer is not understood: {0}")]
    Protocol(String),
}

/// What a failed dial of the socket means.
pub(super) fn socket(path: &Path, source: io::Error) -> ClientError {
    let path = path.to_owned();
    match source.kind() {
        // Reset: it ended with our dial in its queue.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
            ClientError::DaemonNotRunning { path }
        }
        io::ErrorKind::PermissionDenied => ClientError::NotAllowed(not_allowed(&path)),
        _ => ClientError::Socket { path, source },
    }
}

fn not_allowed(path: &Path) -> String {
    let own = user_name(Uid::effective());
    // The nearest thing we may look at has the daemon's owner, as a rule.
    match path.ancestors().find_map(|place| place.metadata().ok()) {
        Some(found) => {
            let owners = owners(Uid::from_raw(found.uid()));
            format!(
                "{own} may not control the daemon behind {}: only {owners} and members of the group kith may",
                path.display()
            )
        }
        None => format!("{own} may not control the daemon behind {}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_ends_while_it_is_dialled_is_one_that_does_not_run() {
        let dialled = |kind: io::ErrorKind| socket(Path::new("/run/kith.sock"), kind.into());
        for kind in
            [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset]
        {
            assert!(matches!(dialled(kind), ClientError::DaemonNotRunning { .. }), "{kind}");
        }
        assert!(matches!(dialled(io::ErrorKind::TimedOut), ClientError::Socket { .. }));
    }
}
