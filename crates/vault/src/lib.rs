//! kith-vault.
