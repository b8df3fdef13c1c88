//! The task of one friend: dials, takes what comes in, and holds the link.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use kith_wire::{Class, Link};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tracing::debug;

use super::accepting::Accepted;
use super::{Arrival, MOST_ARRIVALS, Shared, lock, now};
use crate::carriers::CarrierKind;
use crate::dial::DialError;
use crate::dialer::{Dialer, Jitter, Race};
use crate::host::{Connection, Standing};
use crate::race::{Attempt, Raced};
use crate::session::Session;
use crate::way::Place;

/// How long a link may take to prove itself alive, after a network change or when the friend says that he has none.
const PROOF_OF_LIFE: Duration = Duration::from_secs(6);

type Racing = Pin<Box<dyn Future<Output = (u64, Raced<Session>)> + Send>>;

/// What the task alone has.
struct Runner {
    shared: Arc<Shared>,
    dialer: Dialer,
    /// The number of the latest connection or race.
    serial: u64,
    /// The link.
    up: Option<(u64, Session)>,
    /// The race that is under way.
    racing: OptionFuture<Racing>,
    /// What it tries, and what was known of where that is.
    tried: Vec<(String, Place)>,
    /// Connections that were made elsewhere, and wait for their hello or its answer.
    greeting: JoinSet<(u64, Option<Session>)>,
    /// Of these, the race among addresses that became known during the other one.
    aside: Option<AbortHandle>,
    /// Of these, those that came in, the oldest first.
    waiting: VecDeque<oneshot::Sender<()>>,
    /// Finds out whether the link still lives; why it is over, if it doesn't.
    proving: JoinSet<Option<String>>,
}

/// Keeps the link to one friend until the handle is dropped.
pub(super) async fn run(shared: Arc<Shared>, mut arriving: mpsc::Receiver<Arrival>, dialer: Dialer) {
    let mut runner = Runner {
        shared: shared.clone(),
        dialer,
        serial: 0,
        up: None,
        racing: OptionFuture::from(None),
        tried: Vec::new(),
        greeting: JoinSet::new(),
        aside: None,
        waiting: VecDeque::new(),
        proving: JoinSet::new(),
    };
    loop {
        let timer = runner.dialer.poll_timeout().map(|at| tokio::time::sleep_until(at.into()));
        let link_end = runner.up.as_ref().map(|(_, session)| {
            let link = session.link.clone();
            async move { link.ended().await }
        });
        tokio::select! {
            Some(()) = OptionFuture::from(timer) => runner.start_race(),
            Some((serial, raced)) = &mut runner.racing => runner.handle_raced(serial, raced),
            Some(arrival) = arriving.recv() => runner.greet(arrival),
            Some(greeted) = runner.greeting.join_next() => {
                if let Ok((serial, Some(session))) = greeted {
                    runner.handle_greeted(serial, session);
                }
            }
            Some(reason) = OptionFuture::from(link_end) => runner.handle_link_over(&reason.to_string()),
            Some(proved) = runner.proving.join_next() => runner.handle_proved(proved.unwrap_or_default()),
            () = shared.news.notified() => runner.dial_aside(),
            () = shared.promising.notified() => runner.dialer.handle_promising(now()),
            () = shared.network.notified() => runner.handle_network_change(),
            () = shared.doubted.notified() => runner.prove_life(),
        }
    }
}

impl Runner {
    fn start_race(&mut self) {
        if let Some(wanted) = self.dialer.handle_timeout(now()) {
            self.serial += 1;
            let (shared, serial) = (self.shared.clone(), self.serial);
            if let (Race::BetterThan(_), Some((_, session))) = (wanted, &self.up) {
                session.link.measure();
            }
            let plan = shared.plan(wanted);
            self.tried.clone_from(&plan.addresses);
            let racing: Racing = Box::pin(async move { (serial, shared.dial_all(serial, plan).await) });
            self.racing = OptionFuture::from(Some(racing));
        }
    }

    /// More became known of where he is while a race is under way that does not know it, and that may wait for long at addresses where he
    /// is no more: he is dialled there beside it.
    fn dial_aside(&mut self) {
        if self.up.is_some() || !self.dialer.is_dialing() {
            return;
        }
        let plan = self.shared.plan_beside(&self.tried);
        if plan.addresses.is_empty() {
            return;
        }
        if let Some(before) = self.aside.take() {
            before.abort();
        }
        self.serial += 1;
        let (shared, serial) = (self.shared.clone(), self.serial);
        self.aside = Some(self.greeting.spawn(async move {
            let raced = shared.clone().dial_all(serial, plan).await;
            shared.note_attempts(&raced.failed);
            (serial, raced.won.map(|(_, session)| session))
        }));
    }

    /// What was begun in another network leads nowhere, and the link may be dead.
    fn handle_network_change(&mut self) {
        if self.dialer.handle_network_change(now()) {
            self.racing = OptionFuture::from(None);
            if let Some(aside) = self.aside.take() {
                aside.abort();
            }
        }
        self.prove_life();
    }

    /// Closes the link if it does not answer soon.
    fn prove_life(&mut self) {
        match &self.up {
            Some((_, session)) if self.proving.is_empty() => {
                self.shared.is_doubted.send_replace(true);
                self.proving.spawn(proved(session.link.clone()));
            }
            Some(_) => {}
            None => {
                self.shared.is_doubted.send_replace(false);
            }
        }
    }

    fn handle_proved(&mut self, dead: Option<String>) {
        // Before anybody hears that it is settled: whoever waits for that wants its place.
        if let Some(reason) = dead
            && self.up.as_ref().is_some_and(|(_, session)| session.link.is_over())
        {
            self.handle_link_over(&reason);
        }
        self.shared.is_doubted.send_replace(false);
    }

    fn handle_raced(&mut self, serial: u64, raced: Raced<Session>) {
        self.racing = OptionFuture::from(None);
        let Raced { won, failed } = raced;
        self.shared.note_attempts(&failed);
        match won {
            Some((_, session)) => {
                if !self.put_up(serial, session) {
                    self.dialer.handle_duplicate(now(), draw());
                }
            }
            None => self.handle_failed(&failed),
        }
    }

    fn handle_failed(&mut self, failed: &[Attempt]) {
        debug!(failures = failed.len(), "no address led to the friend");
        if failed.iter().any(|attempt| attempt.error == DialError::Duplicate) {
            self.dialer.handle_duplicate(now(), draw());
        } else {
            self.dialer.handle_failed(now(), draw());
            if self.up.is_none() {
                self.shared.note_failures(failed);
            }
        }
    }

    /// Waits for what is said over a connection that was made elsewhere.
    fn greet(&mut self, arrival: Arrival) {
        self.serial += 1;
        let (shared, serial) = (self.shared.clone(), self.serial);
        match arrival {
            Arrival::Accepted { stream, remote, local, way } => {
                self.waiting.retain(|waiting| !waiting.is_closed());
                if self.waiting.len() >= MOST_ARRIVALS
                    && let Some(oldest) = self.waiting.pop_front()
                {
                    debug!("a connection that says no hello makes room for another");
                    // One that is done by now doesn't hear it, and need not.
                    oldest.send(()).ok();
                }
                let (give_up, given_up) = oneshot::channel();
                self.waiting.push_back(give_up);
                let accepted = Accepted { stream, remote, local, way };
                self.greeting.spawn(async move { (serial, shared.accept(accepted, serial, given_up).await) });
            }
            Arrival::Dialed(dialed) => {
                self.greeting.spawn(async move {
                    // Whether there is a link in its way is perhaps being found out.
                    shared.settled().await;
                    let asked = shared.ask_for_link(dialed, None, serial).await;
                    if let Err(error) = &asked {
                        debug!(%error, "a connection that was made by the help of others is of no use");
                    }
                    (serial, asked.ok())
                });
            }
        }
    }

    fn handle_greeted(&mut self, serial: u64, session: Session) {
        if matches!(session.standing, Standing::Guest | Standing::Visitor) {
            let visits = session.standing == Standing::Visitor;
            lock(&self.shared.guests).serve(session, visits);
            return;
        }
        if self.put_up(serial, session) {
            // The race has lost its point.
            self.racing = OptionFuture::from(None);
        }
    }

    /// Makes a connection the link, if its claim still stands.
    fn put_up(&mut self, serial: u64, session: Session) -> bool {
        if !lock(&self.shared.claims).settle(serial) {
            close(session, "another connection to the same computer is kept");
            return false;
        }
        let class = session.connection.class;
        let reason = reason(&session.connection, self.up.as_ref().map(|(_, old)| &old.connection));
        self.shared.put_up(&session, &reason);
        if let Some((_, old)) = self.up.take() {
            if class < old.connection.class {
                self.shared.drain(old, &session.link, &reason);
            } else {
                // What waits for its turn there goes on over the new one.
                old.link.drain("replaced by a newer connection", Some(session.link.clone()));
                close(old, "replaced by a newer connection");
            }
        }
        self.up = Some((serial, session));
        // What a hub is asked for is asked of it in any case: it is called by the one address that it has.
        let class = if self.shared.kind == CarrierKind::Hub { Class::Lan } else { class };
        self.dialer.handle_linked(class, now());
        true
    }

    fn handle_link_over(&mut self, reason: &str) {
        if let Some((serial, _)) = self.up.take() {
            lock(&self.shared.claims).release(serial);
            self.shared.put_down(reason);
            self.dialer.handle_link_over(now(), draw());
        }
    }
}

fn close(session: Session, reason: &str) {
    session.link.close(reason);
    // It must live on for a moment to say goodbye; it ends by itself.
    session.driver.detach();
}

/// Why the link takes this way now, a part of a sentence.
fn reason(new: &Connection, old: Option<&Connection>) -> String {
    let who = match (&new.dialled, new.side) {
        (Some(address), _) => format!("{address} answered"),
        (None, kith_wire::Side::Acceptor) => "the friend's call came in".to_owned(),
        (None, kith_wire::Side::Dialer) => "others helped to reach the friend".to_owned(),
    };
    match old {
        Some(old) if new.class < old.class => format!("{who}, and this way is better"),
        Some(_) => format!("{who}, and the connection before it was lost"),
        None => who,
    }
}

/// Closes a link that does not answer soon, and says why it is over, if it is.
async fn proved(link: Link) -> Option<String> {
    let mut ping = http::Request::new(kith_wire::empty_body());
    *ping.uri_mut() = http::Uri::from_static(kith_wire::paths::PING);
    let pinged = tokio::time::timeout(PROOF_OF_LIFE, link.request(ping)).await;
    // A pong may queue behind bulk data: whatever was read in the meantime proves life as well, but for what was on its way
    // when it came into doubt.
    if pinged.is_err() && link.silent_for() >= PROOF_OF_LIFE / 2 {
        link.close("it did not answer when it was in doubt");
        return Some(link.ended().await.to_string());
    }
    if link.is_over() { Some(link.ended().await.to_string()) } else { None }
}

fn draw() -> Jitter {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Jitter(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)),
        // Without randomness the pauses lose their jitter, nothing else.
        Err(_unavailable) => Jitter(1.0),
    }
}
