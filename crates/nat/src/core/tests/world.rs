//! A core, its routers, and time that passes only when told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::{Duration, Instant, SystemTime};

use kith_network::{Address, ByFamily, Gateway, Interface, InterfaceKind, Snapshot};

use super::super::chance::Chance;
use super::super::time::Tick;
use super::super::{AskId, Command, Core, CoreConfig, Counts};
use super::router::Router;
use crate::{Answer, Hint, MappingState, Protocol, Protocols, Remembered, Request, State, Uplink, Wanted};

pub(super) const LABEL: &str = "Kith 3f9a2c71";
pub(super) const LOCAL: &str = "192.168.1.23";
pub(super) const GATEWAY: &str = "192.168.1.1";
pub(super) const PORT: u16 = 4242;

/// See the module.
pub(super) struct World {
    base: Instant,
    pub(super) now: Duration,
    pub(super) core: Core,
    pub(super) routers: Vec<Router>,
    answers: BTreeMap<(Duration, AskId), Answer>,
    /// Every command, with its time.
    pub(super) log: Vec<(Duration, Command)>,
    /// Whether `log` is kept.
    pub(super) logging: bool,
    /// Whether `hash` is kept.
    pub(super) hashing: bool,
    /// Of every command, in order.
    pub(super) hash: Fnv,
    pub(super) commands: u64,
    pub(super) remembered: Vec<Remembered>,
    /// What is answered instead of what the router would say, once each.
    pub(super) scripted: Vec<(Protocol, Answer)>,
    /// Routers answer anything.
    pub(super) chaos: Option<Chance>,
    outstanding: Vec<(AskId, Uplink, Protocol)>,
}

/// A hash that is the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fnv(pub(super) u64);

impl std::fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

pub(super) fn config() -> CoreConfig {
    CoreConfig { protocols: Protocols::ALL, label: LABEL.to_owned(), seed: 7, remembered: Vec::new() }
}

pub(super) fn wanted(port: u16) -> Wanted {
    let bound = vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()];
    Wanted { port: NonZeroU16::new(port).unwrap(), bound }
}

pub(super) fn address(ip: &str, prefix: u8) -> Address {
    Address { ip: ip.parse().unwrap(), prefix, temporary: false }
}

pub(super) fn temporary(ip: &str) -> Address {
    Address { temporary: true, ..address(ip, 64) }
}

pub(super) fn interface(index: u32, kind: InterfaceKind, addresses: &[(&str, u8)]) -> Interface {
    let addresses = addresses.iter().map(|(ip, prefix)| address(ip, *prefix)).collect();
    Interface { index, name: format!("eth{index}"), kind, addresses }
}

pub(super) fn gateway(index: u32, ip: &str) -> Gateway {
    Gateway { index, interface: format!("eth{index}"), address: ip.parse().unwrap(), metric: 100 }
}

/// One network card, one router.
pub(super) fn home() -> Snapshot {
    home_at(LOCAL)
}

pub(super) fn home_at(local: &str) -> Snapshot {
    Snapshot {
        interfaces: vec![interface(2, InterfaceKind::Physical, &[(local, 24)])],
        gateways: vec![gateway(2, GATEWAY)],
        leaves_by: ByFamily { v4: Some(2), v6: None },
        ..Snapshot::default()
    }
}

impl World {
    /// Everything is plugged in at once.
    pub(super) fn start(routers: Vec<Router>) -> Self {
        Self::start_with(config(), routers, &home())
    }

    pub(super) fn start_with(config: CoreConfig, routers: Vec<Router>, network: &Snapshot) -> Self {
        let mut world = Self::new(config, routers);
        world.network(network);
        world.want(Some(wanted(PORT)));
        world
    }

    pub(super) fn new(config: CoreConfig, routers: Vec<Router>) -> Self {
        let base = Instant::now();
        Self {
            base,
            now: Duration::ZERO,
            remembered: config.remembered.clone(),
            core: Core::new(config, base),
            routers,
            answers: BTreeMap::new(),
            log: Vec::new(),
            logging: true,
            hashing: false,
            hash: Fnv(0xcbf2_9ce4_8422_2325),
            commands: 0,
            scripted: Vec::new(),
            chaos: None,
            outstanding: Vec::new(),
        }
    }

    /// The process is killed and starts again.
    pub(super) fn restart(&mut self, seed: u64, network: &Snapshot, port: u16) {
        let config = CoreConfig { remembered: self.remembered.clone(), seed, ..config() };
        self.core = Core::new(config, self.at());
        self.answers.clear();
        self.outstanding.clear();
        self.network(network);
        self.want(Some(wanted(port)));
    }

    pub(super) fn at(&self) -> Instant {
        self.base + self.now
    }

    pub(super) fn network(&mut self, network: &Snapshot) {
        self.core.handle_network(network, self.at());
        self.execute();
    }

    pub(super) fn want(&mut self, wanted: Option<Wanted>) {
        self.core.handle_wanted(wanted, self.at());
        self.execute();
    }

    pub(super) fn protocols(&mut self, protocols: Protocols) {
        self.core.handle_protocols(protocols, self.at());
        self.execute();
    }

    pub(super) fn hint(&mut self, hint: Hint) {
        self.core.handle_hint(hint, self.at());
        self.execute();
    }

    /// A friend sees us come from that address, by a link from the card at home.
    pub(super) fn see(&mut self, ip: &str) {
        self.see_from(ip, LOCAL);
    }

    pub(super) fn see_from(&mut self, ip: &str, local: &str) {
        let (ip, local) = (ip.parse().unwrap(), local.parse().unwrap());
        self.core.handle_seen_from_outside(ip, local, self.at(), self.at());
        self.execute();
    }

    pub(super) fn stop(&mut self) {
        self.core.stop(self.at());
        self.execute();
    }

    /// Does what the core asks for.
    pub(super) fn execute(&mut self) {
        while let Some(command) = self.core.poll_command() {
            self.commands += 1;
            if self.hashing {
                write!(self.hash, "{:?}{command:?}", self.now).unwrap();
            }
            match &command {
                Command::Ask { id, uplink, protocol, request } => {
                    let same = |(_, of, by): &&(AskId, Uplink, Protocol)| of == uplink && by == protocol;
                    assert!(
                        self.outstanding.iter().find(same).is_none(),
                        "two requests at once: {command:?}"
                    );
                    self.outstanding.push((*id, uplink.clone(), *protocol));
                    let (answer, wait) = self.answer(uplink, *protocol, request);
                    self.answers.insert((self.now + wait, *id), answer);
                }
                Command::Cancel { id } => {
                    self.outstanding.retain(|(other, ..)| other != id);
                    self.answers.retain(|(_, other), _| other != id);
                }
                Command::Remember(memories) => self.remembered = memories.clone(),
                Command::Changed => {}
            }
            if self.logging {
                self.log.push((self.now, command));
            }
        }
        if self.logging {
            // What can be seen never differs from what was told.
            let told = &self.core.told_state;
            let wall = SystemTime::UNIX_EPOCH + self.core.clock.now().since(Tick::START);
            assert_eq!(&self.core.state_at(self.core.clock.now(), wall), told);
        }
    }

    fn answer(&mut self, uplink: &Uplink, protocol: Protocol, request: &Request) -> (Answer, Duration) {
        if let Some(chance) = &mut self.chaos {
            return super::chaos::answer(chance, request);
        }
        if let Some(index) = self.scripted.iter().position(|(of, _)| *of == protocol)
            && matches!(request, Request::Map(_))
        {
            return (self.scripted.remove(index).1, Duration::from_millis(5));
        }
        let router = self.routers.iter_mut().find(|router| router.gateway == uplink.gateway);
        router.map_or((Answer::Silent, Duration::from_secs(2)), |router| {
            router.answer(uplink, protocol, request, self.now)
        })
    }

    /// When something happens next by itself.
    pub(super) fn next(&self) -> Option<Duration> {
        let timer = self.core.poll_timeout().map(|(at, _)| at.saturating_duration_since(self.base));
        let answer = self.answers.keys().next().map(|(at, _)| *at);
        timer.into_iter().chain(answer).min().map(|at| at.max(self.now))
    }

    /// Goes to that moment, which is not beyond the next event. Says whether a mapping was granted.
    pub(super) fn step(&mut self, to: Duration) -> bool {
        self.now = to;
        for router in &mut self.routers {
            router.prune(to);
        }
        let due = self.answers.keys().next().filter(|(at, _)| *at <= to).copied();
        let granted = due.is_some_and(|key| matches!(self.answers[&key], Answer::Mapped(_)));
        match due {
            Some(key) => {
                let answer = self.answers.remove(&key).unwrap();
                self.outstanding.retain(|(other, ..)| *other != key.1);
                self.core.handle_answer(key.1, answer, self.at());
            }
            None => self.core.handle_timeout(self.at()),
        }
        self.execute();
        granted
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut still = 0;
        while let Some(next) = self.next().filter(|next| *next <= end) {
            still = if next == self.now { still + 1 } else { 0 };
            assert!(still < 1000, "time stands still: {:?}", self.core.poll_timeout());
            self.step(next);
        }
        self.now = end;
        for router in &mut self.routers {
            router.prune(end);
        }
    }

    pub(super) fn seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    pub(super) fn millis(&mut self, millis: u64) {
        self.run(Duration::from_millis(millis));
    }

    /// Runs until the condition holds, and says how long that took.
    pub(super) fn until(
        &mut self,
        what: &str,
        most: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Duration {
        let began = self.now;
        while !condition(self) {
            let next = self.next().unwrap_or_else(|| panic!("{what}: nothing will happen any more"));
            assert!(next <= began + most, "{what}: not within {most:?}; {:#?}", self.state());
            self.step(next);
        }
        self.now - began
    }

    pub(super) fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000) + self.now
    }

    pub(super) fn state(&self) -> State {
        self.core.state(self.at(), self.wall())
    }

    pub(super) fn verdict(&self) -> MappingState {
        self.state().verdict
    }

    pub(super) fn counts(&self) -> Counts {
        self.core.tally().uplinks.first().map(|(_, counts)| *counts).unwrap_or_default()
    }

    pub(super) fn router(&mut self) -> &mut Router {
        &mut self.routers[0]
    }

    /// Whether the router leads our port to us.
    pub(super) fn is_mapped(&self) -> bool {
        let local: IpAddr = LOCAL.parse().unwrap();
        self.routers.iter().any(|router| router.count(local) > 0)
    }

    /// What was asked, in order, without discoveries.
    pub(super) fn requests(&self) -> Vec<(Protocol, Request)> {
        let asks = self.log.iter().filter_map(|(_, command)| match command {
            Command::Ask { protocol, request, .. } => Some((*protocol, request.clone())),
            _ => None,
        });
        asks.filter(|(_, request)| *request != Request::Discover).collect()
    }
}
