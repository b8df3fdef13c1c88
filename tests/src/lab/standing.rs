//! The lab that stands until it is taken down, for a person to look around in.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::namespace::Namespace;
use super::sweep::{self, STANDING};
use super::{Directory, Host, Lab, Site, SiteKind};

/// Where its table and the logs of its routers are.
const DIRECTORY: &str = "/run/kith-lab";
const TABLE: &str = "hosts";

/// The lab that stands until it is taken down. There is one on a machine.
#[derive(Debug)]
pub struct Standing;

/// A host or router of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingHost {
    /// Its name.
    pub name: String,
    /// Its own address.
    pub address: String,
    /// Where the internet sees it; `-` where nothing is translated.
    pub outside: String,
    /// What it is.
    pub what: String,
}

impl Standing {
    /// Builds it: a few homes, two of them behind a carrier, and a public host.
    ///
    /// # Errors
    /// If it stands already.
    ///
    /// # Panics
    /// If it can't be built.
    pub fn up() -> Result<Vec<StandingHost>, String> {
        if Self::stands() {
            return Err("the lab stands already; `lab down` takes it down".to_owned());
        }
        remove();
        std::fs::create_dir_all(DIRECTORY).map_err(|error| format!("{DIRECTORY} can't be made: {error}"))?;
        let lab = Lab::with(STANDING.to_owned(), Directory::Standing(PathBuf::from(DIRECTORY)));
        let mut hosts = Vec::new();
        let homes = [
            (SiteKind::upnp(), "UPnP, IGD version 2"),
            (SiteKind::nat_pmp(), "NAT-PMP"),
            (SiteKind::pcp(), "PCP"),
            (SiteKind::all().dual_stack(), "UPnP, NAT-PMP and PCP; IPv6 too"),
            (SiteKind::plain(), "a router that makes no mappings"),
        ];
        for (kind, what) in homes {
            add(&mut hosts, &lab.site(kind), what);
        }
        let carrier = lab.carrier(SiteKind::plain());
        add(
            &mut hosts,
            &lab.site_behind(&carrier, SiteKind::upnp().called("behind")),
            "UPnP behind a carrier",
        );
        hosts.push(entry(&lab.public_host(), None, "a public address of its own"));
        std::fs::write(Path::new(DIRECTORY).join(TABLE), format(&hosts))
            .map_err(|error| format!("the table of the lab can't be written: {error}"))?;
        Ok(hosts)
    }

    /// Takes it down. Says whether there was one.
    #[must_use]
    pub fn down() -> bool {
        let stood = Self::stands();
        remove();
        stood
    }

    /// What is in it; empty if it does not stand.
    #[must_use]
    pub fn hosts() -> Vec<StandingHost> {
        if !Self::stands() {
            return Vec::new();
        }
        let table = std::fs::read_to_string(Path::new(DIRECTORY).join(TABLE)).unwrap_or_default();
        table.lines().filter_map(parse).collect()
    }

    /// A call of a program on one of its hosts or routers.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn command(host: &str, program: &str) -> Result<Command, String> {
        let hosts = Self::hosts();
        if hosts.is_empty() {
            return Err("the lab does not stand; `lab up` builds it".to_owned());
        }
        if !hosts.iter().any(|known| known.name == host) {
            let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
            return Err(format!("there is no host {host}; there are {}", names.join(", ")));
        }
        Ok(Namespace::named(format!("{STANDING}{host}")).command(program))
    }

    fn stands() -> bool {
        !sweep::names(STANDING).is_empty()
    }
}

/// Removes the lab and its files.
pub(super) fn remove() {
    sweep::remove(STANDING);
    // It need not be there.
    drop(std::fs::remove_dir_all(DIRECTORY));
}

fn add(hosts: &mut Vec<StandingHost>, site: &Site, what: &str) {
    hosts.push(entry(site.host(), Some(site.outside_address()), what));
    let router = site.router();
    hosts.push(StandingHost {
        name: router.name().to_owned(),
        address: router.lan_address().to_string(),
        outside: router.wan_address().to_string(),
        what: "its router".to_owned(),
    });
}

fn entry(host: &Host, outside: Option<Ipv4Addr>, what: &str) -> StandingHost {
    StandingHost {
        name: host.name().to_owned(),
        address: host.address().to_string(),
        outside: outside.map_or_else(|| "-".to_owned(), |address| address.to_string()),
        what: what.to_owned(),
    }
}

fn format(hosts: &[StandingHost]) -> String {
    hosts.iter().fold(String::new(), |mut text, host| {
        let StandingHost { name, address, outside, what } = host;
        writeln!(text, "{name}\t{address}\t{outside}\t{what}").expect("a String takes what is written to it");
        text
    })
}

fn parse(line: &str) -> Option<StandingHost> {
    let mut fields = line.split('\t').map(str::to_owned);
    Some(StandingHost {
        name: fields.next()?,
        address: fields.next()?,
        outside: fields.next()?,
        what: fields.next()?,
    })
}
