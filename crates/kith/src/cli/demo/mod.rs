//! `kith demo`: two computers on this one become friends and back up to each other; then one is lost and comes back.
//!
//! Everything a person would do is done by the real program: each computer is a `kith daemon` of its own, and each step
//! is a command that is printed before it runs. Only the waiting in between asks the daemons directly.
//!
//! Whatever happens (an error, Ctrl-C, a panic), the daemons are ended and the directory is removed: [`Stage`] and
//! [`computer::Computer`] do that when they are dropped.

mod command;
mod compare;
mod computer;
mod ports;
mod report;
mod stage;
mod stop;
mod story;
mod talk;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use self::stage::Stage;
use self::stop::{Stop, StopAtEnd};
use self::story::Story;
use self::talk::Talk;
use super::args::DemoArgs;
use super::error::{CliError, CliResult, Code};

pub(super) fn run(args: &DemoArgs) -> CliResult {
    let given = args.dir.as_deref().map(given_folder).transpose()?;
    let stage = Stage::new(given)?;
    let outcome = perform(&stage, args.keep);
    stage.close();
    outcome
}

fn perform(stage: &Stage, keep: bool) -> CliResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = Arc::new(Stop::default());
    // Dropped before the runtime, which waits for its threads.
    let _stops_work = StopAtEnd(Arc::clone(&stop));
    let talk = Talk::new(stage.root(), Arc::clone(&stop));
    runtime.block_on(async {
        let story = Story::new(stage, &talk, Arc::clone(&stop), keep)?;
        tokio::select! {
            biased;
            why = interrupted(&stop) => Err(CliError {
                code: Code::Failed,
                message: format!("the demo ends early: {}", why?),
                hint: None,
            }),
            outcome = Box::pin(story.tell()) => outcome,
        }
    })
}

/// The folder as the person means it. The demo only ever reads it.
fn given_folder(folder: &Path) -> CliResult<PathBuf> {
    const HINT: &str = "name a folder that exists, or none: the demo then makes one";
    let full = std::fs::canonicalize(folder).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "there is nothing of this name".to_owned(),
            std::io::ErrorKind::PermissionDenied => "you may not look into it".to_owned(),
            _ => error.to_string(),
        };
        CliError::usage(format!("{} can't be backed up: {why}", folder.display()), HINT)
    })?;
    if !full.is_dir() {
        return Err(CliError::usage(format!("{} is not a folder", folder.display()), HINT));
    }
    if full.to_str().is_none() {
        return Err(CliError::usage(
            format!("the path {} is not valid UTF-8", full.display()),
            "name the folder above it: files with such names inside it are backed up",
        ));
    }
    Ok(full)
}

/// Waits for a reason to end early.
async fn interrupted(stop: &Stop) -> std::io::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let ending = tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "ended by a signal",
        _ = hangup.recv() => "the terminal is gone",
        () = stop.requested() => "nobody reads what is printed",
    };
    Ok(ending)
}
