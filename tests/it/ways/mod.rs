//! By which way friends are connected, wherever they are and whatever happens meanwhile.

mod backups;
mod matrix;
mod relays;

use e2e::lab::{Host, Lab, Site};
use e2e::{Computer, meet};

const HUB_PORT: u16 = 4287;

/// Two friends at home at these sites. `settings` are those of both; `also` is done with each while they meet.
fn settled(
    lab: &Lab,
    sites: &[Site; 2],
    settings: &str,
    also: impl Fn(&Computer) + Sync,
) -> (Computer, Computer) {
    let room = lab.public_host();
    let mut computers = ["anna", "bert"].map(|name| Computer::in_host(name, &room));
    meet(&room, &mut computers, &[(0, 1)], also);
    for (computer, site) in computers.iter_mut().zip(sites) {
        computer.carry_to(site.host(), settings);
        computer.start();
    }
    computers.into()
}

/// Hubs, and the settings of those who use them.
fn hubs(lab: &Lab, count: usize) -> (Vec<(Computer, Host)>, String) {
    let hubs: Vec<(Computer, Host)> = (0..count)
        .map(|number| {
            let host = lab.public_host();
            let hub = Computer::in_host(&format!("hub{number}"), &host);
            hub.start_hub(HUB_PORT);
            (hub, host)
        })
        .collect();
    let addresses: Vec<String> = hubs
        .iter()
        .map(|(hub, host)| format!("\"kith://{}@{}\"", hub.device_id(), host.at(HUB_PORT)))
        .collect();
    (hubs, format!("[network]\nhubs = [{}]\n", addresses.join(", ")))
}
