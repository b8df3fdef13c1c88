//! Which gateways lead out of the network, from the routes.

use std::net::IpAddr;

use crate::snapshot::{ByFamily, Gateway, Interface, InterfaceKind};

/// Most gateways of a snapshot.
pub(crate) const MOST_GATEWAYS: usize = 16;

/// A route that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) interface: String,
    /// The length of the destination's prefix; 0 is the default route.
    pub(crate) prefix: u8,
    /// Whether it is one of IPv6.
    pub(crate) v6: bool,
    /// None for a route to what is directly connected.
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) metric: u32,
}

/// The gateways, as `Snapshot::gateways` promises.
pub(crate) fn gateways(interfaces: &[Interface], routes: &[Route]) -> Vec<Gateway> {
    let mut found = family(interfaces, routes, false);
    found.extend(family(interfaces, routes, true));
    found.truncate(MOST_GATEWAYS);
    found
}

/// The interfaces of default routes without gateway, as `Snapshot::direct` promises.
pub(crate) fn direct(interfaces: &[Interface], routes: &[Route]) -> ByFamily<Vec<u32>> {
    let direct = |v6: bool| {
        let mut routes = leading_out(interfaces, routes, v6);
        routes.retain(|(route, _)| is_default(route) && gateway(route).is_none());
        routes.sort_by_key(|(route, _)| route.metric);
        let mut found: Vec<u32> = Vec::new();
        for (_, interface) in routes {
            if !found.contains(&interface.index) {
                found.push(interface.index);
            }
        }
        found
    };
    ByFamily { v4: direct(false), v6: direct(true) }
}

/// The routes of a family over what is not a container's.
fn leading_out<'a>(
    interfaces: &'a [Interface],
    routes: &'a [Route],
    v6: bool,
) -> Vec<(&'a Route, &'a Interface)> {
    let known = |route: &'a Route| {
        let interface = interfaces.iter().find(|interface| interface.name == route.interface)?;
        (interface.kind != InterfaceKind::Container).then_some((route, interface))
    };
    routes.iter().filter(|route| route.v6 == v6).filter_map(known).collect()
}

const fn is_default(route: &Route) -> bool {
    route.prefix == 0
}

fn gateway(route: &Route) -> Option<IpAddr> {
    route.gateway.filter(|gateway| !gateway.is_unspecified())
}

fn family(interfaces: &[Interface], routes: &[Route], v6: bool) -> Vec<Gateway> {
    let routes = leading_out(interfaces, routes, v6);
    let physical = |interface: &Interface| interface.kind == InterfaceKind::Physical;
    let mut found = collect(routes.iter().filter(|(route, _)| is_default(route)));
    if !routes.iter().any(|(route, interface)| is_default(route) && physical(interface)) {
        for gateway in collect(routes.iter().filter(|(_, interface)| physical(interface))) {
            if !known(&found, &gateway) {
                found.push(gateway);
            }
        }
    }
    // Half of the room at most: a crowd of one family must not leave out the other.
    found.truncate(MOST_GATEWAYS / 2);
    found
}

/// The gateways of these routes, the preferred one first, each once.
fn collect<'a>(routes: impl Iterator<Item = &'a (&'a Route, &'a Interface)>) -> Vec<Gateway> {
    let mut all: Vec<Gateway> = routes
        .filter_map(|(route, interface)| {
            let address = gateway(route)?;
            let (index, interface) = (interface.index, interface.name.clone());
            Some(Gateway { index, interface, address, metric: route.metric })
        })
        .collect();
    all.sort_by_key(|gateway| gateway.metric);
    let mut found: Vec<Gateway> = Vec::new();
    for gateway in all {
        if found.len() < MOST_GATEWAYS && !known(&found, &gateway) {
            found.push(gateway);
        }
    }
    found
}

fn known(found: &[Gateway], gateway: &Gateway) -> bool {
    found.iter().any(|other| other.index == gateway.index && other.address == gateway.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces() -> Vec<Interface> {
        let interface =
            |index, name: &str, kind| Interface { index, name: name.to_owned(), kind, addresses: Vec::new() };
        vec![
            interface(2, "eth0", InterfaceKind::Physical),
            interface(3, "wlan0", InterfaceKind::Physical),
            interface(4, "tun0", InterfaceKind::Tunnel),
            interface(5, "docker0", InterfaceKind::Container),
        ]
    }

    fn route(interface: &str, prefix: u8, gateway: &str, metric: u32) -> Route {
        let gateway: Option<IpAddr> = (!gateway.is_empty()).then(|| gateway.parse().unwrap());
        let v6 = gateway.is_some_and(|gateway| gateway.is_ipv6());
        Route { interface: interface.to_owned(), prefix, v6, gateway, metric }
    }

    fn check(routes: &[Route], expected: &[&str]) {
        let found = gateways(&interfaces(), routes);
        let found: Vec<String> =
            found.iter().map(|gateway| format!("{}%{}", gateway.address, gateway.interface)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn default_routes_count_by_metric_and_those_of_containers_do_not() {
        check(
            &[
                route("wlan0", 0, "192.168.2.1", 600),
                route("eth0", 0, "192.168.1.1", 100),
                route("docker0", 0, "172.17.0.9", 0),
                route("eth0", 24, "", 100),
                route("eth0", 16, "192.168.1.7", 0),
                route("gone0", 0, "192.168.9.1", 0),
                route("eth0", 0, "192.168.1.1", 900),
                route("eth0", 0, "fe80::1", 1024),
                route("wlan0", 0, "fe80::1", 600),
            ],
            &["192.168.1.1%eth0", "192.168.2.1%wlan0", "fe80::1%wlan0", "fe80::1%eth0"],
        );
    }

    #[test]
    fn where_a_vpn_took_over_the_default_route_the_router_is_still_found() {
        // As a VPN leaves it: everything through the tunnel, its own server through the router.
        check(
            &[
                route("tun0", 0, "10.8.0.1", 0),
                route("eth0", 32, "192.168.1.1", 0),
                route("eth0", 24, "", 100),
            ],
            &["10.8.0.1%tun0", "192.168.1.1%eth0"],
        );
        check(&[route("tun0", 0, "", 0), route("eth0", 32, "192.168.1.1", 0)], &["192.168.1.1%eth0"]);
    }

    #[test]
    fn one_family_stands_in_without_the_other() {
        check(
            &[
                route("tun0", 0, "10.8.0.1", 0),
                route("eth0", 32, "192.168.1.1", 0),
                route("eth0", 0, "fe80::1", 1024),
                route("eth0", 64, "fe80::2", 1024),
            ],
            &["10.8.0.1%tun0", "192.168.1.1%eth0", "fe80::1%eth0"],
        );
    }

    #[test]
    fn a_default_route_that_needs_no_gateway_needs_no_stand_in() {
        check(&[route("eth0", 0, "", 0), route("eth0", 16, "192.168.1.7", 0)], &[]);
    }

    #[test]
    fn default_routes_without_a_gateway_are_told_by_their_interfaces() {
        let v6 = |route: Route| Route { v6: true, ..route };
        let routes = [
            route("eth0", 0, "192.168.1.1", 100),
            route("tun0", 0, "", 50),
            route("eth0", 0, "0.0.0.0", 9),
            route("tun0", 0, "", 700),
            route("docker0", 0, "", 0),
            route("gone0", 0, "", 0),
            route("wlan0", 1, "", 0),
            v6(route("tun0", 0, "", 1)),
            v6(route("wlan0", 0, "", 1024)),
            v6(route("eth0", 64, "", 1)),
        ];
        assert_eq!(direct(&interfaces(), &routes), ByFamily { v4: vec![2, 4], v6: vec![4, 3] });
        check(&routes, &["192.168.1.1%eth0"]);
    }

    #[test]
    fn the_number_of_gateways_is_bounded_and_leaves_room_for_both_families() {
        let many = |v6: bool| {
            (1..200).map(move |n| {
                route("eth0", 0, &if v6 { format!("fe80::{n:x}") } else { format!("192.168.1.{n}") }, n)
            })
        };
        let routes: Vec<Route> = many(true).chain(many(false)).collect();
        let found = gateways(&interfaces(), &routes);
        assert_eq!(found.len(), MOST_GATEWAYS);
        assert_eq!(found.iter().filter(|gateway| gateway.address.is_ipv6()).count(), MOST_GATEWAYS / 2);
    }
}
