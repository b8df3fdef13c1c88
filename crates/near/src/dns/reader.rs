//! Reads messages, whoever sent them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Data, LONGEST_NAME, LONGEST_READ, MOST_RECORDS, Message, Name, Question, Record, kind};

/// The bits of the header that must be zero: the kind of operation, and the code of an error.
const MUST_BE_ZERO: u16 = 0x780f;
const RESPONSE: u16 = 0x8000;
/// The class of the Internet; the highest bit means something else in multicast DNS.
const INTERNET: u16 = 1;
const CLASS: u16 = 0x7fff;

/// A message; none if it is cut off, malformed, or has more records than any of ours.
pub(crate) fn parse(bytes: &[u8]) -> Option<Message> {
    if bytes.len() > LONGEST_READ {
        return None;
    }
    let mut reader = Reader { whole: bytes, at: 0 };
    let (_id, flags) = (reader.u16()?, reader.u16()?);
    if flags & MUST_BE_ZERO != 0 {
        return None;
    }
    let questions = usize::from(reader.u16()?);
    let records = [reader.u16()?, reader.u16()?, reader.u16()?].map(usize::from).iter().sum::<usize>();
    if questions + records > MOST_RECORDS {
        return None;
    }
    let mut message = Message { is_response: flags & RESPONSE != 0, ..Message::default() };
    for _ in 0..questions {
        let (name, kind, class) = (reader.name()?, reader.u16()?, reader.u16()?);
        if class & CLASS == INTERNET {
            message.questions.push(Question { name, kind });
        }
    }
    for _ in 0..records {
        message.records.extend(reader.record()?);
    }
    Some(message)
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    /// Names point back into it.
    whole: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.whole.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A name. A pointer must lead back before the place where the name, or the part behind the pointer before, began: so it ends.
    fn name(&mut self) -> Option<Name> {
        let (mut labels, mut length) = (Vec::new(), 0);
        let mut reader = *self;
        let mut began = reader.at;
        let mut after = None;
        loop {
            let first = reader.u8()?;
            match first {
                0 => break,
                1..=63 => {
                    length += 1 + usize::from(first);
                    if length > LONGEST_NAME {
                        return None;
                    }
                    labels.push(reader.take(first.into())?.to_ascii_lowercase());
                }
                0xc0.. => {
                    let target = usize::from(u16::from_be_bytes([first & 0x3f, reader.u8()?]));
                    after.get_or_insert(reader.at);
                    if target >= began {
                        return None;
                    }
                    (began, reader.at) = (target, target);
                }
                _ => return None,
            }
        }
        self.at = after.unwrap_or(reader.at);
        Some(Name(labels))
    }

    /// A record; an inner none if it is of another class.
    fn record(&mut self) -> Option<Option<Record>> {
        let (name, kind, class, ttl) = (self.name()?, self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let end = self.at.checked_add(length).filter(|end| *end <= self.whole.len())?;
        let mut inside = Self { whole: &self.whole[..end], at: self.at };
        self.at = end;
        if class & CLASS != INTERNET {
            return Some(None);
        }
        let data = match kind {
            kind::PTR => Data::Pointer(inside.name()?),
            kind::SRV => {
                let (_priority, _weight) = (inside.u16()?, inside.u16()?);
                Data::Service { port: inside.u16()?, target: inside.name()? }
            }
            kind::TXT => Data::Text(inside.strings()?),
            kind::A => Data::Address(Ipv4Addr::from(<[u8; 4]>::try_from(inside.take(4)?).ok()?).into()),
            kind::AAAA => Data::Address(Ipv6Addr::from(<[u8; 16]>::try_from(inside.take(16)?).ok()?).into()),
            _ => Data::Other,
        };
        let whole = matches!(data, Data::Other) || inside.at == end;
        whole.then_some(Some(Record { name, ttl, data }))
    }

    fn strings(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut strings = Vec::new();
        while self.at < self.whole.len() {
            let length = self.u8()?;
            let string = self.take(length.into())?;
            if !string.is_empty() {
                strings.push(string.to_vec());
            }
        }
        Some(strings)
    }
}
