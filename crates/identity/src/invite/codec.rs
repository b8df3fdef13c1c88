//! The bytes inside an invite or a reply line. Integers are big-endian; a text has its length in front.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use zeroize::Zeroizing;

use super::{InviteHub, MAX_ADDRESSES, MOST_INVITE_HUBS, address};
use crate::device_id::DeviceId;

/// Why intact bytes make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

const TAG_NAME: u8 = 0;
const TAG_V4: u8 = 4;
const TAG_V6: u8 = 6;

pub(super) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(super) fn new(version: u8) -> Self {
        // Room for what is common, so that no copy with the secret in it is left behind by growing.
        let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
        bytes.push(version);
        Self(bytes)
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A text of at most 256 bytes, the longest that a name of 64 characters can have.
    pub(super) fn text(&mut self, text: &str) {
        let length = u16::try_from(text.len()).expect("names and host names are short");
        self.bytes(&length.to_be_bytes());
        self.bytes(text.as_bytes());
    }

    pub(super) fn addresses(&mut self, addresses: &[String]) {
        self.u8(u8::try_from(addresses.len()).expect("there are at most 16 addresses"));
        for text in addresses {
            self.address(text);
        }
    }

    pub(super) fn hubs(&mut self, hubs: &[InviteHub]) {
        self.u8(u8::try_from(hubs.len()).expect("there are at most 2 hubs"));
        for hub in hubs {
            self.bytes(hub.id.as_bytes());
            self.address(&hub.address);
        }
    }

    fn address(&mut self, text: &str) {
        match text.parse() {
            Ok(SocketAddr::V4(v4)) => {
                self.u8(TAG_V4);
                self.bytes(&v4.ip().octets());
                self.bytes(&v4.port().to_be_bytes());
            }
            Ok(SocketAddr::V6(v6)) => {
                self.u8(TAG_V6);
                self.bytes(&v6.ip().octets());
                self.bytes(&v6.port().to_be_bytes());
            }
            Err(_) => {
                self.u8(TAG_NAME);
                self.text(text);
            }
        }
    }

    pub(super) fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.u16()?);
        let (head, rest) = self.0.split_at_checked(length).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        std::str::from_utf8(head).map_err(|_| Malformed("a text in it is not UTF-8"))
    }

    pub(super) fn addresses(&mut self) -> Result<Vec<String>, Malformed> {
        let count = usize::from(self.u8()?);
        if count > MAX_ADDRESSES {
            return Err(Malformed("it has more than 16 addresses"));
        }
        (0..count).map(|_| self.address()).collect()
    }

    /// At least one: without any there is an older layout.
    pub(super) fn hubs(&mut self) -> Result<Vec<InviteHub>, Malformed> {
        let count = usize::from(self.u8()?);
        if count == 0 || count > MOST_INVITE_HUBS {
            return Err(Malformed("it has no hub, or more than two"));
        }
        let hub = |_| Ok(InviteHub { id: DeviceId::from_bytes(self.array()?), address: self.address()? });
        (0..count).map(hub).collect()
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("it goes on after its end")) }
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn address(&mut self) -> Result<String, Malformed> {
        let text = match self.u8()? {
            TAG_V4 => {
                let ip = Ipv4Addr::from(self.array::<4>()?);
                SocketAddrV4::new(ip, self.u16()?).to_string()
            }
            TAG_V6 => {
                let ip = Ipv6Addr::from(self.array::<16>()?);
                SocketAddrV6::new(ip, self.u16()?, 0, 0).to_string()
            }
            TAG_NAME => self.text()?.to_owned(),
            _ => return Err(Malformed("it has an address of unknown kind")),
        };
        address::normalise(&text).map_err(|_| Malformed("it has an address that can't be dialled"))
    }
}
