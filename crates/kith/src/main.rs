//! The program `kith`.

use std::process::ExitCode;

/// Gives memory back to the system soon after a job, so that an idle daemon is small.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kith::cli::main()
}
