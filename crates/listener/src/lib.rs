//! kith-listener.
