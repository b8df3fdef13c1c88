//! What the operating system knows of the network: interfaces, their addresses, the gateways behind them, the interface by
//! which everything leaves; and the news when that changes or when the computer wakes from sleep.
//!
//! [`Snapshot`] is the network at one moment, [`Network`] the handle that keeps one up to date and tells [`News`].
//!
//! What it does *not* do: it sends nothing, changes nothing, and decides nothing.

mod burst;
mod gateways;
mod interfaces;
mod kind;
mod network;
mod news;
mod platform;
mod sleep;
mod snapshot;

pub use network::{Network, through_sleep};
pub use news::News;
pub use snapshot::{Address, ByFamily, Gateway, Interface, InterfaceKind, Snapshot};
