//! What an owner uses and may use. Pure: numbers in, decisions out.

use std::fmt;

/// Locks are tiny and gone soon, and without one stock restic can't even delete from a full archive:
/// they may exceed the quota by this many bytes.
pub(crate) const LOCK_ALLOWANCE: u64 = 1 << 20;

/// The counted bytes of one owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) live: u64,
    pub(crate) held: u64,
    /// Promised to uploads under way.
    pub(crate) reserved: u64,
    /// `None`: nothing may be written.
    pub(crate) quota: Option<u64>,
}

/// Why no room was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// No room was offered at all.
    NothingOffered,
    /// Live bytes would exceed the quota.
    Quota { wanted: u64, used: u64, quota: u64 },
    /// Live and held bytes together would exceed twice the quota.
    Held { held: u64, live: u64, quota: u64 },
}

impl Ledger {
    /// Sets aside `bytes` for an upload; `allowance` is what it may exceed the limits by.
    pub(crate) fn reserve(&mut self, bytes: u64, allowance: u64) -> Result<(), NoRoom> {
        let quota = self.quota.ok_or(NoRoom::NothingOffered)?;
        let used = self.live.saturating_add(self.reserved);
        let after = used.saturating_add(bytes);
        if after > quota.saturating_add(allowance) {
            return Err(NoRoom::Quota { wanted: bytes, used, quota });
        }
        if after.saturating_add(self.held) > quota.saturating_mul(2).saturating_add(allowance) {
            return Err(NoRoom::Held { held: self.held, live: used, quota });
        }
        self.reserved = self.reserved.saturating_add(bytes);
        Ok(())
    }

    /// Gives a reservation back.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_sub(bytes);
    }

    /// Turns a reservation into live bytes.
    pub(crate) fn settle(&mut self, bytes: u64) {
        self.release(bytes);
        self.live = self.live.saturating_add(bytes);
    }

    /// Live bytes were moved aside.
    pub(crate) fn hold(&mut self, bytes: u64) {
        self.erase(bytes);
        self.held = self.held.saturating_add(bytes);
    }

    /// Held bytes came back: as many as before are on the disk, so that no limit can stand against it.
    pub(crate) fn unhold(&mut self, bytes: u64) {
        self.erase_held(bytes);
        self.live = self.live.saturating_add(bytes);
    }

    /// Held bytes are gone.
    pub(crate) fn erase_held(&mut self, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// Live bytes are gone.
    pub(crate) fn erase(&mut self, bytes: u64) {
        self.live = self.live.saturating_sub(bytes);
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingOffered => f.write_str("this computer offers you no space: ask its owner for some"),
            Self::Quota { wanted, used, quota } => write!(
                f,
                "this needs {wanted} bytes, but {used} of the {quota} bytes offered to you are used: \
                 delete old snapshots or ask for more space"
            ),
            Self::Held { held, live, quota } => write!(
                f,
                "deleted data that is still held ({held} bytes) and live data ({live} bytes) would together exceed \
                 twice the {quota} bytes offered to you: wait until the hold window has passed, or ask for more space"
            ),
        }
    }
}
