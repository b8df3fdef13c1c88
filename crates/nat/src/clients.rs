//! The protocols that routers speak, one module each: [`Request`](crate::Request) in, [`Answer`](crate::Answer) out, within
//! bounded time and memory whatever the router does.

pub mod announcements;
pub mod nat_pmp;
pub mod pcp;
mod udp;
pub mod upnp;
