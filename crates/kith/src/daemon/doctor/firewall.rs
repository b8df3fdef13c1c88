//! This computer's own firewall and security software: reads what is there, and changes nothing.

mod platform;
mod program;
mod security;

use std::net::SocketAddr;
use std::time::Duration;

use kith_doctor::firewall::{FirewallFacts, Texts};

/// All programs together answer within this time, or are ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the programs print that know the rules, as far as this process may ask them.
pub(crate) async fn texts() -> Texts {
    platform::texts(PATIENCE).await
}

/// What is known of connections to a port of this computer, and between it and these addresses of others. Without any, from and to
/// anywhere. What somebody has sent who may read more counts where this process can't read the rules.
pub(super) async fn gather(port: u16, remotes: &[SocketAddr], sent: Option<Texts>) -> FirewallFacts {
    let own = texts().await;
    let remotes = remotes.to_vec();
    // Long lists of rules take a while.
    let read = tokio::task::spawn_blocking(move || {
        let mut facts = own.facts(port, &remotes);
        if own.nft.is_none()
            && let Some(told) = sent.map(|sent| sent.facts(port, &remotes)).filter(|told| told.readable)
        {
            facts = told;
        }
        facts.security = security::found();
        facts
    });
    read.await.unwrap_or_default()
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
        let facts = gather(4242, &[remote], None).await;
        println!("{facts:#?}");
        assert!(begun.elapsed() < PATIENCE + Duration::from_secs(1));
        assert!(facts.readable || (facts.inbound, facts.outbound) == (Access::Unknown, Access::Unknown));
        assert_eq!(facts.inbound.is_closed(), facts.inbound_rule.is_some());
        assert_eq!(facts.outbound.is_closed(), facts.outbound_rule.is_some());
    }

    #[tokio::test]
    async fn what_somebody_sent_who_may_read_more_counts_only_where_nothing_could_be_read_here() {
        let remote: SocketAddr = "198.51.100.7:4242".parse().unwrap();
        let closed = r#"{"nftables": [{"chain": {"family": "inet", "table": "t", "name": "sent", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}}]}"#;
        let sent = Texts { nft: Some(closed.to_owned()), ..Texts::default() };
        let facts = gather(4242, &[remote], Some(sent)).await;
        let is_sent = facts.inbound_rule.is_some_and(|rule| rule.contains("chain sent"));
        assert_eq!(is_sent, texts().await.nft.is_none());
    }
}
