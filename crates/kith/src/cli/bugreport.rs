//! `kith bugreport`: gathers a report, shows it, and writes it when that is wanted.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use kith_control::{Client, ClientError};

use super::Place;
use super::error::{CliError, CliResult};
use super::joining::read_secret_line;
use super::output::{line, note, safe};
use crate::bugreport::{Answers, Daemon, Facts, MOST_LINES, Storage, System, compose};
use crate::home::Home;
use crate::home::error::reason;
use crate::settings::{Settings, SettingsSources};

/// A daemon that takes longer for an answer is part of the problem, not a reason to wait.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(place: &Place, out: Option<PathBuf>, yes: bool, lines: usize) -> CliResult {
    let home = place.home()?;
    home.check_readable()?;
    let made = Timestamp::now();
    let out =
        out.unwrap_or_else(|| PathBuf::from(format!("kith-report-{}.txt", made.strftime("%Y%m%dT%H%M%SZ"))));
    // Before anything is gathered; it is made sure of again when the file is made.
    if out.symlink_metadata().is_ok() {
        return Err(exists(&out));
    }
    let daemon = ask(&home).await;
    let facts = tokio::task::spawn_blocking(move || gather(&home, daemon, made, lines.min(MOST_LINES)));
    let facts = facts.await.map_err(|_ending| CliError::new("the report was not made", "try again"))?;
    let text = compose(&facts);
    if yes {
        return write(&out, &text);
    }
    text.lines().for_each(|text| line(safe(text)));
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        note(
            "Nothing was written: this was the preview. `kith bugreport --yes` writes the file without asking.",
        );
        return Ok(());
    }
    note("This is all that is in the report. Nothing was sent or written yet.");
    let answer = read_secret_line(&format!("Type yes to write it to {}: ", out.display())).await?;
    if answer.eq_ignore_ascii_case("yes") {
        return write(&out, &text);
    }
    note("nothing was written");
    Ok(())
}

async fn ask(home: &Home) -> Daemon {
    let client = match Client::connect(&home.control_socket()).await {
        Ok(client) => client,
        Err(ClientError::DaemonNotRunning { .. }) => return Daemon::Absent,
        Err(error) => return Daemon::Silent(crate::daemon::with_sources(&error)),
    };
    match in_time(client.status()).await {
        Err(problem) => Daemon::Silent(problem),
        Ok(status) => Daemon::Answers(Box::new(Answers {
            status,
            ports: in_time(client.ports()).await,
            sets: in_time(client.sets()).await,
            jobs: in_time(client.jobs()).await,
        })),
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, ClientError>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(crate::daemon::with_sources(&error)),
        Err(_) => Err(format!("no answer in {} s", PATIENCE.as_secs())),
    }
}

fn gather(home: &Home, daemon: Daemon, made: Timestamp, lines: usize) -> Facts {
    let settings = SettingsSources::of_process(home).and_then(|sources| sources.load());
    let settings = settings.map_err(|error| crate::daemon::with_sources(&error));
    let default = Settings::default();
    let vault = settings.as_ref().map_or(&default, |loaded| loaded.settings()).vault.path.clone();
    Facts {
        made,
        system: System::look(home),
        home: home.root().to_owned(),
        daemon,
        storage: Storage::look(home, &home.path_of(&vault)),
        settings,
        log: crate::home::tail(home, lines).map_err(|error| error.to_string()),
    }
}

fn write(out: &Path, text: &str) -> CliResult {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(out),
        _ => CliError::new(
            format!("the report can't be written to {}: {}", out.display(), reason(&error)),
            "name another file with --out",
        ),
    };
    let mut file = create(out).map_err(failed)?;
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        // Half a report helps nobody; the first error is the one to tell.
        drop(std::fs::remove_file(out));
        return Err(failed(error));
    }
    line(out.display().to_string());
    note(
        "Read it before you send it to somebody: it says when this computer runs, how much it stores, and what went wrong. Names of \
         computers, friends, sets, files, hosts and users, paths, addresses, device ids and keys are replaced by words with a number; \
         secrets were not read.",
    );
    Ok(())
}

fn create(out: &Path) -> io::Result<std::fs::File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(out)
}

fn exists(out: &Path) -> CliError {
    CliError::new(
        format!("{} exists already, and is not overwritten", out.display()),
        "name another file with --out",
    )
}
