//! Messages of the domain name system, as far as service discovery needs them (RFC 1035, section 4; RFC 2782; RFC 3596).

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::net::IpAddr;

pub(crate) use self::reader::parse;
pub(crate) use self::writer::Writer;

/// Longest packet that is written: it fits into one frame of every network, IPv6 and UDP headers included.
pub(crate) const LONGEST_WRITTEN: usize = 1400;
/// Longest packet that is read (RFC 6762, section 17).
pub(crate) const LONGEST_READ: usize = 9000;
/// Most questions and records of a message that is read.
const MOST_RECORDS: usize = 64;
/// Most bytes of a name.
const LONGEST_NAME: usize = 255;
/// Most bytes of a part of a name.
const LONGEST_LABEL: usize = 63;

/// The types of records (RFC 1035, section 3.2.2, and others).
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const ANY: u16 = 255;
}

/// A name: its parts in lower case, as ASCII has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Name(Vec<Vec<u8>>);

impl Name {
    /// A name from its parts, none of which is longer than a part may be.
    pub(crate) fn new(labels: &[&str]) -> Self {
        Self(labels.iter().map(|label| label.to_ascii_lowercase().into_bytes()).collect())
    }

    /// The name with another part before it.
    pub(crate) fn below(&self, label: &str) -> Self {
        let first = label.to_ascii_lowercase().into_bytes();
        Self(std::iter::once(first).chain(self.0.iter().cloned()).collect())
    }

    /// The first part of a name that lies directly below another.
    pub(crate) fn first_below(&self, parent: &Self) -> Option<&[u8]> {
        let (first, rest) = self.0.split_first()?;
        (rest == parent.0).then_some(first)
    }
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) is_response: bool,
    pub(crate) questions: Vec<Question>,
    /// Those of all sections.
    pub(crate) records: Vec<Record>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) kind: u16,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: Name,
    /// Seconds for which it may be kept; 0 takes it back.
    pub(crate) ttl: u32,
    pub(crate) data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// There is something of this name.
    Pointer(Name),
    /// Where it is.
    Service { port: u16, target: Name },
    /// What else is known of it.
    Text(Vec<Vec<u8>>),
    /// The address of a name.
    Address(IpAddr),
    /// Something that matters to others.
    Other,
}
