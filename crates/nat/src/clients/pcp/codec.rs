//! The bytes of PCP, version 2: RFC 6887, sections 7 (headers), 11 (MAP) and 14 (ANNOUNCE). Pure; takes any bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Nonce;
use crate::clients::udp::LONGEST_DATAGRAM;

const VERSION: u8 = 2;
/// The version of NAT-PMP, which shares the port.
const NAT_PMP_VERSION: u8 = 0;
/// Set in the opcode of what a server says.
const RESPONSE: u8 = 0x80;
const ANNOUNCE: u8 = 0;
const MAP: u8 = 1;
/// IANA's number of the protocol that we map.
const TCP: u8 = 6;
const HEADER: usize = 24;
const MAP_BODY: usize = 36;
/// What a router that knows only NAT-PMP answers (RFC 6886, section 3.5).
const NAT_PMP_ERROR: usize = 8;

/// The result "done".
pub const SUCCESS: u8 = 0;
/// The result "this version is not spoken here".
pub const UNSUPPORTED_VERSION: u8 = 1;
/// The result "this operation is not known here".
pub const UNSUPPORTED_OPCODE: u8 = 4;
/// The result "no room".
pub const NO_RESOURCES: u8 = 8;

/// Something to ask a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Are you there, and since when?
    Announce,
    /// Make, renew or (lifetime 0) delete a mapping of a TCP port.
    Map(Map),
}

/// See [`Question::Map`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Names the mapping; the same at every renewal.
    pub nonce: Nonce,
    /// The port here.
    pub internal_port: u16,
    /// The port wanted at the far side; 0: any.
    pub external_port: u16,
    /// The address wanted at the far side; `None`: any of the client's family.
    pub external_ip: Option<IpAddr>,
    /// Seconds; 0 deletes.
    pub lifetime: u32,
}

/// Something a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// PCP is not spoken in our version: said in another version of PCP, or by NAT-PMP.
    OtherVersion {
        /// The version it was said in; 0 is NAT-PMP.
        version: u8,
    },
    /// Answer to [`Question::Announce`], or news to all when it comes unasked.
    Announce(Header),
    /// Answer to [`Question::Map`].
    Map(Header, Option<Mapped>),
}

/// What every answer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Section 7.4; 0 is success.
    pub result: u8,
    /// Seconds: of the mapping, or how long the error will last.
    pub lifetime: u32,
    /// Seconds since the server's table began.
    pub epoch: u32,
}

/// What an answer about a mapping says. In an error, what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Names the mapping.
    pub nonce: Nonce,
    /// The port here.
    pub internal_port: u16,
    /// The port at the far side.
    pub external_port: u16,
    /// The address at the far side.
    pub external_ip: IpAddr,
}

/// Why bytes are no answer of a PCP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Too short, too long or no multiple of 4.
    #[error("{0} bytes are no length of a PCP answer")]
    Length(usize),
    /// Another version, and it isn't said that ours is not spoken.
    #[error("version {0} is not PCP's")]
    Version(u8),
    /// A question.
    #[error("it is no answer")]
    Question,
    /// Not one of ours.
    #[error("operation {0} was not asked for")]
    Opcode(u8),
    /// A mapping of something else than TCP.
    #[error("it is about IP protocol {0}, not TCP")]
    Protocol(u8),
}

/// The bytes of a question by the computer with the address `client`.
#[must_use]
pub fn encode(client: IpAddr, question: &Question) -> Vec<u8> {
    let (opcode, lifetime) = match question {
        Question::Announce => (ANNOUNCE, 0),
        Question::Map(map) => (MAP, map.lifetime),
    };
    let mut bytes = Vec::with_capacity(HEADER + MAP_BODY);
    bytes.extend([VERSION, opcode, 0, 0]);
    bytes.extend(lifetime.to_be_bytes());
    bytes.extend(sixteen(client));
    if let Question::Map(map) = question {
        bytes.extend(map.nonce.0);
        bytes.extend([TCP, 0, 0, 0]);
        bytes.extend(map.internal_port.to_be_bytes());
        bytes.extend(map.external_port.to_be_bytes());
        // "Any" is all zeros in the family that is wanted (section 11.1).
        bytes.extend(sixteen(map.external_ip.unwrap_or_else(|| zero_like(client))));
    }
    bytes
}

/// Reads what a server said.
///
/// # Errors
/// If it is not what a PCP server says about one of our questions.
pub fn decode(datagram: &[u8]) -> Result<Message, Malformed> {
    let length = Malformed::Length(datagram.len());
    let [version, opcode, _, result, ..] = *datagram else { return Err(length) };
    if opcode & RESPONSE == 0 {
        return Err(Malformed::Question);
    }
    if version != VERSION {
        // In NAT-PMP the result has 16 bits, of which the lower ones lie where PCP has all of it.
        let shortest = if version == NAT_PMP_VERSION { NAT_PMP_ERROR } else { HEADER };
        return match result {
            UNSUPPORTED_VERSION if (shortest..=LONGEST_DATAGRAM).contains(&datagram.len()) => {
                Ok(Message::OtherVersion { version })
            }
            UNSUPPORTED_VERSION => Err(length),
            _ => Err(Malformed::Version(version)),
        };
    }
    if datagram.len() > LONGEST_DATAGRAM || !datagram.len().is_multiple_of(4) {
        return Err(length);
    }
    let (Some(lifetime), Some(epoch), Some(body)) =
        (number(datagram, 4), number(datagram, 8), datagram.get(HEADER..))
    else {
        return Err(length);
    };
    let header = Header { result, lifetime, epoch };
    match opcode & !RESPONSE {
        ANNOUNCE => Ok(Message::Announce(header)),
        MAP if body.is_empty() && result != SUCCESS => Ok(Message::Map(header, None)),
        MAP => Ok(Message::Map(header, Some(mapped(body)?.ok_or(length)?))),
        other => Err(Malformed::Opcode(other)),
    }
}

/// What follows the header of an answer to MAP; options after it are of no interest.
fn mapped(body: &[u8]) -> Result<Option<Mapped>, Malformed> {
    let Some((body, _options)) = body.split_first_chunk::<MAP_BODY>() else { return Ok(None) };
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&body[..12]);
    if body[12] != TCP {
        return Err(Malformed::Protocol(body[12]));
    }
    let mut external_ip = [0; 16];
    external_ip.copy_from_slice(&body[20..]);
    Ok(Some(Mapped {
        nonce: Nonce(nonce),
        internal_port: u16::from_be_bytes([body[16], body[17]]),
        external_port: u16::from_be_bytes([body[18], body[19]]),
        external_ip: IpAddr::V6(Ipv6Addr::from(external_ip)).to_canonical(),
    }))
}

/// The 32-bit number at a place.
fn number(datagram: &[u8], at: usize) -> Option<u32> {
    datagram.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// An address in 16 bytes; one of IPv4 as `::ffff:a.b.c.d` (section 5).
fn sixteen(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The address of zeros of the same family.
fn zero_like(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// What section 7.4 calls a result, for the log.
#[must_use]
pub const fn name(result: u8) -> &'static str {
    match result {
        0 => "SUCCESS",
        1 => "UNSUPP_VERSION",
        2 => "NOT_AUTHORIZED",
        3 => "MALFORMED_REQUEST",
        4 => "UNSUPP_OPCODE",
        5 => "UNSUPP_OPTION",
        6 => "MALFORMED_OPTION",
        7 => "NETWORK_FAILURE",
        8 => "NO_RESOURCES",
        9 => "UNSUPP_PROTOCOL",
        10 => "USER_EX_QUOTA",
        11 => "CANNOT_PROVIDE_EXTERNAL",
        12 => "ADDRESS_MISMATCH",
        13 => "EXCESSIVE_REMOTE_PEERS",
        _ => "unknown result",
    }
}
