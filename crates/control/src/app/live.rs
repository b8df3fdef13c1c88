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

/// When a message is due, it is made of so many events at most: who has events without end to hear is told of them all the same.
const MOST_EVENTS: usize = 256;

pub(super) struct StaleSections {
    events: Receiver<Event>,
    stale: BTreeSet<&'static str>,
    /// Events heard since there is something to tell.
    gathered: usize,
    next: Instant,
}

impl StaleSections {
    pub(super) fn new(shared: &Shared) -> Self {
        Self { events: shared.backend.events(), stale: BTreeSet::new(), gathered: 0, next: Instant::now() }
    }
}

impl Messages for StaleSections {
    // Dropped and called again at every heartbeat: what has been gathered stays in `self`.
    async fn next(&mut self) -> Option<String> {
        loop {
            let event = tokio::select! {
                // What has been told already belongs together, also when a message is due.
                biased;
                event = self.events.recv(), if self.may_gather() => event,
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
            if !self.stale.is_empty() {
                self.gathered += 1;
            }
        }
        self.gathered = 0;
        self.next = Instant::now() + PACE;
        serde_json::to_string(&std::mem::take(&mut self.stale)).ok()
    }
}

impl StaleSections {
    /// Whether more events are heard before the next message. Until one is due there is no bound: else what is not heard would be lost.
    fn may_gather(&self) -> bool {
        self.gathered < MOST_EVENTS || Instant::now() < self.next
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

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    fn listening(events: &broadcast::Sender<Event>) -> StaleSections {
        let (stale, gathered, next) = (BTreeSet::new(), 0, Instant::now());
        StaleSections { events: events.subscribe(), stale, gathered, next }
    }

    async fn soon(sections: &mut StaleSections) -> Option<String> {
        tokio::time::timeout(PACE * 2, sections.next()).await.ok().flatten()
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_been_told_already_is_one_message_whenever_it_is_heard() {
        let events = broadcast::Sender::new(64);
        let mut sections = listening(&events);
        for pause in [Duration::ZERO, PACE * 3] {
            tokio::time::advance(pause).await;
            for _ in 0..30 {
                events.send(Event::Near).unwrap();
            }
            events.send(Event::Sets).unwrap();
            assert_eq!(soon(&mut sections).await.as_deref(), Some("[\"near\",\"sets\",\"verdict\"]"));
            assert_eq!(soon(&mut sections).await, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn events_without_end_do_not_keep_a_page_from_hearing_of_them() {
        let events = broadcast::Sender::new(2 * MOST_EVENTS);
        let mut sections = listening(&events);
        let tell = || {
            for event in std::iter::repeat_n(Event::Near, MOST_EVENTS).chain([Event::Sets]) {
                events.send(event).unwrap();
            }
        };
        tell();
        assert_eq!(soon(&mut sections).await.as_deref(), Some("[\"near\"]"));
        assert_eq!(soon(&mut sections).await.as_deref(), Some("[\"sets\",\"verdict\"]"));
        // Before a message is due all of them are heard.
        tell();
        assert_eq!(soon(&mut sections).await.as_deref(), Some("[\"near\",\"sets\",\"verdict\"]"));
        assert_eq!(soon(&mut sections).await, None);
    }
}
