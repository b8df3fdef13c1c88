//! Says what is in the way before anybody asks: a friend who stays away, and a way in that was lost, are looked at with what the daemon
//! knows anyway. No friend is dialled for it; the router of this network is called, and the firewall's rules are read. Nothing at all is
//! done while everything works.

mod plan;
#[cfg(test)]
pub(super) mod tests;
mod way_in;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use kith_control::Event;
use kith_control::terminal::safe;
use kith_control::view::NoticeView;
use kith_doctor::facts::Facts;
use kith_doctor::firewall::FirewallFacts;
use kith_doctor::{Verdict, Weight, diagnose};
use kith_identity::DeviceId;
use kith_nat::Nat;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OnceCell, broadcast, watch};
use tracing::{info, warn};

use super::super::core::{Core, lock};
use super::super::roster::Friend;
use super::attempts::Dialled;
use super::firewall::Rules;
use super::gateway::{Gateway, Patience};
use super::side::Gathered;

use self::plan::{APART, Change, Subject, Watching, merged};
use self::way_in::{Opened, Router, WayIn};

pub(in crate::daemon) use self::plan::Notice;

/// The rules of the firewall are not read again within this time, if nothing else breaks.
const RULES_LAST: Duration = Duration::from_secs(3600);
/// The router is not called again within this time.
const ROUTER_LASTS: Duration = Duration::from_secs(60);

/// What takes other programs or the network to find out, as it was last.
#[derive(Default)]
struct Known {
    /// The rules of the firewall, for everybody's addresses.
    rules: Option<(Instant, Rules)>,
    router: Option<(Instant, Option<Gateway>)>,
    /// When the network changed last: what was dialled before says nothing any more.
    changed: Option<SystemTime>,
}

impl Known {
    /// They may be what has broken it.
    fn forget_rules_before(&mut self, time: Option<Instant>) {
        self.rules.take_if(|(read, _)| time.is_some_and(|time| *read < time));
    }
}

/// Why the watch goes on.
enum Woken {
    /// Somebody came, went or was changed, or the way in may be another; none: nobody knows who.
    Changed(Option<Subject>),
    Network,
    /// A look is due.
    Look,
    /// The daemon ends.
    Over,
}

/// What comes to the watch from elsewhere.
struct News {
    events: broadcast::Receiver<Event>,
    network: watch::Receiver<kith_network::News>,
    mapping: watch::Receiver<kith_nat::State>,
}

impl News {
    /// Waits for what matters here; what else happens, as a job that moves, costs nothing.
    async fn next(&mut self, look: Option<Instant>) -> Woken {
        let look = async {
            match look {
                Some(look) => tokio::time::sleep_until(look.into()).await,
                None => std::future::pending().await,
            }
        };
        let mut look = std::pin::pin!(look);
        loop {
            tokio::select! {
                // Nothing is looked at for another network than this one.
                biased;
                changed = self.network.changed() => {
                    return if changed.is_ok() { Woken::Network } else { Woken::Over };
                }
                changed = self.mapping.changed() => {
                    return if changed.is_ok() { Woken::Changed(Some(Subject::Here)) } else { Woken::Over };
                }
                event = self.events.recv() => match event {
                    Ok(Event::Friend { device_id }) => return Woken::Changed(Some(Subject::Friend(device_id))),
                    Ok(Event::Friends) | Err(RecvError::Lagged(_)) => return Woken::Changed(None),
                    Ok(_) => {}
                    Err(RecvError::Closed) => return Woken::Over,
                },
                () = &mut look => return Woken::Look,
            }
        }
    }

    /// Whether the network is another one since it was last waited for.
    fn is_of_another_network(&self) -> bool {
        self.network.has_changed().unwrap_or(true)
    }
}

/// Watches until the daemon ends.
pub(in crate::daemon) async fn watch(core: Arc<Core>, nat: Nat) {
    let mut news =
        News { events: core.events.subscribe(), network: core.network.watch(), mapping: nat.state() };
    let (mut watching, mut known) = (Watching::default(), Known::default());
    loop {
        let changes = core.follow(&mut watching);
        core.say(&watching, &changes);
        if watching.next_look().is_none() {
            // Long lists of rules are not kept while everything works.
            known.rules = None;
        }
        match news.next(watching.next_look()).await {
            Woken::Over => return,
            Woken::Changed(None) => {}
            Woken::Changed(Some(subject)) => watching.stirred(subject, Instant::now()),
            Woken::Network => {
                known = Known { changed: Some(SystemTime::now()), ..Known::default() };
                watching.network_changed(Instant::now());
            }
            Woken::Look => {
                let Some(subject) = watching.due(Instant::now()) else { continue };
                if watching.is_first_look(subject) {
                    known.forget_rules_before(Instant::now().checked_sub(APART));
                }
                let look = core.look(subject, &mut known).await.unwrap_or_default();
                if news.is_of_another_network() {
                    continue;
                }
                // Whoever came back meanwhile is not away.
                let changes = core.follow(&mut watching);
                core.say(&watching, &changes);
                if !watching.is_broken(subject) {
                    continue;
                }
                if let (Some(friend), Some(verdict)) = (subject.friend(), &look.verdict) {
                    core.history_cause(&friend, verdict.code, verdict.part);
                }
                let changes = watching.looked(subject, look.verdict.as_ref(), look.dialled, Instant::now());
                core.say(&watching, &changes);
            }
        }
    }
}

/// What a look came to.
#[derive(Default)]
struct Look {
    /// None: it can't be said at this moment.
    verdict: Option<Verdict>,
    /// When the newest dial was over that it rests on.
    dialled: Option<SystemTime>,
}

impl Core {
    /// Takes over what is broken now.
    fn follow(&self, watching: &mut Watching) -> Vec<Change> {
        let mut broken: BTreeMap<Subject, Timestamp> = BTreeMap::new();
        for friend in self.roster.all() {
            if let Some(since) = self.apart_since(&friend) {
                broken.insert(Subject::Friend(friend.device_id), since);
            }
        }
        let is_lost = match self.way_in() {
            WayIn::Fine => false,
            WayIn::Lost => true,
            WayIn::Unknown => watching.is_broken(Subject::Here),
        };
        if is_lost {
            broken.insert(Subject::Here, Timestamp::now());
        }
        watching.follow(&broken, Instant::now())
    }

    /// Since when a friend is not linked who should be.
    fn apart_since(&self, friend: &Friend) -> Option<Timestamp> {
        let peers = self.peers()?;
        if friend.paused || peers.link(&friend.device_id).is_some() {
            return None;
        }
        let since = peers
            .state(&friend.device_id)?
            .path_since
            .and_then(|since: SystemTime| Timestamp::try_from(since).ok());
        Some(since.or(friend.last_seen).unwrap_or_else(Timestamp::now))
    }

    fn is_apart(&self, friend: &DeviceId) -> bool {
        self.roster.get(friend).is_some_and(|friend| self.apart_since(&friend).is_some())
    }

    fn way_in(&self) -> WayIn {
        let loaded = self.loaded();
        let settings = loaded.settings();
        if settings.network.outbound_only {
            return WayIn::Fine;
        }
        let opened = if settings.listener.advertise.is_empty() { Opened::ByAsking } else { Opened::ByHand };
        way_in::judge(self.nat_verdict(), opened, || self.router_before())
    }

    /// What the router of this network did for us before.
    fn router_before(&self) -> Router {
        let snapshot = self.network.snapshot();
        let Some(hardware) = snapshot.gateways.first().and_then(|known| Gateway::of(known).hardware) else {
            return Router::Unseen;
        };
        let let_in = self.doctor_memory().mapped_at(Some(&hardware), Timestamp::now().as_second());
        if let_in.is_some() { Router::LetIn } else { Router::New }
    }

    /// What is to blame, as far as it is known here without dialling any friend; none if it can't be said at this moment.
    async fn look(self: &Arc<Self>, subject: Subject, known: &mut Known) -> Option<Look> {
        let friend = match subject {
            Subject::Here => None,
            Subject::Friend(id) => Some(self.roster.get(&id)?),
        };
        let Dialled { tests, newest } = match &friend {
            Some(friend) => {
                let state = self.peers().and_then(|peers| peers.state(&friend.device_id))?;
                self.tests_by_dialler(friend, &state, known.changed)?
            }
            None => Dialled::default(),
        };
        let rules = self.rules(known).await;
        let gateway = self.router(known, &rules).await;
        let firewall = match rules.get() {
            Some(rules) => self.firewall_by(rules, friend.as_ref()).await,
            None => FirewallFacts::default(),
        };
        let listener = self.listener_facts().await;
        let snapshot = self.network.snapshot();
        let gathered = Gathered { snapshot, firewall, gateway, listener, keeps_ports: None, tests };
        let here = self.side_of(friend.as_ref(), gathered);
        let friend = friend.map(|friend| self.pair(&friend));
        if friend.as_ref().is_some_and(|pair| pair.link.is_some()) {
            return None;
        }
        Some(Look { verdict: Some(diagnose(&Facts { here, friend, there: None }).verdict), dialled: newest })
    }

    async fn rules(&self, known: &mut Known) -> OnceCell<Rules> {
        let kept = known.rules.take_if(|(read, _)| read.elapsed() < RULES_LAST);
        let (read, rules) = match kept {
            Some(kept) => kept,
            None => (Instant::now(), Box::pin(Rules::read()).await),
        };
        known.rules = Some((read, rules.clone()));
        OnceCell::new_with(Some(rules))
    }

    async fn router(self: &Arc<Self>, known: &mut Known, rules: &OnceCell<Rules>) -> Option<Gateway> {
        if let Some((heard, gateway)) = &known.router
            && heard.elapsed() < ROUTER_LASTS
        {
            return gateway.clone();
        }
        let gateway = self.look_at_gateway(&self.network.snapshot(), Patience::Short, rules).await;
        known.router = Some((Instant::now(), gateway.clone()));
        gateway
    }

    /// Every verdict of the watch comes by here, when it becomes a notice and when it is one no more.
    fn say(&self, watching: &Watching, changes: &[Change]) {
        *lock(&self.notices) = watching.notices();
        for change in changes {
            let (Change::Began(notice) | Change::Ended(notice)) = change;
            self.log(change, notice);
            match notice.subject.friend() {
                Some(device_id) => self.tell(Event::Friend { device_id }),
                None => self.tell(Event::Status),
            }
        }
    }

    fn log(&self, change: &Change, notice: &Notice) {
        let (code, why) = (notice.code, safe(&notice.sentence));
        let called = |id: DeviceId| {
            self.roster.get(&id).map_or_else(|| id.short(), |friend| safe(&friend.name).into_owned())
        };
        match (change, notice.weight, notice.subject.friend().map(called)) {
            (Change::Began(_), Weight::Fault, Some(friend)) => warn!(%friend, %code, %why, "a notice begins"),
            (Change::Began(_), _, Some(friend)) => info!(%friend, %code, %why, "a notice begins"),
            (Change::Ended(_), _, Some(friend)) => info!(%friend, %code, "a notice ends"),
            // What is about this computer is always broken.
            (Change::Began(_), _, None) => warn!(%code, %why, "a notice begins"),
            (Change::Ended(_), _, None) => info!(%code, "a notice ends"),
        }
    }

    /// What a person should know before he asks, as the API shows it.
    pub(in crate::daemon) fn notice_views(&self) -> Vec<NoticeView> {
        let mut notices = lock(&self.notices).clone();
        // Who is back since the watch looked last is not away.
        notices.retain(|notice| notice.subject.friend().is_none_or(|id| self.is_apart(&id)));
        let view = |notice: Notice| {
            let friend_id = notice.subject.friend();
            NoticeView {
                code: notice.code,
                friend: friend_id.and_then(|id| self.roster.get(&id)).map(|friend| friend.name),
                friend_id,
                friend_ids: notice.friends,
                doctor_id: notice.asked,
                part: notice.part,
                weight: notice.weight,
                sentence: notice.sentence,
                next_step: notice.next_step,
                since: notice.since,
            }
        };
        merged(notices).into_iter().map(view).collect()
    }
}
