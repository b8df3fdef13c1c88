//! Port Control Protocol, RFC 6887: MAP and ANNOUNCE, over IPv4 and IPv6. TCP only.
//!
//! What it does *not* do: remember anything. Nonces, lifetimes and epochs are its caller's.

pub mod codec;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use tracing::trace;

use self::codec::{Header, Map, Mapped, Message, Question};
use super::udp::{self, Path};
use crate::{
    Answer, Epoch, Found, Grant, Lifetime, MapRequest, Refusal, RefusalKind, Request, UnmapRequest, Uplink,
};

/// Asks the uplink's gateway, at most 4 s long.
///
/// A lifetime above a day, or permanent, is asked for as a day. That there is no mapping to remove counts as removed.
pub async fn ask(uplink: &Uplink, request: Request) -> Answer {
    answer(&Path::of(uplink), &request).await
}

/// The shortest lease that servers are to give, seconds (RFC 6887, section 15).
const SHORTEST: u32 = 120;

/// As [`ask`], from and to given addresses.
pub async fn ask_at(local: SocketAddr, server: SocketAddr, request: Request) -> Answer {
    answer(&Path::between(local, server), &request).await
}

async fn answer(path: &Path, request: &Request) -> Answer {
    let question = match question(request) {
        Ok(question) => question,
        Err(answer) => return answer,
    };
    let answer = put(path, &question).await;
    match (&question, request, &answer) {
        (Question::Map(map), Request::Unmap(_), Answer::Refused(refusal))
            if refusal.kind == RefusalKind::NotAuthorized && path.local().is_ipv6() =>
        {
            expire_soon(path, map).await.unwrap_or(answer)
        }
        _ => answer,
    }
}

async fn put(path: &Path, question: &Question) -> Answer {
    let bytes = codec::encode(path.local(), question);
    path.ask(&bytes, |datagram| understand(question, datagram)).await.unwrap_or_else(Answer::from)
}

/// Asks for the shortest lease instead of none: miniupnpd 2.3.1 never closes a pinhole that was renewed, and renews it all the
/// same. Whoever made the pinhole with another nonce is refused that, too.
async fn expire_soon(path: &Path, map: &Map) -> Option<Answer> {
    let shortest = Question::Map(Map { external_port: map.internal_port, lifetime: SHORTEST, ..map.clone() });
    match put(path, &shortest).await {
        Answer::Mapped(Grant { lifetime: Lifetime::Seconds(..=SHORTEST), .. }) => Some(Answer::Unmapped),
        _ => None,
    }
}

/// The request in the words of the protocol, or the answer to what it has none for.
fn question(request: &Request) -> Result<Question, Answer> {
    match request {
        Request::Discover => Ok(Question::Announce),
        Request::Map(MapRequest { internal_port, external_port, external_ip, lifetime, nonce, .. }) => {
            match udp::unfit(*internal_port) {
                Some(unfit) => Err(unfit),
                None => Ok(Question::Map(Map {
                    nonce: *nonce,
                    internal_port: *internal_port,
                    external_port: *external_port,
                    external_ip: *external_ip,
                    lifetime: udp::to_ask(*lifetime),
                })),
            }
        }
        Request::Unmap(UnmapRequest { internal_port: 0, .. }) => Err(udp::every_port()),
        // Deleting suggests nothing (section 15.1).
        Request::Unmap(unmap) => Ok(Question::Map(Map {
            nonce: unmap.nonce,
            internal_port: unmap.internal_port,
            external_port: 0,
            external_ip: None,
            lifetime: 0,
        })),
        Request::ReadBack { .. } | Request::Entries { .. } => {
            Err(udp::not_spoken("PCP shows no table of mappings"))
        }
    }
}

/// What a datagram answers to a question; `None` if it is no answer to this one. Takes any bytes.
#[must_use]
pub fn understand(question: &Question, datagram: &[u8]) -> Option<Answer> {
    let message = codec::decode(datagram)
        .inspect_err(|malformed| trace!(%malformed, "a datagram that is no answer"))
        .ok()?;
    match (question, message) {
        (_, Message::OtherVersion { version }) => {
            let words = if version == 0 {
                "the router speaks NAT-PMP only".to_owned()
            } else {
                format!("the router speaks version {version} of PCP")
            };
            let code = codec::UNSUPPORTED_VERSION.into();
            Some(Answer::Refused(Refusal { kind: RefusalKind::Unsupported, code, words }))
        }
        (Question::Announce, Message::Announce(header)) => Some(announced(header)),
        (Question::Map(asked), Message::Map(header, mapped)) => about_mapping(asked, header, mapped),
        (Question::Announce, Message::Map(..)) | (Question::Map(_), Message::Announce(_)) => None,
    }
}

fn announced(header: Header) -> Answer {
    match header.result {
        // Who does not know this operation still speaks PCP.
        codec::SUCCESS | codec::UNSUPPORTED_OPCODE => {
            Answer::Found(Found { epoch: Some(Epoch(header.epoch)), any_port: true, ..Found::default() })
        }
        result => refused(result),
    }
}

fn about_mapping(asked: &Map, header: Header, mapped: Option<Mapped>) -> Option<Answer> {
    let Some(mapped) = mapped else {
        // An error without the question in it: only if the server could not read the question (sections 7.2 and 8.2).
        return matches!(header.result, 1 | 3..=6).then(|| refused(header.result));
    };
    if mapped.nonce != asked.nonce || mapped.internal_port != asked.internal_port {
        return None;
    }
    let deleting = asked.lifetime == 0;
    Some(match (header.result, udp::granted(header.lifetime)) {
        // Removing needs no resources: by "no resources" `miniupnpd` means that it found nothing to remove.
        (codec::SUCCESS, None) | (codec::NO_RESOURCES, _) if deleting => Answer::Unmapped,
        (codec::SUCCESS, Some(_)) if deleting => Answer::Nonsense(
            "the router confirms the removal of a mapping and says that it lives on".to_owned(),
        ),
        (codec::SUCCESS, None) => Answer::Nonsense("the router granted a mapping of 0 seconds".to_owned()),
        (codec::SUCCESS, Some(_)) if mapped.external_port == 0 => {
            Answer::Nonsense("the router granted external port 0".to_owned())
        }
        (codec::SUCCESS, Some(lifetime)) => Answer::Mapped(Grant {
            external_port: mapped.external_port,
            external_ip: udp::far_side(mapped.external_ip),
            lifetime,
            epoch: Some(Epoch(header.epoch)),
            pinhole: None,
        }),
        (result, _) => refused(result),
    })
}

fn refused(result: u8) -> Answer {
    let kind = match result {
        1 | 4 | 9 => RefusalKind::Unsupported,
        2 => RefusalKind::NotAuthorized,
        7 => RefusalKind::NetworkFailure,
        8 | 10 => RefusalKind::NoResources,
        11 => RefusalKind::Conflict,
        _ => RefusalKind::Other,
    };
    let name = codec::name(result);
    let words = match result {
        12 => format!("{name}: another NAT lies between this computer and the router"),
        _ => name.to_owned(),
    };
    Answer::Refused(Refusal { kind, code: result.into(), words })
}

/// The router's clock in news that it sent to everybody (section 14.1); `None` if it is none. Takes any bytes.
#[must_use]
pub fn announcement(datagram: &[u8]) -> Option<Epoch> {
    match codec::decode(datagram) {
        Ok(Message::Announce(Header { result: codec::SUCCESS, epoch, .. })) => Some(Epoch(epoch)),
        _ => None,
    }
}
