//! Other systems: the application firewall of macOS says whether it is on; of its rules and of other firewalls nothing is known.

use std::net::SocketAddr;
use std::time::Duration;

use kith_doctor::firewall::{Access, FirewallFacts, Manager};
use tokio::time::Instant;

use super::super::program::{Printed, spoken};

/// The program by which the firewall of macOS is asked.
const FIREWALL: &str = "socketfilterfw";

pub(in super::super) async fn gather(
    _port: u16,
    _remotes: &[SocketAddr],
    patience: Duration,
) -> FirewallFacts {
    match spoken(FIREWALL, &["--getglobalstate"], Instant::now() + patience).await {
        Printed::Text(text) => facts(&text),
        Printed::Nothing => FirewallFacts::default(),
    }
}

/// `Firewall is enabled. (State = 1)`; 2 lets in nothing but what the system needs.
fn facts(text: &str) -> FirewallFacts {
    let state = text.split("State = ").nth(1).and_then(|rest| rest.chars().next());
    // It never looks at what goes out; a filter of packets beside it (pf) may.
    let (manager, inbound) = match state {
        Some('0') => (Manager::None, Access::Open),
        Some('1' | '2') => (Manager::MacOs, Access::Unknown),
        _ => return FirewallFacts::default(),
    };
    FirewallFacts { manager, inbound, readable: true, ..FirewallFacts::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firewall_of_macos_says_whether_it_is_on() {
        let off = facts("Firewall is disabled. (State = 0) \n");
        assert_eq!((off.manager, off.inbound, off.outbound), (Manager::None, Access::Open, Access::Unknown));
        let on = facts("Firewall is enabled. (State = 1) \n");
        assert_eq!((on.manager, on.inbound, on.readable), (Manager::MacOs, Access::Unknown, true));
        assert_eq!(facts("something else"), FirewallFacts::default());
    }
}
