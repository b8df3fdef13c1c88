//! The readers of documents that the daemon keeps, for whoever tries them with bytes of all kinds: a database that was in other
//! hands, or a state object of another program with the same key, brings any. Not part of what a daemon is for.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::invites::Record;
use super::roster::{Friend, KnownFriend};
use super::state_object::StateDocument;

/// For a state document, a friend, what the command line reads of a friend, and an invite: why it is none; nothing if it is one.
#[must_use]
pub fn documents(bytes: &[u8]) -> [Option<String>; 4] {
    [
        StateDocument::parse(bytes).err(),
        kept::<Friend>(bytes),
        serde_json::from_slice::<KnownFriend>(bytes).err().map(|error| error.to_string()),
        kept::<Record>(bytes),
    ]
}

/// Read, written and read again: what was kept once can be kept for ever.
fn kept<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    let read = |bytes: &[u8]| serde_json::from_slice::<T>(bytes).map_err(|error| error.to_string());
    let again = |value: T| {
        let written = serde_json::to_vec(&value).map_err(|error| error.to_string())?;
        read(&written).map_err(|error| format!("what was written can't be read: {error}"))
    };
    read(bytes).and_then(again).err()
}
