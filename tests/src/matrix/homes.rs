//! The sites of the matrix, built in the laboratory.

use std::fmt::Write as _;

use crate::lab::{Carrier, Distance, FakeIgd, Firewall, Host, Lab, Line, Script, Site, SiteKind};

use super::helper::HelperAt;
use super::kind::Kind;

/// The port of a router that stands for the helper.
const STANDS_FOR_THE_HELPER: u16 = 5001;

/// Where a computer of the matrix is to stand.
pub(crate) struct Place {
    pub(crate) host: Host,
    /// More of its settings.
    pub(crate) settings: String,
    /// Where it finds the helper, if not at one of his own addresses.
    pub(crate) helper: String,
}

/// What the places are part of: they end with it.
#[derive(Default)]
pub(crate) struct Grounds {
    igds: Vec<FakeIgd>,
    lines: Vec<Line>,
    sites: Vec<Site>,
    carriers: Vec<Carrier>,
}

impl Grounds {
    /// `count` places of one kind, at the ends of lines of this length. Neighbours are neighbours.
    pub(crate) fn build(
        &mut self,
        lab: &Lab,
        kind: Kind,
        count: usize,
        distance: Option<Distance>,
        helper: &HelperAt,
    ) -> Vec<Place> {
        let at = |site: SiteKind| match distance {
            None => site,
            Some(distance) => site.distant(distance),
        };
        match kind {
            Kind::Public => {
                let hosts = (0..count).map(|_| {
                    let Some(distance) = distance else { return lab.public_host() };
                    let (host, line) = lab.distant_host(distance);
                    self.lines.push(line);
                    host
                });
                hosts.map(|host| Place::new(kind, host, helper)).collect()
            }
            Kind::SameLan => {
                let mut site = lab.site(at(SiteKind::plain().called(kind.name())));
                while site.hosts().len() < count {
                    site.add_host();
                }
                let places = site.hosts().iter().map(|host| Place::new(kind, host.clone(), helper));
                let places = places.collect();
                self.sites.push(site);
                places
            }
            Kind::SameCarrier => {
                let carrier = lab.carrier(at(SiteKind::plain()));
                let places = (0..count).map(|_| {
                    let site = lab.site_behind(&carrier, SiteKind::plain().called(kind.name()));
                    // The real daemon maps nothing to the outside of addresses that carriers give their customers; most
                    // routers do.
                    self.igds.push(FakeIgd::start(site.router(), Script::default()));
                    self.keep(kind, site, helper)
                });
                let places = places.collect();
                self.carriers.push(carrier);
                places
            }
            Kind::Carrier | Kind::SymmetricCarrier => {
                let outer = SiteKind::plain();
                let outer = if kind == Kind::Carrier { outer } else { outer.symmetric() };
                let places = (0..count).map(|_| {
                    let carrier = lab.carrier(at(outer.clone()));
                    let site = lab.site_behind(&carrier, SiteKind::plain().called(kind.name()));
                    self.carriers.push(carrier);
                    self.keep(kind, site, helper)
                });
                places.collect()
            }
            _ => (0..count)
                .map(|_| {
                    let site = lab.site(at(router(kind).called(kind.name())));
                    self.keep(kind, site, helper)
                })
                .collect(),
        }
    }

    fn keep(&mut self, kind: Kind, site: Site, helper: &HelperAt) -> Place {
        let mut place = Place::new(kind, site.host().clone(), helper);
        let router = site.router();
        match kind {
            Kind::HostFirewall => site.host().firewall(Firewall::DropInbound),
            Kind::Socks => place.network(&format!("proxy = \"socks5://{}\"", router.start_socks(None))),
            Kind::Connect => place.network(&format!("proxy = \"http://{}\"", router.start_http_proxy(None))),
            Kind::MappedProxy => {
                let here = router.stand_in(STANDS_FOR_THE_HELPER, helper.v4(helper.port));
                place.mapped(&helper.id, &here.to_string());
            }
            _ => {}
        }
        self.sites.push(site);
        place
    }
}

impl Place {
    fn new(kind: Kind, host: Host, helper: &HelperAt) -> Self {
        let at = match kind {
            Kind::Only443 => helper.v4(443),
            Kind::Ipv6Only => helper.v6(helper.port),
            _ => helper.v4(helper.port),
        };
        let mut place = Self { host, settings: "[network]\n".to_owned(), helper: at.to_string() };
        if helper.is_hub {
            place.network(&format!("hubs = [\"kith://{}@{at}\"]", helper.id));
        }
        if kind == Kind::OutboundOnly {
            place.network("outbound-only = true");
        }
        place
    }

    /// Adds a line to the table `network`, which is the last one.
    fn network(&mut self, line: &str) {
        writeln!(self.settings, "{line}").expect("a String takes what is written to it");
    }

    fn mapped(&mut self, id: &str, here: &str) {
        writeln!(self.settings, "[network.mapped]\n\"{id}\" = \"{here}\"")
            .expect("a String takes what is written to it");
    }
}

/// The router of a kind that has one of its own at the internet.
fn router(kind: Kind) -> SiteKind {
    match kind {
        Kind::Upnp | Kind::HostFirewall => SiteKind::upnp(),
        Kind::NatPmp => SiteKind::nat_pmp(),
        Kind::Pcp => SiteKind::pcp(),
        Kind::Rejecting => SiteKind::plain().rejecting(),
        Kind::Symmetric => SiteKind::plain().symmetric(),
        Kind::Ipv6Only => SiteKind::plain().ipv6_only(),
        Kind::DualStack => SiteKind::plain().dual_stack(),
        Kind::Only443 => SiteKind::plain().letting_out_only(443),
        Kind::Socks | Kind::Connect | Kind::MappedProxy => SiteKind::plain().closed(),
        Kind::Plain
        | Kind::OutboundOnly
        | Kind::Public
        | Kind::SameLan
        | Kind::SameCarrier
        | Kind::Carrier
        | Kind::SymmetricCarrier => SiteKind::plain(),
    }
}
