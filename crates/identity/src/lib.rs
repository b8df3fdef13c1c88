//! kith-identity.
