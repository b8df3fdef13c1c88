//! Holds back what goes faster than it may.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kith_identity::DeviceId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::fair::{Fair, Rates, WaiterId};

/// Where more wait than these, it is looked whose turn it is...
const MANY: usize = 64;
/// ...only so often, and not whenever somebody comes.
const TICK: Duration = Duration::from_millis(1);

/// Who wants to pass bytes on asks here first. While nothing is limited that costs one look at a flag.
#[derive(Debug)]
pub(crate) struct Pace {
    limited: AtomicBool,
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    fair: Fair,
    told: HashMap<WaiterId, oneshot::Sender<()>>,
}

impl Pace {
    pub(crate) fn new(rates: Rates) -> Self {
        let queue = Queue { fair: Fair::new(rates), told: HashMap::new() };
        Self {
            limited: AtomicBool::new(!rates.is_unlimited()),
            queue: Mutex::new(queue),
            changed: Notify::new(),
        }
    }

    /// Other rates, from now on and for all who wait.
    pub(crate) fn set_rates(&self, rates: Rates) {
        self.limited.store(!rates.is_unlimited(), Ordering::Relaxed);
        self.queue().fair.set_rates(rates);
        self.changed.notify_one();
    }

    /// Whether anything is held back.
    pub(crate) fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// Returns when these two may pass so many bytes on. Can be dropped at any time.
    pub(crate) async fn pass(&self, users: [DeviceId; 2], bytes: usize) {
        if !self.is_limited() {
            return;
        }
        let (tell, told) = oneshot::channel();
        let id = {
            let mut queue = self.queue();
            let id = queue.fair.ask(users, bytes);
            queue.told.insert(id, tell);
            id
        };
        let _withdrawn = Withdrawn { pace: self, id };
        self.changed.notify_one();
        // It is told, or the pace is no more: then there is nothing to wait for.
        told.await.ok();
    }

    /// Tells those whose turn it is, for as long as it runs.
    pub(crate) async fn run(&self) {
        loop {
            let (wait, waiting) = {
                let mut queue = self.queue();
                let now = Instant::now();
                for id in queue.fair.poll(now) {
                    if let Some(tell) = queue.told.remove(&id) {
                        // Whoever is gone doesn't mind.
                        tell.send(()).ok();
                    }
                }
                (queue.fair.wait(now), queue.fair.waiting())
            };
            if waiting > MANY {
                tokio::time::sleep(TICK).await;
            }
            match wait {
                Some(wait) => {
                    // What comes meanwhile is looked at too: it may be somebody who need not wait.
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes back what was asked for.
struct Withdrawn<'a> {
    pace: &'a Pace,
    id: WaiterId,
}

impl Drop for Withdrawn<'_> {
    fn drop(&mut self) {
        let mut queue = self.pace.queue();
        if queue.told.remove(&self.id).is_some() {
            queue.fair.withdraw(self.id);
        }
    }
}
