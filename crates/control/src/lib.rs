//! kith-control.
