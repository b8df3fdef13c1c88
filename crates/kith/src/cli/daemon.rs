//! `kith daemon`: logs, runtime, and the daemon in it.

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use super::Place;
use super::error::{CliError, CliResult};
use crate::home::{Home, LogFile};
use crate::settings::SettingsSources;

/// What is logged unless `KITH_LOG` says otherwise: ours in full, libraries only when something is wrong.
const DEFAULT_FILTER: &str = "warn,kith=info,kith_archive=info,kith_backup=info,kith_control=info,kith_hub=info,kith_listener=info,\
                              kith_peer=info,kith_vault=info,kith_wire=info";
/// Threads for async work: it is all waiting and passing on.
const WORKER_THREADS: usize = 2;
/// Open files that are asked for.
const FILES: u64 = 16_384;
/// Threads for blocking work: disks, hashing, the database.
const BLOCKING_THREADS: usize = 64;
/// Idle threads end soon, so that an idle daemon is small.
const IDLE_THREAD_TIME: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) fn run(place: &Place) -> CliResult {
    let home = Home::resolve(place.flag.clone(), &place.environment)?;
    home.prepare()?;
    let sources = SettingsSources::of_process(&home)?;
    start_logging(&home)?;
    raise_file_limit(FILES);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(IDLE_THREAD_TIME)
        .thread_name("kith")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(Box::pin(crate::daemon::run(home, sources)));
    // Whatever still blocks a thread must not hold up the end: the files are safe at any moment.
    runtime.shutdown_timeout(std::time::Duration::from_millis(300));
    outcome.map_err(|error| {
        let message = error.chain().map(ToString::to_string).collect::<Vec<_>>();
        tracing::error!("the daemon can't run: {}", message.join(": "));
        CliError { code: super::Code::Failed, message: message.join(": "), hint: None }
    })
}

/// Strangers' silent connections alone may be 4,096, and the usual soft limit is 1,024.
pub(super) fn raise_file_limit(files: u64) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft >= files { Ok(()) } else { setrlimit(Resource::RLIMIT_NOFILE, hard.min(files), hard) }
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files was not raised");
    }
}

pub(super) fn start_logging(home: &Home) -> CliResult {
    let filter = match std::env::var("KITH_LOG") {
        Ok(wanted) => wanted.parse::<Targets>().map_err(|error| {
            CliError::usage(
                format!("KITH_LOG={wanted:?} can't be understood: {error}"),
                "write it as in `debug` or `info,kith_peer=debug`",
            )
        })?,
        Err(_unset) => DEFAULT_FILTER.parse().unwrap_or_default(),
    };
    let file = LogFile::open(home)?;
    // The journal has its own times, and colours belong to terminals only.
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let stderr = fmt::layer().with_writer(std::io::stderr).with_ansi(terminal).with_target(false);
    let stderr = if journal { stderr.without_time().boxed() } else { stderr.boxed() };
    let file = fmt::layer().with_writer(file).with_ansi(false).with_target(false);
    tracing_subscriber::registry().with(filter).with(stderr).with(file).init();
    Ok(())
}
