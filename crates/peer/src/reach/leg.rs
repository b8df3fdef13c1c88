//! Our half of a relayed connection.

use std::io;
use std::time::Duration;

use kith_identity::{DeviceId, DialInTag};
use kith_wire::RELAY_READY;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::dial::DialError;
use crate::greeting::LONGEST_GREETING;
use crate::outbound::{NamedBy, Outbound, SocketPurpose, SocketUse, Way};

/// From the connection to the word that the other computer is there.
const READY_TIMEOUT: Duration = Duration::from_secs(15);
/// The first byte of what a TLS server says.
const TLS_RECORDS: std::ops::RangeInclusive<u8> = 0x14..=0x17;

/// There is no relayed connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LegError {
    /// The carrier can't be reached.
    #[error("the relay can't be reached: {0}")]
    Connect(#[from] DialError),
    /// It doesn't know the name, or not any more.
    #[error("the relay refused the connection: it waited for it no longer, or has no place for it")]
    Refused,
    /// The other computer didn't come.
    #[error("the other computer did not come to the relay within {} s", .0.as_secs())]
    Alone(Duration),
    /// Something else answers there.
    #[error("what answers at the relay's address does not speak as a relay")]
    NotRelay,
    /// The connection broke.
    #[error("the connection to the relay broke: {0}")]
    Broken(String),
}

/// Connects to a carrier by the way that its link takes, brings the name that it gave out for this connection, and waits until the other
/// computer is there. All that can be read then is the other computer's, and nothing of it was read.
///
/// # Errors
/// See [`LegError`].
pub(super) async fn leg(
    outbound: &Outbound,
    carrier: &DeviceId,
    (address, told): (&str, NamedBy),
    name: &DialInTag,
) -> Result<TcpStream, LegError> {
    let hello = name.client_hello().map_err(|error| LegError::Broken(error.to_string()))?;
    let mut last = None;
    // A name that was brought is used up: another way is tried only while nothing was said.
    for way in outbound.ways(Some(carrier), address, told).await? {
        match connect(outbound, &way).await {
            Ok(stream) => {
                let ends = stream.local_addr().ok().zip(stream.peer_addr().ok());
                // Until the two are joined; then it is the link, or becomes none.
                let _told = ends.map(|(local, remote)| {
                    outbound.hold(SocketUse { local, remote: Some(remote), purpose: SocketPurpose::Leg })
                });
                return be_joined(stream, &hello).await;
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| DialError::NameNotFound(address.to_owned())).into())
}

async fn connect(outbound: &Outbound, way: &Way) -> Result<TcpStream, DialError> {
    let stream = outbound.connect(way).await?;
    match stream.local_addr() {
        Ok(local) if local == way.hop => Err(DialError::Myself),
        Ok(_) => Ok(stream),
        Err(error) => Err(DialError::Unreachable(error.to_string())),
    }
}

async fn be_joined(mut stream: TcpStream, hello: &[u8]) -> Result<TcpStream, LegError> {
    let until = Instant::now() + READY_TIMEOUT;
    let joined = async {
        stream.write_all(hello).await.map_err(|error| broken(&error))?;
        wait_until_ready(&mut stream).await
    };
    match timeout_at(until, joined).await {
        Ok(joined) => joined.map(|()| stream),
        Err(_elapsed) => Err(LegError::Alone(READY_TIMEOUT)),
    }
}

/// Reads the word of the relay, and the greeting of its listener before it if our ClientHello was held up on its way; not a byte more.
async fn wait_until_ready(stream: &mut TcpStream) -> Result<(), LegError> {
    let mut line = Vec::new();
    let mut greeted = false;
    loop {
        let byte = stream.read_u8().await.map_err(|error| broken(&error))?;
        line.push(byte);
        if line == RELAY_READY {
            return Ok(());
        }
        if TLS_RECORDS.contains(&line[0]) {
            // Its listener takes us for a stranger.
            return Err(LegError::Refused);
        }
        if line.ends_with(b"\r\n") && !greeted {
            greeted = true;
            line.clear();
        } else if line.len() >= if greeted { RELAY_READY.len() } else { LONGEST_GREETING } {
            return Err(LegError::NotRelay);
        }
    }
}

fn broken(error: &io::Error) -> LegError {
    match error.kind() {
        // It closed without a word.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            LegError::Refused
        }
        _ => LegError::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
