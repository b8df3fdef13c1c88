//! kith-archive.
