//! Networks with routers between computers.

mod fake_igd;
mod itself;
mod lines;
mod mapping;
mod verdicts;
