//! Networks with routers between computers.

mod changes;
mod fake_igd;
mod faults;
mod firewalls;
mod itself;
mod lines;
mod mapping;
mod meetings;
mod nearby;
mod outbound_only;
mod own_firewall;
mod punching;
mod real_ufw;
mod verdicts;
