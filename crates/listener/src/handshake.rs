//! One connection from its ClientHello to being handed over.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use kith_identity::tls::{Admitted, admitted, explain_io};
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::door::{Incoming, Ticket};
use crate::expected::Arrival;
use crate::gate::{self, Verdict};
use crate::leg::leg;
use crate::serve::{linger, peek_with};
use crate::tune::tune;

/// Goes through the gate and the handshake, and hands over who is admitted.
pub(crate) async fn handshake(mut stream: TcpStream, remote: SocketAddr, ticket: Ticket, deadline: Instant) {
    ticket.spoken();
    match peek_with(&stream, gate::judge) {
        Ok(Verdict::Tagged(tag)) if ticket.door().recognises(&tag) => {
            return Box::pin(known(stream, remote, ticket, deadline)).await;
        }
        Ok(Verdict::Tagged(tag)) if ticket.door().awaits_leg(&tag) => {
            return Box::pin(leg(stream, remote, tag, ticket, deadline)).await;
        }
        Ok(Verdict::DialBack(nonce)) => match stream.local_addr() {
            Ok(local) if ticket.door().expected.tell(&nonce, Arrival { remote, local }) => {
                tracing::debug!(%remote, %local, "a dial-back arrived");
                return linger(&mut stream).await;
            }
            Ok(_) => tracing::debug!(%remote, "a dial-back that nobody waits for: taken for a stranger"),
            Err(error) => return tracing::debug!(%remote, %error, "gone before the handshake"),
        },
        Ok(Verdict::Refuse { alert, reason }) => {
            tracing::debug!(%remote, reason, "refused before the handshake");
            if ticket.door().tolerates(remote) && stream.write_all(&alert).await.is_ok() {
                linger(&mut stream).await;
            }
            return;
        }
        Ok(Verdict::Stranger | Verdict::Tagged(_)) => {}
        Err(error) => return tracing::debug!(%remote, %error, "gone before the handshake"),
    }
    stranger(stream, remote, ticket, deadline).await;
}

/// Serves whoever brought a tag that was recognised: he learns who this computer is, and is let in if he proves who he is.
async fn known(stream: TcpStream, remote: SocketAddr, ticket: Ticket, deadline: Instant) {
    if !matches!(timeout_at(deadline, ticket.known_place(remote)).await, Ok(true)) {
        return tracing::debug!(%remote, "no place for a handshake in time");
    }
    let outcome = timeout_at(deadline, shake(stream, ticket.door().faces.known.clone())).await;
    // From here on the connection counts as one that waits; its place is free.
    ticket.spoken();
    match outcome {
        Err(_) => tracing::debug!(%remote, "handshake not done in time"),
        Ok(Err(failure)) => part(failure, remote).await,
        Ok(Ok(stream)) => match admitted(stream.get_ref().1) {
            Ok(who) => hand_over(stream, who, remote, ticket, deadline).await,
            Err(error) => tracing::debug!(%remote, %error, "refused after the handshake"),
        },
    }
}

/// Plays a handshake to its end in which nothing is shown and nobody let in.
async fn stranger(stream: TcpStream, remote: SocketAddr, ticket: Ticket, deadline: Instant) {
    if !ticket.door().tolerates(remote) {
        return tracing::trace!(%remote, "too many handshakes from there: not served for a while");
    }
    let Some(place) = ticket.stranger_place() else {
        return tracing::trace!(%remote, "too many strangers: not served");
    };
    let outcome = timeout_at(deadline, shake(stream, ticket.door().faces.unknown.clone())).await;
    drop(place);
    ticket.spoken();
    match outcome {
        Err(_) => tracing::debug!(%remote, "handshake of a stranger not done in time"),
        Ok(Err(failure)) => part(failure, remote).await,
        // Not so: that configuration admits nobody. Should it ever, nobody is let in by it all the same.
        Ok(Ok(_stream)) => tracing::debug!(%remote, "a stranger's handshake was done"),
    }
}

/// A handshake that failed, and the socket, with the alert in it on its way.
type Failure = (io::Error, Option<TcpStream>);

async fn part((error, stream): Failure, remote: SocketAddr) {
    match explain_io(&error) {
        Some(refusal) => tracing::debug!(%remote, %refusal, "refused in the handshake"),
        None => tracing::debug!(%remote, %error, "handshake failed"),
    }
    if let Some(mut stream) = stream {
        linger(&mut stream).await;
    }
}

/// The handshake itself.
async fn shake(stream: TcpStream, face: Arc<ServerConfig>) -> Result<TlsStream<TcpStream>, Failure> {
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
    match (&mut acceptor).await {
        Ok(start) => {
            let accepting = start.into_stream(face).into_fallible();
            accepting.await.map_err(|(error, stream)| (error, Some(stream)))
        }
        Err(error) => Err((error, acceptor.take_io())),
    }
}

async fn hand_over(
    stream: TlsStream<TcpStream>,
    who: Admitted,
    remote: SocketAddr,
    ticket: Ticket,
    deadline: Instant,
) {
    let socket = stream.get_ref().0;
    let local = match socket.local_addr() {
        Ok(local) => local,
        Err(error) => return tracing::debug!(%remote, %error, "gone after the handshake"),
    };
    if let Err(error) = tune(socket) {
        tracing::debug!(%remote, %error, "the system refuses a socket option; the link works without");
    }
    tracing::debug!(%remote, ?who, "admitted");
    if let Admitted::Friend(friend) = &who {
        ticket.door().note_friend(*friend, remote);
    }
    let incoming = Incoming { admitted: who, stream, remote, local };
    match timeout_at(deadline, ticket.door().incoming.send(incoming)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::debug!(%remote, "nobody takes links any more"),
        Err(_) => tracing::warn!(%remote, ?who, "dropped a link that nobody took in time"),
    }
}
