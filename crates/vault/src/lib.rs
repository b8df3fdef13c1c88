//! What this computer keeps for its friends.
//!
//! A [`Vault`] is one directory on one disk. For every friend (an [`Owner`]) it holds archives: plain restic
//! repository directories without keys, which the owner fills and reads through restic's REST protocol, version 2
//! ([`Vault::handle`]). Bytes are acknowledged only when they are proven (SHA-256 equals the name) and durable;
//! nothing is overwritten, and what the owner deletes is moved aside and held for a time that he can't shorten, in which
//! the archive can be read as it was and the deletion undone. [`layout`] specifies the bytes
//! on disk, the order of writes and what is assumed of the medium.
//!
//! What this crate does *not* do: it opens no socket, knows no TLS and authenticates nobody (the caller names the
//! owner, having proved it); it holds no key and can read nothing of what it stores; it remembers no settings
//! (quotas and who is accepted are told to it after every start); it does not limit how slowly a request arrives.

mod archive;
mod arrivals;
mod body;
mod clock;
mod damage;
mod delete;
mod disk;
mod error;
mod handle;
mod held;
mod hold;
mod incarnation;
mod keeper;
pub mod layout;
mod ledger;
mod list;
mod medium;
mod names;
mod open;
mod owner;
mod range;
mod read;
#[doc(hidden)]
pub mod readers;
mod refusal;
mod reservation;
mod route;
mod scan;
mod scrub;
mod state;
mod sweep;
mod undelete;
mod upload;
mod vault;
mod view;

pub use body::{BoxError, VaultBody};
pub use clock::{Clock, HoldClock, MAX_STEP, SystemClock};
pub use damage::{Damage, DamagedObject};
pub use error::{StateError, VaultError};
pub use hold::DEFAULT_HOLD;
pub use incarnation::{Incarnation, Writer};
pub use medium::{LocalDisk, Medium, MediumFile};
pub use names::{ArchiveName, NameError, Owner};
pub use refusal::{CODE_HEADER, Code, SUPERSEDED_HEADER};
pub use scrub::{DEFAULT_SCRUB, Haste, ScrubState, Scrubbed};
pub use sweep::{Erased, SweepReport};
pub use vault::{Accepting, DEFAULT_FREE_SPACE_FLOOR, Usage, Vault, VaultConfig};
pub use view::AS_OF_HEADER;

#[cfg(test)]
mod tests;
