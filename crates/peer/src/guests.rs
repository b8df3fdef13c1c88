//! Connections that are served and are not the link: of a friend's older installations, and of visitors.

use std::collections::VecDeque;
use std::time::Duration;

use kith_wire::Link;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};

use crate::session::Session;

/// So many installations at once of one friend; further ones are turned away, for those who are here may be in the middle of a restore.
const MOST: usize = 4;
/// So many visitors; one more, and the oldest has to go: who recovers is not kept out by others who came before him.
const MOST_VISITORS: usize = 4;

/// Longest stay of a visitor.
pub(crate) const LONGEST_VISIT: Duration = Duration::from_secs(120);

/// The guests of one friend. They end when this is dropped.
#[derive(Default)]
pub(crate) struct Guests {
    installations: VecDeque<Guest>,
    visitors: VecDeque<Guest>,
}

struct Guest {
    link: Link,
    task: AbortOnDropHandle<()>,
}

impl Guests {
    /// Serves a connection beside the link for as long as it lives.
    pub(crate) fn serve(&mut self, session: Session, visits: bool) {
        let guests = self.of(visits);
        guests.retain(|guest| !guest.task.is_finished());
        if !visits && guests.len() >= MOST {
            session.link.close("too many connections of this computer at once");
            session.driver.detach();
            return;
        }
        if visits
            && guests.len() >= MOST_VISITORS
            && let Some(oldest) = guests.pop_front()
        {
            oldest.link.close("too many visitors at once");
            // It ends by itself, when that is said.
            oldest.task.detach();
        }
        info!(remote = %session.connection.remote, visits, "an older installation, or a visitor, is served beside the link");
        let Session { link, driver, .. } = session;
        let ending = link.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            if visits {
                drop(tokio::time::timeout(LONGEST_VISIT, ending.ended()).await);
            } else {
                let reason = ending.ended().await;
                debug!(%reason, "a guest has gone");
            }
            // Held until here: it is what carries the link.
            drop(driver);
        }));
        guests.push_back(Guest { link, task });
    }

    /// Whether one of this kind is here.
    pub(crate) fn any(&mut self, visits: bool) -> bool {
        self.of(visits).iter().any(|guest| !guest.task.is_finished())
    }

    fn of(&mut self, visits: bool) -> &mut VecDeque<Guest> {
        if visits { &mut self.visitors } else { &mut self.installations }
    }
}
