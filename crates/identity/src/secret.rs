//! The shape that all secret keys of this crate share.

use thiserror::Error;

/// Stored key material has another length than the key it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a stored {key} has {expected} bytes, this one has {found}")]
pub struct WrongKeyLength {
    /// Which key was read.
    pub key: &'static str,
    /// How many bytes such a key has.
    pub expected: usize,
    /// How many were there.
    pub found: usize,
}

/// Defines a secret of fixed length: wiped on drop, compared in constant time, never shown.
macro_rules! secret_key {
    ($(#[$doc:meta])* $name:ident, $length:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(zeroize::Zeroizing<[u8; $length]>);

        impl $name {
            /// How many bytes it has.
            pub const LENGTH: usize = $length;

            /// The key from bytes that an earlier `to_bytes` gave.
            #[must_use]
            pub fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(zeroize::Zeroizing::new(bytes))
            }

            /// The key from the content of the file it was stored in.
            ///
            /// # Errors
            /// If the length is not that of such a key.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, $crate::secret::WrongKeyLength> {
                let array = <[u8; $length]>::try_from(bytes).map_err(|_| $crate::secret::WrongKeyLength {
                    key: $what,
                    expected: $length,
                    found: bytes.len(),
                })?;
                Ok(Self::from_bytes(array))
            }

            /// The bytes to store, wiped when dropped. They belong in a file of mode 0600.
            #[must_use]
            pub fn to_bytes(&self) -> zeroize::Zeroizing<[u8; $length]> {
                self.0.clone()
            }

            /// The bytes, without a copy.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                bool::from(subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), other.0.as_slice()))
            }
        }

        impl Eq for $name {}
    };
}
pub(crate) use secret_key;
