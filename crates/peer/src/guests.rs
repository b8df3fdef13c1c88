//! Connections that are served and are not the link: of a friend's older installations, and of visitors.

use std::collections::VecDeque;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};

use crate::session::Session;

/// So many at once of one friend; further ones are turned away.
const MOST: usize = 4;

/// Longest stay of one who was not dialled as a friend's installation but comes for its state object.
pub(crate) const LONGEST_VISIT: Duration = Duration::from_secs(120);

/// The guests of one friend. They end when this is dropped.
#[derive(Default)]
pub(crate) struct Guests {
    sessions: VecDeque<AbortOnDropHandle<()>>,
}

impl Guests {
    /// Serves a connection beside the link for as long as it lives.
    pub(crate) fn serve(&mut self, session: Session, visits: bool) {
        self.sessions.retain(|guest| !guest.is_finished());
        if self.sessions.len() >= MOST {
            // Those who are here may be in the middle of a restore.
            session.link.close("too many connections of this computer at once");
            session.driver.detach();
            return;
        }
        info!(remote = %session.connection.remote, visits, "an older installation, or a visitor, is served beside the link");
        let Session { link, driver, .. } = session;
        let task = tokio::spawn(async move {
            if visits {
                drop(tokio::time::timeout(LONGEST_VISIT, link.ended()).await);
            } else {
                let reason = link.ended().await;
                debug!(%reason, "a guest has gone");
            }
            // Held until here: it is what carries the link.
            drop(driver);
        });
        self.sessions.push_back(AbortOnDropHandle::new(task));
    }

    /// Whether one is here.
    pub(crate) fn any(&self) -> bool {
        self.sessions.iter().any(|guest| !guest.is_finished())
    }
}
