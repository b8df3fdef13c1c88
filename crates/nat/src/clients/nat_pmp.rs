//! NAT Port Mapping Protocol, RFC 6886, through the `natpmp` crate. IPv4 and TCP only.
//!
//! The crate writes the questions and reads the answers. It never sends again, never stops waiting, and takes any datagram for the
//! answer: the socket that it is given here does all that, see [`packet`].

pub mod packet;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use natpmp::{AsyncUdpSocket, Error, Protocol, Response, new_natpmp_async_with};

use self::packet::Question;
use super::udp::{self, NoReply, Path};
use crate::{Answer, Epoch, Found, Grant, MapRequest, Refusal, RefusalKind, Request, UnmapRequest, Uplink};

/// Asks the uplink's gateway, at most 4 s long.
///
/// A lifetime above a day, or permanent, is asked for as a day. That there is no mapping to remove counts as removed.
pub async fn ask(uplink: &Uplink, request: Request) -> Answer {
    answer(Path::of(uplink), &request).await
}

/// As [`ask`], from and to given addresses.
pub async fn ask_at(local: SocketAddr, server: SocketAddr, request: Request) -> Answer {
    answer(Path::between(local, server), &request).await
}

async fn answer(path: Path, request: &Request) -> Answer {
    let (internal_port, external_port, lifetime) = match request {
        Request::Discover => (None, 0, 0),
        Request::Map(MapRequest { internal_port, external_port, lifetime, .. }) => {
            if let Some(unfit) = udp::unfit(*internal_port) {
                return unfit;
            }
            (Some(*internal_port), *external_port, udp::to_ask(*lifetime))
        }
        Request::Unmap(UnmapRequest { internal_port: 0, .. }) => return udp::every_port(),
        // Deleting asks for nothing (section 3.4).
        Request::Unmap(unmap) => (Some(unmap.internal_port), 0, 0),
        Request::ReadBack { .. } | Request::Entries { .. } => {
            return udp::not_spoken("NAT-PMP shows no table of mappings");
        }
    };
    let (IpAddr::V4(_), IpAddr::V4(gateway)) = (path.local(), path.server()) else {
        return udp::not_spoken("NAT-PMP is for IPv4 only");
    };
    let question = internal_port.map_or(Question::Address, |internal_port| Question::Map { internal_port });
    let line = Line { path, question, state: Mutex::default() };
    let mut client = new_natpmp_async_with(&line, gateway);
    let sent = match internal_port {
        None => client.send_public_address_request().await,
        Some(port) => client.send_port_mapping_request(Protocol::TCP, port, external_port, lifetime).await,
    };
    let response = match sent {
        Ok(()) => client.read_response_or_retry().await,
        Err(error) => Err(error),
    };
    match response {
        Ok(response) => understood(&response, request),
        Err(error) => line.failed(error),
    }
}

/// What the crate read, in our words.
fn understood(response: &Response, request: &Request) -> Answer {
    match (request, response) {
        (Request::Discover, Response::Gateway(gateway)) => Answer::Found(Found {
            external_ip: udp::far_side(IpAddr::V4(*gateway.public_address())),
            epoch: Some(Epoch(gateway.epoch())),
            any_port: true,
            ..Found::default()
        }),
        (Request::Map(_), Response::TCP(mapping)) => {
            let seconds = u32::try_from(mapping.lifetime().as_secs()).unwrap_or(u32::MAX);
            match udp::granted(seconds) {
                None => Answer::Nonsense("the router granted a mapping of 0 seconds".to_owned()),
                Some(_) if mapping.public_port() == 0 => {
                    Answer::Nonsense("the router granted external port 0".to_owned())
                }
                Some(lifetime) => Answer::Mapped(Grant {
                    external_port: mapping.public_port(),
                    external_ip: None,
                    lifetime,
                    epoch: Some(Epoch(mapping.epoch())),
                    pinhole: None,
                }),
            }
        }
        (Request::Unmap(_), Response::TCP(mapping)) if mapping.lifetime().is_zero() => Answer::Unmapped,
        (Request::Unmap(_), Response::TCP(_)) => Answer::Nonsense(
            "the router confirms the removal of a mapping and says that it lives on".to_owned(),
        ),
        _ => Answer::Nonsense("the router answered another question".to_owned()),
    }
}

/// The socket that the crate is given: one question, one answer.
struct Line {
    path: Path,
    question: Question,
    state: Mutex<LineState>,
}

/// What the crate does not keep or tell.
#[derive(Default)]
struct LineState {
    request: Vec<u8>,
    result: Option<u16>,
    no_reply: Option<NoReply>,
}

impl Line {
    fn with_state<T>(&self, act: impl FnOnce(&mut LineState) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What came instead of a response.
    fn failed(&self, error: Error) -> Answer {
        let (result, no_reply) = self.with_state(|state| (state.result, state.no_reply));
        match (result, no_reply) {
            (Some(code), _) if code != 0 => refused(code),
            (_, Some(no_reply)) => no_reply.into(),
            _ => Answer::Nonsense(error.to_string()),
        }
    }
}

#[async_trait]
impl AsyncUdpSocket for &Line {
    /// It is connected when the question is asked.
    async fn connect(&self, _address: &str) -> io::Result<()> {
        Ok(())
    }

    /// Keeps the question: it is sent, and sent again, by `recv`.
    async fn send(&self, request: &[u8]) -> io::Result<usize> {
        self.with_state(|state| state.request = request.to_vec());
        Ok(request.len())
    }

    /// Gives the answer and nothing else. The crate calls it up to nine times when it fails: only the first time takes time.
    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (request, failed) = self.with_state(|state| (state.request.clone(), state.no_reply.is_some()));
        if failed {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let answered = self.path.ask(&request, |datagram| {
            let result = packet::result(self.question, datagram)?;
            Some((result, datagram.to_vec()))
        });
        match answered.await {
            Ok((result, datagram)) => {
                self.with_state(|state| state.result = Some(result));
                let length = datagram.len().min(buffer.len());
                buffer[..length].copy_from_slice(&datagram[..length]);
                Ok(length)
            }
            Err(no_reply) => {
                self.with_state(|state| state.no_reply = Some(no_reply));
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }
}

fn refused(code: u16) -> Answer {
    let (kind, words) = match code {
        1 => (RefusalKind::Unsupported, "the version is not spoken"),
        2 => (RefusalKind::NotAuthorized, "not authorized: mapping is switched off or not allowed"),
        3 => (RefusalKind::NetworkFailure, "network failure: the router has no address on its far side"),
        4 => (RefusalKind::NoResources, "out of resources"),
        5 => (RefusalKind::Unsupported, "the operation is not known"),
        _ => (RefusalKind::Other, "unknown result"),
    };
    Answer::Refused(Refusal { kind, code, words: words.to_owned() })
}
