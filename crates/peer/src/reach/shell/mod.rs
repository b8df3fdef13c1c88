//! What carries out what the machines of this module decide.

mod actor;
mod asking;
mod calling;
mod expected;
mod finding;
mod inviting;
mod meeting;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use futures::future::BoxFuture;
use kith_identity::{Identity, PairTag};
use kith_network::Network;
use kith_wire::{Class, DeviceId, HubAddress, Post, Registered};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use self::actor::Actor;
use self::expected::Expected;
use super::host::{ReachHost, ReachMemory};
use crate::calls::{Calls, Dialed};
use crate::outbound::Outbound;
use crate::peers::{Peers, WeakPeers};
use crate::race::Attempt;

/// Messages and calls that wait to be looked at; those that find no room are refused.
const MOST_WAITING: usize = 128;

/// Reaches friends by the help of carriers, and lets them find us. It ends with the last clone.
#[derive(Clone)]
pub struct Reach(Arc<Shared>);

/// What the task shares with those who ask it.
struct Shared {
    messages: mpsc::Sender<Message>,
    peers: WeakPeers,
    outbound: Outbound,
    /// Under which tags messages are awaited, and from whom.
    tags: RwLock<BTreeMap<PairTag, Awaited>>,
    /// From where a friend's half of a punch may come in, and until when.
    punched: Mutex<Expected>,
    changed: Arc<Notify>,
    /// Everything is wanted anew.
    afresh: Arc<Notify>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// From whom a message is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// A friend.
    Friend(DeviceId),
    /// Whoever holds the invite with this one-time key.
    Invited(DeviceId),
}

/// What the task is asked.
enum Message {
    Call {
        friend: DeviceId,
        worst: Class,
        answer: oneshot::Sender<Result<Dialed, Vec<Attempt>>>,
    },
    Posted {
        carrier: DeviceId,
        from: Awaited,
        post: Post,
        handed_by: Option<HubAddress>,
    },
    Registered {
        hub: DeviceId,
        news: Registered,
    },
    /// A link to this hub is wanted for a while.
    Borrow(HubAddress),
    /// At these hubs a new friend may be met.
    Hubs {
        friend: DeviceId,
        hubs: Vec<HubAddress>,
    },
}

impl Reach {
    /// Begins to help the peers: registers with carriers, answers calls, and makes them. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(
        host: Arc<dyn ReachHost>,
        memory: ReachMemory,
        identity: Arc<Identity>,
        outbound: Outbound,
        (peers, network): (&Peers, &Network),
    ) -> Self {
        let (messages, received) = mpsc::channel(MOST_WAITING);
        let shared = Arc::new(Shared {
            messages,
            peers: peers.downgrade(),
            outbound: outbound.clone(),
            tags: RwLock::default(),
            punched: Mutex::default(),
            changed: Arc::default(),
            afresh: Arc::default(),
            task: Mutex::default(),
        });
        let actor = Actor::new((host, memory), (identity, outbound), peers, Arc::downgrade(&shared));
        let run = actor.run(
            received,
            (shared.changed.clone(), shared.afresh.clone()),
            (peers.carriers_changed(), network.watch()),
        );
        let task = AbortOnDropHandle::new(tokio::spawn(Box::pin(run)));
        *shared.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        peers.set_calls(Arc::new(Self(shared.clone())));
        Self(shared)
    }

    /// To be called after anything that the host answers from has changed: friends, addresses, settings.
    pub fn changed(&self) {
        self.0.changed.notify_one();
    }
}

impl Calls for Reach {
    fn call(&self, friend: DeviceId, worst: Class) -> BoxFuture<'static, Result<Dialed, Vec<Attempt>>> {
        let messages = self.0.messages.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            if messages.send(Message::Call { friend, worst, answer }).await.is_err() {
                return Err(Vec::new());
            }
            answered.await.unwrap_or_else(|_ended| Err(Vec::new()))
        })
    }

    fn posted(&self, carrier: DeviceId, post: Post, handed_by: Option<HubAddress>) -> bool {
        let tags = self.0.tags.read().unwrap_or_else(PoisonError::into_inner);
        let Some(from) = tags.get(&post.tag).copied() else { return false };
        self.0.messages.try_send(Message::Posted { carrier, from, post, handed_by }).is_ok()
    }

    fn registered(&self, hub: DeviceId, news: Registered) {
        // One too many is said again with the next registration.
        drop(self.0.messages.try_send(Message::Registered { hub, news }));
    }

    fn afresh(&self) {
        self.0.afresh.notify_one();
    }

    fn punched(&self, friend: &DeviceId, remote: SocketAddr) -> bool {
        let punched = self.0.punched.lock().unwrap_or_else(PoisonError::into_inner);
        punched.is_expected(friend, remote, Instant::now())
    }
}

impl Shared {
    fn set_tags(&self, tags: BTreeMap<PairTag, Awaited>) {
        *self.tags.write().unwrap_or_else(PoisonError::into_inner) = tags;
    }

    /// A punch leads there from now on.
    fn expect(&self, friend: DeviceId, targets: &[SocketAddr]) {
        let mut punched = self.punched.lock().unwrap_or_else(PoisonError::into_inner);
        punched.expect(friend, targets, Instant::now());
    }
}
