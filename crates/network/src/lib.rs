//! What the operating system knows of the network: interfaces, their addresses, the gateways behind them; and the news
//! when that changes or when the computer wakes from sleep.
//!
//! What it does *not* do: it sends nothing, changes nothing, and decides nothing.

mod snapshot;

pub use snapshot::{Address, Gateway, Interface, InterfaceKind, Snapshot};
