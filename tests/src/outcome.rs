//! What a program said and how it ended.

use std::time::Duration;

use serde_json::Value;

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Outcome {
    /// How it was called.
    pub call: String,
    /// Exit code; 128 + signal if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Outcome {
    /// Requires exit code 0; gives back standard output without the last line end.
    ///
    /// # Panics
    /// If it ended otherwise.
    #[track_caller]
    pub fn ok(&self) -> &str {
        self.ended(0).stdout.trim_end()
    }

    /// Requires an exit code.
    ///
    /// # Panics
    /// If it ended otherwise.
    #[track_caller]
    pub fn ended(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Requires all of these in what was said, on either channel; case does not matter.
    ///
    /// # Panics
    /// If one is missing.
    #[track_caller]
    pub fn says(&self, wanted: &[&str]) -> &Self {
        let text = format!("{}\n{}", self.stdout, self.stderr).to_lowercase();
        for wanted in wanted {
            assert!(text.contains(&wanted.to_lowercase()), "no {wanted:?} in what it said: {self}");
        }
        self
    }

    /// Requires that this is nowhere in what was said.
    ///
    /// # Panics
    /// If it is.
    #[track_caller]
    pub fn never_says(&self, unwanted: &str) -> &Self {
        assert!(!self.stdout.contains(unwanted) && !self.stderr.contains(unwanted), "{unwanted:?} in {self}");
        self
    }

    /// Requires exit code 0 and JSON on standard output.
    ///
    /// # Panics
    /// If it is something else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.ok()).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { call, code, stdout, stderr, took } = self;
        write!(
            f,
            "`{call}` ended with {code} after {took:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---"
        )
    }
}
