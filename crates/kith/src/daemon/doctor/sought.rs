//! What came of looking for friends by way of others.

use std::time::Duration;

use jiff::Timestamp;
use kith_identity::DeviceId;
use kith_peer::reach;
use kith_wire::Link;

use super::super::core::Core;
use super::super::roster::Friend;

/// A call lasts so many seconds at most.
const CALL: i64 = 45;
/// Between two looks whether the call led to a link.
const LOOK: Duration = Duration::from_millis(250);

/// When a friend was heard of by way of others, and when in vain; Unix seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Sought {
    pub(super) heard: Option<i64>,
    pub(super) silent: Option<i64>,
}

impl Core {
    pub(in crate::daemon) fn note_sought(&self, friend: &DeviceId, sought: reach::Sought) {
        let now = Some(Timestamp::now().as_second());
        self.sought.send_modify(|known| {
            known.retain(|id, _| self.roster.contains(id));
            let known = known.entry(*friend).or_default();
            match sought {
                reach::Sought::Heard => known.heard = now,
                // He answered the same call, and no more.
                reach::Sought::Silent if known.heard.max(now.map(|now| now - CALL)) == known.heard => {}
                reach::Sought::Silent => known.silent = now,
            }
        });
    }

    /// Waits until a call that others pass on led to a link, or the friend does not hear it. Who answers needs a while to come.
    pub(super) async fn wait_for_call(&self, friend: &Friend, since: i64, longest: Duration) -> Option<Link> {
        let peers = self.peers()?;
        let mut sought = self.sought.subscribe();
        let is_silent =
            |known: &Sought| known.silent.is_some_and(|at| at >= since) && known.silent > known.heard;
        let until = tokio::time::Instant::now() + longest;
        loop {
            if let Some(link) = peers.link(&friend.device_id) {
                return Some(link);
            }
            if sought.borrow_and_update().get(&friend.device_id).is_some_and(is_silent) {
                return None;
            }
            if tokio::time::Instant::now() >= until {
                return None;
            }
            // Whether a link came about meanwhile is looked at in any case.
            tokio::time::timeout(LOOK, sought.changed()).await.ok();
        }
    }
}
