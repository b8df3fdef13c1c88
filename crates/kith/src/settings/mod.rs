//! What the person decided: `kith.toml` and the layers below and above it.
//!
//! From weakest to strongest: built-in defaults, `/etc/kith/kith.toml`, `/etc/kith/conf.d/*.toml` in the order of their names,
//! the home's `kith.toml`, the environment (`KITH_CONTROL__APP_PORT` for `control.app-port`), flags of the command line, and
//! above all of them the administrator's `/etc/kith/locked.toml`. A stronger layer replaces a value as a whole, lists and
//! tables too.
//!
//! - [`schema`]: every key with its default and its help; the one list that errors, listings and the sample file share.
//! - [`Settings`]: the typed values. Whoever holds one holds checked values.
//! - [`load`]: reads the layers; each is checked alone, so that an error names the file and line.
//! - [`edit`]: changes the home's file, keeping comments and order.
//!
//! It does not watch files, and knows nothing of friends: names in `to` are not looked up here.

mod addresses;
pub mod edit;
mod error;
mod hub;
mod layer;
pub mod load;
mod merge;
mod model;
mod outbound;
mod ports;
pub mod schema;
#[cfg(test)]
mod tests;
mod text;
mod units;

pub use self::addresses::{Destination, HostPort, HubAddress, MappedDestination, ProxyKind, ProxyUrl};
pub use self::error::SettingsError;
pub use self::hub::{Hub, MOST_PEERS, MetricsAddress, MostComputers, MoveTime, Moving, Registering};
pub use self::layer::Origin;
pub use self::load::{Entry, Loaded, SettingsSources};
pub use self::model::{Accept, ComputerName, Control, Listener, Nat, Network, Settings, Vault};
pub use self::ports::{ListenPort, LocalPort, PortRange, Role};
pub use self::units::{ByteSize, HoldDays, parse_duration};
