//! What one call does beside signals: finding out from where ports are seen, punching, meeting at a relay.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kith_identity::{DialInKey, Identity, PairTag};
use kith_wire::{DeviceId, Link, RelayRequest};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::asking;
use crate::calls::Dialed;
use crate::carriers::CarrierKind;
use crate::dial_back::Asker;
use crate::outbound::{NamedBy, Outbound};
use crate::reach::core::{OBSERVE_PATIENCE, PUNCH_HOLD, Port};
use crate::reach::host::{PunchPorts, ReachHost};
use crate::reach::leg::leg;
use crate::reach::meeting::Meeting;
use crate::reach::observe::{Observation, observe};
use crate::reach::port::PunchPort;
use crate::reach::punch::{PunchPlan, punch};
use crate::reach::records::Whereabouts;
use crate::reach::secure::{Part, Role, Secured, secure};
use crate::reach::signal::{MOST_ENDPOINTS, may_be_punched};
use crate::way::Way;

/// Before the second carrier is asked, too, from where a port is seen.
const SECOND_OBSERVER: Duration = Duration::from_millis(300);

/// Our half of all calls with one friend.
#[derive(Clone)]
pub(super) struct Half {
    pub(super) identity: Arc<Identity>,
    pub(super) host: Arc<dyn ReachHost>,
    pub(super) outbound: Outbound,
    pub(super) friend: DeviceId,
    pub(super) is_caller: bool,
    pub(super) listen_seen: Arc<ListenSeen>,
}

/// A carrier, as a call needs it.
#[derive(Clone)]
pub(super) struct Helper {
    pub(super) id: DeviceId,
    pub(super) kind: CarrierKind,
    pub(super) link: Link,
    /// Where connections to it lead, `host:port`.
    pub(super) address: String,
    /// Who named it.
    pub(super) told: NamedBy,
}

/// A port of ours and from where it is seen, for as long as this is held; none where nobody can say, and nothing is translated.
pub(super) type Seen = (PunchPort, Option<Arc<Observation>>);

/// From where the listener's port is seen, by IPv4 and IPv6. From one port to one carrier there is one connection at a time, so the
/// calls with several friends share what the first of them has learned, as long as the connection stands.
#[derive(Debug, Default)]
pub(super) struct ListenSeen([Mutex<Weak<Observation>>; 2]);

impl Half {
    fn part(&self) -> Part {
        let role = if self.is_caller {
            Role::Client { keys: self.host.dial_in_keys(&self.friend) }
        } else {
            let host = self.host.clone();
            Role::Server { recognises: Arc::new(move |tag| host.recognises(tag)) }
        };
        Part { identity: self.identity.clone(), friend: self.friend, role }
    }

    /// From where a port is seen, by each family of addresses.
    pub(super) async fn observe(&self, port: Port, helpers: &[Helper]) -> Vec<Seen> {
        let ports = self.host.punch_ports();
        let families = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let seen = families.map(|family: IpAddr| self.observe_family(port, &ports, family, helpers));
        futures::future::join_all(seen).await.into_iter().flatten().collect()
    }

    async fn observe_family(
        &self,
        port: Port,
        ports: &PunchPorts,
        family: IpAddr,
        helpers: &[Helper],
    ) -> Option<Seen> {
        let listen = ports.listen.iter().find(|at| at.is_ipv4() == family.is_ipv4());
        let (port, shared) = match (port, listen) {
            (Port::Listen, Some(at)) => {
                (PunchPort::of_listener(*at), Some(&self.listen_seen.0[usize::from(family.is_ipv6())]))
            }
            _ => {
                let fresh = PunchPort::fresh(listen.map_or(family, SocketAddr::ip), &ports.ranges);
                (fresh.inspect_err(|error| tracing::debug!(%error, "no port for punching")).ok()?, None)
            }
        };
        let mut shared = match shared {
            Some(shared) => Some(shared.lock().await),
            None => None,
        };
        if let Some(known) = shared.as_ref().and_then(|known| known.upgrade()).filter(|known| known.stands())
        {
            return Some((port, Some(known)));
        }
        let Some(observation) = self.ask_all(helpers, &port, family).await.map(Arc::new) else {
            // What nobody translates needs no observer.
            let is_own = family.is_ipv6() && !own_v6(&self.host.whereabouts().internal).is_empty();
            return is_own.then_some((port, None));
        };
        // What somebody inside our network sees is not what others see.
        if let Some(shared) =
            shared.as_mut().filter(|_| !crate::book::is_internal(observation.address().ip()))
        {
            **shared = Arc::downgrade(&observation);
        }
        Some((port, Some(observation)))
    }

    /// The first answer.
    async fn ask_all(&self, helpers: &[Helper], port: &PunchPort, family: IpAddr) -> Option<Observation> {
        let mut asked: FuturesUnordered<_> = helpers
            .iter()
            .zip(0_u32..)
            .map(|(helper, nth)| async move {
                tokio::time::sleep(SECOND_OBSERVER * nth).await;
                self.ask_where(helper, port, family).await
            })
            .collect();
        while let Some(answer) = asked.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    async fn ask_where(&self, helper: &Helper, port: &PunchPort, family: IpAddr) -> Option<Observation> {
        let ways = self.outbound.ways(Some(&helper.id), &helper.address, helper.told).await.ok()?;
        // Others would see the ports of a proxy.
        let mut direct = ways.iter().filter(|way| !way.is_proxied()).map(|way| way.hop);
        let at = direct.find(|at| at.ip().to_canonical().is_ipv4() == family.is_ipv4())?;
        let keys = match helper.kind {
            CarrierKind::Friend => self.host.dial_in_keys(&helper.id),
            CarrierKind::Hub => vec![DialInKey::of_hub(&helper.id)],
        };
        let asker = Asker { identity: &self.identity, keys: &keys, outbound: &self.outbound };
        let asked = observe(asker, helper.id, at, port, OBSERVE_PATIENCE).await;
        let carrier = helper.id.short();
        let seen = asked.inspect_err(|error| tracing::debug!(%error, %carrier, "not observed")).ok()?;
        if !may_be_seen(seen.address().ip(), at.ip()) {
            let address = seen.address();
            tracing::warn!(%carrier, %address, "a carrier outside says that this computer comes from an address inside: it is not believed");
            return None;
        }
        Some(seen)
    }

    /// Punches until the friend is there, and hands out who is: one connection as the caller, each as the callee. Why not, if none.
    pub(super) async fn punch(
        &self,
        ports: Vec<PunchPort>,
        targets: Vec<SocketAddr>,
        found: mpsc::Sender<Dialed>,
    ) -> Result<(), String> {
        let begin = tokio::time::Instant::now();
        let plan = PunchPlan { targets, begin, until: begin + PUNCH_HOLD };
        let table = self.is_caller.then(|| self.host.punch_table()).flatten();
        let (meet, mut met) = mpsc::channel::<Secured>(1);
        let mut meetings = JoinSet::new();
        let mut why = Vec::new();
        for port in ports {
            match punch(&self.outbound, &port, &plan, table.as_deref()) {
                Ok(punching) => {
                    let (mut meeting, meet) = (Meeting::new(punching, self.part()), meet.clone());
                    meetings.spawn(async move {
                        while let Some(secured) = meeting.next().await {
                            if meet.send(secured).await.is_err() {
                                break;
                            }
                        }
                        let met = meeting.outcomes();
                        let of_targets = met
                            .into_iter()
                            .filter_map(|outcome| Some(format!("{}: {}", outcome.target, outcome.last?)));
                        let failures = meeting.failures().map(ToString::to_string);
                        of_targets.chain(failures).collect::<Vec<_>>()
                    });
                }
                Err(error) => why.push(error.to_string()),
            }
        }
        drop(meet);
        let mut is_found = false;
        while let Some(secured) = met.recv().await {
            let Secured { stream, remote, local } = secured;
            let handed_out = found.send(Dialed { stream, remote, local, way: Way::Punched }).await;
            if self.is_caller || handed_out.is_err() {
                return Ok(());
            }
            is_found = true;
        }
        while let Some(ended) = meetings.join_next().await {
            why.extend(ended.unwrap_or_default());
        }
        if is_found { Ok(()) } else { Err(why.join("; ")) }
    }

    /// Meets the friend at a carrier.
    pub(super) async fn meet(
        &self,
        helper: &Helper,
        session: PairTag,
        turn: usize,
    ) -> Result<Dialed, String> {
        let request = RelayRequest { session };
        let place = asking::relay(&helper.link, &request).await.map_err(|error| error.to_string())?;
        let tag = place.tag().ok_or("it gave a name that makes no sense")?;
        let stream = leg(&self.outbound, &helper.id, (&helper.address, helper.told), &tag);
        let stream = stream.await.map_err(|error| error.to_string())?;
        let secured = secure(stream, &self.part(), turn).await.map_err(|error| error.to_string())?;
        let Secured { stream, remote, local } = secured;
        Ok(Dialed { stream, remote, local, way: Way::Relayed { by: helper.id } })
    }
}

/// Whether a carrier can see a computer at this address. Whoever is outside sees nobody at an address inside: a friend who was told that one
/// would knock at somebody in his own network.
fn may_be_seen(seen: IpAddr, by: IpAddr) -> bool {
    crate::book::is_internal(by) || !crate::book::is_internal(seen)
}

/// The endpoints that a friend is told: as they were seen, and, if only somebody inside our network has seen them, as they may be seen by others.
/// Where nobody has seen them and nothing is translated, as they are.
pub(super) fn endpoints(seen: &[Seen], whereabouts: &Whereabouts) -> Vec<SocketAddr> {
    let seen: Vec<(u16, SocketAddr)> = seen
        .iter()
        .flat_map(|(port, observation)| {
            let port = port.address().port();
            let addresses = match observation {
                Some(observation) => vec![observation.address()],
                None => own_v6(&whereabouts.internal).iter().map(|ip| SocketAddr::new(*ip, port)).collect(),
            };
            addresses.into_iter().map(move |address| (port, address))
        })
        .collect();
    told(&seen, &whereabouts.public)
}

/// The addresses of this computer that everybody can use as they are: those of IPv6, of the block that is given out (RFC 4291, section 2.4).
fn own_v6(internal: &[String]) -> Vec<IpAddr> {
    let addresses = internal.iter().filter_map(|address| address.parse::<SocketAddr>().ok());
    let is_global =
        |ip: &IpAddr| matches!(ip.to_canonical(), IpAddr::V6(ip) if ip.segments()[0] & 0xe000 == 0x2000);
    addresses.map(|address| address.ip()).filter(is_global).collect()
}

fn told(seen: &[(u16, SocketAddr)], public: &[String]) -> Vec<SocketAddr> {
    let plain = |address: &SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let mut endpoints: Vec<SocketAddr> = Vec::new();
    let mut add = |endpoint: SocketAddr| {
        if may_be_punched(endpoint) && !endpoints.contains(&endpoint) && endpoints.len() < MOST_ENDPOINTS {
            endpoints.push(endpoint);
        }
    };
    seen.iter().for_each(|(_, observed)| add(plain(observed)));
    for (port, observed) in seen.iter().filter(|(_, observed)| crate::book::is_internal(observed.ip())) {
        let outside = public.iter().filter_map(|address| address.parse::<SocketAddr>().ok());
        for address in outside.filter(|address| address.is_ipv4() == plain(observed).is_ipv4()) {
            add(SocketAddr::new(address.ip(), *port));
        }
    }
    endpoints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_that_nobody_translates_are_told_although_nobody_saw_them() {
        let internal = ["192.168.1.5:4242", "[fd00::5]:4242", "[fe80::5]:4242", "[2001:470::5]:4242"];
        let internal: Vec<String> = internal.map(str::to_owned).into();
        let whereabouts = Whereabouts { internal, ..Whereabouts::default() };
        let port = PunchPort::of_listener("[::]:50000".parse().unwrap());
        let told = endpoints(&[(port, None)], &whereabouts);
        assert_eq!(told, ["[2001:470::5]:50000".parse().unwrap()]);
    }

    #[test]
    fn a_carrier_outside_that_names_an_address_inside_is_not_believed() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for lie in
            ["192.168.1.1", "10.0.0.1", "127.0.0.1", "169.254.1.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
        {
            for hub in ["11.0.0.1", "2001:db8::1", "100.64.0.1"] {
                assert!(!may_be_seen(ip(lie), ip(hub)), "{lie} by {hub}");
            }
            assert!(may_be_seen(ip(lie), ip("192.168.1.7")), "{lie} by a neighbour");
        }
        for (seen, by) in [("11.0.0.2", "11.0.0.1"), ("100.64.0.9", "100.64.0.1"), ("11.0.0.2", "10.0.0.1")] {
            assert!(may_be_seen(ip(seen), ip(by)), "{seen} by {by}");
        }
        // What nobody can be is told to no friend, whoever names it.
        let at = |text: &str| (4242, text.parse::<SocketAddr>().unwrap());
        let lies =
            ["127.0.0.1:4242", "224.0.0.1:4242", "255.255.255.255:4242", "11.0.0.1:22", "[ff02::1]:4242"];
        assert_eq!(told(&lies.map(at), &[]), []);
        let many: Vec<_> = (0..50).map(|n| (4242, SocketAddr::from(([11, 0, 0, n], 4242)))).collect();
        assert_eq!(told(&many, &[]).len(), MOST_ENDPOINTS);
    }

    #[test]
    fn what_only_somebody_inside_has_seen_is_guessed_from_outside() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let public =
            ["11.0.0.1:9999".to_owned(), "home.example:1".to_owned(), "[2001:db8::1]:4242".to_owned()];
        assert_eq!(told(&[(4242, at("11.0.0.1:5555"))], &public), [at("11.0.0.1:5555")]);
        assert_eq!(
            told(&[(4242, at("192.168.1.5:4242"))], &public),
            [at("192.168.1.5:4242"), at("11.0.0.1:4242")]
        );
        assert_eq!(told(&[(4242, at("[::ffff:11.0.0.1]:5555"))], &[]), [at("11.0.0.1:5555")]);
        assert_eq!(told(&[(4242, at("127.0.0.1:4242"))], &[]), [], "nobody elsewhere can use it");
    }
}
