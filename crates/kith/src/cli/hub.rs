//! `kith hub`: logs, runtime, and the hub in it; and the lines that let computers in.

use std::time::Duration;

use jiff::Timestamp;

use super::Place;
use super::args::{HubCommand, Json};
use super::daemon::{raise_file_limit, start_logging};
use super::error::{CliError, CliResult, Code};
use super::output;
use crate::home::Home;
use crate::settings::{Registering, Role, SettingsSources};

/// Threads for async work. What takes time are handshakes, and there are thousands when a hub was away.
const WORKER_THREADS: usize = 4;
/// Threads for blocking work: there is next to none.
const BLOCKING_THREADS: usize = 8;
/// Idle threads end soon.
const IDLE_THREAD_TIME: Duration = Duration::from_secs(5);
/// Open files that are asked for: one for each computer, two for each session of the relay, and those of strangers.
const FILES: u64 = 262_144;

pub(super) fn run(place: &Place, command: Option<HubCommand>) -> CliResult {
    let home = Home::resolve_hub(place.flag.clone(), &place.environment)?;
    let sources = SettingsSources { role: Role::Hub, ..SettingsSources::of_process(&home)? };
    match command {
        None => serve(home, sources),
        Some(HubCommand::Invite { expires }) => invite(&home, &sources, expires),
        Some(HubCommand::Ports { firewall, json }) => ports(&home, &sources, firewall, json),
    }
}

fn serve(home: Home, sources: SettingsSources) -> CliResult {
    home.prepare()?;
    start_logging(&home)?;
    raise_file_limit(FILES);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(WORKER_THREADS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(IDLE_THREAD_TIME)
        .thread_name("kith-hub")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(Box::pin(crate::hub::run(home, sources, |line| output::line(line))));
    runtime.shutdown_timeout(Duration::from_millis(300));
    outcome.map_err(|error| {
        let message = chain(&error);
        tracing::error!("the hub can't run: {message}");
        CliError { code: Code::Failed, message, hint: None }
    })
}

fn invite(home: &Home, sources: &SettingsSources, expires: Duration) -> CliResult {
    home.check_readable()?;
    let settings = sources.load()?.into_settings().hub;
    if settings.registration == Registering::Open {
        return Err(CliError::new(
            "this hub lets in whoever knows its address",
            "set hub.registration = \"invite\" and reload the hub; or give out the line that `kith hub` prints",
        ));
    }
    let now = Timestamp::now().as_second().unsigned_abs();
    let line = crate::hub::token_line(home, &settings, expires, now).map_err(|error| {
        CliError::new(chain(&error), "has `kith hub` ever run with this home? Name another with --home DIR")
    })?;
    output::line(line);
    Ok(())
}

/// What the settings say that is open, and whether the hub runs that holds it.
fn ports(home: &Home, sources: &SettingsSources, firewall: bool, Json { json: as_json }: Json) -> CliResult {
    home.check_readable()?;
    let settings = sources.load()?.into_settings().hub;
    if firewall {
        return super::firewall::print(&crate::firewall::hub_rules(&settings), as_json);
    }
    let is_running = home.running_daemon().is_some();
    let ports = crate::hub::ports(&settings, is_running);
    if as_json {
        return output::json(&ports);
    }
    output::table(&super::network::port_rows(&ports));
    if !is_running {
        output::note("this hub does not run: the ports are those that it opens");
    }
    Ok(())
}

fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
