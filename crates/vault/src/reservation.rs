//! Room set aside for one upload: in the owner's quota and on the disk.

use std::sync::Arc;

use crate::archive::{Place, disk_full};
use crate::disk::Disk;
use crate::layout::charge;
use crate::ledger::LOCK_ALLOWANCE;
use crate::names::{Object, ObjectType};
use crate::owner::OwnerState;
use crate::refusal::{Code, Refusal};

/// Room for one upload; given back when dropped, unless settled.
pub(crate) struct Reservation {
    owner: Arc<OwnerState>,
    disk: Arc<Disk>,
    /// What the object counts as; 0 once settled.
    charged: u64,
    /// Announced and not yet written.
    unwritten: u64,
}

impl Reservation {
    /// Sets room aside for `length` bytes, or says what it lacks. Blocking.
    pub(crate) fn take(place: &Place, object: &Object, length: u64) -> Result<Self, Refusal> {
        let allowance =
            if matches!(object, Object::Named(ObjectType::Locks, _)) { LOCK_ALLOWANCE } else { 0 };
        let charged = charge(length);
        let reserved = place.owner.ledger().reserve(charged, allowance);
        reserved.map_err(|no_room| Refusal::new(Code::QuotaExceeded, no_room.to_string()))?;
        // From here on `drop` gives back what was set aside.
        let (owner, disk) = (Arc::clone(&place.owner), Arc::clone(&place.disk));
        let mut reservation = Self { owner, disk, charged, unwritten: 0 };
        match place.disk.promise(length) {
            Ok(Ok(())) => {
                reservation.unwritten = length;
                Ok(reservation)
            }
            Ok(Err(_)) => Err(disk_full()),
            Err(error) => Err(place.failed("ask for the free space", &error)),
        }
    }

    /// Bytes are on the disk now, and missing from its free space.
    pub(crate) fn wrote(&mut self, bytes: u64) {
        let bytes = bytes.min(self.unwritten);
        self.unwritten -= bytes;
        self.disk.fulfil(bytes);
    }

    /// The object is in its place.
    pub(crate) fn settle(mut self) {
        self.owner.ledger().settle(self.charged);
        self.charged = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.disk.fulfil(self.unwritten);
        self.owner.ledger().release(self.charged);
    }
}
