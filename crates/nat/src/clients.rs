//! The protocols that routers speak, one module each: [`Request`](crate::Request) in, [`Answer`](crate::Answer) out, within
//! bounded time and memory whatever the router does.

mod allowance;
pub mod announcements;
mod dispatch;
mod ears;
pub mod nat_pmp;
pub mod pcp;
mod sockets;
mod udp;
pub mod upnp;

pub use dispatch::Clients;
pub(crate) use ears::Ears;
