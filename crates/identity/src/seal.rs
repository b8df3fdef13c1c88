//! Sealing with AES-256-GCM-SIV (RFC 8452): the mode survives even a repeated nonce, so that a key never wears out.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::random::random_bytes;

/// Bytes that sealing adds: the nonce before, the tag after.
pub(crate) const OVERHEAD: usize = NONCE_LEN + 16;

/// Nonce, ciphertext and tag. `bound` is not in it and must be the same when it is opened.
pub(crate) fn seal(key: &[u8; 32], bound: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let nonce: [u8; NONCE_LEN] = random_bytes();
    let mut body = plaintext.to_vec();
    cipher(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut body)
        .expect("AES-GCM-SIV seals up to 64 GiB, and what is sealed here fits into memory");
    [nonce.as_slice(), &body].concat()
}

/// What [`seal`] was given; `None` if it was sealed with another key, bound to something else, cut off or changed.
pub(crate) fn open(key: &[u8; 32], bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = Zeroizing::new(body.to_vec());
    let length = cipher(key).open_in_place(nonce, Aad::from(bound), body.as_mut_slice()).ok()?.len();
    body.truncate(length);
    Some(body)
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).expect("a key of AES-256 has 32 bytes"))
}
