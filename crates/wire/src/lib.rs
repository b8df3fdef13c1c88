//! kith-wire.
