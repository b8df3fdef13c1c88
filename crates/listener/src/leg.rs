//! Connections that come to be joined with another one.

use std::io;
use std::net::SocketAddr;

use kith_identity::DialInTag;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::door::Ticket;
use crate::gate;
use crate::serve::peek_with;
use crate::tune::tune;

/// A connection that brought a tag under which it was promised to be joined with another. Nothing was said on it; all that was read is the
/// ClientHello that carried the tag. Nobody has proved anything: whoever is at its end, those who are joined prove that to each other.
#[derive(Debug)]
pub struct Leg {
    /// The tag. It came for the first time.
    pub tag: DialInTag,
    /// The connection, its socket tuned as that of a link.
    pub stream: TcpStream,
    /// Where it comes from.
    pub remote: SocketAddr,
}

/// Hands such a connection over. It is no stranger's, and takes no place among handshakes: it has none.
pub(crate) async fn leg(
    mut stream: TcpStream,
    remote: SocketAddr,
    tag: DialInTag,
    ticket: Ticket,
    deadline: Instant,
) {
    let Some(legs) = &ticket.door().faces.legs else { return };
    match timeout_at(deadline, read_off(&mut stream)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return tracing::debug!(%remote, %error, "gone before it was joined"),
        Err(_) => return tracing::debug!(%remote, "not read in time"),
    }
    if let Err(error) = tune(&stream) {
        tracing::debug!(%remote, %error, "the system refuses a socket option; the connection works without");
    }
    match timeout_at(deadline, legs.send(Leg { tag, stream, remote })).await {
        Ok(Ok(())) => tracing::debug!(%remote, "a connection came to be joined with another"),
        Ok(Err(_)) => tracing::debug!(%remote, "nobody joins connections any more"),
        Err(_) => tracing::warn!(%remote, "dropped a connection that nobody joined in time"),
    }
}

/// Reads the ClientHello, which lies there as a whole, and not a byte more.
async fn read_off(stream: &mut TcpStream) -> io::Result<()> {
    let length = peek_with(stream, gate::hello_length)?;
    let length = length.ok_or_else(|| io::Error::other("the ClientHello does not fill one record"))?;
    let mut hello = vec![0; length];
    stream.read_exact(&mut hello).await?;
    Ok(())
}
