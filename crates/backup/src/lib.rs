//! kith-backup.
