//! kith-peer.
