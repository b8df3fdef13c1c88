//! Networks with routers between computers.

mod fake_igd;
mod itself;
mod mapping;
mod verdicts;
