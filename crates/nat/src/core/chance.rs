//! What looks random and is the same at every run: external ports, jitter, nonces. All follow from the seed.

use std::net::IpAddr;

use crate::{Nonce, Protocol};

/// How many ports are tried besides the remembered one and the listen port.
pub(super) const LIST: usize = 16;

/// A stream of numbers (the SplitMix64 generator).
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// The stream that belongs to these words.
    pub(super) fn of(seed: u64, words: &[&[u8]]) -> Self {
        // FNV-1a, with the length of each word so that their borders count.
        let mut state = 0xcbf2_9ce4_8422_2325_u64;
        let mut eat = |byte: u8| state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        for word in words {
            (word.len() as u64).to_le_bytes().into_iter().for_each(&mut eat);
            word.iter().copied().for_each(&mut eat);
        }
        Self(mix(seed) ^ state)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }
}

const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// An address in bytes, for [`Chance::of`].
pub(super) fn bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The nonce of a mapping: the same whenever this installation asks for it, and nobody else's.
pub(super) fn nonce(seed: u64, gateway: IpAddr, local: IpAddr, protocol: Protocol, port: u16) -> Nonce {
    let words: [&[u8]; 5] =
        [b"nonce", &bytes(gateway), &bytes(local), protocol.as_str().as_bytes(), &port.to_be_bytes()];
    let mut chance = Chance::of(seed, &words);
    let mut nonce = [0; 12];
    for part in nonce.chunks_mut(4) {
        // Half of every number is kept back: what a router sees does not tell the seed.
        let number = (chance.next() >> 32) as u32;
        part.copy_from_slice(&number.to_be_bytes());
    }
    Nonce(nonce)
}

/// The external ports to try at a gateway when the listen port is not to be had: unprivileged, all different, in an order that
/// is this installation's own. The listen port and Kith's default, which another Kith may want, are not among them.
pub(super) fn ports(seed: u64, gateway: IpAddr, listen: u16) -> [u16; LIST] {
    const LOWEST: u16 = 1024;
    const DEFAULT: u16 = 4242;
    let mut chance = Chance::of(seed, &[b"ports", &bytes(gateway)]);
    let mut ports = [0; LIST];
    let mut filled = 0;
    while filled < LIST {
        let span = u64::from(u16::MAX - LOWEST) + 1;
        let port = LOWEST + chance.below(span) as u16;
        if port != listen && port != DEFAULT && !ports[..filled].contains(&port) {
            ports[filled] = port;
            filled += 1;
        }
    }
    ports
}
