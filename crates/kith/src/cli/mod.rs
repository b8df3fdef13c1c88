//! The command line.

mod allocator;
pub mod args;
mod backup;
mod browse;
mod bugreport;
mod daemon;
mod demo;
mod doctor;
mod error;
mod explain;
mod firewall;
mod friends;
mod hub;
mod joining;
mod network;
mod notices;
mod output;
mod probe;
#[doc(hidden)]
pub mod readers;
mod recovery;
mod restore;
mod sets;
mod settings;
mod several;
mod socket_store;
mod status;
mod time;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use kith_control::{Client, ClientError, SnapshotQuery};

use self::args::{Cli, Command, RecoveryCommand};
use self::error::{CliError, CliResult, Code};
use crate::home::{Environment, Home, SocketState};

/// Runs the program and says how it ended.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let lines = several::split(&arguments).unwrap_or_else(|| vec![arguments]);
    // All are read before any is done: nothing of a line is done when something in it is wrong.
    let mut read = Vec::new();
    for line in lines {
        match Cli::try_parse_from(line) {
            Ok(cli) => read.push(cli),
            Err(error) => {
                // Help and version are no faults; clap knows where each is printed.
                drop(error.print());
                if error.use_stderr() {
                    return Code::Usage.into();
                }
            }
        }
    }
    let mut named_fault = None;
    for cli in read {
        let is_doctor = matches!(cli.command, Command::Doctor(_));
        match run(cli) {
            Ok(()) => {}
            // The doctor has said what is wrong: what follows may be meant to put it right.
            Err(CliError { code, message, .. }) if is_doctor && message.is_empty() => {
                named_fault = named_fault.or(Some(code));
            }
            Err(CliError { code, message, hint }) => {
                if !message.is_empty() {
                    output::note(format!("error: {message}"));
                    if let Some(hint) = hint {
                        output::note(format!("hint: {hint}"));
                    }
                }
                return code.into();
            }
        }
    }
    named_fault.map_or(ExitCode::SUCCESS, Into::into)
}

fn run(cli: Cli) -> CliResult {
    let place = Place { flag: cli.home, environment: Environment::of_process() };
    // The daemon and the demo need their own kind of runtime; everything else is one short exchange.
    if matches!(cli.command, Command::Daemon | Command::Restore(_) | Command::Hub(_)) {
        allocator::tune();
    }
    match cli.command {
        Command::Daemon => daemon::run(&place),
        Command::Demo(args) => demo::run(&args),
        Command::Hub(args) => hub::run(&place, args.command),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "kith", &mut std::io::stdout());
            Ok(())
        }
        Command::Lookup { host } => Ok(crate::names::print(&host)?),
        Command::Man => Ok(clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?),
        command => {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            let outcome = runtime.block_on(Box::pin(dispatch(command, &place)));
            // A thread that still waits for standard input must not hold up the end.
            runtime.shutdown_background();
            outcome
        }
    }
}

async fn dispatch(command: Command, place: &Place) -> CliResult {
    match command {
        Command::Status(json) => status::status(&place.client().await?, json).await,
        Command::Id => status::id(place),
        Command::Open { print } => status::open(&place.client().await?, print).await,
        Command::Invite { quota, expires, own, qr } => {
            joining::invite(&place.client().await?, quota, expires, own, qr).await
        }
        Command::Join { stdin: _, quota, own } => joining::join(&place.client().await?, quota, own).await,
        Command::Friends { name, json } => friends::list(&place.client().await?, name, json).await,
        Command::Friend(command) => friends::change(&place.client().await?, command).await,
        Command::Set(command) => sets::run(&place.client().await?, command).await,
        Command::Backup { set, to } => backup::backup(&place.client().await?, set, to).await,
        Command::Check { friend, read_data } => {
            backup::check(&place.client().await?, friend, read_data).await
        }
        Command::Snapshots { from, set, as_of, json } => {
            browse::snapshots(&place.client().await?, SnapshotQuery { friend: from, set, as_of }, json).await
        }
        Command::Ls { snapshot, path, from, as_of, json } => {
            browse::ls(&place.client().await?, &snapshot, path, browse::Where { from, as_of }, json).await
        }
        Command::Find { pattern, from, as_of, json } => {
            browse::find(&place.client().await?, &pattern, browse::Where { from, as_of }, json).await
        }
        Command::Undelete { friend, as_of } => browse::undelete(&place.client().await?, &friend, as_of).await,
        Command::Scrub => status::scrub(&place.client().await?).await,
        Command::Restore(args) => restore::restore(place, args).await,
        Command::Probe { host, port, expect, json } => probe::probe(place, &host, port, expect, json).await,
        Command::Ports { firewall: true, json } => firewall::show(&place.client().await?, json).await,
        Command::Ports { firewall: false, json } => status::ports(&place.client().await?, json).await,
        Command::Doctor(args) => doctor::run(place, args).await,
        Command::Explain { code, json } => explain::run(code.as_deref(), json),
        Command::Recovery(RecoveryCommand::Show { yes, words }) => recovery::show(place, yes, words).await,
        Command::Recovery(RecoveryCommand::ResticKey { friend, out }) => {
            recovery::restic_key(place, &friend, &out).await
        }
        Command::Recover { from } => recovery::recover(place, from).await,
        Command::Settings(command) => settings::run(place, command).await,
        Command::Pause { duration } => status::pause(&place.client().await?, duration).await,
        Command::Resume => status::resume(&place.client().await?).await,
        Command::Ra => status::reauthenticate(&place.client().await?).await,
        Command::Restart => status::restart(&place.client().await?).await,
        Command::Logs { lines } => status::logs(place, lines),
        Command::Bugreport { out, yes, lines } => bugreport::run(place, out, yes, lines).await,
        Command::Daemon
        | Command::Hub(_)
        | Command::Demo(_)
        | Command::Completions { .. }
        | Command::Man
        | Command::Lookup { .. } => Ok(()),
    }
}

/// Where to look for a home and its daemon.
pub(crate) struct Place {
    flag: Option<std::path::PathBuf>,
    environment: Environment,
}

impl Place {
    /// The home for what needs no daemon: that of the running daemon if there is one.
    fn home(&self) -> CliResult<Home> {
        let candidates = Home::candidates(self.flag.clone(), &self.environment)?;
        match candidates.iter().find(|home| home.socket_state() == SocketState::Live) {
            Some(home) => Ok(home.clone()),
            None => Ok(Home::resolve(self.flag.clone(), &self.environment)?),
        }
    }

    /// A connection to the daemon: the user's own, then the system's.
    async fn client(&self) -> CliResult<Client> {
        let mut denied = None;
        let mut missing = None;
        for home in Home::candidates(self.flag.clone(), &self.environment)? {
            match Client::connect(&home.control_socket()).await {
                Ok(client) => return Ok(client),
                Err(error @ ClientError::DaemonNotRunning { .. }) => missing = missing.or(Some(error)),
                Err(error) => denied = denied.or(Some(error)),
            }
        }
        match denied.or(missing) {
            Some(error) => Err(error.into()),
            None => Err(CliError::new("there is no place to look for a daemon", "name one with --home DIR")),
        }
    }
}
