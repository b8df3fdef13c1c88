//! Writes messages.

use std::net::IpAddr;

use super::{LONGEST_LABEL, Name, kind};

const INTERNET: u16 = 1;
/// Nobody else has a record of this name and type: what was known of it before is forgotten (RFC 6762, section 10.2).
const ALONE: u16 = 0x8000;
/// Names are pointed at only where 14 bits reach.
const REACH: usize = 0x3fff;

/// A message that is being written.
pub(crate) struct Writer {
    bytes: Vec<u8>,
    /// Names that stand in it already, and where.
    names: Vec<(Name, u16)>,
    questions: u16,
    answers: u16,
}

impl Writer {
    /// A question to everybody.
    pub(crate) fn query() -> Self {
        Self::with_flags(0)
    }

    /// An answer to everybody, with authority.
    pub(crate) fn response() -> Self {
        Self::with_flags(0x8400)
    }

    fn with_flags(flags: u16) -> Self {
        let mut bytes = vec![0, 0];
        bytes.extend_from_slice(&flags.to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
        Self { bytes, names: Vec::new(), questions: 0, answers: 0 }
    }

    /// How long it is by now.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Asks for records of a name.
    pub(crate) fn question(&mut self, name: &Name, kind: u16) {
        self.name(name);
        self.u16(kind);
        self.u16(INTERNET);
        self.questions += 1;
    }

    /// One of the things of this name.
    pub(crate) fn pointer(&mut self, name: &Name, ttl: u32, target: &Name) {
        self.record(name, kind::PTR, INTERNET, ttl, |writer| writer.name(target));
    }

    /// Where the thing of this name is.
    pub(crate) fn service(&mut self, name: &Name, ttl: u32, port: u16, target: &Name) {
        self.record(name, kind::SRV, INTERNET | ALONE, ttl, |writer| {
            writer.u16(0);
            writer.u16(0);
            writer.u16(port);
            writer.name(target);
        });
    }

    /// What else is known of it. Strings longer than 255 bytes are cut.
    pub(crate) fn text(&mut self, name: &Name, ttl: u32, strings: &[Vec<u8>]) {
        self.record(name, kind::TXT, INTERNET | ALONE, ttl, |writer| {
            for string in strings {
                let string = &string[..string.len().min(255)];
                writer.bytes.push(u8::try_from(string.len()).unwrap_or(u8::MAX));
                writer.bytes.extend_from_slice(string);
            }
            if strings.is_empty() {
                writer.bytes.push(0);
            }
        });
    }

    /// An address of a name.
    pub(crate) fn address(&mut self, name: &Name, ttl: u32, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.record(name, kind::A, INTERNET | ALONE, ttl, |writer| {
                writer.bytes.extend_from_slice(&ip.octets());
            }),
            IpAddr::V6(ip) => self.record(name, kind::AAAA, INTERNET | ALONE, ttl, |writer| {
                writer.bytes.extend_from_slice(&ip.octets());
            }),
        }
    }

    /// The message.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes[4..6].copy_from_slice(&self.questions.to_be_bytes());
        self.bytes[6..8].copy_from_slice(&self.answers.to_be_bytes());
        self.bytes
    }

    fn record(&mut self, name: &Name, kind: u16, class: u16, ttl: u32, data: impl FnOnce(&mut Self)) {
        self.name(name);
        self.u16(kind);
        self.u16(class);
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        let length_at = self.bytes.len();
        self.u16(0);
        data(self);
        let length = u16::try_from(self.bytes.len() - length_at - 2).unwrap_or(u16::MAX);
        self.bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        self.answers += 1;
    }

    /// A name; its end, or all of it, by a pointer where it stands already.
    fn name(&mut self, name: &Name) {
        let mut rest = name.clone();
        while !rest.0.is_empty() {
            if let Some((_, at)) = self.names.iter().find(|(known, _)| *known == rest) {
                let pointer = 0xc000 | *at;
                self.u16(pointer);
                return;
            }
            if self.bytes.len() <= REACH {
                self.names.push((rest.clone(), u16::try_from(self.bytes.len()).unwrap_or_default()));
            }
            let label = rest.0.remove(0);
            let label = &label[..label.len().min(LONGEST_LABEL)];
            self.bytes.push(u8::try_from(label.len()).unwrap_or_default());
            self.bytes.extend_from_slice(label);
        }
        self.bytes.push(0);
    }

    fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
}
