//! The accept loop, which nothing ends but its owner.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::TcpListener;

use crate::door::Door;
use crate::listener::StateCell;

/// The first pause after an error; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What an error of `accept` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The connection that was to be accepted: it was gone before, or the network reported an error for it (see accept(2)).
    Connection,
    /// File descriptors or memory: others have to give some back first.
    Resources,
    /// The listening socket, or something unknown.
    Socket,
}

/// Takes in connections for as long as the task lives.
pub(crate) async fn accept_loop(listener: TcpListener, door: Arc<Door>, state: Arc<StateCell>) {
    let mut pauses = Pauses::default();
    loop {
        let error = match listener.accept().await {
            Ok((stream, remote)) => {
                if pauses.end() {
                    state.recovered();
                }
                door.knock(stream, remote);
                continue;
            }
            Err(error) => error,
        };
        match classify(&error) {
            Trouble::Connection => tracing::debug!(%error, "a connection was gone before it was accepted"),
            Trouble::Resources => {
                let pause = pauses.next();
                let evicted = door.make_room();
                tracing::warn!(%error, evicted, ?pause, "no resources to accept a connection");
                tokio::time::sleep(pause).await;
            }
            Trouble::Socket => {
                let pause = pauses.next();
                tracing::warn!(%error, ?pause, "accepting connections fails");
                state.failed(format!("accepting connections fails: {error}"));
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn classify(error: &io::Error) -> Trouble {
    let Some(code) = error.raw_os_error() else { return Trouble::Socket };
    match Errno::from_raw(code) {
        Errno::ECONNABORTED
        | Errno::ECONNRESET
        | Errno::EINTR
        | Errno::EAGAIN
        | Errno::EPERM
        | Errno::EPROTO
        | Errno::ENOPROTOOPT
        | Errno::ENETDOWN
        | Errno::ENETUNREACH
        | Errno::EHOSTDOWN
        | Errno::EHOSTUNREACH
        | Errno::ETIMEDOUT => Trouble::Connection,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Trouble::Resources,
        _ => Trouble::Socket,
    }
}

/// Growing pauses while errors follow each other.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    fn next(&mut self) -> Duration {
        let pause = self.last.map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE));
        self.last = Some(pause);
        pause
    }

    /// Whether there were any.
    fn end(&mut self) -> bool {
        self.last.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(errno: Errno, expected: Trouble) {
        assert_eq!(classify(&io::Error::from_raw_os_error(errno as i32)), expected, "{errno}");
    }

    #[test]
    fn errors_are_told_apart_by_what_they_are_about() {
        check(Errno::ECONNABORTED, Trouble::Connection);
        check(Errno::EPROTO, Trouble::Connection);
        check(Errno::EMFILE, Trouble::Resources);
        check(Errno::ENOBUFS, Trouble::Resources);
        check(Errno::EBADF, Trouble::Socket);
        check(Errno::EINVAL, Trouble::Socket);
        assert_eq!(classify(&io::ErrorKind::Other.into()), Trouble::Socket);
    }

    #[test]
    fn pauses_grow_to_a_second_and_begin_anew_after_a_success() {
        let mut pauses = Pauses::default();
        let milliseconds: Vec<u128> = (0..8).map(|_| pauses.next().as_millis()).collect();
        assert_eq!(milliseconds, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert!(pauses.end());
        assert!(!pauses.end());
        assert_eq!(pauses.next(), FIRST_PAUSE);
    }
}
