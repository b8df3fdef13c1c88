//! Which datagrams the `natpmp` crate may see: it trusts their length, their kind and that they answer the last question. Pure;
//! takes any bytes. RFC 6886, sections 3.2, 3.3 and 3.5.

use crate::Epoch;

const VERSION: u8 = 0;
/// The version of PCP, which shares the port.
const PCP_VERSION: u8 = 2;
/// Set in the opcode of what a router says.
const RESPONSE: u8 = 0x80;
const ADDRESS: u8 = 0;
const MAP_TCP: u8 = 2;
const UNSUPPORTED_VERSION: u16 = 1;
/// Version, opcode, result, epoch: all that an error needs to have.
const HEADER: usize = 8;
const ADDRESS_LENGTH: usize = 12;
const MAP_LENGTH: usize = 16;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The external address.
    Address,
    /// A mapping of a TCP port, or its removal.
    Map {
        /// The port here.
        internal_port: u16,
    },
}

/// The result code of the answer to `question` that a datagram is; `None` if it is none.
#[must_use]
pub fn result(question: Question, datagram: &[u8]) -> Option<u16> {
    let (version, opcode, result) = header(datagram)?;
    let asked = match question {
        Question::Address => ADDRESS,
        Question::Map { .. } => MAP_TCP,
    };
    // A router that speaks PCP only says so in its own version; its result lies in the same place (RFC 6887, appendix A).
    let other = version == PCP_VERSION && result == UNSUPPORTED_VERSION && opcode & RESPONSE != 0;
    if other {
        return Some(result);
    }
    if version != VERSION || opcode != asked | RESPONSE {
        return None;
    }
    match question {
        Question::Address => (result != 0 || datagram.len() >= ADDRESS_LENGTH).then_some(result),
        Question::Map { internal_port } => {
            let port = datagram.get(HEADER..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
            let complete = datagram.len() >= MAP_LENGTH && port == Some(internal_port);
            // The rest of an error is undefined: it may be missing or zero, but not about another port.
            let error = result != 0 && port.is_none_or(|port| port == 0 || port == internal_port);
            (complete || error).then_some(result)
        }
    }
}

/// The router's clock in news that it sent to everybody (section 3.2.1); `None` if it is none.
#[must_use]
pub fn announcement(datagram: &[u8]) -> Option<Epoch> {
    let (version, opcode, result) = header(datagram)?;
    let whole = result != 0 || datagram.len() >= ADDRESS_LENGTH;
    let epoch = datagram.get(4..)?.first_chunk().map(|bytes| Epoch(u32::from_be_bytes(*bytes)))?;
    (version == VERSION && opcode == ADDRESS | RESPONSE && whole).then_some(epoch)
}

/// Version, opcode and result.
fn header(datagram: &[u8]) -> Option<(u8, u8, u16)> {
    let [version, opcode, high, low, _, _, _, _] = *datagram.first_chunk::<HEADER>()?;
    Some((version, opcode, u16::from_be_bytes([high, low])))
}
