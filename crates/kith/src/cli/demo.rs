//! `kith demo`.

use super::args::DemoArgs;
use super::error::{CliError, CliResult};

pub(super) fn run(_args: &DemoArgs) -> CliResult {
    Err(CliError::new("the demo is being built", "wait"))
}
