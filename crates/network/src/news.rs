//! What is told when the network changed.

use std::sync::Arc;
use std::time::Duration;

use crate::burst::Burst;
use crate::snapshot::Snapshot;

/// The network, and how often it changed.
#[derive(Clone, Debug)]
pub struct News {
    /// The newest look at the network.
    pub snapshot: Arc<Snapshot>,
    /// Grows with every change of what leads to other computers; also where the snapshot is equal afterwards, as when a
    /// link flapped or a route came back.
    pub changes: u64,
    /// Grows each time the computer woke from sleep.
    pub resumes: u64,
    /// How long the last sleep was.
    pub slept: Duration,
}

impl News {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: Arc::new(snapshot), changes: 0, resumes: 0, slept: Duration::ZERO }
    }

    /// Takes over a new look. True if that is news to those who wait for it, which containers that come and go are not.
    pub(crate) fn update(&mut self, after: Snapshot, burst: &Burst, slept: Option<Duration>) -> bool {
        let changed = burst.counts(&self.snapshot, &after);
        if *self.snapshot != after {
            self.snapshot = Arc::new(after);
        }
        self.changes += u64::from(changed);
        if let Some(slept) = slept {
            self.resumes += 1;
            self.slept = slept;
        }
        changed || slept.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Interface, InterfaceKind};

    fn network(names: &[&str]) -> Snapshot {
        let interfaces = names.iter().zip(1..).map(|(name, index)| Interface {
            index,
            name: (*name).to_owned(),
            kind: crate::kind::kind(name, false, None),
            addresses: Vec::new(),
        });
        Snapshot { interfaces: interfaces.collect(), ..Snapshot::default() }
    }

    fn burst(interfaces: &[u32]) -> Burst {
        let mut burst = Burst::default();
        burst.look();
        interfaces.iter().for_each(|index| burst.interface(*index));
        burst
    }

    #[test]
    fn containers_that_come_and_go_are_no_news_but_seen() {
        let mut news = News::new(network(&["eth0", "docker0"]));
        let with_container = network(&["eth0", "docker0", "veth77"]);
        assert_eq!(with_container.interfaces[2].kind, InterfaceKind::Container);
        assert!(!news.update(with_container.clone(), &burst(&[2, 3, 99]), None));
        assert_eq!((news.changes, &*news.snapshot), (0, &with_container));
    }

    #[test]
    fn a_flapping_link_is_news_although_all_is_as_before() {
        let mut news = News::new(network(&["eth0", "docker0"]));
        assert!(news.update(network(&["eth0", "docker0"]), &burst(&[1]), None));
        assert!(!news.update(network(&["eth0", "docker0"]), &burst(&[]), None));
        assert_eq!(news.changes, 1);
    }

    #[test]
    fn an_interface_that_went_or_came_is_news() {
        let mut news = News::new(network(&["eth0", "wlan0"]));
        assert!(news.update(network(&["eth0"]), &burst(&[2]), None));
        assert!(news.update(network(&["eth0", "wg0"]), &burst(&[]), None));
        assert_eq!((news.changes, news.resumes), (2, 0));
    }

    #[test]
    fn another_way_out_is_news_although_interfaces_and_gateways_are_as_before() {
        let mut news = News::new(network(&["eth0", "wg0"]));
        let mut after = network(&["eth0", "wg0"]);
        after.leaves_by.v4 = Some(2);
        assert!(news.update(after.clone(), &burst(&[]), None));
        after.direct.v6 = vec![2];
        assert!(news.update(after.clone(), &burst(&[]), None));
        assert!(!news.update(after, &burst(&[]), None));
        assert_eq!(news.changes, 2);
    }

    #[test]
    fn bursts_that_came_before_a_look_count_as_one() {
        let count = |bursts: &[Burst]| {
            let mut news = News::new(network(&["eth0", "docker0"]));
            let mut all = Burst::default();
            bursts.iter().for_each(|burst| all.merge(burst.clone()));
            news.update(network(&["eth0", "docker0"]), &all, None)
        };
        let mut everything = Burst::default();
        everything.everything();
        assert!(count(&[burst(&[2]), burst(&[1])]) && count(&[everything, burst(&[2])]));
        assert!(!count(&[burst(&[2]), Burst::default()]) && !count(&[]));
    }

    #[test]
    fn what_nobody_knows_counts_as_a_change() {
        let mut news = News::new(network(&["docker0"]));
        let mut overflow = Burst::default();
        assert!(overflow.is_empty());
        overflow.everything();
        assert!(!overflow.is_empty() && news.update(network(&["docker0"]), &overflow, None));
        let many: Vec<u32> = (1000..2000).collect();
        assert!(news.update(network(&["docker0"]), &burst(&many), None));
        assert_eq!(news.changes, 2);
    }

    #[test]
    fn a_resume_is_news_without_a_change() {
        let mut news = News::new(network(&["eth0"]));
        assert!(news.update(network(&["eth0"]), &Burst::default(), Some(Duration::from_secs(9))));
        assert_eq!((news.changes, news.resumes, news.slept), (0, 1, Duration::from_secs(9)));
    }
}
