//! What the demo prints: numbered steps, the commands as a person would type them, and what they answer.

use std::cell::Cell;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::stop::Stop;
use crate::cli::output;

/// The demo's directory, as printed: its path is long and stands in nearly every command.
pub(super) const ROOT: &str = "$D";

/// Prints. Does not end the program when nobody reads, as other commands do: there are daemons to end first.
pub(super) struct Talk {
    root: String,
    stop: Arc<Stop>,
    steps: Cell<u32>,
}

impl Talk {
    pub(super) fn new(root: &Path, stop: Arc<Stop>) -> Self {
        Self { root: root.display().to_string(), stop, steps: Cell::new(0) }
    }

    /// A line as it is.
    pub(super) fn line(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()).is_err() {
            self.stop.request();
        }
    }

    /// The beginning of a step.
    pub(super) fn step(&self, title: &str) {
        self.steps.set(self.steps.get() + 1);
        self.line("");
        self.line(&format!("{}. {title}", self.steps.get()));
    }

    /// A sentence of the demo itself.
    pub(super) fn say(&self, text: impl AsRef<str>) {
        self.line(&format!("   {}", self.short(text.as_ref())));
    }

    /// A command that runs now.
    pub(super) fn command(&self, text: &str) {
        self.line(&format!("   $ {}", self.short(text)));
    }

    /// A line that a command printed.
    pub(super) fn output(&self, text: &str) {
        self.line(&format!("     {}", self.short(&output::safe(text))));
    }

    fn short(&self, text: &str) -> String {
        text.replace(&self.root, ROOT)
    }
}

/// A duration with two or three digits.
pub(super) fn took(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => output::seconds(seconds),
    }
}

/// Bytes in a time.
pub(super) fn rate(bytes: u64, time: Duration) -> String {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "three digits are shown"
    )]
    let rate = (bytes as f64 / time.as_secs_f64().max(0.001)) as u64;
    format!("{}/s", output::size(rate))
}

/// A number with its noun, and a comma between the thousands.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas_and_the_right_noun() {
        assert_eq!(count(1, "file", "files"), "1 file");
        assert_eq!(count(0, "file", "files"), "0 files");
        assert_eq!(count(999, "file", "files"), "999 files");
        assert_eq!(count(1_234_567, "file", "files"), "1,234,567 files");
    }

    #[test]
    fn rates_are_bytes_per_second() {
        assert_eq!(rate(10_000_000, Duration::from_secs(2)), "5.00 MB/s");
        assert_eq!(took(Duration::from_micros(84_700)), "84 ms");
        assert_eq!(took(Duration::from_millis(1240)), "1.2 s");
        assert_eq!(took(Duration::from_secs(61)), "1 min 01 s");
    }
}
