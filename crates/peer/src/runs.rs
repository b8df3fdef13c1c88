//! Telling a program that was started again from two copies of one installation. Pure.

use std::collections::VecDeque;

use kith_identity::InstallationId;

/// So many runs of a friend are remembered.
const MOST: usize = 8;

/// The runs of a friend's program that had the link, the latest last.
///
/// A program that was started again never comes back as the run before. If it does, both are alive: somebody has copied a
/// home, and each copy would take the link from the other for ever.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    seen: VecDeque<(InstallationId, InstallationId)>,
}

impl Runs {
    /// Whether this run had the link before another run of the same installation had it.
    pub(crate) fn is_twin(&self, installation: InstallationId, run: Option<InstallationId>) -> bool {
        let Some(run) = run else { return false };
        let mut same = self.seen.iter().filter(|(of, _)| *of == installation);
        let before = same.clone().any(|(_, seen)| *seen == run);
        before && same.next_back().is_some_and(|(_, last)| *last != run)
    }

    /// This run has the link now.
    pub(crate) fn note(&mut self, installation: InstallationId, run: Option<InstallationId>) {
        let Some(run) = run else { return };
        if self.seen.back() == Some(&(installation, run)) {
            return;
        }
        self.seen.push_back((installation, run));
        if self.seen.len() > MOST {
            self.seen.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(byte: u8) -> InstallationId {
        InstallationId::from_bytes([byte; 16])
    }

    #[test]
    fn a_program_that_is_started_again_and_again_is_one() {
        let mut runs = Runs::default();
        for run in 1..100 {
            for _ in 0..3 {
                assert!(!runs.is_twin(id(0), Some(id(run))), "{run}");
                runs.note(id(0), Some(id(run)));
            }
        }
        assert!(runs.seen.len() <= MOST);
    }

    #[test]
    fn a_run_that_comes_back_after_another_one_is_a_copy() {
        let mut runs = Runs::default();
        runs.note(id(0), Some(id(1)));
        runs.note(id(0), Some(id(2)));
        assert!(runs.is_twin(id(0), Some(id(1))));
        assert!(!runs.is_twin(id(0), Some(id(2))), "the one that has the link stays");
        assert!(!runs.is_twin(id(9), Some(id(1))), "another installation is judged by its rank");
        assert!(!runs.is_twin(id(0), None), "a program that does not tell");
    }

    #[test]
    fn two_installations_that_come_by_turns_are_no_copies() {
        let mut runs = Runs::default();
        for _ in 0..5 {
            for installation in [1, 2] {
                assert!(!runs.is_twin(id(installation), Some(id(installation))));
                runs.note(id(installation), Some(id(installation)));
            }
        }
    }
}
