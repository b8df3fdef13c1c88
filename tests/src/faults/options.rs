//! How the fault matrix is called.

use std::path::PathBuf;

use super::cases::{Case, all};

/// What `faults --help` prints.
pub const USAGE: &str = "\
Breaks something between two friends in the laboratory, asks the doctor, and prints whether the right thing was named, and how fast.

  faults               all cases
    --only NAME        those whose name has this in it
    --single           one fault each
    --pairs            two faults each
    --fine             no fault
    --jobs N           so many cases at once; 4 if not said
    --keep DIR         keeps what the doctor said where it was wrong, and the logs, in this directory
    --inject           breaks things and shows that they are broken; asks nobody
    --expected         prints what is expected, and does nothing

Needs the superuser, and the programs of the laboratory. The program under test is that of the same profile, or what KITH_BIN names.
Exit code 0: at least 95 % of the single faults and 80 % of the pairs were named, nothing healthy was blamed, every answer came within
10 s, and where nothing was broken, nothing was said to be. A case that could not be made, an answer that came late, and something
whole that is not fine are made again once, and count if it is so again; what was blamed wrongly counts at once.";

/// How many cases are under way at once.
const USUAL_JOBS: usize = 4;
/// At most: each is three daemons.
const MOST_JOBS: usize = 32;

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which cases.
    pub cases: Vec<Case>,
    /// How many at once.
    pub jobs: usize,
    /// Where what was wrong is kept.
    pub keep: Option<PathBuf>,
    /// Nobody is asked.
    pub only_inject: bool,
    /// Nothing is done.
    pub only_expected: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { cases: all(), jobs: USUAL_JOBS, keep: None, only_inject: false, only_expected: false }
    }
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is not understood.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let (mut only, mut counts) = (Vec::new(), Vec::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--only" => only.push(value()?.clone()),
                "--single" => counts.push(1),
                "--pairs" => counts.push(2),
                "--fine" => counts.push(0),
                "--jobs" => {
                    let text = value()?;
                    let jobs = text.parse().ok().filter(|jobs| (1..=MOST_JOBS).contains(jobs));
                    options.jobs =
                        jobs.ok_or_else(|| format!("{text} is no number from 1 to {MOST_JOBS}"))?;
                }
                "--keep" => options.keep = Some(value()?.into()),
                "--inject" => options.only_inject = true,
                "--expected" => options.only_expected = true,
                other => return Err(format!("{other} is not understood")),
            }
        }
        options.cases.retain(|case| {
            (only.is_empty() || only.iter().any(|part| case.name.contains(part.as_str())))
                && (counts.is_empty() || counts.contains(&case.faults.len()))
        });
        if options.cases.is_empty() {
            return Err("no case is called so: --expected names all".to_owned());
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn without_words_all_cases_are_run_and_words_narrow_that() {
        assert_eq!(parse("").unwrap().cases, all());
        let pairs = parse("--pairs --jobs 2").unwrap();
        assert!(pairs.cases.iter().all(|case| case.faults.len() == 2) && pairs.jobs == 2);
        assert_eq!(parse("--only removed-there").unwrap().cases.len(), 1);
        assert!(parse("--fine --only fine-socks").unwrap().cases.len() == 2);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (words, named) in
            [("--only moon", "--expected"), ("--jobs 0", "0"), ("--jobs", "--jobs needs"), ("all", "all")]
        {
            assert!(parse(words).unwrap_err().contains(named), "{words}");
        }
    }
}
