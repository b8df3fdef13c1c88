//! The port that friends come in by.
//!
//! A [`Listener`] binds the configured port and hands over what came through it and proved who it is: an [`Incoming`]
//! with a finished TLS handshake. Everybody else gets an answer that tells nothing: a person with telnet and a browser learn
//! that the port is open and where they come from, a stranger's TLS meets a certificate that stands for nobody and ends in an alert
//! ([`Faces`]). What strangers can cost is bounded, and those who bring a [tag](kith_identity::DialInTag) have places of their own: see
//! [`limits`]. Who was promised to be joined with another brings a tag too, and his connection is handed over as it is: a [`Leg`].
//! Whoever wants the port proved from outside waits here for a nonce that a friend brings: [`Listener::expect`]; whoever makes a
//! connection together with a friend's end waits here for that one's half: [`Listener::await_punch`].
//!
//! What it does *not* do: it doesn't decide who is a friend (that is the [`Admission`](kith_identity::tls::Admission)
//! inside the TLS configuration), says nothing on the links it handed over, maps no ports on routers and reads no settings.
//!
//! Architecture invariants: no handshake runs in the accept loop; no accept error ends it; a connection that hasn't sent a
//! whole ClientHello owns no TLS state; who was shown the face for strangers is never handed over; a link that was handed over is never touched again.

mod accept;
mod awaited;
mod bind;
mod config;
mod conversation;
mod door;
mod expected;
mod faces;
mod familiar;
pub mod gate;
mod greeting;
mod handshake;
mod leg;
pub mod limits;
mod listener;
mod places;
mod platform;
#[doc(hidden)]
pub mod readers;
mod serve;
mod strangers;
mod tune;
mod waiting;

pub use awaited::{AwaitError, AwaitedPunch, PunchSender};
pub use bind::{BindError, propose};
pub use config::{DEFAULT_PORT, ListenerConfig};
pub use door::Incoming;
pub use expected::{Arrival, ExpectError, Expected};
pub use faces::{Callers, Faces};
pub use leg::Leg;
pub use listener::{Listener, ListenerState};
pub use platform::{PortHolder, port_holder};
pub use tune::tune;
