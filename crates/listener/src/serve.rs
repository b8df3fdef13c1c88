//! One connection from accepting it to the beginning of its handshake, or to its polite end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::conversation::{Conversation, Look, Step, look};
use crate::door::Ticket;
use crate::greeting;
use crate::handshake::handshake;
use crate::limits::{GREETING_AFTER, LINGER, MAX_DRAINED, MAX_PEEKED, SILENT_PUNCH};

/// How the time before the handshake ended.
enum Ending {
    /// With a whole ClientHello, still unread.
    Hello,
    /// With an answer to a person or a browser.
    Answered,
    /// Without another word.
    Over,
}

/// Serves a connection until it is handed over or closed.
pub(crate) async fn serve(mut stream: TcpStream, remote: SocketAddr, ticket: Ticket) {
    let mut conversation = Conversation::new(Instant::now(), ticket.greets());
    let awaited = &ticket.door().awaited;
    if awaited.expects(remote.ip()) && is_silent(&stream).await {
        stream = match awaited.hand_out_like(stream, remote) {
            Some(stream) => stream,
            None => return tracing::debug!(%remote, "a punched connection arrived by another port"),
        };
    }
    let accepted = Instant::now();
    let ending = tokio::select! {
        biased;
        ending = converse(&mut stream, remote, &mut conversation) => Some(ending),
        () = awaited.begins(remote) => None,
    };
    let ending = match ending {
        Some(ending) => ending,
        None => {
            // There is nothing to look at.
            let is_silent = peek_with(&stream, look).is_err();
            // Who was greeted takes it for the answer of another program.
            if is_silent && accepted.elapsed() < GREETING_AFTER {
                stream = match awaited.hand_out(stream, remote) {
                    Some(stream) => stream,
                    None => return tracing::debug!(%remote, "a punched connection had arrived early"),
                };
            }
            converse(&mut stream, remote, &mut conversation).await
        }
    };
    match ending {
        // Boxed, so that the many silent connections don't carry the room that a handshake takes.
        Ok(Ending::Hello) => Box::pin(handshake(stream, remote, ticket, conversation.deadline())).await,
        Ok(Ending::Answered) => linger(&mut stream).await,
        Ok(Ending::Over) => tracing::trace!(%remote, "closed before a handshake"),
        Err(error) => tracing::trace!(%remote, %error, "failed before a handshake"),
    }
}

/// Whether nothing comes for as long as it takes to tell a caller from the other end of a punch.
async fn is_silent(stream: &TcpStream) -> bool {
    let until = Instant::now() + SILENT_PUNCH;
    let mut seen = Look::Silence;
    loop {
        if peek(stream, &mut seen).is_err() || seen != Look::Silence {
            return false;
        }
        match timeout_at(until, stream.ready(Interest::READABLE)).await {
            Ok(Ok(ready)) if !ready.is_read_closed() => {}
            Ok(_over) => return false,
            Err(_elapsed) => return true,
        }
    }
}

async fn converse(
    stream: &mut TcpStream,
    remote: SocketAddr,
    conversation: &mut Conversation,
) -> io::Result<Ending> {
    let mut seen = Look::Silence;
    let mut at_end = false;
    loop {
        peek(stream, &mut seen)?;
        let told = if at_end { seen.at_end() } else { seen };
        match conversation.next(told, Instant::now()) {
            Step::Wait(until) => {
                if let Ok(ready) = timeout_at(until, stream.ready(Interest::READABLE)).await {
                    // All that came before the end lies there by now: the next look sees it.
                    at_end = ready?.is_read_closed();
                }
            }
            Step::Greet => stream.write_all(greeting::line(remote).as_bytes()).await?,
            Step::Handshake => return Ok(Ending::Hello),
            Step::AnswerHttp { head_only } => {
                stream.write_all(greeting::http(remote, head_only).as_bytes()).await?;
                return Ok(Ending::Answered);
            }
            Step::AnswerText => {
                stream.write_all(greeting::line(remote).as_bytes()).await?;
                return Ok(Ending::Answered);
            }
            Step::Close => return Ok(Ending::Over),
        }
    }
}

/// Looks at what lies there, without reading it. What only begins counts as "not ready", so that the next wait is for more.
fn peek(stream: &TcpStream, seen: &mut Look) -> io::Result<()> {
    let looked = stream.try_io(Interest::READABLE, || {
        *seen = peek_with(stream, look)?;
        match seen {
            Look::Beginning { .. } => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    });
    match looked {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        result => result,
    }
}

/// Hands the bytes that can be read without waiting to `judge` and leaves them where they are.
pub(crate) fn peek_with<T>(stream: &TcpStream, judge: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
    // On the stack of the thread and not in the task, of which there are thousands.
    let mut bytes = [0; MAX_PEEKED];
    let length = recv(stream.as_raw_fd(), &mut bytes, MsgFlags::MSG_PEEK)?;
    Ok(judge(&bytes[..length]))
}

/// Closes so that what was sent last arrives: a socket that is closed with unread bytes in it resets the connection, and
/// the answer may be lost.
pub(crate) async fn linger(stream: &mut TcpStream) {
    let finish = async {
        stream.shutdown().await?;
        let mut drained = 0;
        while drained < MAX_DRAINED {
            stream.readable().await?;
            let mut bytes = [0; 2048];
            match stream.try_read(&mut bytes) {
                Ok(0) => break,
                Ok(length) => drained += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    match timeout(LINGER, finish).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::trace!(%error, "the other side was gone before it was told the end"),
        Err(_) => tracing::trace!("the other side doesn't close"),
    }
}
