//! What is told when a link comes or goes, and why there is none.

use tracing::{info, warn};

use super::{Shared, lock};
use crate::attempts::sentence;
use crate::calls;
use crate::dial::DialError;
use crate::race::Attempt;
use crate::session::Session;

impl Shared {
    /// A connection is the link now.
    pub(super) fn put_up(&self, session: &Session, reason: &str) {
        let change = {
            let mut told = lock(&self.state);
            if let Some(address) = &session.connection.dialled {
                told.attempts.reached(address);
            }
            told.state.connection = Some(session.connection.clone());
            told.state.last_error = None;
            self.change_path(&mut told, reason)
        };
        *lock(&self.turned_away) = None;
        self.link.send_replace(Some(session.link.clone()));
        session.link.measure();
        lock(&self.runs).note(session.hello.installation, session.hello.run);
        let connection = &session.connection;
        let way = connection.path().as_str();
        info!(remote = %connection.remote, dialled = connection.dialled.is_some(), way, "linked");
        let host = &self.household.host;
        host.linked(&self.friend, &session.hello, connection);
        if let Some(change) = change {
            host.path_changed(&self.friend, &change);
        }
        host.changed(&self.friend);
        self.carriers.send_modify(|changes| *changes += 1);
    }

    pub(super) fn put_down(&self, reason: &str) {
        self.link.send_replace(None);
        let change = {
            let mut told = lock(&self.state);
            told.state.connection = None;
            told.state.last_error = Some(format!("the link ended: {reason}"));
            self.change_path(&mut told, reason)
        };
        info!(reason, "link ended");
        let host = &self.household.host;
        host.unlinked(&self.friend, reason);
        if let Some(change) = change {
            host.path_changed(&self.friend, &change);
        }
        host.changed(&self.friend);
        self.carriers.send_modify(|changes| *changes += 1);
    }

    /// A hello of his could not be accepted.
    pub(super) fn turn_away(&self, error: String) {
        let is_news = lock(&self.turned_away).replace(error.clone()).as_ref() != Some(&error);
        if is_news {
            warn!(%error, "the friend's hello was refused");
        }
        let mut told = lock(&self.state);
        // Beside a link it is somebody else's concern, as of a copy of his home.
        if told.state.connection.is_none() {
            told.state.last_error = Some(error);
            drop(told);
            self.household.host.changed(&self.friend);
        }
    }

    /// Keeps what failed in a race, whether or not another candidate won it.
    pub(super) fn note_attempts(&self, failed: &[Attempt]) {
        if lock(&self.state).attempts.note(failed) {
            self.household.host.changed(&self.friend);
        }
    }

    /// Says why there is no link after a race that nobody won.
    pub(super) fn note_failures(&self, failed: &[Attempt]) {
        let spoke = failed.iter().any(|attempt| matches!(attempt.error, DialError::OtherVersion(_)));
        let turned_away = lock(&self.turned_away).clone().filter(|_| !spoke);
        let error = turned_away.unwrap_or_else(|| sentence(failed));
        let mut told = lock(&self.state);
        let news = told.state.last_error.as_ref() != Some(&error);
        told.state.last_error = Some(error);
        drop(told);
        if news {
            self.household.host.changed(&self.friend);
        }
    }

    pub(super) fn calls(&self) -> std::sync::Arc<dyn calls::Calls> {
        self.household.calls.now()
    }
}
