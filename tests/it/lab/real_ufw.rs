//! The real ufw on a computer: the doctor names its rule, and the commands that it prints open the port, whatever a person had typed before.

use std::net::IpAddr;

use e2e::lab::{Lab, Ufw};
use e2e::{Computer, need_lab, pair};

use super::own_firewall::check;

#[test]
fn the_commands_that_the_doctor_prints_open_the_port_in_the_real_ufw() {
    if !need_lab() {
        return;
    }
    let Some(ufw) = Ufw::copied() else { return };
    let lab = Lab::new("real ufw");
    let (here, there) = (lab.public_host().with_ufw(&ufw), lab.public_host());
    let hosts = [&here, &there];
    let (anna, bert) = (Computer::in_host("anna", &here), Computer::in_host("bert", &there));
    anna.start();
    bert.start();
    pair(&bert, &anna);

    let on = "ufw --force reset; ufw default allow outgoing; ufw --force enable; ";
    check(&anna, hosts, on, "firewall-in", "iptables -P INPUT DROP", &["sudo ufw allow 4242/tcp"]);
    let first =
        ["sudo ufw allow 4242/tcp", "sudo ufw delete allow 4242/tcp", "sudo ufw prepend allow 4242/tcp"];
    let user = "-A ufw-user-input";
    check(&anna, hosts, &format!("{on} ufw deny 4242/tcp"), "firewall-in", user, &first);
    check(&anna, hosts, &format!("{on} ufw reject 4242"), "firewall-in", user, &first);
    let addresses = [there.ipv4().map(IpAddr::from), there.ipv6().map(IpAddr::from)];
    let refused = addresses.into_iter().flatten();
    let refused = refused.map(|bert| format!("ufw prepend reject proto tcp from {bert} to any port 4242; "));
    let bert_is_refused = format!("{on} ufw allow 4242/tcp; {}", refused.collect::<String>());
    check(&anna, hosts, &bert_is_refused, "firewall-in", user, &first);
    let nothing_goes_out = format!("{on} ufw allow 4242/tcp; ufw default deny outgoing");
    check(
        &anna,
        hosts,
        &nothing_goes_out,
        "firewall-out",
        "iptables -P OUTPUT DROP",
        &["sudo ufw allow out 4242/tcp"],
    );
}
