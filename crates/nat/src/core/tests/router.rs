//! A router in virtual time, with the faults that routers have.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::{
    Answer, Entry, Epoch, Family, Found, Grant, Lifetime, MapRequest, Nonce, Protocol, Refusal, RefusalKind,
    Request, UnmapRequest, Uplink,
};

/// An entry of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) client: SocketAddr,
    pub(super) label: String,
    pub(super) ends: Option<Duration>,
    pub(super) nonce: Option<Nonce>,
    pub(super) by: Protocol,
}

/// How a router differs from the documents.
#[derive(Clone, Debug)]
pub(super) struct Quirks {
    /// UPnP: a lease of limited time is refused so.
    pub(super) refuses_limited: Option<(RefusalKind, u16)>,
    /// UPnP: a permanent mapping is refused so.
    pub(super) refuses_permanent: Option<(RefusalKind, u16)>,
    /// UPnP: shorter leases are refused with 402.
    pub(super) upnp_shortest: u32,
    /// UPnP: leases other than 0 last no time at all.
    pub(super) drops_limited: bool,
    /// UPnP: leases are at most that long, and 0 becomes that.
    pub(super) upnp_longest: Option<u32>,
    /// UPnP: an entry of another computer is overwritten.
    pub(super) overwrites: bool,
    /// UPnP: 724.
    pub(super) same_port: bool,
    /// UPnP: reading back is offered.
    pub(super) readable: bool,
    /// UPnP: `AddAnyPortMapping`.
    pub(super) any_port: bool,
    /// UPnP: an entry can't be renewed, only made.
    pub(super) no_renewal: bool,
    /// PCP: the nonce must be that of the entry.
    pub(super) nonce_strict: bool,
    /// PCP and NAT-PMP: shortest and longest lease.
    pub(super) clamp: (u32, u32),
    /// Every mapping is refused so.
    pub(super) refuses: Option<(RefusalKind, u16)>,
    /// One protocol says yes and does nothing.
    pub(super) lies: Option<Protocol>,
    /// UPnP: reading back says that nothing is there, whatever is.
    pub(super) hides: bool,
    /// UPnP: reading back an entry that is there can't be understood.
    pub(super) garbles: bool,
    /// UPnP: the list of all entries is refused.
    pub(super) unlisted: bool,
    /// UPnP: an entry leads to another computer than was asked for.
    pub(super) leads_to: Option<IpAddr>,
    /// UPnP: only the computer that an entry leads to may remove it.
    pub(super) secure: bool,
    /// What does not run is answered with RST or ICMP, not with silence.
    pub(super) closes: bool,
    /// The clock for mappings runs like that, in percent.
    pub(super) epoch_percent: u64,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            refuses_limited: None,
            refuses_permanent: None,
            upnp_shortest: 0,
            drops_limited: false,
            upnp_longest: None,
            overwrites: false,
            same_port: false,
            readable: true,
            any_port: true,
            no_renewal: false,
            nonce_strict: true,
            clamp: (120, 86_400),
            refuses: None,
            lies: None,
            hides: false,
            garbles: false,
            unlisted: false,
            leads_to: None,
            secure: true,
            closes: true,
            epoch_percent: 100,
        }
    }
}

/// A router.
#[derive(Clone, Debug)]
pub(super) struct Router {
    pub(super) gateway: IpAddr,
    pub(super) wan: Option<IpAddr>,
    /// Answers at all.
    pub(super) up: bool,
    pub(super) speaks: Vec<Protocol>,
    pub(super) quirks: Quirks,
    /// The table, by external port; in IPv6 by the port of the computer.
    pub(super) table: BTreeMap<(Family, u16), Slot>,
    epoch_began: Duration,
    /// How much longer its clock runs than ours, which slept.
    ahead: Duration,
    /// Mapping requests that were obeyed without the external address having been asked for before.
    pub(super) unasked: u32,
    asked_at: Option<Duration>,
    /// Who had a mapping before: a repeated request is no new one.
    known: Vec<SocketAddr>,
}

pub(super) const WAN: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 1, 113, 5));

impl Router {
    pub(super) fn new(gateway: &str, speaks: &[Protocol]) -> Self {
        Self {
            gateway: gateway.parse().unwrap(),
            wan: Some(WAN),
            up: true,
            speaks: speaks.to_vec(),
            quirks: Quirks::default(),
            table: BTreeMap::new(),
            epoch_began: Duration::ZERO,
            ahead: Duration::ZERO,
            unasked: 0,
            asked_at: None,
            known: Vec::new(),
        }
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Quirks)) -> Self {
        change(&mut self.quirks);
        self
    }

    /// Starts anew: nothing is known any more.
    pub(super) fn reboot(&mut self, now: Duration) {
        self.table.clear();
        self.epoch_began = now;
        self.up = true;
    }

    /// Time passes for it alone.
    pub(super) const fn age(&mut self, time: Duration) {
        self.ahead = time;
    }

    /// Forgets what is over.
    pub(super) fn prune(&mut self, now: Duration) {
        self.table.retain(|_, slot| slot.ends.is_none_or(|ends| ends > now));
    }

    pub(super) fn hold(&mut self, port: u16, client: &str, label: &str) {
        let client: SocketAddr = client.parse().unwrap();
        let slot = Slot { client, label: label.to_owned(), ends: None, nonce: None, by: Protocol::Upnp };
        self.table.insert((Family::of(client.ip()), port), slot);
    }

    /// Where an external port leads.
    pub(super) fn leads(&self, port: u16) -> Option<SocketAddr> {
        self.table.get(&(Family::V4, port)).map(|slot| slot.client)
    }

    /// How many entries lead to a computer.
    pub(super) fn count(&self, local: IpAddr) -> usize {
        self.table.values().filter(|slot| slot.client.ip() == local).count()
    }

    pub(super) fn able(&self) -> bool {
        self.up && self.wan.is_some() && !self.speaks.is_empty()
    }

    pub(super) fn epoch(&self, now: Duration) -> Epoch {
        let seconds =
            (now + self.ahead).saturating_sub(self.epoch_began).as_secs() * self.quirks.epoch_percent / 100;
        Epoch(u32::try_from(seconds).unwrap())
    }

    /// What is answered, and after how long.
    pub(super) fn answer(
        &mut self,
        uplink: &Uplink,
        protocol: Protocol,
        request: &Request,
        now: Duration,
    ) -> (Answer, Duration) {
        self.prune(now);
        if !self.up {
            // As long as the clients wait.
            let patience = match (protocol, request) {
                (Protocol::Upnp, Request::Discover) => 3500,
                (Protocol::Upnp, _) => 2500,
                _ => 4000,
            };
            return (Answer::Silent, Duration::from_millis(patience));
        }
        if !self.speaks.contains(&protocol) {
            return if self.quirks.closes && protocol != Protocol::Upnp {
                (Answer::Closed, Duration::from_millis(2))
            } else {
                (Answer::Silent, Duration::from_secs(4))
            };
        }
        let answer = match request {
            Request::Discover => self.found(uplink, protocol, now),
            Request::Map(map) => self.map(uplink, protocol, map, now),
            Request::Unmap(unmap) => self.unmap(uplink, protocol, unmap),
            Request::ReadBack { external_port } => self.read(*external_port, now),
            Request::Entries { .. } if self.quirks.unlisted => refuse(RefusalKind::Unsupported, 401),
            Request::Entries { label } => {
                let ports: Vec<u16> = self.table.keys().map(|(_, port)| *port).collect();
                let entries = ports.into_iter().filter_map(|port| self.entry(port, now));
                Answer::Entries(entries.filter(|entry| entry.label.starts_with(label)).collect())
            }
        };
        let wait = match (protocol, request) {
            (Protocol::Upnp, Request::Discover) => 150,
            (Protocol::Upnp, _) => 20,
            _ => 5,
        };
        (answer, Duration::from_millis(wait))
    }

    fn found(&mut self, uplink: &Uplink, protocol: Protocol, now: Duration) -> Answer {
        let v4 = uplink.family() == Family::V4;
        self.asked_at = Some(now);
        if protocol == Protocol::NatPmp && self.wan.is_none() {
            return refuse(RefusalKind::NetworkFailure, 3);
        }
        Answer::Found(Found {
            external_ip: self.wan.filter(|_| v4 && protocol != Protocol::Pcp),
            epoch: (protocol != Protocol::Upnp).then(|| self.epoch(now)),
            model: (protocol == Protocol::Upnp).then(|| "Acme 3000".to_owned()),
            page: None,
            any_port: self.quirks.any_port,
            readable: protocol == Protocol::Upnp && v4 && self.quirks.readable,
        })
    }

    fn map(&mut self, uplink: &Uplink, protocol: Protocol, map: &MapRequest, now: Duration) -> Answer {
        let client = SocketAddr::new(uplink.local, map.internal_port);
        let family = uplink.family();
        if family == Family::V4
            && protocol != Protocol::Pcp
            && self.asked_at.is_none_or(|asked| now - asked > Duration::from_secs(12))
            && !self.known.contains(&client)
        {
            self.unasked += 1;
        }
        self.known.push(client);
        self.known.dedup();
        if let Some((kind, code)) = self.quirks.refuses {
            return refuse(kind, code);
        }
        if self.wan.is_none() {
            return refuse(RefusalKind::NetworkFailure, 0);
        }
        if family == Family::V6 {
            return self.pinhole(protocol, map, client, now);
        }
        match protocol {
            Protocol::Upnp => self.map_upnp(map, client, now),
            Protocol::Pcp | Protocol::NatPmp => self.map_pcp(protocol, map, client, now),
        }
    }

    fn pinhole(&mut self, protocol: Protocol, map: &MapRequest, client: SocketAddr, now: Duration) -> Answer {
        let key = (Family::V6, map.internal_port);
        if map.pinhole.is_some() && !self.table.contains_key(&key) {
            return refuse(RefusalKind::Other, 704);
        }
        let seconds = seconds(map.lifetime);
        let slot = Slot { ends: Some(now + secs(seconds)), ..slot(map, client, protocol) };
        self.table.insert(key, slot);
        self.grant(protocol, map.internal_port, Lifetime::Seconds(seconds), now)
    }

    fn map_upnp(&mut self, map: &MapRequest, client: SocketAddr, now: Duration) -> Answer {
        let limited = map.lifetime != Lifetime::Permanent;
        let refusal = if limited { self.quirks.refuses_limited } else { self.quirks.refuses_permanent };
        if let Some((kind, code)) = refusal {
            return refuse(kind, code);
        }
        if limited && seconds(map.lifetime) < self.quirks.upnp_shortest {
            return refuse(RefusalKind::Failed, 402);
        }
        if self.quirks.same_port && map.external_port != map.internal_port {
            return refuse(RefusalKind::SamePort, 724);
        }
        let mut port = map.external_port;
        let holder = self.table.get(&(Family::V4, port)).map(|slot| slot.client);
        let other = holder.is_some_and(|holder| holder != client);
        if (other && !self.quirks.overwrites) || (self.quirks.no_renewal && holder.is_some()) {
            if !(map.any_port && self.quirks.any_port) {
                return refuse(RefusalKind::Conflict, 718);
            }
            port = self.free_port();
        }
        let granted = match (map.lifetime, self.quirks.upnp_longest) {
            (Lifetime::Permanent, None) => Lifetime::Permanent,
            (lifetime, longest) => {
                let longest = longest.unwrap_or(u32::MAX);
                Lifetime::Seconds(seconds(lifetime).min(longest))
            }
        };
        let lost = self.quirks.lies == Some(Protocol::Upnp) || (limited && self.quirks.drops_limited);
        if !lost {
            let ends = match granted {
                Lifetime::Permanent => None,
                Lifetime::Seconds(seconds) => Some(now + secs(seconds)),
            };
            let other = self.quirks.leads_to.map(|ip| SocketAddr::new(ip, client.port()));
            if let Some(other) = other {
                // As the client finds out, which removes what is called like ours.
                let words = format!("the router mapped {port} to {other} instead");
                return Answer::Refused(Refusal { kind: RefusalKind::Other, code: 0, words });
            }
            let slot = Slot { ends, nonce: None, ..slot(map, client, Protocol::Upnp) };
            self.table.insert((Family::V4, port), slot);
        }
        // UPnP does not say what it granted.
        self.grant(Protocol::Upnp, port, map.lifetime, now)
    }

    fn map_pcp(&mut self, protocol: Protocol, map: &MapRequest, client: SocketAddr, now: Duration) -> Answer {
        let seconds = seconds(map.lifetime).clamp(self.quirks.clamp.0, self.quirks.clamp.1);
        let known = self.entry_of(client);
        if let Some((_, slot)) = &known
            && protocol == Protocol::Pcp
            && self.quirks.nonce_strict
            && slot.nonce.is_some_and(|nonce| nonce != map.nonce)
        {
            return refuse(RefusalKind::NotAuthorized, 2);
        }
        let port = match known {
            Some((port, _)) => port,
            None if self.table.contains_key(&(Family::V4, map.external_port)) => self.free_port(),
            None => map.external_port,
        };
        if self.quirks.lies != Some(protocol) {
            let slot = Slot { ends: Some(now + secs(seconds)), ..slot(map, client, protocol) };
            self.table.insert((Family::V4, port), slot);
        }
        self.grant(protocol, port, Lifetime::Seconds(seconds), now)
    }

    fn grant(&self, protocol: Protocol, port: u16, lifetime: Lifetime, now: Duration) -> Answer {
        Answer::Mapped(Grant {
            external_port: port,
            external_ip: self.wan.filter(|_| protocol == Protocol::Pcp),
            lifetime,
            epoch: (protocol != Protocol::Upnp).then(|| self.epoch(now)),
            pinhole: None,
        })
    }

    fn unmap(&mut self, uplink: &Uplink, protocol: Protocol, unmap: &UnmapRequest) -> Answer {
        let client = SocketAddr::new(uplink.local, unmap.internal_port);
        match protocol {
            Protocol::Upnp => {
                let port =
                    if uplink.family() == Family::V4 { unmap.external_port } else { unmap.internal_port };
                let key = (uplink.family(), port);
                let led = self.table.get(&key).map(|slot| slot.client);
                // The client removes nothing that leads elsewhere than is expected, if it can see that.
                let visible = self.quirks.readable && !self.quirks.hides && !self.quirks.garbles;
                let elsewhere = led.is_some_and(|led| led != unmap.former.unwrap_or(client));
                if visible && elsewhere && uplink.family() == Family::V4 {
                    return Answer::Unmapped;
                }
                // secure_mode: only the owner removes.
                if self.quirks.secure && led.is_some_and(|led| led.ip() != uplink.local) {
                    return refuse(RefusalKind::NotAuthorized, 606);
                }
                self.table.remove(&key);
            }
            Protocol::NatPmp => self.table.retain(|_, slot| slot.client != client || slot.by != protocol),
            Protocol::Pcp => {
                let strange = |slot: &Slot| slot.client == client && slot.nonce != Some(unmap.nonce);
                if self.table.values().any(strange) {
                    return refuse(RefusalKind::NotAuthorized, 2);
                }
                self.table.retain(|_, slot| slot.client != client);
            }
        }
        Answer::Unmapped
    }

    fn read(&self, port: u16, now: Duration) -> Answer {
        if !self.quirks.readable {
            return refuse(RefusalKind::Unsupported, 401);
        }
        match self.entry(port, now) {
            Some(_) if self.quirks.garbles => Answer::Nonsense("garbage".to_owned()),
            entry => Answer::Entry(entry.filter(|_| !self.quirks.hides)),
        }
    }

    fn entry(&self, port: u16, now: Duration) -> Option<Entry> {
        let slot = self.table.get(&(Family::V4, port))?;
        Some(Entry {
            external_port: port,
            internal: slot.client,
            left: slot.ends.map(|ends| ends - now),
            label: slot.label.clone(),
            enabled: true,
        })
    }

    fn entry_of(&self, client: SocketAddr) -> Option<(u16, Slot)> {
        let found = self.table.iter().find(|(_, slot)| slot.client == client);
        found.map(|((_, port), slot)| (*port, slot.clone()))
    }

    fn free_port(&self) -> u16 {
        (50_000..).find(|port| !self.table.contains_key(&(Family::V4, *port))).unwrap()
    }
}

fn slot(map: &MapRequest, client: SocketAddr, by: Protocol) -> Slot {
    Slot {
        client,
        label: map.label.clone(),
        ends: None,
        nonce: (by == Protocol::Pcp).then_some(map.nonce),
        by,
    }
}

fn secs(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

const fn seconds(lifetime: Lifetime) -> u32 {
    match lifetime {
        Lifetime::Seconds(seconds) => seconds,
        Lifetime::Permanent => u32::MAX,
    }
}

pub(super) fn refuse(kind: RefusalKind, code: u16) -> Answer {
    Answer::Refused(Refusal { kind, code, words: String::new() })
}
