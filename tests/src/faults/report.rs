//! What came of a run, and how it is printed.

use std::fmt;
use std::time::Duration;

use kith_doctor::diagnosis::Outcome;
use kith_doctor::{Code, Diagnosis, Weight};

use super::cases::{Case, all};
use super::cause::Cause;

/// The longest time for a verdict.
const LONGEST: Duration = Duration::from_secs(10);
/// How the problem of a case begins that nobody was asked about, because it could not be made.
pub(super) const NOT_MADE: &str = "NOT MADE";
/// Of a hundred cases so many may be made again at most, and how many always may.
const MADE_AGAIN: (usize, usize) = (5, 2);
/// Of a hundred single faults so many at least must be named.
const SINGLE: usize = 95;
/// The same of pairs.
const PAIRS: usize = 80;

/// What came of one case.
#[derive(Clone, Debug)]
pub struct Row {
    /// The case.
    pub case: Case,
    /// What the doctor said; none: nothing that can be understood.
    pub said: Option<Diagnosis>,
    /// Exit code of the command.
    pub exit: i32,
    /// How long it ran.
    pub took: Duration,
    /// Why nobody was asked, or not understood.
    pub problem: Option<String>,
    /// What was not as it should be before it was asked.
    pub unsettled: Option<String>,
    /// Why the case was made a second time; then everything else is of that one, or only the time.
    pub repeated: Option<Doubt>,
}

/// What may be the doing of the machine that all cases share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The case could not be made.
    NotMade(String),
    /// Nothing was broken, and it was not called fine.
    NotFine,
    /// The answer came after so long, and there is no other doubt.
    Late(Duration),
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Case by case.
    pub rows: Vec<Row>,
    /// Nobody was asked.
    pub only_injected: bool,
}

impl Row {
    /// What was named.
    #[must_use]
    pub fn named(&self) -> Option<Cause> {
        let verdict = &self.said.as_ref()?.verdict;
        Some(Cause { code: verdict.code, part: verdict.part })
    }

    /// Whether the right thing was named, with the exit code that belongs to it.
    #[must_use]
    pub fn is_right(&self) -> bool {
        let (Some(said), Some(named)) = (&self.said, self.named()) else { return false };
        let fine = said.verdict.is_fine();
        let right = self.case.right();
        let named = if right.is_empty() { fine } else { right.contains(&named) };
        let broken = self.case.is_broken();
        // A clock that is wrong, say, may be called less than a fault as long as the link stands.
        // Without a daemon every command ends with 4.
        let exit = match said.verdict.code {
            Code::ServiceDown => 4,
            _ => i32::from(!fine),
        };
        named && (broken || fine) && self.exit == exit
    }

    /// What was blamed although nothing is wrong with it.
    #[must_use]
    pub fn wrong_blames(&self) -> Vec<Cause> {
        let Some(said) = &self.said else { return Vec::new() };
        let (allowed, nature) = (self.case.allowed(), self.case.nature());
        let blames = |code: Code| code.weight() == Weight::Fault && code != Code::Unknown;
        let mut wrong: Vec<Cause> = said
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::Failed && blames(check.code))
            .map(|check| Cause { code: check.code, part: check.part })
            .filter(|cause| !allowed.contains(cause) && !nature.contains(cause))
            .collect();
        let verdict = &said.verdict;
        let cause = Cause { code: verdict.code, part: verdict.part };
        if !verdict.is_fine() && blames(verdict.code) && !allowed.contains(&cause) {
            wrong.push(cause);
        }
        wrong.sort();
        wrong.dedup();
        wrong
    }

    /// Whether the answer came in time.
    #[must_use]
    pub fn is_in_time(&self) -> bool {
        self.took <= LONGEST
    }

    /// Whether there is nothing to say against it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_right() && self.wrong_blames().is_empty() && self.is_in_time()
    }

    /// What may be the doing of the machine, and is no matter of the doctor unless it happens twice. To blame something healthy never
    /// is.
    #[must_use]
    pub(super) fn may_be_the_machine(&self) -> Option<Doubt> {
        if !self.wrong_blames().is_empty() {
            return None;
        }
        let not_made = self.problem.as_ref().filter(|problem| problem.starts_with(NOT_MADE)).cloned();
        let healthy = self.case.faults.is_empty() && self.said.is_some();
        let not_fine = || (healthy && !self.is_right()).then_some(Doubt::NotFine);
        let late = || (!self.is_in_time()).then_some(Doubt::Late(self.took));
        not_made.map(Doubt::NotMade).or_else(not_fine).or_else(late)
    }

    /// What counts after the case was made again. Where only the time was in doubt, what the doctor said at first stays, but for a blame
    /// of something healthy.
    #[must_use]
    pub(super) fn made_again(self, doubt: Doubt, again: Self) -> Self {
        let keeps =
            matches!(doubt, Doubt::Late(_)) && again.problem.is_none() && again.wrong_blames().is_empty();
        let repeated = Some(doubt);
        if keeps { Self { took: again.took, repeated, ..self } } else { Self { repeated, ..again } }
    }

    fn mark(&self) -> String {
        let repeated = self.repeated.as_ref().map(|why| format!("  (made again; at first {why})"));
        repeated.unwrap_or_default() + &self.problems()
    }

    fn problems(&self) -> String {
        if let Some(problem) = &self.problem {
            return format!("  <-- {problem}");
        }
        let mut marks = Vec::new();
        if !self.is_right() {
            marks.push(format!("WRONG (exit code {})", self.exit));
        }
        let blamed = self.wrong_blames();
        if !blamed.is_empty() {
            let blamed: Vec<String> = blamed.iter().map(ToString::to_string).collect();
            marks.push(format!("BLAMED: {}", blamed.join(", ")));
        }
        if !self.is_in_time() {
            marks.push("LATE".to_owned());
        }
        marks.extend(self.unsettled.clone().filter(|_| !self.is_right()));
        if marks.is_empty() { String::new() } else { format!("  <-- {}", marks.join("; ")) }
    }
}

impl Report {
    fn of(&self, faults: usize) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.case.faults.len() == faults)
    }

    fn share(&self, faults: usize) -> (usize, usize) {
        (self.of(faults).filter(|row| row.is_right()).count(), self.of(faults).count())
    }

    fn made_again(&self) -> usize {
        self.rows.iter().filter(|row| row.repeated.is_some()).count()
    }

    /// What is promised and does not hold, a sentence each.
    #[must_use]
    pub fn broken_promises(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.only_injected {
            let failed = self.rows.iter().filter(|row| row.problem.is_some()).count();
            if failed > 0 {
                broken.push(format!("{failed} faults could not be made"));
            }
            return broken;
        }
        for (faults, least) in [(1, SINGLE), (2, PAIRS)] {
            let (right, all) = self.share(faults);
            if right * 100 < all * least {
                broken.push(format!("{right} of {all} cases with {faults} faults are right, not {least} %"));
            }
        }
        let (right, all) = self.share(0);
        if right < all {
            broken.push(format!("{} of {all} cases without a fault are not fine", all - right));
        }
        let blamed = self.rows.iter().filter(|row| !row.wrong_blames().is_empty()).count();
        if blamed > 0 {
            broken.push(format!("something healthy was blamed in {blamed} cases"));
        }
        let late = self.rows.iter().filter(|row| !row.is_in_time()).count();
        if late > 0 {
            broken.push(format!("{late} answers took longer than {} s", LONGEST.as_secs()));
        }
        let (percent, always) = MADE_AGAIN;
        let (again, all) = (self.made_again(), self.rows.len());
        if again > always.max(all * percent / 100) {
            broken.push(format!("{again} of {all} cases were made again, more than {percent} %"));
        }
        broken
    }
}

fn words(causes: &[Cause]) -> String {
    if causes.is_empty() {
        return "fine".to_owned();
    }
    causes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

/// What is expected of all cases, as a table.
#[must_use]
pub fn expectations() -> String {
    let mut text = String::new();
    for case in all() {
        let what: Vec<&str> = case.faults.iter().map(|(fault, _)| fault.what()).collect();
        let line = format!("{:<48}{:<44}{}", case.name, words(&case.right()), what.join("; "));
        text += line.trim_end();
        text.push('\n');
    }
    text
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMade(problem) => f.write_str(problem),
            Self::NotFine => f.write_str("not fine"),
            Self::Late(took) => write!(f, "LATE, {:.1} s", took.as_secs_f64()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<48}{:<44}{:<32}{:>7}", "CASE", "EXPECTED", "GOT", "TIME")?;
        for row in &self.rows {
            let got = row.named().map_or_else(|| "-".to_owned(), |cause| cause.to_string());
            let (right, seconds) = (words(&row.case.right()), row.took.as_secs_f64());
            writeln!(f, "{:<48}{right:<44}{got:<32}{seconds:>5.1} s{}", row.case.name, row.mark())?;
        }
        for (faults, what) in [(1, "single faults"), (2, "pairs"), (0, "without a fault")] {
            let (right, all) = self.share(faults);
            writeln!(f, "{what:<16}{right:>4} of {all} right")?;
        }
        let blamed: usize = self.rows.iter().map(|row| row.wrong_blames().len()).sum();
        let mut times: Vec<Duration> = self.rows.iter().map(|row| row.took).collect();
        times.sort_unstable();
        let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
        let seconds = |share| at(share).map_or(0.0, Duration::as_secs_f64);
        writeln!(f, "blamed wrongly  {blamed:>4}")?;
        writeln!(f, "made again      {:>4}", self.made_again())?;
        writeln!(f, "times           median {:.1} s, longest {:.1} s", seconds(50), seconds(100))
    }
}

#[cfg(test)]
mod tests;
