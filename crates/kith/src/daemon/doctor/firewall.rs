//! This computer's own firewall and security software: reads what is there, and changes nothing.

mod platform;
mod program;
mod security;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kith_doctor::Side;
use kith_doctor::firewall::{FirewallFacts, Texts};

use super::super::core::Core;
use super::super::roster::Friend;

/// All programs together answer within this time, or are ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the programs print that know the rules, as far as this process may ask them.
pub(crate) async fn texts() -> Texts {
    platform::texts(PATIENCE).await
}

/// All rules as they were read at one time: what they do with whose connections follows from them without asking any program.
#[derive(Clone)]
pub(super) struct Rules {
    texts: Arc<Texts>,
    security: Vec<String>,
}

impl Rules {
    #[cfg(test)]
    pub(super) fn of(texts: Texts) -> Self {
        Self { texts: Arc::new(texts), security: Vec::new() }
    }

    pub(super) async fn read() -> Self {
        Self { security: found_security().await, texts: Arc::new(texts().await) }
    }

    /// What is known of connections to a port of this computer, and between it and these addresses of others. Without any, from and to
    /// anywhere.
    pub(super) async fn facts(&self, port: u16, remotes: Vec<SocketAddr>) -> FirewallFacts {
        FirewallFacts {
            security: self.security.clone(),
            ..read(Arc::clone(&self.texts), port, remotes).await
        }
    }
}

async fn found_security() -> Vec<String> {
    tokio::task::spawn_blocking(security::found).await.unwrap_or_default()
}

/// Long lists of rules take a while.
async fn read(texts: Arc<Texts>, port: u16, remotes: Vec<SocketAddr>) -> FirewallFacts {
    tokio::task::spawn_blocking(move || texts.facts(port, &remotes)).await.unwrap_or_default()
}

/// The addresses of a friend of which the rules may say something.
pub(super) fn remotes(friend: Option<&Friend>) -> Vec<SocketAddr> {
    let known = friend.map(Friend::all_addresses).unwrap_or_default();
    known.iter().filter_map(|address| address.parse().ok()).collect()
}

impl Core {
    /// Rules that somebody read who may, where this process may not: for one question.
    pub(super) async fn add_sent_rules(
        &self,
        side: &mut Side,
        friend: Option<&Friend>,
        sent: Option<Box<Texts>>,
    ) {
        let Some(sent) = sent.filter(|_| !side.firewall.readable) else { return };
        let told = read(sent.into(), self.listen_port(), remotes(friend)).await;
        take(&mut side.firewall, told);
    }
}

/// What the rules say is from those that were sent, if they could be read; all else stays.
fn take(own: &mut FirewallFacts, told: FirewallFacts) {
    if told.readable && !own.readable {
        let security = std::mem::take(&mut own.security);
        *own = FirewallFacts { security, worked: own.worked, ..told };
    }
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
        let facts = Rules::read().await.facts(4242, vec![remote]).await;
        println!("{facts:#?}");
        assert!(begun.elapsed() < PATIENCE + Duration::from_secs(1));
        assert!(facts.readable || (facts.inbound, facts.outbound) == (Access::Unknown, Access::Unknown));
        assert_eq!(facts.inbound.is_closed(), facts.inbound_rule.is_some());
        assert_eq!(facts.outbound.is_closed(), facts.outbound_rule.is_some());
    }

    #[tokio::test]
    async fn what_somebody_sent_who_may_read_more_counts_only_where_nothing_could_be_read_here() {
        let closed = r#"{"nftables": [{"chain": {"family": "inet", "table": "t", "name": "sent", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}}]}"#;
        let texts = Texts { nft: Some(closed.to_owned()), ..Texts::default() };
        let told = read(texts.into(), 4242, Vec::new()).await;
        assert!(told.readable && told.inbound.is_closed());
        let unread =
            FirewallFacts { worked: Some(7), security: vec!["SELinux".into()], ..FirewallFacts::default() };
        let mut facts = unread.clone();
        take(&mut facts, told.clone());
        assert_eq!((facts.inbound, facts.worked, facts.security.len()), (told.inbound, Some(7), 1));
        let mut own = FirewallFacts { readable: true, inbound: Access::Open, ..unread.clone() };
        take(&mut own, told);
        assert_eq!(own.inbound, Access::Open);
        let mut facts = unread.clone();
        take(
            &mut facts,
            read(Texts { nft: Some("{}".into()), ..Texts::default() }.into(), 4242, Vec::new()).await,
        );
        assert_eq!(facts, unread);
    }
}
