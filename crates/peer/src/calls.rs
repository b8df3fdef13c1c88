//! The ways to a friend that need a third computer, as this crate's dialling sees them.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;
use kith_wire::{ByteStream, Class, DeviceId, HubAddress, Post, Registered};

use crate::race::Attempt;
use crate::way::Way;

/// An outgoing connection whose other end has proved to be the friend.
pub struct Dialed {
    /// Authenticated.
    pub stream: Box<dyn ByteStream>,
    /// The other end of the TCP connection.
    pub remote: SocketAddr,
    /// Our end of it.
    pub local: SocketAddr,
    /// What it runs through.
    pub way: Way,
}

impl std::fmt::Debug for Dialed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { remote, local, way, .. } = self;
        f.debug_struct("Dialed")
            .field("remote", remote)
            .field("local", local)
            .field("way", way)
            .finish_non_exhaustive()
    }
}

/// Reaches friends by the help of others. Dropping a call's future gives the call up.
pub trait Calls: Send + Sync + 'static {
    /// Reaches a friend by a way of this class or a better one. It begins 500 ms after the first address was dialled; at once if
    /// none is left.
    ///
    /// The computer of the two that is not the TLS client gets no connection from here: its future ends with what was tried, or
    /// is dropped when the connection [arrives](crate::Peers::arrive).
    ///
    /// An error has what was tried, and why it failed; without an entry there was nothing to try.
    fn call(&self, friend: DeviceId, worst: Class) -> BoxFuture<'static, Result<Dialed, Vec<Attempt>>>;

    /// A carrier, which is linked, hands over a message; a hub also one that another hub handed to it. False if it is for nobody
    /// here, or one too many.
    fn posted(&self, carrier: DeviceId, post: Post, handed_by: Option<HubAddress>) -> bool;

    /// A hub, which is linked, says what is different from now on.
    fn registered(&self, hub: DeviceId, news: Registered) {
        let _by_nobody = (hub, news);
    }

    /// Every link was dropped because a person wants everything anew: what was searched a moment ago is searched again, and whoever carries for us
    /// is told all again.
    fn afresh(&self) {}

    /// Whether a punch with a friend has led to this address a moment ago, so that what comes in from there may be his half of it.
    fn punched(&self, friend: &DeviceId, remote: SocketAddr) -> bool {
        let _by_nobody = (friend, remote);
        false
    }
}

/// Nobody helps.
struct NoCalls;

impl Calls for NoCalls {
    fn call(&self, _friend: DeviceId, _worst: Class) -> BoxFuture<'static, Result<Dialed, Vec<Attempt>>> {
        Box::pin(std::future::ready(Err(Vec::new())))
    }

    fn posted(&self, _carrier: DeviceId, _post: Post, _handed_by: Option<HubAddress>) -> bool {
        false
    }
}

/// Who makes the calls now.
#[derive(Clone)]
pub(crate) struct Caller(Arc<RwLock<Arc<dyn Calls>>>);

impl Default for Caller {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Arc::new(NoCalls))))
    }
}

impl Caller {
    pub(crate) fn set(&self, calls: Arc<dyn Calls>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = calls;
    }

    /// Nobody makes calls any more.
    pub(crate) fn clear(&self) {
        self.set(Arc::new(NoCalls));
    }

    pub(crate) fn now(&self) -> Arc<dyn Calls> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
