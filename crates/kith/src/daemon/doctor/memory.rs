//! What worked before: so that the doctor can say that it has stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kith_nat::{Nat, Proof};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tracing::warn;

use super::super::core::{Core, lock, value};
use super::super::db::Table;
use super::gateway::{Gateway, Patience};

/// Most routers that are remembered.
const MOST_ROUTERS: usize = 8;
/// What worked longer ago than this is no promise any more, seconds.
const FORGOTTEN: i64 = 60 * 24 * 3600;
/// Between two looks at a network that changes.
const SETTLE: Duration = Duration::from_secs(5);
/// The same is not written again within this time, seconds.
const BETWEEN_NOTES: i64 = 600;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::daemon) struct Memory {
    /// When somebody from another computer got in at the port, Unix seconds.
    inbound: Option<i64>,
    /// When a friend came through each router from outside, by its hardware address.
    mapped: BTreeMap<String, i64>,
    /// When each router was heard last, by its hardware address.
    heard: BTreeMap<String, i64>,
}

impl Memory {
    /// When somebody got in at the port, if that was not too long ago.
    pub(super) fn inbound_at(&self, now: i64) -> Option<i64> {
        self.inbound.filter(|at| now - at < FORGOTTEN)
    }

    /// When a friend came in by this router, if that was not too long ago.
    pub(super) fn mapped_at(&self, hardware: Option<&str>, now: i64) -> Option<i64> {
        self.mapped.get(hardware?).copied().filter(|at| now - at < FORGOTTEN)
    }

    /// Whether this router has answered, if that was not too long ago: then its silence says something.
    pub(super) fn has_heard(&self, hardware: Option<&str>, now: i64) -> bool {
        let heard = hardware.and_then(|hardware| self.heard.get(hardware));
        heard.is_some_and(|at| now - at < FORGOTTEN)
    }

    /// Adds what was written down before.
    fn add(&mut self, before: Self) {
        self.inbound = self.inbound.max(before.inbound);
        for (known, before) in [(&mut self.mapped, before.mapped), (&mut self.heard, before.heard)] {
            for (hardware, at) in before {
                let known = known.entry(hardware).or_insert(at);
                *known = at.max(*known);
            }
        }
    }

    /// This router answered; true if that is to be written down.
    fn note_heard(&mut self, hardware: &str, now: i64) -> bool {
        note(&mut self.heard, hardware, now)
    }

    /// Somebody got in; true if that is to be written down.
    fn note_inbound(&mut self, now: i64) -> bool {
        let news = self.inbound.is_none_or(|before| now - before >= BETWEEN_NOTES);
        if news {
            self.inbound = Some(now);
        }
        news
    }

    /// A friend came in by this router; true if that is to be written down.
    fn note_mapped(&mut self, hardware: &str, now: i64) -> bool {
        note(&mut self.mapped, hardware, now)
    }
}

/// Notes it of one router, and forgets what is too old or too many; true if it is news.
fn note(routers: &mut BTreeMap<String, i64>, hardware: &str, now: i64) -> bool {
    if routers.get(hardware).is_some_and(|before| now - before < BETWEEN_NOTES) {
        return false;
    }
    routers.retain(|_, at| now - *at < FORGOTTEN);
    while routers.len() >= MOST_ROUTERS && !routers.contains_key(hardware) {
        let oldest = routers.iter().min_by_key(|(_, at)| **at).map(|(known, _)| known.clone());
        let Some(oldest) = oldest else { break };
        routers.remove(&oldest);
    }
    routers.insert(hardware.to_owned(), now);
    true
}

impl Core {
    pub(super) fn doctor_memory(&self) -> Memory {
        lock(&self.worked).clone()
    }

    /// Somebody from another computer got in at the port.
    pub(in crate::daemon) fn note_inbound(self: &Arc<Self>, remote: std::net::SocketAddr) {
        let ip = remote.ip().to_canonical();
        let is_ours = ip.is_loopback() || self.network.snapshot().local_addresses().contains(&ip);
        if !is_ours && lock(&self.worked).note_inbound(Timestamp::now().as_second()) {
            self.save_worked();
        }
    }

    /// This router answered.
    pub(super) fn note_heard(self: &Arc<Self>, hardware: &str) {
        if lock(&self.worked).note_heard(hardware, Timestamp::now().as_second()) {
            self.save_worked();
        }
    }

    /// This router kept silent when it was met: its silence says nothing from now on.
    pub(super) fn forget_heard(self: &Arc<Self>, hardware: &str) {
        if lock(&self.worked).heard.remove(hardware).is_some() {
            self.save_worked();
        }
    }

    fn save_worked(self: &Arc<Self>) {
        let core = self.clone();
        tokio::spawn(async move {
            let memory = core.doctor_memory();
            if let Err(error) = core.db.put(Table::Values, value::WORKED, &memory).await {
                warn!(%error, "what worked was not written down");
            }
        });
    }
}

/// Hears each router once when it is met, so that its silence means something later, or not; until the daemon ends.
pub(in crate::daemon) async fn meet_routers(core: Arc<Core>) {
    let mut network = core.network.watch();
    loop {
        let gateway = network.borrow_and_update().snapshot.gateways.first().cloned();
        if let Some(gateway) = gateway {
            let found = core.hear(&gateway, Patience::Short, &OnceCell::new()).await;
            if let (true, None, Some(hardware)) = (found.kept_silent, found.answers, &found.hardware) {
                core.forget_heard(hardware);
            }
        }
        tokio::time::sleep(SETTLE).await;
        if network.changed().await.is_err() {
            return;
        }
    }
}

/// Notes by which routers friends came in, until the daemon ends.
pub(in crate::daemon) async fn keep(core: Arc<Core>, nat: Nat) {
    if let Ok(Some(memory)) = core.db.get(Table::Values, value::WORKED).await {
        // Some of it may have been seen before it was read.
        lock(&core.worked).add(memory);
    }
    let mut state = nat.state();
    loop {
        let proved = {
            let state = state.borrow_and_update();
            let primary = state.primary.as_ref().filter(|mapping| mapping.protocol.is_some());
            primary
                .filter(|mapping| matches!(mapping.proof, Proof::Proved { .. }))
                .map(|mapping| mapping.uplink.gateway)
        };
        if let Some(address) = proved {
            let known =
                core.network.snapshot().gateways.iter().find(|known| known.address == address).cloned();
            let hardware = known.and_then(|known| Gateway::of(&known).hardware);
            let now = Timestamp::now().as_second();
            if let Some(hardware) = hardware
                && lock(&core.worked).note_mapped(&hardware, now)
            {
                core.save_worked();
            }
        }
        if state.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_router_is_remembered_by_itself_and_the_oldest_is_forgotten() {
        let mut memory = Memory::default();
        for n in 0..20 {
            assert!(memory.note_mapped(&format!("router {n}"), 1000 * n));
        }
        assert!(!memory.note_mapped("router 19", 19_001), "nothing new");
        assert_eq!(memory.mapped.len(), MOST_ROUTERS);
        assert_eq!(memory.mapped_at(Some("router 19"), 20_000), Some(19_000));
        assert_eq!(memory.mapped_at(Some("router 3"), 20_000), None);
        assert_eq!(memory.mapped_at(None, 20_000), None);
        assert_eq!(memory.mapped_at(Some("router 19"), 19_000 + FORGOTTEN), None, "too long ago");
        assert!(memory.note_inbound(5000) && !memory.note_inbound(5001) && memory.note_inbound(6000));
    }

    #[test]
    fn what_was_seen_before_the_rest_was_read_is_not_lost() {
        let (mut now, mut before) = (Memory::default(), Memory::default());
        assert!(now.note_heard("new", 9000) && now.note_inbound(9000));
        assert!(
            before.note_heard("old", 10) && before.note_heard("new", 20) && before.note_mapped("old", 30)
        );
        now.add(before);
        assert!(!now.has_heard(Some("old"), 10 + FORGOTTEN));
        assert!(now.has_heard(Some("old"), 9000) && now.heard["new"] == 9000);
        assert_eq!((now.inbound_at(9001), now.mapped_at(Some("old"), 9001)), (Some(9000), Some(30)));
    }
}
