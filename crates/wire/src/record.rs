//! Where a computer can be found, in its own words: signed, numbered, and worthless after a while.

use kith_identity::{DeviceId, Identity, PublicKey, SIGNATURE_LENGTH};
use serde::{Deserialize, Serialize};

use crate::hello::check_addresses;

/// What the signature is for.
const PURPOSE: &str = "address record";
const KEY_LENGTH: usize = 32;
/// Most bytes of a signed record.
pub const RECORD_LIMIT: usize = 8 * 1024;
/// Seconds for which a record holds.
pub const RECORD_LIFE: u64 = 24 * 60 * 60;
/// By how many seconds the clock of whoever signed may be ahead of the reader's.
const MOST_AHEAD: u64 = 10 * 60;

/// Where a computer can be found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    /// Greater than that of any record before it.
    pub sequence: u64,
    /// When it was signed, Unix seconds.
    pub issued: u64,
    /// From when on it is worth nothing, Unix seconds.
    pub expires: u64,
    /// Addresses inside its network, `ip:port`.
    pub internal: Vec<String>,
    /// Addresses from outside, `host:port`: advertised, mapped, observed, IPv6.
    pub public: Vec<String>,
    /// Addresses of its router that are not public, `ip:port`: homes behind one carrier's NAT meet there.
    #[serde(default)]
    pub wan: Vec<String>,
    /// Hubs with which it is registered, `kith://DEVICEID@host:port`.
    #[serde(default)]
    pub hubs: Vec<String>,
    /// No connection ever comes in there.
    #[serde(default)]
    pub outbound_only: bool,
}

/// Bytes are not a record of the computer they are said to be from, or not one that holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Cut off, too long, or of another form.
    #[error("an address record that can't be read: {0}")]
    Malformed(String),
    /// Signed by somebody else, or changed since.
    #[error("an address record that was not signed by the computer it is said to be from")]
    Signature,
    /// Its time is over, or its clock far ahead.
    #[error(
        "an address record that does not hold now: issued at {issued}, until {expires}, and it is {now} (Unix seconds)"
    )]
    Time {
        /// When it was signed.
        issued: u64,
        /// Until when it holds.
        expires: u64,
        /// What time it is here.
        now: u64,
    },
}

impl AddressRecord {
    /// The record with its owner's key and signature before it.
    ///
    /// # Errors
    /// If it is longer than a reader takes.
    pub fn sign(&self, identity: &Identity) -> Result<Vec<u8>, RecordError> {
        let text = serde_json::to_vec(self).map_err(|error| RecordError::Malformed(error.to_string()))?;
        let signature = identity.sign(PURPOSE, &text);
        let bytes = [identity.public_key().as_bytes().as_slice(), &signature, &text].concat();
        if bytes.len() > RECORD_LIMIT {
            return Err(RecordError::Malformed(format!("it has {} bytes", bytes.len())));
        }
        Ok(bytes)
    }

    /// The record that its owner signed, if it holds at `now` (Unix seconds).
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn verify(bytes: &[u8], owner: &DeviceId, now: u64) -> Result<Self, RecordError> {
        let malformed = |reason: &str| RecordError::Malformed(reason.to_owned());
        if bytes.len() > RECORD_LIMIT {
            return Err(malformed("it is too long"));
        }
        let (key, rest) =
            bytes.split_first_chunk::<KEY_LENGTH>().ok_or_else(|| malformed("it is cut off"))?;
        let (signature, text) =
            rest.split_first_chunk::<SIGNATURE_LENGTH>().ok_or_else(|| malformed("it is cut off"))?;
        let key = PublicKey::from_bytes(*key);
        if key.device_id() != *owner || key.verify(PURPOSE, text, signature).is_err() {
            return Err(RecordError::Signature);
        }
        let record: Self = serde_json::from_slice(text).map_err(|error| malformed(&error.to_string()))?;
        record.check().map_err(|error| malformed(&error.to_string()))?;
        let Self { issued, expires, .. } = record;
        let holds = issued <= now.saturating_add(MOST_AHEAD)
            && now < expires
            && expires.saturating_sub(issued) <= RECORD_LIFE;
        if holds { Ok(record) } else { Err(RecordError::Time { issued, expires, now }) }
    }

    fn check(&self) -> Result<(), crate::WireError> {
        [&self.internal, &self.public, &self.wan, &self.hubs]
            .into_iter()
            .try_for_each(|list| check_addresses(list))
    }
}

#[cfg(test)]
mod tests {
    use kith_identity::IdentitySeed;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn identity(byte: u8) -> Identity {
        Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap()
    }

    fn record() -> AddressRecord {
        AddressRecord {
            sequence: 7,
            issued: NOW,
            expires: NOW + RECORD_LIFE,
            internal: vec!["10.0.0.2:4242".into()],
            ..AddressRecord::default()
        }
    }

    #[test]
    fn a_record_is_read_back_only_as_its_owner_signed_it() {
        let anna = identity(1);
        let signed = record().sign(&anna).unwrap();
        assert_eq!(AddressRecord::verify(&signed, &anna.device_id(), NOW), Ok(record()));
        let other = identity(2).device_id();
        assert_eq!(AddressRecord::verify(&signed, &other, NOW), Err(RecordError::Signature));
        for at in [0, 40, 100, signed.len() - 1] {
            let mut changed = signed.clone();
            changed[at] ^= 1;
            assert!(AddressRecord::verify(&changed, &anna.device_id(), NOW).is_err(), "byte {at}");
        }
        for length in [0, 31, 95, 97] {
            assert!(AddressRecord::verify(&signed[..length], &anna.device_id(), NOW).is_err());
        }
    }

    #[test]
    fn a_record_holds_for_its_time_only() {
        let anna = identity(1);
        let at = |record: AddressRecord, now| {
            AddressRecord::verify(&record.sign(&anna).unwrap(), &anna.device_id(), now)
        };
        assert!(at(record(), NOW + RECORD_LIFE - 1).is_ok());
        assert!(matches!(at(record(), NOW + RECORD_LIFE), Err(RecordError::Time { .. })));
        assert!(at(record(), NOW - MOST_AHEAD).is_ok());
        assert!(matches!(at(record(), NOW - MOST_AHEAD - 1), Err(RecordError::Time { .. })));
        let lasting = AddressRecord { expires: NOW + RECORD_LIFE + 1, ..record() };
        assert!(
            matches!(at(lasting, NOW), Err(RecordError::Time { .. })),
            "no record holds for longer than all others"
        );
    }

    #[test]
    fn a_flood_of_addresses_is_refused() {
        let anna = identity(1);
        let flood = AddressRecord { wan: vec!["10.0.0.1:1".into(); 33], ..record() };
        let signed = flood.sign(&anna).unwrap();
        assert!(matches!(
            AddressRecord::verify(&signed, &anna.device_id(), NOW),
            Err(RecordError::Malformed(_))
        ));
    }
}
