//! Up to the moment when two computers are friends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::super::command::Kith;
use super::super::computer::Computer;
use super::super::talk::took;
use super::super::tree::{self, Contents};
use super::{Story, aside};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::size;

/// What the generated files take.
const GENERATED_BYTES: u64 = 200_000_000;
/// What is needed beside the data.
const SPARE_BYTES: u64 = 200_000_000;

impl Story<'_> {
    pub(super) async fn folder(&self) -> CliResult<(PathBuf, Contents)> {
        let talk = self.talk;
        talk.step("A folder to back up");
        let stop = Arc::clone(&self.stop);
        if let Some(given) = self.stage.given() {
            let (folder, given) = (given.to_path_buf(), given.to_path_buf());
            let contents = aside(move || tree::survey(&given, &stop)).await??;
            talk.say(format!("{}: {contents}. It is only read.", folder.display()));
            return Ok((folder, contents));
        }
        let (folder, root) = (self.stage.root().join("folder"), self.stage.root().join("folder"));
        let begun = Instant::now();
        let made = aside(move || tree::generate(&root, GENERATED_BYTES, &stop)).await??;
        let contents = made.contents;
        talk.say(format!("Made {} in {}: {contents}.", folder.display(), took(begun.elapsed())));
        talk.say("Incompressible and text files, thousands of small ones, duplicates, sparse files, hard and symbolic");
        talk.say("links, FIFOs, a socket, names in any bytes and scripts, deep folders, read-only folders, extended");
        talk.say("attributes, every kind of permission, and times from 1938 to 2100 to the nanosecond.");
        if !made.left_out.is_empty() {
            talk.say(format!("Not possible here, and left out: {}.", made.left_out.join(", ")));
        }
        Ok((folder, contents))
    }

    /// Two vaults and the restored files must fit.
    pub(super) fn check_space(&self, contents: &Contents) -> CliResult {
        let needed = contents.stored_bytes.saturating_mul(3).saturating_add(SPARE_BYTES);
        let free = self.stage.free()?;
        if free >= needed {
            return Ok(());
        }
        Err(CliError::new(
            format!(
                "the demo may need {} in {}, and {} are free",
                size(needed),
                self.stage.root().display(),
                size(free)
            ),
            "name a smaller folder, or a place with more room in the variable TMPDIR",
        ))
    }

    pub(super) async fn start(&self, anna: &Computer, bert: &Computer) -> CliResult {
        self.talk.step("Two computers: anna and bert");
        for computer in [anna, bert] {
            self.talk.command(&format!("kith --home {} daemon &", computer.home.root().display()));
        }
        let begun = Instant::now();
        let (one, other) = tokio::join!(anna.start(&self.program), bert.start(&self.program));
        one.and(other)?;
        self.talk.say(format!(
            "Both are ready after {}: anna listens for friends on port {}, bert on {}.",
            took(begun.elapsed()),
            anna.ports.listener,
            bert.ports.listener
        ));
        Ok(())
    }

    pub(super) async fn pair(&self, anna: &Computer, bert: &Computer, contents: &Contents) -> CliResult {
        let talk = self.talk;
        talk.step("They become friends");
        let quota = format!("{}GB", contents.bytes.div_ceil(500_000_000) + 1);
        let invite =
            self.run(Kith::new(anna, &["invite", "--quota", &quota]).quietly(" > invite")).await?.text;
        let invite = invite.trim();
        talk.output(&format!(
            "{}… ({} characters, good for one use)",
            invite.chars().take(24).collect::<String>(),
            invite.chars().count()
        ));
        self.run(Kith::new(bert, &["join", "--quota", &quota]).input(invite, " < invite")).await?;
        let begun = Instant::now();
        let (anna_sees, bert_sees) = tokio::join!(anna.linked(), bert.linked());
        let (anna_sees, bert_sees) = (anna_sees?, bert_sees?);
        if anna_sees.safety_words.is_none() || anna_sees.safety_words != bert_sees.safety_words {
            return Err(CliError::new("the two computers show different safety words", "report this"));
        }
        talk.say(format!(
            "Linked after {}. Both show the same six words, and offer each other {quota}.",
            took(begun.elapsed())
        ));
        Ok(())
    }
}
