//! Proof from outside: a friend calls at an address that we believe to lead to our listener, and we do the same for him.
//!
//! Who asks believes nobody but his own listener: the nonce arrived there, or it did not. Who is asked calls only where a
//! connection of the asker comes from, never inside, seldom, and with one ClientHello: nobody gains by asking.

mod ask;
mod call;
mod guard;
mod outside;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::join_all;
use kith_wire::{DialBackAnswer, DialBackNonce, DialBackOrder, DialBackOutcome, DialBackResult};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::outbound::Outbound;

pub use ask::{AskDialBackError, Asker, ask_dial_back, ask_dial_back_from};
use call::call;
use guard::{Guard, Judgement, PresenceId};
pub use outside::is_outside;

/// Requests that are carried out at once, over all friends. Each one takes at most two sockets for some seconds.
const MOST_AT_ONCE: usize = 8;

/// The sockets are those of the process, whatever friend they are for.
static PLACES: Semaphore = Semaphore::const_new(MOST_AT_ONCE);

/// What one friend asks for, and from where he is connected.
#[derive(Debug, Default)]
pub(crate) struct DialBacks {
    guard: Mutex<Guard>,
    outbound: Outbound,
}

/// A live connection whose other end has proved to be the friend; until this is dropped he may ask to be called at its address.
#[derive(Debug)]
pub(crate) struct Presence {
    dial_backs: Arc<DialBacks>,
    /// None if the address of its other end is not the friend's.
    id: Option<PresenceId>,
}

impl Presence {
    pub(crate) fn dial_backs(&self) -> Arc<DialBacks> {
        self.dial_backs.clone()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.dial_backs.guard().leave(id);
        }
    }
}

impl DialBacks {
    /// Calls as these rules let it.
    pub(crate) fn new(outbound: Outbound) -> Self {
        Self { guard: Mutex::default(), outbound }
    }

    /// Notes a connection of the friend that comes from this address, or that leads there; none if it is not his own.
    pub(crate) fn connected(self: &Arc<Self>, remote: Option<IpAddr>) -> Presence {
        Presence { dial_backs: self.clone(), id: remote.map(|remote| self.guard().enter(remote)) }
    }

    /// Does what the friend asks for, as far as he may ask for it; `is_outside` knows which addresses are [outside](is_outside()).
    pub(crate) async fn serve(
        &self,
        order: &DialBackOrder,
        is_outside: impl Fn(IpAddr) -> bool + Send,
    ) -> DialBackAnswer {
        self.serve_within(&PLACES, order, is_outside).await
    }

    async fn serve_within(
        &self,
        places: &Semaphore,
        order: &DialBackOrder,
        is_outside: impl Fn(IpAddr) -> bool + Send,
    ) -> DialBackAnswer {
        let Ok(_place) = places.try_acquire() else {
            let busy = |&address| {
                let detail = "it is calling for too many others".to_owned();
                result(address, DialBackOutcome::TooSoon, Some(detail))
            };
            return DialBackAnswer { results: order.addresses().iter().map(busy).collect() };
        };
        let judged = self.guard().judge(order.addresses(), is_outside, Instant::now());
        let carried_out =
            judged.into_iter().map(|(address, judgement)| self.carry_out(address, judgement, order.nonce()));
        DialBackAnswer { results: join_all(carried_out).await }
    }

    async fn carry_out(
        &self,
        address: std::net::SocketAddr,
        judgement: Judgement,
        nonce: DialBackNonce,
    ) -> DialBackResult {
        match judgement {
            Judgement::Call => {
                if !self.outbound.allows_directly(address) {
                    let detail = "its settings let it connect only elsewhere, or by others".to_owned();
                    return result(address, DialBackOutcome::NotAllowed, Some(detail));
                }
                let met = call(address, self.outbound.ports().as_ref(), &nonce).await;
                tracing::debug!(%address, outcome = ?met.outcome, "called back for a friend");
                result(address, met.outcome, met.detail)
            }
            Judgement::TooSoon { wait } => {
                let detail = format!("it calls again in {} s", wait.as_secs() + 1);
                result(address, DialBackOutcome::TooSoon, Some(detail))
            }
            Judgement::NotAllowed => {
                let detail = "no connection of the asker comes from this address".to_owned();
                result(address, DialBackOutcome::NotAllowed, Some(detail))
            }
            Judgement::Inside => {
                let detail =
                    "the asker comes from here by this address: a call to it would prove nothing".to_owned();
                result(address, DialBackOutcome::NotAllowed, Some(detail))
            }
        }
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        // No code that holds the lock can leave the guard half-written.
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn result(address: std::net::SocketAddr, outcome: DialBackOutcome, detail: Option<String>) -> DialBackResult {
    DialBackResult { address: address.to_string(), outcome, detail }
}
