//! Runs the command line itself, as a person would, and prints what is typed and what is answered.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::Command;
use zeroize::Zeroizing;

use super::computer::Computer;
use super::talk::Talk;
use crate::cli::error::{CliError, CliResult};

/// Lines of one command that are printed.
const MOST_LINES: usize = 14;
/// Exit code of a command that did its work but for what it lists.
const OMISSIONS: i32 = 3;

/// What a command came to.
pub(super) struct Ran {
    /// What it printed on standard output.
    pub(super) text: Zeroizing<String>,
    pub(super) time: Duration,
}

/// One command for one computer.
pub(super) struct Kith<'a> {
    computer: &'a Computer,
    arguments: Vec<String>,
    input: Option<&'a str>,
    remark: &'static str,
    quiet: bool,
    label: &'static str,
}

impl<'a> Kith<'a> {
    /// A command as typed after `kith --home DIR`.
    pub(super) fn new(computer: &'a Computer, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { computer, arguments, input: None, remark: "", quiet: false, label: "" }
    }

    /// What it reads, and how that is shown; secrets go this way and never into arguments.
    pub(super) fn input(mut self, input: &'a str, remark: &'static str) -> Self {
        self.input = Some(input);
        self.remark = remark;
        self
    }

    /// Does not show what it prints; `remark` follows the command.
    pub(super) fn quietly(mut self, remark: &'static str) -> Self {
        self.remark = remark;
        self.quiet = true;
        self
    }

    /// Shows whose output it is, for commands that run at the same time.
    pub(super) fn labelled(mut self) -> Self {
        self.label = self.computer.name;
        self
    }

    fn typed(&self) -> String {
        let mut text = format!("kith --home {}", self.computer.home.root().display());
        for argument in &self.arguments {
            text.push(' ');
            text.push_str(&quoted(argument));
        }
        text.push_str(self.remark);
        text
    }

    /// Runs it to its end. Exit code 3, files that could not be read, is no failure here: the demo looks at them later.
    pub(super) async fn run(self, program: &Path, talk: &Talk) -> CliResult<Ran> {
        talk.command(&self.typed());
        let begun = Instant::now();
        let mut command = Command::new(program);
        strip_environment(|name| {
            command.env_remove(name);
        });
        let mut child = command
            .arg("--home")
            .arg(self.computer.home.root())
            .args(&self.arguments)
            .stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let (Some(mut stdin), Some(input)) = (stdin, self.input) {
                // A command that does not read says why by itself.
                drop(stdin.write_all(input.as_bytes()).await);
            }
        };
        let shown = std::cell::Cell::new(0);
        let (status, (), text, errors) = tokio::join!(
            child.wait(),
            feed,
            self.pass_on(stdout, talk, self.quiet, &shown),
            self.pass_on(stderr, talk, false, &shown),
        );
        let (status, text, _) = (status?, text?, errors?);
        if shown.get() > MOST_LINES {
            talk.output(&format!("… and {} lines more", shown.get() - MOST_LINES));
        }
        match status.code() {
            Some(0 | OMISSIONS) => Ok(Ran { text, time: begun.elapsed() }),
            code => {
                let how = code.map_or_else(|| status.to_string(), |code| format!("with exit code {code}"));
                Err(self.computer.failed(&format!("`{}` failed {how}", self.typed())))
            }
        }
    }

    /// Prints each line as it comes.
    async fn pass_on(
        &self,
        from: Option<impl AsyncRead + Unpin>,
        talk: &Talk,
        quiet: bool,
        shown: &std::cell::Cell<usize>,
    ) -> std::io::Result<Zeroizing<String>> {
        let mut all = Zeroizing::new(String::new());
        let Some(from) = from else { return Ok(all) };
        let mut reader = BufReader::new(from);
        let mut bytes = Zeroizing::new(Vec::new());
        while reader.read_until(b'\n', &mut bytes).await? > 0 {
            let line = String::from_utf8_lossy(&bytes);
            all.push_str(&line);
            if !quiet {
                if shown.get() < MOST_LINES {
                    let label =
                        if self.label.is_empty() { String::new() } else { format!("{}: ", self.label) };
                    talk.output(&format!("{label}{}", line.trim_end()));
                }
                shown.set(shown.get() + 1);
            }
            bytes.clear();
        }
        Ok(all)
    }
}

/// An argument as it is typed in a shell.
fn quoted(argument: &str) -> Cow<'_, str> {
    let plain = |character: char| character.is_alphanumeric() || "-_./:=,@+".contains(character);
    if !argument.is_empty() && argument.chars().all(plain) {
        return Cow::Borrowed(argument);
    }
    Cow::Owned(format!("'{}'", argument.replace('\'', "'\\''")))
}

/// The program itself, whose children play the computers.
pub(super) fn this_program() -> CliResult<PathBuf> {
    std::env::current_exe().map_err(|error| {
        CliError::new(format!("this program can't find itself: {error}"), "start it by its full path")
    })
}

/// Names what must not reach the demo's daemons: settings that are meant for this computer's own, and a service manager's
/// socket. How much is logged may be chosen.
pub(super) fn strip_environment(mut remove: impl FnMut(&std::ffi::OsStr)) {
    const OF_SERVICES: [&str; 5] =
        ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "STATE_DIRECTORY", "JOURNAL_STREAM"];
    for (name, _) in std::env::vars_os() {
        let ours = name.as_encoded_bytes().starts_with(b"KITH_") && name != "KITH_LOG";
        if ours || OF_SERVICES.iter().any(|of_service| name == *of_service) {
            remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn arguments_are_quoted_where_a_shell_needs_it() {
        let shown = ["backup", "/tmp/a-b_c.d", "two words", "it's", "", "$(x)"].map(quoted);
        assert_eq!(shown, ["backup", "/tmp/a-b_c.d", "'two words'", r"'it'\''s'", "''", "'$(x)'"]);
    }
}
