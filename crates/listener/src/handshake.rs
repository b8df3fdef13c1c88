//! One connection from its ClientHello to being handed over.

use std::io;
use std::net::SocketAddr;

use kith_identity::tls::{Admitted, admitted, explain_io};
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::door::{Incoming, Ticket};
use crate::expected::Arrival;
use crate::gate::{self, Verdict};
use crate::serve::{linger, peek_with};
use crate::tune::tune;

/// Goes through the gate and the handshake, and hands over who is admitted.
pub(crate) async fn handshake(mut stream: TcpStream, remote: SocketAddr, ticket: Ticket, deadline: Instant) {
    ticket.spoken();
    match peek_with(&stream, gate::judge) {
        Ok(Verdict::Stranger) => {}
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
            if stream.write_all(&alert).await.is_ok() {
                linger(&mut stream).await;
            }
            return;
        }
        Err(error) => return tracing::debug!(%remote, %error, "gone before the handshake"),
    }

    let Ok(Some(place)) = timeout_at(deadline, ticket.place()).await else {
        return tracing::debug!(%remote, "no place for a handshake in time");
    };
    let outcome = timeout_at(deadline, shake(stream, &ticket)).await;
    drop(place);
    // From here on the connection counts as one that waits.
    ticket.spoken();

    match outcome {
        Err(_) => tracing::debug!(%remote, "handshake not done in time"),
        Ok(Err((error, stream))) => {
            match explain_io(&error) {
                Some(refusal) => tracing::debug!(%remote, %refusal, "refused in the handshake"),
                None => tracing::debug!(%remote, %error, "handshake failed"),
            }
            if let Some(mut stream) = stream {
                linger(&mut stream).await;
            }
        }
        Ok(Ok(stream)) => match admitted(stream.get_ref().1) {
            Ok(who) => hand_over(stream, who, remote, ticket, deadline).await,
            Err(error) => tracing::debug!(%remote, %error, "refused after the handshake"),
        },
    }
}

/// The handshake itself. On failure the socket comes back, with the alert in it on its way.
async fn shake(
    stream: TcpStream,
    ticket: &Ticket,
) -> Result<TlsStream<TcpStream>, (io::Error, Option<TcpStream>)> {
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
    match (&mut acceptor).await {
        Ok(start) => start
            .into_stream(ticket.door().tls.clone())
            .into_fallible()
            .await
            .map_err(|(error, stream)| (error, Some(stream))),
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
    let incoming = Incoming { admitted: who, stream, remote, local };
    match timeout_at(deadline, ticket.door().incoming.send(incoming)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::debug!(%remote, "nobody takes links any more"),
        Err(_) => tracing::warn!(%remote, ?who, "dropped a link that nobody took in time"),
    }
}
