//! One call: a connection, one ClientHello, and the end.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use kith_wire::{DialBackNonce, DialBackOutcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::outbound::local_port;

/// Longest wait for the TCP connection: three SYN on most systems.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest time that sending takes. A ClientHello fits into any socket's buffer.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the other side may take to close. It must have read all by then, or a close here could reset the connection before.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// How much of what it says meanwhile is read: a greeting.
const MOST_READ: usize = 256;
/// The receive buffer, to which the system adds its own: all that a flooder gets rid of.
const RECEIVE_BUFFER: u32 = 4096;

/// What was met at an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Met {
    pub(super) outcome: DialBackOutcome,
    pub(super) detail: Option<String>,
}

impl Met {
    const fn plain(outcome: DialBackOutcome) -> Self {
        Self { outcome, detail: None }
    }

    fn with(outcome: DialBackOutcome, detail: impl Into<String>) -> Self {
        Self { outcome, detail: Some(detail.into()) }
    }
}

/// Connects from an ephemeral port, brings the nonce and closes.
pub(super) async fn call(
    address: SocketAddr,
    ports: Option<&RangeInclusive<u16>>,
    nonce: &DialBackNonce,
) -> Met {
    let hello = match nonce.client_hello() {
        Ok(hello) => hello,
        Err(error) => return Met::with(DialBackOutcome::Unreachable, error.to_string()),
    };
    match timeout(CONNECT_TIMEOUT, connect(address, ports)).await {
        Err(_elapsed) => Met::plain(DialBackOutcome::NoResponse),
        Ok(Err(error)) => not_connected(&error),
        Ok(Ok(mut stream)) => bring(&mut stream, &hello).await,
    }
}

async fn connect(address: SocketAddr, ports: Option<&RangeInclusive<u16>>) -> io::Result<TcpStream> {
    // A system that refuses keeps its own buffer, which is bounded too.
    let prepare = |socket: &TcpSocket| drop(socket.set_recv_buffer_size(RECEIVE_BUFFER));
    let stream = local_port::connect(address, None, ports, prepare).await?;
    if stream.local_addr()? == address {
        // TCP's simultaneous open with oneself: the system gave out the very port that is called, so nobody listens there.
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

fn not_connected(error: &io::Error) -> Met {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Met::plain(DialBackOutcome::Refused),
        io::ErrorKind::TimedOut => Met::plain(DialBackOutcome::NoResponse),
        _ => Met::with(DialBackOutcome::Unreachable, error.to_string()),
    }
}

async fn bring(stream: &mut TcpStream, hello: &[u8]) -> Met {
    let sent = timeout(SEND_TIMEOUT, async {
        stream.write_all(hello).await?;
        stream.shutdown().await
    });
    match sent.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            return Met::with(DialBackOutcome::Unreachable, format!("the connection broke at once: {error}"));
        }
        Err(_elapsed) => {
            return Met::with(DialBackOutcome::NoResponse, "the connection stood, and took nothing");
        }
    }
    let mut read = 0;
    let heard = timeout(LINGER, async {
        let mut bytes = [0; MOST_READ];
        while read < MOST_READ {
            match stream.read(&mut bytes[read..]).await? {
                0 => break,
                length => read += length,
            }
        }
        io::Result::Ok(())
    });
    let heard = heard.await;
    let detail = match heard {
        // So does a listener that waited for the nonce.
        Ok(Ok(())) if read == 0 => None,
        _ if read > 0 => Some("somebody answered, which a listener that waits for the nonce doesn't"),
        Ok(_) => Some("the connection was reset afterwards"),
        Err(_elapsed) => Some("the connection stayed open without a word"),
    };
    Met { outcome: DialBackOutcome::Sent, detail: detail.map(str::to_owned) }
}
