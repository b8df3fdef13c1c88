//! Bytes from the operating system's generator.

/// `N` random bytes fit for keys.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("an operating system that runs Kith hands out random bytes");
    bytes
}
