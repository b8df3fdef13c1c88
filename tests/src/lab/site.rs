//! How namespaces are connected.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::addresses::{self, LINK_FAR, LINK_NEAR, PREFIX};
use super::kind::{Families, SiteKind};
use super::line::{self, Distance, FAR, NEAR};
use super::namespace::Namespace;
use super::router::Router;
use super::{Host, Shared, ip};

/// Values for every namespace. Frames within a bridge pass no IP filter, or what a bridged host sends to its own router's far
/// side is translated twice; addresses of IPv6 serve at once, because nobody else can have them.
const EVERYWHERE: [(&str, &str); 8] = [
    ("bridge/bridge-nf-call-iptables", "0"),
    ("bridge/bridge-nf-call-ip6tables", "0"),
    ("bridge/bridge-nf-call-arptables", "0"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
];
const FORWARDING: [(&str, &str); 2] = [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")];

/// A home or office: a router, and hosts behind it.
#[derive(Debug)]
pub struct Site {
    shared: Arc<Shared>,
    router: Router,
    carrier: Option<Router>,
    hosts: Vec<Host>,
    name: String,
    cable: Option<line::Line>,
}

/// A carrier whose customers share its address.
#[derive(Debug)]
pub struct Carrier {
    router: Router,
    cable: Option<line::Line>,
}

/// Where a router is connected.
#[derive(Clone, Debug)]
pub(super) enum Line {
    /// A home at the internet.
    Internet,
    /// A carrier at the internet.
    Trunk,
    /// A home at a carrier.
    Carrier {
        /// The carrier's number.
        number: u8,
        /// The carrier's router.
        namespace: Namespace,
    },
}

impl Line {
    /// The address at the far side of router `number`, after so many changes.
    pub(super) const fn address(&self, number: u8, turn: u32) -> Ipv4Addr {
        match self {
            Self::Internet | Self::Trunk => addresses::wan(number, turn),
            Self::Carrier { number: carrier, .. } => addresses::shared(*carrier, number, turn),
        }
    }

    /// The address of router `number` at its near side.
    pub(super) const fn lan_router(&self, number: u8) -> Ipv4Addr {
        match self {
            Self::Internet | Self::Carrier { .. } => addresses::lan_router(number),
            Self::Trunk => addresses::router_of(addresses::shared(number, 0, 0)),
        }
    }

    /// Nobody has the address any more.
    pub(super) fn forget(&self, shared: &Shared, number: u8, turn: u32) {
        let address = self.address(number, turn);
        match self {
            Self::Internet | Self::Trunk => {
                ip::batch_in(&shared.internet, &format!("route del {address}/32 dev s{number}\n"));
            }
            // The neighbour that had it would still be sent what is for it.
            Self::Carrier { namespace, .. } => ip::batch_in(namespace, "neigh flush dev lan\n"),
        }
    }
}

impl Site {
    pub(super) fn build(shared: &Arc<Shared>, kind: SiteKind, carrier: Option<&Carrier>) -> Self {
        let number = shared.number();
        let name = shared.unique(kind.name);
        let line = carrier.map_or(Line::Internet, Carrier::line);
        assert!(
            carrier.is_none() || kind.families == Families::V4,
            "the carriers of the lab have no IPv6 for their customers"
        );
        let router = Router::new(shared, format!("{name}-router"), number, kind, line);
        let mut site = Self {
            shared: Arc::clone(shared),
            router,
            carrier: carrier.map(|carrier| carrier.router.clone()),
            hosts: Vec::new(),
            name,
            cable: None,
        };
        let host = site.plan_host();
        let spaces = [site.router.namespace(), host.namespace()];
        ip::batch(&spaces.map(|space| format!("netns add {}\n", space.name())).concat());
        site.cable = lay_line(shared, &site.router);
        site.router.bring_up();
        site.connect(&host);
        site.hosts.push(host);
        site
    }

    /// The router.
    #[must_use]
    pub const fn router(&self) -> &Router {
        &self.router
    }

    /// Its line to the internet.
    ///
    /// # Panics
    /// If it is not [distant](SiteKind::distant).
    #[must_use]
    pub fn cable(&self) -> &line::Line {
        self.cable.as_ref().expect("a site of a distant kind")
    }

    /// The first host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.hosts[0]
    }

    /// All hosts.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Another host in the same local network.
    ///
    /// # Panics
    /// If it can't be made.
    pub fn add_host(&mut self) -> Host {
        let host = self.plan_host();
        ip::batch(&format!("netns add {}\n", host.namespace().name()));
        self.connect(&host);
        self.hosts.push(host.clone());
        host
    }

    /// Connects a host of another site to this one, too, as by a second network card: gives the interface its address here, and leaves
    /// what goes elsewhere to the cable that it has, until that is [pulled](Host::unplug).
    ///
    /// # Panics
    /// If it can't be made, or the site has no IPv4.
    pub fn lend_line(&mut self, host: &Host, interface: &str) -> Ipv4Addr {
        let planned = self.plan_host();
        let address = planned.ipv4().expect("a site with IPv4");
        // Its place is taken, though it is no host of this site.
        self.hosts.push(planned);
        let (port, space) = (format!("h{}", self.router.next_port()), host.namespace());
        ip::batch_in(
            self.router.namespace(),
            &format!(
                "link add {port} type veth peer name {interface} netns {}\nlink set {port} master lan up\n",
                space.name()
            ),
        );
        let router = self.router.lan_address();
        ip::batch_in(
            space,
            &format!(
                "link set {interface} up\naddr add {address}/{PREFIX} dev {interface}\nroute add default via {router} metric 900\n"
            ),
        );
        address
    }

    /// The IPv4 address from which the internet sees this site: the router's, or its carrier's.
    #[must_use]
    pub fn outside_address(&self) -> Ipv4Addr {
        self.carrier.as_ref().unwrap_or(&self.router).wan_address()
    }

    /// A port of that address.
    #[must_use]
    pub fn outside(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.outside_address().into(), port)
    }

    fn plan_host(&self) -> Host {
        let index = u8::try_from(self.hosts.len()).expect("a site has few hosts");
        let number = self.router.number();
        let families = self.router.kind().families;
        let v4 = families.v4().then(|| addresses::lan_host(number, index));
        let v6 = families.v6().then(|| addresses::lan6(number, addresses::host6(index)));
        // 'a' for the first.
        let letter = char::from(b'a' + index);
        Host::new(&self.shared, format!("{}-{letter}", self.name), v4, v6)
    }

    /// A cable between a host and the router's switch.
    fn connect(&self, host: &Host) {
        let port = format!("h{}", self.router.next_port());
        let space = host.namespace();
        space.set(&EVERYWHERE);
        ip::batch_in(
            self.router.namespace(),
            &format!(
                "link add {port} type veth peer name eth0 netns {}\nlink set {port} master lan up\n",
                space.name()
            ),
        );
        let mut lines = String::from("link set lo up\nlink set eth0 up\n");
        if let Some(v4) = host.ipv4() {
            let router = self.router.lan_address();
            lines += &format!("addr add {v4}/{PREFIX} dev eth0\nroute add default via {router}\n");
        }
        if let Some(v6) = host.ipv6() {
            lines += &format!("addr add {v6}/64 dev eth0\nroute add ::/0 via {LINK_NEAR} dev eth0\n");
        }
        ip::batch_in(space, &lines);
    }
}

impl Carrier {
    pub(super) fn build(shared: &Arc<Shared>, kind: SiteKind) -> Self {
        let number = shared.number();
        let name = shared.unique("carrier");
        let router = Router::new(shared, format!("{name}-router"), number, kind, Line::Trunk);
        ip::batch(&format!("netns add {}\n", router.namespace().name()));
        let cable = lay_line(shared, &router);
        router.bring_up();
        Self { router, cable }
    }

    /// The router that all customers share.
    #[must_use]
    pub const fn router(&self) -> &Router {
        &self.router
    }

    /// Its line to the internet.
    ///
    /// # Panics
    /// If it is not [distant](SiteKind::distant).
    #[must_use]
    pub fn cable(&self) -> &line::Line {
        self.cable.as_ref().expect("a carrier of a distant kind")
    }

    fn line(&self) -> Line {
        Line::Carrier { number: self.router.number(), namespace: self.router.namespace().clone() }
    }
}

/// The namespace that routes between all lines. It belongs to nobody, so nothing runs in it.
pub(super) fn build_internet(shared: &Shared) {
    let space = &shared.internet;
    ip::batch(&format!("netns add {}\n", space.name()));
    space.set(&EVERYWHERE);
    space.set(&FORWARDING);
    ip::batch_in(space, "link set lo up\nroute add blackhole default\nroute add blackhole ::/0\n");
}

/// The cable of a router to where it is connected, and its switch. Gives back the line, if it is a long one.
fn lay_line(shared: &Arc<Shared>, router: &Router) -> Option<line::Line> {
    let space = router.namespace();
    let number = router.number();
    space.set(&EVERYWHERE);
    space.set(&FORWARDING);
    let mut cable = None;
    match (router.line(), router.kind().distance) {
        (Line::Internet | Line::Trunk, None) => lay_to_internet(shared, number, space, "wan"),
        (Line::Internet | Line::Trunk, Some(distance)) => {
            cable = Some(line::Line::lay(shared, distance, |between| {
                lay_through(shared, number, between, space, "wan");
            }));
        }
        (Line::Carrier { namespace, .. }, distance) => {
            assert!(distance.is_none(), "the line to a carrier is short");
            ip::batch_in(
                namespace,
                &format!(
                    "link add c{number} type veth peer name wan netns {}\nlink set c{number} master lan up\n",
                    space.name()
                ),
            );
        }
    }
    // A bridge without an address of its own takes the lowest of its ports', and changes it with them.
    ip::batch_in(
        space,
        &format!(
            "link set lo up\nlink add lan address 02:00:00:00:00:{number:02x} type bridge mcast_snooping 0\n"
        ),
    );
    cable
}

/// A line of the internet that ends in this interface of a namespace.
fn lay_to_internet(shared: &Shared, number: u8, space: &Namespace, interface: &str) {
    ip::batch_in(
        &shared.internet,
        &format!(
            "link add s{number} type veth peer name {interface} netns {}
link set s{number} addrgenmode none up
addr add {LINK_NEAR}/64 dev s{number}
addr add {}/32 dev s{number}
addr add {}/32 dev s{number}
",
            space.name(),
            addresses::router_of(addresses::wan(number, 0)),
            addresses::router_of(addresses::wan(number, 1)),
        ),
    );
}

/// Gives a router its addresses and routes, and what it is connected to the way to it.
pub(super) fn raise_lines(shared: &Shared, router: &Router, wan: Ipv4Addr) {
    let number = router.number();
    let near = router.lan_address();
    let far = addresses::router_of(wan);
    let families = router.kind().families;
    // Nobody is a neighbour at a line of the internet: everything goes to its other end.
    let (alone, onlink) = match router.line() {
        Line::Internet | Line::Trunk => (" noprefixroute", " onlink"),
        Line::Carrier { .. } => ("", ""),
    };
    let mut lines = format!(
        "addr flush dev wan
link set wan addrgenmode none up
link set lan addrgenmode none up
addr replace {near}/{PREFIX} dev lan
"
    );
    if families.v4() {
        lines += &format!(
            "addr add {wan}/{PREFIX} dev wan{alone}\nroute replace default via {far} dev wan{onlink}\n"
        );
    }
    if families.v6() {
        lines += &format!(
            "addr add {LINK_FAR}/64 dev wan
route replace ::/0 via {LINK_NEAR} dev wan
addr replace {LINK_NEAR}/64 dev lan
addr replace {}/64 dev lan
",
            addresses::lan6(number, 1)
        );
    }
    ip::batch_in(router.namespace(), &lines);
    let mut lines = String::new();
    if matches!(router.line(), Line::Internet | Line::Trunk) {
        if families.v4() {
            lines += &format!("route replace {wan}/32 dev s{number}\n");
        }
        if families.v6() {
            let network = addresses::lan6(number, 0);
            lines += &format!("route replace {network}/64 via {LINK_FAR} dev s{number}\n");
        }
        ip::batch_in(&shared.internet, &lines);
    }
}

/// A host whose cable is a line of the internet. It has no neighbours, as is usual where servers are rented.
pub(super) fn public_host(shared: &Arc<Shared>) -> Host {
    let (number, host) = plan_public(shared);
    lay_to_internet(shared, number, host.namespace(), "eth0");
    connect_public(shared, number, &host);
    host
}

/// A public host at the end of a line.
pub(super) fn distant_host(shared: &Arc<Shared>, distance: Distance) -> (Host, line::Line) {
    let (number, host) = plan_public(shared);
    let line = line::Line::lay(shared, distance, |between| {
        lay_through(shared, number, between, host.namespace(), "eth0");
    });
    connect_public(shared, number, &host);
    (host, line)
}

/// A line of the internet that ends in a namespace between it and another one, from which a cable leads on to this interface of that.
fn lay_through(shared: &Shared, number: u8, between: &Namespace, space: &Namespace, interface: &str) {
    between.set(&EVERYWHERE);
    lay_to_internet(shared, number, between, FAR);
    let space = space.name();
    ip::batch_in(between, &format!("link add {NEAR} type veth peer name {interface} netns {space}\n"));
}

/// A public host with a number, in a namespace of its own.
fn plan_public(shared: &Arc<Shared>) -> (u8, Host) {
    let number = shared.number();
    let (v4, v6) = (addresses::wan(number, 0), addresses::public6(number));
    let host = Host::new(shared, shared.unique("public"), Some(v4), Some(v6));
    ip::batch(&format!("netns add {}\n", host.namespace().name()));
    host.namespace().set(&EVERYWHERE);
    (number, host)
}

/// The addresses of a public host, and the way to it.
fn connect_public(shared: &Arc<Shared>, number: u8, host: &Host) {
    let (v4, v6) = (addresses::wan(number, 0), addresses::public6(number));
    ip::batch_in(
        host.namespace(),
        &format!(
            "link set lo up
link set eth0 addrgenmode none up
addr add {v4}/32 dev eth0
route add default via {far} dev eth0 onlink
addr add {LINK_FAR}/64 dev eth0
addr add {v6}/128 dev eth0
route add ::/0 via {LINK_NEAR} dev eth0
",
            far = addresses::router_of(v4),
        ),
    );
    ip::batch_in(
        &shared.internet,
        &format!("route add {v4}/32 dev s{number}\nroute add {v6}/128 via {LINK_FAR} dev s{number}\n"),
    );
}
