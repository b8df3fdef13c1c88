//! Which hubs are alive, and telling computers when that changes which of them they are to use.

use std::collections::BTreeMap;
use std::sync::Weak;

use kith_identity::DeviceId;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::assign::assign;
use crate::hub::core::Hub;

/// The hubs that are alive, and where computers reach each.
pub(super) type Alive = BTreeMap<DeviceId, String>;

/// Most states that somebody may have been told last; where there were more, everybody is told.
const MOST_STATES: usize = 8;

/// What computers may have been told last.
#[derive(Clone, Debug)]
struct Told {
    newest: Alive,
    /// What some may have been told since all were told the same.
    older: Vec<Alive>,
    /// There was more than is kept.
    is_news_to_all: bool,
}

impl Told {
    const fn new(alive: Alive) -> Self {
        Self { newest: alive, older: Vec::new(), is_news_to_all: false }
    }

    /// It is different from now on.
    fn change(&mut self, alive: Alive) {
        let before = std::mem::replace(&mut self.newest, alive);
        if self.older.len() < MOST_STATES {
            self.older.push(before);
        } else {
            self.is_news_to_all = true;
        }
    }

    /// Whether what one was told last may be different from what is.
    fn is_news(&self, who: &DeviceId) -> bool {
        let now = pair(who, &self.newest);
        self.is_news_to_all || self.older.iter().any(|older| pair(who, older) != now)
    }

    /// All were told.
    fn done(&mut self) {
        self.older.clear();
        self.is_news_to_all = false;
    }
}

/// The hubs of one computer, and where they are.
fn pair<'a>(who: &DeviceId, alive: &'a Alive) -> Vec<(DeviceId, Option<&'a String>)> {
    let hubs: Vec<DeviceId> = alive.keys().copied().collect();
    assign(who, &hubs).into_iter().map(|hub| (hub, alive.get(&hub))).collect()
}

/// Watches which hubs are alive, and tells computers when that changes which of them they are to use. Nobody who doesn't answer holds that
/// up: when it changes again, the telling begins again.
pub(in crate::hub) async fn watch(hub: Weak<Hub>) {
    let Some(changed) = hub.upgrade().and_then(|hub| Some(hub.peers()?.changed.clone())) else { return };
    let Some(mut told) = hub.upgrade().and_then(|hub| Some(Told::new(hub.peers()?.alive(&hub)))) else {
        return;
    };
    let mut telling: Option<AbortOnDropHandle<()>> = None;
    loop {
        let next = {
            let Some(hub) = hub.upgrade() else { return };
            let Some(peers) = hub.peers() else { return };
            let now = Instant::now();
            let next = peers.peers.iter().filter_map(|peer| {
                let mut state = peer.state();
                state.standing.handle_timeout(now);
                state.standing.poll_timeout()
            });
            let next = next.min();
            let alive = peers.alive(&hub);
            if alive != told.newest {
                info!(hubs = alive.len(), "which hubs are alive, or where, has changed: computers are told");
                told.change(alive);
                let (hub, told) = (hub.clone(), told.clone());
                telling = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                    hub.tell_news(move |who| told.is_news(who)).await;
                })));
            }
            next
        };
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = changed.notified() => {}
            Some(()) = end_of(&mut telling) => {
                telling = None;
                told.done();
            }
        }
    }
}

/// When all were told; none if nobody is being told.
async fn end_of(telling: &mut Option<AbortOnDropHandle<()>>) -> Option<()> {
    telling.as_mut()?.await.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::Peers;
    use super::*;
    use crate::hub::tests::{Computer, hub};
    use crate::settings;

    fn id(kind: u8, n: u8) -> DeviceId {
        let mut id = [kind; 32];
        id[0] = n;
        DeviceId::from_bytes(id)
    }

    fn alive(hubs: &[u8]) -> Alive {
        hubs.iter().map(|n| (id(9, *n), format!("hub-{n}:4287"))).collect()
    }

    fn who_hears(told: &Told) -> Vec<u8> {
        (0..100).filter(|n| told.is_news(&id(1, *n))).collect()
    }

    #[test]
    fn those_hear_it_whose_hubs_are_others_now_or_elsewhere() {
        let mut told = Told::new(alive(&[1, 2, 3]));
        assert!(who_hears(&told).is_empty());
        told.change(alive(&[1, 2]));
        let with_three: Vec<u8> = (0..100)
            .filter(|n| assign(&id(1, *n), &[id(9, 1), id(9, 2), id(9, 3)]).contains(&id(9, 3)))
            .collect();
        assert_eq!(who_hears(&told), with_three);
        told.done();
        assert!(who_hears(&told).is_empty());
        let mut moved = alive(&[1, 2]);
        moved.insert(id(9, 2), "hub-2:443".into());
        told.change(moved);
        assert_eq!(who_hears(&told).len(), 100, "each has both");
    }

    #[test]
    fn who_was_told_what_is_true_no_more_is_told_again_though_nothing_has_changed_in_the_end() {
        let mut told = Told::new(alive(&[1, 2, 3]));
        told.change(alive(&[1, 2]));
        // Some have heard of it when the hub is back.
        told.change(alive(&[1, 2, 3]));
        let heard = who_hears(&told);
        assert!(!heard.is_empty() && heard.len() < 100);
        for n in 0..20 {
            told.change(alive(if n % 2 == 0 { &[1] } else { &[1, 2, 3] }));
        }
        assert_eq!((who_hears(&told).len(), told.older.len()), (100, MOST_STATES));
        told.done();
        assert!(who_hears(&told).is_empty());
    }
    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_holds_up_neither_the_news_of_others_nor_the_watch() {
        let named = [id(9, 1), id(9, 2)];
        let peers = named.map(|id| format!("kith://{id}@192.0.2.1:4288").parse().unwrap()).to_vec();
        let (_directory, hub) = hub(settings::Hub { peers, ..settings::Hub::default() });
        hub.set_peers(Peers::new(hub.us(), &hub.settings()));
        let peers = hub.peers().unwrap();
        let reachable = |n: usize, reachable| {
            peers.peers[n].state().standing.set_reachable(reachable, Instant::now());
            peers.changed.notify_one();
        };
        reachable(0, true);
        reachable(1, true);
        let _watching = AbortOnDropHandle::new(tokio::spawn(watch(Arc::downgrade(&hub))));
        let with_both = |who: &DeviceId| {
            let pair = peers.assign(who);
            named.iter().all(|hub| pair.contains(hub))
        };
        let who = (0..=255).map(|n| id(1, n)).find(with_both).unwrap();
        let _dead: Vec<Computer> = (0..200).map(|n| Computer::dead(&hub, id(2, n))).collect();
        let (_alive, mut news) = Computer::alive(&hub, who);
        tokio::time::sleep(Duration::from_secs(1)).await;

        let start = Instant::now();
        reachable(0, false);
        tokio::time::sleep(Duration::from_secs(5)).await;
        reachable(1, false);
        let heard = timeout(Duration::from_secs(60), news.recv()).await.unwrap().unwrap();
        let ids: Vec<DeviceId> = heard.assigned.iter().map(|hub| hub.id).collect();
        assert_eq!(ids, assign(&who, &[hub.us(), named[1]]));
        assert!(start.elapsed() < Duration::from_secs(11), "{:?}", start.elapsed());
        // The dead are waited for now; the other hub dies meanwhile.
        let heard = timeout(Duration::from_secs(60), news.recv()).await.unwrap().unwrap();
        let ids: Vec<DeviceId> = heard.assigned.iter().map(|hub| hub.id).collect();
        assert_eq!(ids, [hub.us()]);
        assert!(start.elapsed() < Duration::from_secs(16), "{:?}", start.elapsed());
    }
}
