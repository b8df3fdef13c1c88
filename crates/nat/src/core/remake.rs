//! Making a mapping anew in its own place: some routers answer a renewal as if the port were another computer's.

use super::Core;
use super::site::Stage;
use super::time::Tick;
use crate::Protocol;

impl Core {
    /// The router does not renew what is held: it must go first, and is made anew in its own place at once. Until that is done the
    /// mapping counts as held, with its proof.
    pub(super) fn remake(&mut self, index: usize, protocol: Protocol, now: Tick) {
        let site = &self.sites[index];
        let Some(held) = &site.held else { return };
        if site.replace.is_some() {
            // Another protocol takes its place.
            return;
        }
        let port = held.external_port;
        if protocol != Protocol::Upnp || !self.fits(site, held) || site.attempt.is_some() {
            self.doubt_held(index, now);
            return self.lose(index, now);
        }
        self.begin(index, protocol, now);
        let readable = self.sites[index].reads(protocol);
        if let Some(attempt) = &mut self.sites[index].attempt {
            attempt.ports.retain(|other| *other != port);
            attempt.ports.insert(0, port);
            attempt.renews = true;
            // What can't be read back is most likely ours still.
            attempt.ours = !readable;
            attempt.stage = if readable { Stage::Look } else { Stage::Clear };
        }
    }

    /// An attempt ends that was to make anew what is held: whether that is there is not known any more.
    pub(super) fn give_up_renewal(&mut self, index: usize, now: Tick) {
        if self.sites[index].attempt.as_ref().is_some_and(|attempt| attempt.renews) {
            self.doubt_attempt(index, now);
            let replace = self.sites[index].replace.take();
            self.lose(index, now);
            self.sites[index].replace = replace;
        }
    }

    /// What is held is to be removed if it is there still, and if nothing takes its place.
    fn doubt_held(&mut self, index: usize, now: Tick) {
        let Some(held) = self.sites[index].held.clone() else { return };
        self.remove_held(index, &held, now);
        if let Some(removal) = self.sites[index].removals.last_mut() {
            removal.verify = true;
            removal.later = true;
        }
    }

    /// Whether the port that is being tried is one that we know to have mapped: then what is there is most likely that.
    pub(super) fn is_remembered(&self, index: usize) -> bool {
        let site = &self.sites[index];
        let Some(attempt) = site.attempt.as_ref().filter(|attempt| attempt.protocol == Protocol::Upnp) else {
            return false;
        };
        let (uplink, port) = (&site.uplink, attempt.port());
        site.removals.iter().any(|known| known.protocol == Protocol::Upnp && known.external_port == port)
            || self.stale.iter().any(|memory| {
                memory.gateway == uplink.gateway
                    && memory.local == uplink.local
                    && memory.protocol == Protocol::Upnp
                    && memory.external_port == port
            })
    }
}
