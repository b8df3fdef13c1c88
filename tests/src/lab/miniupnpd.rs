//! The program that makes mappings on real routers.

use std::path::Path;
use std::time::Duration;

use crate::wait_until;

use super::kind::{IgdVersion, SiteKind};
use super::router::Router;
use super::{Shared, addresses, processes, rules};

/// Where NAT-PMP and PCP are spoken, RFC 6886 and RFC 6887.
const PMP_PORT: u16 = 5351;
/// Longest time for it to listen.
const START: Duration = Duration::from_secs(5);

/// Starts it in a router, and waits until it listens. Gives back its process id.
pub(super) fn start(shared: &Shared, router: &Router, http_port: u16) -> u32 {
    let directory = shared.directory.path();
    let name = router.name();
    let [settings, pid, log] =
        ["conf", "pid", "log"].map(|ending| directory.join(format!("{name}.{ending}")));
    std::fs::write(&settings, self::settings(router.kind(), router.number(), http_port)).unwrap();
    let mut command = router.command("miniupnpd");
    command.arg("-d").arg("-f").arg(&settings).arg("-P").arg(&pid);
    let id = processes::start(shared, &mut command, &log);
    let speaks = router.kind().speaks;
    wait_until(&format!("miniupnpd of {name}"), START, || {
        if let Some(ended) = shared.processes.ended(id) {
            panic!(
                "miniupnpd of {name} ended ({ended}): {}",
                std::fs::read_to_string(&log).unwrap_or_default()
            );
        }
        let upnp = speaks.upnp.is_none() || listens(id, &["tcp", "tcp6"], http_port);
        let pmp = !(speaks.nat_pmp || speaks.pcp) || listens(id, &["udp", "udp6"], PMP_PORT);
        upnp && pmp
    });
    id
}

/// Whether somebody listens on this port, in the namespace of that process.
pub(super) fn listens(pid: u32, tables: &[&str], port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    tables.iter().any(|table| {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let mut lines = table.lines().skip(1);
        lines.any(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let here = fields.next().is_some_and(|local| local.ends_with(&wanted));
            let far = fields.next().is_some_and(|remote| remote.ends_with(":0000"));
            here && far
        })
    })
}

fn settings(kind: &SiteKind, number: u8, http_port: u16) -> String {
    let lan = addresses::lan_router(number);
    let yes = |condition: bool| if condition { "yes" } else { "no" };
    let speaks = kind.speaks;
    let claims = kind.claims.map(|address| format!("ext_ip={address}\n")).unwrap_or_default();
    format!(
        "ext_ifname=wan
{claims}listening_ip=lan
http_port={http_port}
enable_upnp={upnp}
enable_natpmp={pmp}
secure_mode=yes
system_uptime=no
ipv6_disable={no_v6}
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain={admitted}
upnp_nat_chain={mappings}
upnp_nat_postrouting_chain={rewritten}
lease_file=
uuid=00000000-0000-4000-8000-0000000000{number:02x}
force_igd_desc_v1={v1}
allow 1024-65535 {lan}/{prefix} 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
",
        upnp = yes(speaks.upnp.is_some()),
        pmp = yes(speaks.nat_pmp || speaks.pcp),
        no_v6 = yes(!kind.families.v6()),
        v1 = yes(speaks.upnp == Some(IgdVersion::One)),
        admitted = rules::ADMITTED,
        mappings = rules::MAPPINGS,
        rewritten = rules::REWRITTEN,
        prefix = addresses::PREFIX,
    )
}

/// Everything that the one of this router has said.
pub(super) fn log(directory: &Path, router: &str) -> String {
    std::fs::read(directory.join(format!("{router}.log")))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
