//! The steps of the demo.

mod after;
mod backups;
mod before;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::command::{Kith, Ran, this_program};
use super::computer::Computer;
use super::ports;
use super::report::Summary;
use super::stage::Stage;
use super::stop::Stop;
use super::talk::Talk;
use crate::cli::error::{CliError, CliResult, Code};

/// Runs work that blocks beside the async thread.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> CliResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CliError::new(format!("a part of the demo ended: {error}"), "report this"))
}

/// The demo with what it needs all along.
pub(super) struct Story<'a> {
    stage: &'a Stage,
    talk: &'a Talk,
    stop: Arc<Stop>,
    keep: bool,
    program: PathBuf,
    begun: Instant,
}

impl<'a> Story<'a> {
    pub(super) fn new(stage: &'a Stage, talk: &'a Talk, stop: Arc<Stop>, keep: bool) -> CliResult<Self> {
        Ok(Self { stage, talk, stop, keep, program: this_program()?, begun: Instant::now() })
    }

    /// From the first step to the last.
    pub(super) async fn tell(self) -> CliResult {
        let talk = self.talk;
        talk.line(
            "Two computers on this one become friends and back up to each other. Then one is lost, and comes back.",
        );
        talk.line(&format!(
            "All of it happens on 127.0.0.1 and in {}, called $D below{}.",
            self.stage.root().display(),
            if self.keep { "" } else { "; at the end nothing is left" },
        ));
        let mut summary = Summary::default();
        let (folder, contents) = self.folder().await?;
        self.check_space(&contents)?;
        let [first, second, third] = ports::free()?;
        let anna = Computer::new("anna", self.stage.home("anna"), first).await?;
        let bert = Computer::new("bert", self.stage.home("bert"), second).await?;
        self.start(&anna, &bert).await?;
        self.pair(&anna, &bert, &contents).await?;
        self.first_backup(&anna, &bert, &folder, &mut summary).await?;
        self.restart(&anna, &bert).await?;
        let mut since = self.second_backup(&anna, &bert, &mut summary).await?;
        if self.stage.given().is_none() {
            since = self.third_backup(&anna, &folder, &mut summary).await?;
        }
        self.check(&bert).await?;
        let skipped = anna.last_backup().await?.skipped.into_iter().map(|skipped| skipped.path).collect();
        let words = self.words(&anna).await?;
        let lost = self.lose(anna).await?;
        let found = self.recover(third, &bert, &words, &mut summary).await?;
        let restored = self.restore(&found, &contents, &mut summary).await?;
        let comparison = self.compare(&folder, restored, skipped, since).await?;
        let memory = [("anna", found.peak_memory().max(lost)), ("bert", bert.peak_memory())];
        if !self.keep {
            let (one, other) = tokio::join!(found.stop(), bert.stop());
            one.and(other)?;
        }
        summary.print(talk, &memory, &comparison, self.begun.elapsed());
        if self.keep {
            self.keep_running(&found, &bert);
        }
        if comparison.is_equal() { Ok(()) } else { Err(CliError::said(Code::Failed)) }
    }

    async fn run(&self, command: Kith<'_>) -> CliResult<Ran> {
        command.run(&self.program, self.talk).await
    }
}
