//! The crate against routers: scripted ones on loopback, and a real one in network namespaces of its own.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "these are tests, helpers included")]

mod need;
mod real_router;
mod site;
mod udp_protocols;
mod upnp;
