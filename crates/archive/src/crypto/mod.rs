//! Sealing and opening: AES-256-CTR with Poly1305-AES, as restic's "References/Design" describes it.
//!
//! The code binds neither a blob's id nor its type: whoever opens something compares its hash with the id it asked for.

mod key_file;
#[cfg(test)]
mod tests;

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};
use zeroize::Zeroizing;

pub use key_file::{KeyFile, KeyFileError, SealedKey, open_with_password};

/// Length of the random initialisation vector before the sealed bytes.
pub(crate) const IV_LENGTH: usize = 16;
/// Length of the authentication code after them.
const MAC_LENGTH: usize = 16;
/// By how many bytes sealing makes something longer.
pub const OVERHEAD: usize = IV_LENGTH + MAC_LENGTH;

/// The bits of `r` that Poly1305 uses.
const R_MASK: [u8; 16] =
    [0xff, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f];

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The authentication code is wrong: another key, or changed bytes.
    #[error("it was not sealed with this key, or it was changed")]
    Unauthenticated,
    /// Fewer bytes than any sealed content has.
    #[error("it is too short to be sealed content")]
    TooShort,
    /// The key consists of zeros.
    #[error("the key is empty")]
    EmptyKey,
    /// The cryptographic library failed, for example for want of random numbers.
    #[error("the cryptographic library failed")]
    Library,
}

/// The master key of a repository.
///
/// Deliberately without `Debug` and `Clone`: share it in an `Arc`.
pub struct MasterKey {
    /// Encryption key, then `k` and `r` of the authentication key; `r` is masked.
    bytes: Zeroizing<[u8; 64]>,
    encrypt: EncryptingKey,
    mac: EncryptingKey,
}

impl MasterKey {
    /// The key from 64 bytes: 32 for encryption, then 16 for `k` and 16 for `r` of the authentication key.
    ///
    /// # Errors
    /// Any of the three parts is all zeros.
    pub fn from_bytes(bytes: &[u8; 64]) -> Result<Self, CryptoError> {
        let mut bytes = Zeroizing::new(*bytes);
        for (byte, mask) in bytes[48..].iter_mut().zip(R_MASK) {
            *byte &= mask;
        }
        if [&bytes[..32], &bytes[32..48], &bytes[48..]].iter().any(|part| part.iter().all(|&byte| byte == 0))
        {
            return Err(CryptoError::EmptyKey);
        }
        let encrypt = UnboundCipherKey::new(&AES_256, &bytes[..32])
            .and_then(EncryptingKey::ctr)
            .map_err(|_| CryptoError::Library)?;
        let mac = UnboundCipherKey::new(&AES_128, &bytes[32..48])
            .and_then(EncryptingKey::ecb)
            .map_err(|_| CryptoError::Library)?;
        Ok(Self { bytes, encrypt, mac })
    }

    /// A new random key.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn random() -> Result<Self, CryptoError> {
        let mut bytes = Zeroizing::new([0; 64]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| CryptoError::Library)?;
        Self::from_bytes(&bytes)
    }

    /// The sealed form of `plain`: initialisation vector, ciphertext, authentication code.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut sealed = vec![0; plain.len() + OVERHEAD];
        sealed[IV_LENGTH..IV_LENGTH + plain.len()].copy_from_slice(plain);
        self.seal_in_place(&mut sealed)?;
        Ok(sealed)
    }

    /// Seals in place: `buffer` has room for the initialisation vector, the plain content, and room for the authentication
    /// code. Saves the copy that [`MasterKey::seal`] makes.
    pub(crate) fn seal_in_place(&self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        let (iv, rest) = buffer.split_first_chunk_mut::<IV_LENGTH>().ok_or(CryptoError::TooShort)?;
        let (content, mac) = rest.split_last_chunk_mut::<MAC_LENGTH>().ok_or(CryptoError::TooShort)?;
        // The system's own numbers: the library's generator takes 30 ms to collect entropy when it is first asked.
        getrandom::fill(iv).map_err(|_| CryptoError::Library)?;
        self.apply_cipher(iv, content)?;
        *mac = self.authenticate(iv, content)?;
        Ok(())
    }

    /// The content of something sealed.
    ///
    /// # Errors
    /// It was sealed with another key, or changed.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut plain = Vec::new();
        self.open_into(sealed, &mut plain)?;
        Ok(plain)
    }

    /// Puts the content of something sealed into `plain`, in the place of what was there. After an error it is empty.
    pub(crate) fn open_into(&self, sealed: &[u8], plain: &mut Vec<u8>) -> Result<(), CryptoError> {
        plain.clear();
        let (iv, rest) = sealed.split_first_chunk::<IV_LENGTH>().ok_or(CryptoError::TooShort)?;
        let (cipher, mac) = rest.split_last_chunk::<MAC_LENGTH>().ok_or(CryptoError::TooShort)?;
        let expected = self.authenticate(iv, cipher)?;
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected, mac)
            .map_err(|_| CryptoError::Unauthenticated)?;
        plain.extend_from_slice(cipher);
        let applied = self.apply_cipher(iv, plain);
        if applied.is_err() {
            plain.clear();
        }
        applied
    }

    /// Counter mode: the same operation encrypts and decrypts.
    fn apply_cipher(&self, iv: &[u8; IV_LENGTH], content: &mut [u8]) -> Result<(), CryptoError> {
        let context = EncryptionContext::Iv128(FixedLength::from(*iv));
        self.encrypt.less_safe_encrypt(content, context).map(drop).map_err(|_| CryptoError::Library)
    }

    /// Poly1305 with the one-time key `r || AES-128(k, iv)`.
    fn authenticate(&self, iv: &[u8; IV_LENGTH], cipher: &[u8]) -> Result<[u8; MAC_LENGTH], CryptoError> {
        let mut key = Zeroizing::new([0; 32]);
        let (r, s) = key.split_at_mut(16);
        r.copy_from_slice(&self.bytes[48..]);
        s.copy_from_slice(iv);
        self.mac.less_safe_encrypt(s, EncryptionContext::None).map_err(|_| CryptoError::Library)?;
        let mut poly = Poly1305::new(&(*key).into());
        // Whole blocks go through the parallel path; only the rest takes the slow one.
        let (blocks, rest) = poly1305::Block::slice_as_chunks(cipher);
        poly.update(blocks);
        Ok(poly.compute_unpadded(rest).into())
    }

    /// The three parts, for a key file.
    fn parts(&self) -> (&[u8], &[u8], &[u8]) {
        (&self.bytes[..32], &self.bytes[32..48], &self.bytes[48..])
    }
}
