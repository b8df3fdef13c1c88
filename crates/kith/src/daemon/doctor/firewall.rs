//! This computer's own firewall and security software: reads what is there, and changes nothing.

mod platform;
mod program;
mod security;

use std::net::SocketAddr;
use std::time::Duration;

use kith_doctor::firewall::FirewallFacts;

/// All programs together answer within this time, or are ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of connections to a port of this computer, and between it and these addresses of others. Without any, from and to anywhere.
pub(super) async fn gather(port: u16, remotes: &[SocketAddr]) -> FirewallFacts {
    platform::gather(port, remotes, PATIENCE).await
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use kith_doctor::firewall::Access;

    use super::*;

    #[tokio::test]
    async fn this_computer_is_looked_at_within_the_time() {
        let begun = Instant::now();
        let remote: SocketAddr = "198.51.100.7:4242".parse().unwrap();
        let facts = gather(4242, &[remote]).await;
        println!("{facts:#?}");
        assert!(begun.elapsed() < PATIENCE + Duration::from_secs(1));
        assert!(facts.readable || (facts.inbound, facts.outbound) == (Access::Unknown, Access::Unknown));
        assert_eq!(facts.inbound.is_closed(), facts.inbound_rule.is_some());
        assert_eq!(facts.outbound.is_closed(), facts.outbound_rule.is_some());
    }
}
