//! From the loss to the last byte.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use zeroize::Zeroizing;

use super::super::command::Kith;
use super::super::compare::{Comparison, Rules, compare};
use super::super::computer::Computer;
use super::super::ports::Ports;
use super::super::report::{Summary, say_comparison};
use super::super::stage;
use super::super::talk::{rate, took};
use super::super::tree::Contents;
use super::{Story, aside};
use crate::cli::error::CliResult;
use crate::cli::output::size;

impl Story<'_> {
    pub(super) async fn words(&self, anna: &Computer) -> CliResult<Zeroizing<String>> {
        self.talk.step("anna is lost; but for the 24 words, which were written down");
        let words =
            Kith::new(anna, &["recovery", "show", "--yes", "--words"]).quietly("  > a sheet of paper");
        let words = self.run(words).await?.text;
        self.talk.output(&format!("({} words, not shown here)", words.split_whitespace().count()));
        Ok(words)
    }

    /// Ends the daemon and removes its home. Returns what memory it took.
    pub(super) async fn lose(&self, anna: Computer) -> CliResult<Option<u64>> {
        anna.stop().await?;
        let peak = anna.peak_memory();
        self.talk.command(&format!("rm -r {}", anna.home.root().display()));
        let home = anna.home.root().to_path_buf();
        aside(move || stage::remove(&home)).await??;
        Ok(peak)
    }

    pub(super) async fn recover(
        &self,
        ports: Ports,
        bert: &Computer,
        words: &str,
        summary: &mut Summary,
    ) -> CliResult<Computer> {
        self.talk.step("A blank computer becomes anna again, from the 24 words and one address");
        let found = Computer::new("anna", self.stage.home("new"), ports).await?;
        let begun = Instant::now();
        let from = format!("127.0.0.1:{}", bert.ports.listener);
        self.run(Kith::new(&found, &["recover", "--from", &from]).input(words, "  < the sheet")).await?;
        self.talk.command(&format!("kith --home {} daemon &", found.home.root().display()));
        found.start(&self.program).await?;
        found.linked().await?;
        summary.recovery = begun.elapsed();
        self.talk.say(format!("Linked with bert. From nothing to here: {}.", took(summary.recovery)));
        self.run(Kith::new(&found, &["snapshots"])).await?;
        Ok(found)
    }

    pub(super) async fn restore(
        &self,
        found: &Computer,
        contents: &Contents,
        summary: &mut Summary,
    ) -> CliResult<PathBuf> {
        self.talk.step("It restores everything");
        let target = self.stage.root().join("restored");
        // Both paths are valid UTF-8: that was checked at the beginning.
        let path = target.to_string_lossy();
        let ran = self.run(Kith::new(found, &["restore", "latest", "--target", &path])).await?;
        summary.restore = (contents.bytes, ran.time);
        self.talk.say(format!(
            "{} in {}: {}.",
            size(contents.bytes),
            took(ran.time),
            rate(contents.bytes, ran.time)
        ));
        Ok(target)
    }

    pub(super) async fn compare(
        &self,
        folder: &Path,
        target: PathBuf,
        skipped: HashSet<String>,
        since: SystemTime,
    ) -> CliResult<Comparison> {
        self.talk.step("Every entry is compared with its original: content and metadata");
        let rules = Rules { root: nix::unistd::geteuid().is_root(), skipped, since };
        // Restored files stand below the target with their full path.
        let restored = target.join(folder.strip_prefix("/").unwrap_or(folder));
        let (source, stop) = (folder.to_path_buf(), Arc::clone(&self.stop));
        let begun = Instant::now();
        let comparison = aside(move || compare(&source, &restored, &rules, &stop)).await??;
        say_comparison(self.talk, &comparison, begun.elapsed());
        Ok(comparison)
    }

    pub(super) fn keep_running(&self, anna: &Computer, bert: &Computer) {
        let talk = self.talk;
        self.stage.keep();
        let program = self.program.display();
        let root = self.stage.root().display();
        talk.line("");
        talk.line("Both computers run on. Their apps:");
        for computer in [anna, bert] {
            let home = computer.home.root().display();
            talk.line(&format!("   {program} --home {home} open    # {}", computer.name));
        }
        let pids =
            [anna, bert].map(|computer| computer.release().map_or_else(String::new, |pid| pid.to_string()));
        talk.line("To end both and remove everything:");
        talk.line(&format!("   kill {} && sleep 1 && rm -rf {root}", pids.join(" ")));
    }
}
