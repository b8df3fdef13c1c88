//! What this computer keeps for its friends.
//!
//! A [`Vault`] is one directory on one disk. For every friend (an [`Owner`]) it holds archives: plain restic
//! repository directories without keys, which the owner fills and reads through restic's REST protocol, version 2
//! ([`Vault::handle`]). Bytes are acknowledged only when they are proven (SHA-256 equals the name) and durable;
//! nothing is overwritten, and what the owner deletes is moved aside, not erased. [`layout`] specifies the bytes
//! on disk, the order of writes and what is assumed of the medium.
//!
//! What this crate does *not* do: it opens no socket, knows no TLS and authenticates nobody (the caller names the
//! owner, having proved it); it holds no key and can read nothing of what it stores; it remembers no settings
//! (quotas and who is accepted are told to it after every start); it does not limit how slowly a request arrives.

mod archive;
mod body;
mod delete;
mod disk;
mod error;
mod handle;
pub mod layout;
mod ledger;
mod list;
mod names;
mod open;
mod owner;
mod range;
mod read;
mod refusal;
mod reservation;
mod route;
mod scan;
mod state;
mod upload;
mod vault;

pub use body::{BoxError, VaultBody};
pub use error::{StateError, VaultError};
pub use names::{ArchiveName, NameError, Owner};
pub use refusal::{CODE_HEADER, Code};
pub use vault::{Accepting, DEFAULT_FREE_SPACE_FLOOR, Usage, Vault, VaultConfig};

#[cfg(test)]
mod tests;
