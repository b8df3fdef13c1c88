//! How the benchmark is called.

use std::path::PathBuf;
use std::time::Duration;

/// What the person reads who asks for help.
pub const USAGE: &str = "\
Measures Kith beside stock restic.

  bench [--quick] [--pairs N] [--media SIZE_MB] [--corpus media|docs]
        [--only local|network] [--scratch DIR] [--write FILE]

  --quick        one pair, 64 MB of media and a tenth of the docs: shows that all of it works, its numbers mean nothing
  --pairs N      how often the programs take turns (5)
  --media SIZE   megabytes of the corpus `media` (1074)
  --corpus NAME  only this corpus
  --only WAY     only local repositories, or only through two daemons and to a REST server
  --scratch DIR  a directory on a tmpfs (/dev/shm); needs about 5 GB free
  --write FILE   writes the result there too, as Markdown; in docs/performance.md it replaces the tables

Needs restic and rclone, and a quiet machine. Called by:  cargo run --release -p e2e --bin bench -- --write docs/performance.md";

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often the programs take turns.
    pub pairs: usize,
    /// Bytes of the corpus `media`.
    pub media_bytes: u64,
    /// Only every so-manieth package of the corpus `docs` is taken.
    pub docs_every: usize,
    /// Only this corpus.
    pub corpus: Option<String>,
    /// Measure local repositories.
    pub local: bool,
    /// Measure through daemons.
    pub network: bool,
    /// How long two linked daemons have had nothing to do when their memory is measured.
    pub idle: Duration,
    /// Where to work.
    pub scratch: PathBuf,
    /// Where the result is to be written.
    pub write: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pairs: 5,
            media_bytes: 256 << 22,
            docs_every: 1,
            corpus: None,
            local: true,
            network: true,
            idle: Duration::from_secs(60),
            scratch: "/dev/shm".into(),
            write: None,
        }
    }
}

impl Options {
    /// Reads the words of the command line.
    ///
    /// # Errors
    /// One of them is not known, or what it needs does not follow.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--quick" => {
                    options.pairs = 1;
                    options.media_bytes = 64 << 20;
                    options.docs_every = 10;
                    options.idle = Duration::from_secs(5);
                }
                "--pairs" => options.pairs = number(word, value()?)?,
                "--media" => options.media_bytes = number::<u64>(word, value()?)? * 1_000_000,
                "--corpus" => options.corpus = Some(one_of(word, value()?, ["media", "docs"])?),
                "--only" => {
                    let way = one_of(word, value()?, ["local", "network"])?;
                    options.local = way == "local";
                    options.network = way == "network";
                }
                "--scratch" => options.scratch = value()?.into(),
                "--write" => options.write = Some(value()?.into()),
                _ => return Err(format!("{word} is not known")),
            }
        }
        if options.pairs == 0 || options.media_bytes < 1 << 20 {
            return Err("nothing would be measured".to_owned());
        }
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(word: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{word} needs a number, not {value:?}"))
}

fn one_of(word: &str, value: &str, known: [&str; 2]) -> Result<String, String> {
    if known.contains(&value) {
        return Ok(value.to_owned());
    }
    Err(format!("{word} takes {} or {}, not {value:?}", known[0], known[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options, String> {
        Options::parse(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_words_of_the_command_line_are_understood_or_refused() {
        let options = parse("--quick --pairs 3 --only network --corpus docs").unwrap();
        assert_eq!((options.pairs, options.local, options.network), (3, false, true));
        assert_eq!(options.corpus.as_deref(), Some("docs"));
        assert_eq!(parse("--media 100").unwrap().media_bytes, 100_000_000);
        for wrong in ["--pairs", "--pairs x", "--pairs 0", "--only both", "--fast", "--media 0"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
