//! How the matrix is called.

use std::time::Duration;

use super::helper::Helped;
use super::kind::Kind;
use super::selection;

/// What `matrix --help` prints.
pub const USAGE: &str = "\
Connects every kind of site with every kind, in the laboratory, and prints by which way and how fast.

  matrix                     all pairs
    --only KIND              those with this kind
    --among KIND,KIND,...    those of two of these kinds
    --pairs N                the first N pairs of an order that covers much early
    --selection              those of the continuous integration
    --round-trip MS          every line is so long that there and back between two sites takes so many milliseconds
    --helped-by hub|friend   who helps: a hub (the default), or a friend that all have in common
    --punch TIMES            two sites with plain routers, so many times
    --logs DIR               adds the logs of all daemons to those in this directory
    --expected               prints what is expected, and measures nothing

Needs the superuser, and the programs of the laboratory. The program under test is that of the same profile, or what KITH_BIN names.
Exit code 0: all pairs connected, by the expected way. 1: some didn't.";

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which pairs.
    pub pairs: Vec<(Kind, Kind)>,
    /// How long there and back between two sites takes.
    pub round_trip: Duration,
    /// Who helps.
    pub helped: Helped,
    /// Instead of the matrix: how often two plain sites are to punch.
    pub punches: Option<usize>,
    /// Where logs are kept.
    pub logs: Option<std::path::PathBuf>,
    /// Nothing is measured.
    pub only_expected: bool,
}

impl Options {
    /// These pairs, on short lines, with a hub.
    #[must_use]
    pub const fn of(pairs: Vec<(Kind, Kind)>) -> Self {
        let round_trip = Duration::ZERO;
        Self { pairs, round_trip, helped: Helped::ByHub, punches: None, logs: None, only_expected: false }
    }

    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is not understood.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut options = Self::of(Kind::pairs().collect());
        let (mut only, mut among) = (None, None);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--only" => only = Some(value()?.parse::<Kind>()?),
                "--among" => among = Some(kinds(value()?)?),
                "--pairs" => options.pairs = selection::first(number(value()?)?),
                "--selection" => options.pairs = selection::covering(),
                "--round-trip" => {
                    let milliseconds = u64::try_from(number(value()?)?).unwrap_or(u64::MAX);
                    options.round_trip = Duration::from_millis(milliseconds);
                }
                "--helped-by" => {
                    options.helped = match value()?.as_str() {
                        "hub" => Helped::ByHub,
                        "friend" => Helped::ByFriend,
                        other => return Err(format!("nobody is helped by {other}: hub or friend")),
                    }
                }
                "--punch" => options.punches = Some(number(value()?)?),
                "--logs" => options.logs = Some(value()?.into()),
                "--expected" => options.only_expected = true,
                other => return Err(format!("{other} is not understood")),
            }
        }
        if let Some(only) = only {
            options.pairs.retain(|(first, second)| *first == only || *second == only);
        }
        if let Some(among) = among {
            options.pairs.retain(|(first, second)| among.contains(first) && among.contains(second));
        }
        Ok(options)
    }
}

fn kinds(text: &str) -> Result<Vec<Kind>, String> {
    text.split(',').map(str::parse).collect()
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn without_words_all_pairs_are_run_and_words_narrow_that() {
        assert_eq!(parse("").unwrap().pairs.len(), 190);
        assert_eq!(parse("--only socks").unwrap().pairs.len(), 19);
        assert_eq!(parse("--pairs 5").unwrap().pairs.len(), 5);
        assert_eq!(parse("--among socks,plain,upnp").unwrap().pairs.len(), 6);
        let options = parse("--selection --round-trip 100 --helped-by friend").unwrap();
        assert_eq!(options.pairs, selection::covering());
        assert_eq!((options.round_trip, options.helped), (Duration::from_millis(100), Helped::ByFriend));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (words, named) in [
            ("--only moon", "moon"),
            ("--among socks,moon", "moon"),
            ("--pairs many", "many"),
            ("--pairs", "--pairs needs a value"),
            ("--helped-by nobody", "nobody"),
            ("everything", "everything"),
        ] {
            assert!(parse(words).unwrap_err().contains(named), "{words}");
        }
    }
}
