//! The readers of documents that the daemon keeps, for whoever tries them with bytes of all kinds: a database that was in other
//! hands, or a state object of another program with the same key, brings any. Not part of what a daemon is for.

use std::collections::BTreeSet;

use kith_identity::PublicKey;
use kith_nat::Remembered;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::damage;
use super::dial_in::Counters;
use super::heads::{HeadRow, SnapshotRow};
use super::installation::Superseded;
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

/// For a head, a snapshot, who has taken over, the counters of dial-in keys, what is damaged at a friend, and what is mapped on
/// routers, as rows of `state.db`: why it is none; nothing if it is one.
#[must_use]
pub fn rows(bytes: &[u8]) -> [Option<String>; 6] {
    [
        kept::<HeadRow>(bytes),
        kept::<SnapshotRow>(bytes),
        kept::<Option<Superseded>>(bytes),
        kept::<Counters>(bytes),
        kept::<BTreeSet<String>>(bytes),
        kept::<Vec<Remembered>>(bytes),
    ]
}

/// What a state document says of each archive of ours: whether its head holds, how many snapshots must be there, and how many are
/// gone.
///
/// # Errors
/// A sentence; "what was written" if one of them does not come through being told on.
pub fn archives(bytes: &[u8], us: &PublicKey) -> Result<Vec<(bool, usize, usize)>, String> {
    let document = StateDocument::parse(bytes)?;
    let known = document.archives.iter().map(|told| {
        let known = told.known(us);
        // Telling it again leaves out nothing but what is beyond the bounds of telling.
        let again = told.again(&known, us);
        if again.head != known.head
            || again.kept.iter().any(|(id, made)| known.kept.get(id) != Some(made))
            || again.gone.iter().any(|(id, gone)| known.gone.get(id) != Some(gone))
            || told.again(&again, us) != again
        {
            return Err(format!("what was written of {} can't be read", told.archive()));
        }
        Ok((known.head.is_some(), known.kept.len(), known.gone.len()))
    });
    known.collect()
}

/// What a friend's answer says is damaged of an archive, as far as it can be replaced: `data/...` and `index/...`.
///
/// # Errors
/// It is no answer.
pub fn damaged(answer: &[u8], archive: &str) -> Result<Vec<String>, String> {
    let named = damage::named(answer, archive)?;
    let files = named.iter().filter_map(|object| damage::parse(object));
    Ok(files.map(|(kind, id)| damage::object(kind, &id)).collect())
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
