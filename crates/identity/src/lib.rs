//! Who a computer is.
//!
//! Everything a Kith computer is follows from one [`RecoveryPhrase`] of 24 words: its Ed25519 key
//! and through it the [`DeviceId`] that friends pin, the key of its sealed state, and the keys of
//! its archives. This crate turns the phrase into those keys, the keys into rustls configurations
//! that accept exactly the computers they should ([`tls`]), and two strangers into friends
//! ([`Invite`], [`ReplyLine`], [`safety_sentence`]).
//!
//! What it does *not* do: no files, no sockets, no clock, no tokio. Whoever uses it stores the keys,
//! carries the bytes and says what time it is. It never logs.
//!
//! Architecture invariants: no secret type implements `Debug`, `Display` or `Serialize`; secrets are
//! compared in constant time and wiped when dropped.

mod archive_id;
mod credential;
mod derive;
mod device_id;
mod dial_back;
mod dial_in;
mod head;
mod hub_token;
mod identity;
mod invite;
mod meeting;
mod name;
mod pair;
mod phrase;
mod random;
mod safety;
mod seal;
mod secret;
mod state_key;
pub mod tls;

pub use archive_id::{ArchiveId, DialBackNonce, InstallationId, ParseHexIdError};
pub use credential::CredentialError;
pub use derive::{
    ArchiveRootKey, ChunkerSeed, DerivedSecrets, DialInKey, DialInSecret, IdentitySeed, MasterKey, StateKey,
};
pub use device_id::{DeviceId, ParseDeviceIdError};
pub use dial_in::{DialInRing, DialInTag};
pub use head::{HEAD_LENGTH, Head, HeadError, SignedHead, SnapshotSetHash};
pub use hub_token::{HubToken, HubTokenKey, ParseHubTokenError};
pub use identity::{BadSignature, Identity, PublicKey, SIGNATURE_LENGTH};
pub use invite::{
    AddressError, Invite, InviteError, InviteHub, InviteId, InviteSecret, InviteTerms, LineKind,
    MAX_ADDRESSES, MOST_INVITE_HUBS, OneTimeKey, Ownership, ReplyError, ReplyLine,
};
pub use meeting::{Commitment, MeetingNumber, meeting_sentence};
pub use name::{MAX_NAME_CHARACTERS, sanitise_name};
pub use pair::{DAY, HOUR, PairKey, PairTag, ReachKey, Sealed, TagUse};
pub use phrase::{PhraseError, RecoveryPhrase, WORDS_IN_A_PHRASE, is_phrase_word};
pub use safety::{SafetySentence, safety_sentence};
pub use secret::WrongKeyLength;
pub use state_key::OpenStateError;
