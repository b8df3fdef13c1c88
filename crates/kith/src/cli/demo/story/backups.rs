//! Backups, with a restart in between, and a check.

use std::path::Path;
use std::time::{Instant, SystemTime};

use kith_control::view::JobView;

use super::super::command::Kith;
use super::super::computer::Computer;
use super::super::report::{Summary, sums};
use super::super::talk::{count, took};
use super::super::tree;
use super::{Story, aside};
use crate::cli::error::CliResult;
use crate::cli::output::size;

const SET: &str = "folder";

impl Story<'_> {
    pub(super) async fn first_backup(
        &self,
        anna: &Computer,
        bert: &Computer,
        folder: &Path,
        summary: &mut Summary,
    ) -> CliResult {
        self.talk.step("The first backup, both ways at once");
        // Its path is valid UTF-8: that was checked at the beginning.
        let path = folder.to_string_lossy();
        for (computer, friend) in [(anna, "bert"), (bert, "anna")] {
            self.run(Kith::new(computer, &["set", "add", SET, &path, "--to", friend])).await?;
        }
        let jobs = self.back_up_both(anna, bert).await?;
        summary.first = Some(jobs);
        Ok(())
    }

    pub(super) async fn restart(&self, anna: &Computer, bert: &Computer) -> CliResult {
        self.talk.step("Both are ended and started again");
        let begun = Instant::now();
        let (one, other) = tokio::join!(anna.stop(), bert.stop());
        one.and(other)?;
        let ended = begun.elapsed();
        let begun = Instant::now();
        let (one, other) = tokio::join!(anna.start(&self.program), bert.start(&self.program));
        one.and(other)?;
        let (one, other) = tokio::join!(anna.linked(), bert.linked());
        one.and(other)?;
        self.talk.say(format!(
            "SIGTERM ended both after {}. Started and linked again after {}.",
            took(ended),
            took(begun.elapsed())
        ));
        Ok(())
    }

    pub(super) async fn second_backup(
        &self,
        anna: &Computer,
        bert: &Computer,
        summary: &mut Summary,
    ) -> CliResult<SystemTime> {
        self.talk.step("The second backup: nothing has changed, so next to nothing is sent");
        let since = SystemTime::now();
        let jobs = self.back_up_both(anna, bert).await?;
        summary.second = Some(jobs);
        Ok(since)
    }

    pub(super) async fn third_backup(
        &self,
        anna: &Computer,
        folder: &Path,
        summary: &mut Summary,
    ) -> CliResult<SystemTime> {
        self.talk.step("The third backup: a few changes");
        let folder = folder.to_path_buf();
        for change in aside(move || tree::change(&folder)).await?? {
            self.talk.say(change);
        }
        let since = SystemTime::now();
        self.run(Kith::new(anna, &["backup", SET])).await?;
        summary.third = Some(vec![anna.last_backup().await?]);
        Ok(since)
    }

    pub(super) async fn check(&self, bert: &Computer) -> CliResult {
        self.talk.step("bert has every byte of his backup at anna read and verified");
        self.run(Kith::new(bert, &["check", "anna", "--read-data"])).await?;
        Ok(())
    }

    /// Both at the same time; says how fast.
    pub(super) async fn back_up_both(&self, anna: &Computer, bert: &Computer) -> CliResult<Vec<JobView>> {
        let (one, other) = tokio::join!(
            self.run(Kith::new(anna, &["backup", SET]).labelled()),
            self.run(Kith::new(bert, &["backup", SET]).labelled()),
        );
        one.and(other)?;
        let jobs = vec![anna.last_backup().await?, bert.last_backup().await?];
        let (done, sent, time) = sums(&jobs);
        self.talk.say(format!("Together {} in {}; {} were sent.", size(done), took(time), size(sent)));
        let skipped = jobs[0].skipped_count;
        if skipped > 0 {
            self.talk.say(format!("Skipped on each side: {}.", count(skipped, "file", "files")));
        }
        Ok(jobs)
    }
}
