//! Tells an open page which of its sections are stale. The page then fetches those; so no markup travels inside a message.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::fragments::Section;
use crate::backend::Event;
use crate::server::{Messages, Shared};

/// Sections are told stale at most this often, however much happens.
const PACE: Duration = Duration::from_millis(250);

pub(super) struct StaleSections {
    events: Receiver<Event>,
    stale: BTreeSet<&'static str>,
    next: Instant,
}

impl StaleSections {
    pub(super) fn new(shared: &Shared) -> Self {
        Self { events: shared.backend.events(), stale: BTreeSet::new(), next: Instant::now() }
    }
}

impl Messages for StaleSections {
    // Dropped and called again at every heartbeat: what has been gathered stays in `self`.
    async fn next(&mut self) -> Option<String> {
        loop {
            let event = tokio::select! {
                event = self.events.recv() => event,
                () = tokio::time::sleep_until(self.next), if !self.stale.is_empty() => break,
            };
            match event {
                Ok(event) => self.stale.extend(stale_after(&event).iter().map(|section| section.name())),
                Err(RecvError::Lagged(_)) => {
                    self.stale.extend(Section::OVERVIEW.map(Section::name));
                    self.stale.extend([Section::Network, Section::Doctor].map(Section::name));
                }
                Err(RecvError::Closed) => return None,
            }
        }
        self.next = Instant::now() + PACE;
        serde_json::to_string(&std::mem::take(&mut self.stale)).ok()
    }
}

/// What to fetch again after an event.
fn stale_after(event: &Event) -> &'static [Section] {
    use Section::{Computer, Doctor, Friends, Jobs, Near, Network, Sets, Verdict};
    match event {
        Event::Status => &[Verdict, Computer, Jobs, Near, Network],
        Event::Friend { .. } => &[Verdict, Friends, Jobs, Network, Doctor],
        // Another event of the friend comes with it.
        Event::FriendPath { .. } => &[],
        Event::Friends => &[Verdict, Friends, Near, Sets, Doctor],
        Event::Near => &[Near],
        Event::Sets => &[Verdict, Sets],
        Event::Job { job } if job.state.is_over() => &Section::OVERVIEW,
        Event::Job { job } if job.progress.bytes_done == 0 => &[Verdict, Jobs, Friends, Sets],
        Event::Job { .. } => &[Jobs],
    }
}
