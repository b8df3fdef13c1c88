//! The engine: replays what is kept, then makes fresh inputs, and watches the clock and the memory.

use std::any::Any;
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Origin};
use crate::mutate::Mutator;
use crate::outcome::{NOTHING, Outcome};
use crate::target::Target;

/// Most time that an input may take. Readers take microseconds; a machine under load stops any program for a while.
const LONGEST: Duration = Duration::from_secs(1);
/// How often an input that took longer is tried again before it is called slow.
const TRIES: usize = 3;
/// After how long an input that is still being read is given up.
const HANGING: Duration = Duration::from_secs(20);
/// Most inputs that are kept for their outcomes.
const MOST_KEPT: usize = 2048;
/// Most memory that the whole process may have used, KiB: all targets that run side by side, their pools included.
const MOST_MEMORY_KIB: u64 = 1024 * 1024;
/// How often another input is made in the place of one that was there already.
const MOST_AGAIN: usize = 8;
/// Most inputs that are remembered to tell how many differ.
const MOST_REMEMBERED: usize = 1 << 20;
/// How many inputs go by between two looks at the time.
const BETWEEN_LOOKS: u64 = 256;

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The seed of the fresh inputs.
    pub seed: u64,
    /// How many of them.
    pub inputs: u64,
    /// When to stop earlier.
    pub until: Option<Instant>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Files of the corpus that were replayed.
    pub replayed: usize,
    /// Fresh inputs that were tried.
    pub fresh: u64,
    /// How many of these differ from all before them; not counted beyond a million.
    pub different: usize,
    /// How many of them the reader took.
    pub taken: u64,
    /// Outcomes of different forms that were seen.
    pub outcomes: usize,
    /// Stands for all inputs and outcomes in their order: the same for the same seed and corpus.
    pub digest: u64,
}

impl Summary {
    /// How many of 10,000 fresh inputs the reader took.
    #[must_use]
    pub const fn share(&self) -> u64 {
        match self.taken.saturating_mul(10_000).checked_div(self.fresh) {
            Some(share) => share,
            None => 0,
        }
    }
}

/// Tries a target with `corpus` and with fresh inputs made from it.
///
/// # Errors
/// The first input that breaks a promise: a panic, more than a second, no end at all, or too much memory.
pub fn fuzz(target: Target, corpus: Vec<(String, Vec<u8>)>, plan: Plan) -> Result<Summary, Box<Failure>> {
    let current = Arc::new(Mutex::new(Current { count: 0, input: Vec::new(), origin: None }));
    let (done, finished) = channel();
    let (seen, inputs) = (HashSet::new(), HashSet::new());
    let run = Run { target, plan, current: Arc::clone(&current), seen, inputs, digest: 0 };
    // A thread of its own, so that an input without end can be told. It then goes on until the process ends.
    let worker =
        thread::Builder::new().name(target.name.to_owned()).spawn(move || done.send(run.run(corpus)));
    let worker = match worker {
        Ok(worker) => worker,
        Err(error) => {
            let what = format!("no thread: {error}");
            return Err(Box::new(failure(target, &[], Origin::Corpus(String::new()), what)));
        }
    };
    let (mut last, mut since) = (0, Instant::now());
    loop {
        match finished.recv_timeout(Duration::from_secs(1)) {
            Ok(result) => {
                // What a target keeps for its thread, as a directory, goes with the thread.
                return worker.join().map_or_else(|panic| resume_unwind(panic), |_sent| result);
            }
            Err(end) => {
                let current = current.lock().unwrap_or_else(PoisonError::into_inner);
                if current.count != last {
                    (last, since) = (current.count, Instant::now());
                }
                let what = match end {
                    RecvTimeoutError::Disconnected => "the engine itself broke".to_owned(),
                    RecvTimeoutError::Timeout if since.elapsed() > HANGING => {
                        format!("no end after {} s", HANGING.as_secs())
                    }
                    RecvTimeoutError::Timeout => continue,
                };
                let origin = current.origin.clone().unwrap_or(Origin::Corpus(String::new()));
                return Err(Box::new(failure(target, &current.input, origin, what)));
            }
        }
    }
}

/// What is being read, for whoever watches.
struct Current {
    count: u64,
    input: Vec<u8>,
    origin: Option<Origin>,
}

struct Run {
    target: Target,
    plan: Plan,
    current: Arc<Mutex<Current>>,
    seen: HashSet<Outcome>,
    /// The fresh inputs that differ, by a hash of each.
    inputs: HashSet<u64>,
    digest: u64,
}

impl Run {
    fn run(mut self, corpus: Vec<(String, Vec<u8>)>) -> Result<Summary, Box<Failure>> {
        let replayed = corpus.len();
        let mut pool = Vec::with_capacity(replayed);
        // Those that the reader took: every other fresh input is one of them changed, so that what lies behind the first check is reached.
        let mut good = Vec::new();
        for (file, input) in corpus {
            let (outcome, _new) = self.check(&input, Origin::Corpus(file))?;
            if outcome.taken {
                good.push(input.clone());
            }
            pool.push(input);
        }
        let kept_for_ever = pool.len();
        let Plan { seed, inputs, until } = self.plan;
        let mut mutator = Mutator::new(seed, self.target.words, self.target.longest);
        let (mut fresh, mut taken) = (0, 0);
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        while fresh < inputs {
            let looked = fresh.is_multiple_of(BETWEEN_LOOKS);
            if looked && until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
            let from = if fresh % 2 == 0 && !good.is_empty() { &good } else { &pool };
            let mut input = mutator.fresh(from);
            // What was there already shows nothing: short ones often come again.
            for _ in 0..MOST_AGAIN {
                if self.inputs.len() >= MOST_REMEMBERED || self.inputs.insert(hasher.hash_one(&input)) {
                    break;
                }
                input = mutator.fresh(from);
            }
            fresh += 1;
            let (outcome, new) = self.check(&input, Origin::Fresh { seed, number: fresh })?;
            taken += u64::from(outcome.taken);
            if looked {
                self.check_memory(&input, fresh)?;
            }
            if !new {
                continue;
            }
            if outcome.taken && good.len() < MOST_KEPT {
                good.push(input.clone());
            }
            if pool.len() < kept_for_ever + MOST_KEPT {
                pool.push(input);
            } else {
                // Any of the fresh ones makes room, so that the pool stays young.
                let place = kept_for_ever + usize::try_from(self.digest % MOST_KEPT as u64).unwrap_or(0);
                pool[place] = input;
            }
        }
        let (different, outcomes) = (self.inputs.len(), self.seen.len());
        Ok(Summary { replayed, fresh, different, taken, outcomes, digest: self.digest })
    }

    /// The outcome, and whether there was none like it before.
    fn check(&mut self, input: &[u8], origin: Origin) -> Result<(Outcome, bool), Box<Failure>> {
        {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            current.count += 1;
            input.clone_into(&mut current.input);
            current.origin = Some(origin.clone());
        }
        let mut outcome = NOTHING;
        for tried in 1.. {
            let began = Instant::now();
            match catch_unwind(AssertUnwindSafe(|| (self.target.read)(input))) {
                Ok(came) => outcome = came,
                Err(panic) => {
                    let failure = failure(self.target, input, origin, words(&*panic));
                    return Err(Box::new(Failure { panicked: true, ..failure }));
                }
            }
            let took = began.elapsed();
            if took <= LONGEST {
                break;
            }
            if tried == TRIES {
                let what = format!("took {} ms, {TRIES} times", took.as_millis());
                return Err(Box::new(failure(self.target, input, origin, what)));
            }
        }
        let length = u64::try_from(input.len()).unwrap_or(u64::MAX);
        self.digest = (self.digest ^ outcome.form ^ length).wrapping_mul(0x0100_0000_01b3).rotate_left(5);
        Ok((outcome, self.seen.insert(outcome)))
    }

    fn check_memory(&self, input: &[u8], number: u64) -> Result<(), Box<Failure>> {
        match memory_peak_kib() {
            Some(peak) if peak > MOST_MEMORY_KIB => {
                let origin = Origin::Fresh { seed: self.plan.seed, number };
                let what =
                    format!("the process has used {peak} KiB, here or up to {BETWEEN_LOOKS} inputs before");
                Err(Box::new(failure(self.target, input, origin, what)))
            }
            _ => Ok(()),
        }
    }
}

fn failure(target: Target, input: &[u8], origin: Origin, what: String) -> Failure {
    Failure { target: target.name, input: input.to_vec(), origin, what, panicked: false }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked without words").to_owned()
}

/// The most memory that this process had at any time, where the system tells.
fn memory_peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
