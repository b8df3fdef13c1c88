//! The header of a yamux frame: version, type, flags, stream, length.

/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 12;

/// Opens a stream.
pub(crate) const SYN: u16 = 1;
/// Takes a stream that the other side opened.
pub(crate) const ACK: u16 = 2;
/// Nothing more will be sent on the stream.
pub(crate) const FIN: u16 = 4;
/// The stream is over, in both directions.
pub(crate) const RST: u16 = 8;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes of a stream follow, as many as the length says.
    Data,
    /// The length says how many bytes more may be sent on the stream.
    Window,
    /// Asks for an answer with the same number in the length, or is one.
    Ping,
    /// The connection ends; the length says why.
    GoAway,
}

/// The length of a [`Kind::GoAway`] that says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// As it should.
    Normal = 0,
    /// The other side broke the rules.
    Protocol = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) flags: u16,
    /// 0 is the connection itself.
    pub(crate) stream: u32,
    pub(crate) length: u32,
}

/// What can't be a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("a frame of version {0} came, and only version 0 is known")]
    Version(u8),
    #[error("a frame of the unknown type {0} came")]
    Kind(u8),
}

impl Header {
    pub(crate) const fn new(kind: Kind, flags: u16, stream: u32, length: u32) -> Self {
        Self { kind, flags, stream, length }
    }

    pub(crate) const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::Window => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        let mut bytes = [0, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&self.flags.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.stream.to_be_bytes());
        bytes[8..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    pub(crate) const fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderError> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
        if version != 0 {
            return Err(HeaderError::Version(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Window,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(HeaderError::Kind(other)),
        };
        Ok(Self {
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_is_read_as_it_was_written() {
        for kind in [Kind::Data, Kind::Window, Kind::Ping, Kind::GoAway] {
            let header = Header::new(kind, SYN | FIN, 0x0102_0304, 0xfffe_fdfc);
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
        let data = Header::new(Kind::Data, ACK | RST, 1, 2);
        assert_eq!(data.encode(), [0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    }

    #[test]
    fn other_versions_and_types_are_refused() {
        assert_eq!(Header::decode(&[1; 12]), Err(HeaderError::Version(1)));
        let mut header = Header::new(Kind::Ping, 0, 0, 0).encode();
        header[1] = 4;
        assert_eq!(Header::decode(&header), Err(HeaderError::Kind(4)));
    }
}
