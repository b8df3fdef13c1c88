//! Who helps the others to find and reach each other.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Computer;
use crate::lab::{Distance, Host, Lab, Line};

/// Where a hub listens.
const HUB_PORT: u16 = 4287;

/// Who helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helped {
    /// A hub.
    ByHub,
    /// A friend that all have in common.
    ByFriend,
}

/// Where the helper is found.
pub(crate) struct HelperAt {
    pub(crate) id: String,
    pub(crate) is_hub: bool,
    pub(crate) port: u16,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

/// A computer on a public address that all can reach.
pub(crate) struct Helper {
    pub(crate) computer: Computer,
    pub(crate) at: HelperAt,
    // Ends with it.
    _line: Option<Line>,
}

impl Helper {
    /// Starts one.
    pub(crate) fn start(lab: &Lab, helped: Helped, distance: Option<Distance>) -> Self {
        let (host, line) = match distance {
            None => (lab.public_host(), None),
            Some(distance) => {
                let (host, line) = lab.distant_host(distance);
                (host, Some(line))
            }
        };
        let is_hub = helped == Helped::ByHub;
        let port = if is_hub { HUB_PORT } else { 4242 };
        let computer = Computer::in_host("helper", &host);
        // Firewalls that let out little let out 443.
        host.redirect(443, port);
        if is_hub {
            computer.start_hub(port);
        } else {
            computer.start();
        }
        let at = HelperAt::of(&computer, &host, helped, port);
        Self { computer, at, _line: line }
    }

    /// What a computer that can go anywhere has in its settings to find it.
    pub(crate) fn settings(&self) -> String {
        let HelperAt { id, is_hub, port, .. } = &self.at;
        if *is_hub {
            format!("[network]\nhubs = [\"kith://{id}@{}\"]\n", self.at.v4(*port))
        } else {
            String::new()
        }
    }
}

impl HelperAt {
    /// Where this computer is found as a helper.
    pub(crate) fn of(computer: &Computer, host: &Host, helped: Helped, port: u16) -> Self {
        Self {
            id: computer.device_id(),
            is_hub: helped == Helped::ByHub,
            port,
            v4: host.ipv4().expect("a public host has both families"),
            v6: host.ipv6().expect("a public host has both families"),
        }
    }

    pub(crate) const fn v4(&self, port: u16) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(self.v4), port)
    }

    pub(crate) const fn v6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V6(self.v6), port)
    }
}
