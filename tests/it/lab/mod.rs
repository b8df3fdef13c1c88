//! Networks with routers between computers.

mod fake_igd;
mod firewalls;
mod itself;
mod lines;
mod mapping;
mod verdicts;
