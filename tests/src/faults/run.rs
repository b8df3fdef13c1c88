//! One run: each case on a stage of its own, a few at once.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kith_doctor::Diagnosis;

use crate::{Outcome, need};

use super::cases::Case;
use super::fault::{Fault, Linked};
use super::homes::Homes;
use super::inject::inject;
use super::options::Options;
use super::place::{Help, Side};
use super::report::{NOT_MADE, Report, Row};
use super::stage::Stage;

/// Longest wait for the daemons to notice what was broken; the doctor is asked in any case.
const NOTICED: Duration = Duration::from_secs(12);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs the cases, tells `say` how far it is, and says what came of it.
///
/// # Panics
/// If the friends can't be made, or there is no `faketime` where `CI=true`. What fails in a case is part of what is reported.
pub fn run(options: &Options, say: &(dyn Fn(&str) + Sync)) -> Report {
    let begun = Instant::now();
    let homes = Homes::prepare();
    let tell = |text: &str| say(&format!("[{:>5.1} s] {text}", begun.elapsed().as_secs_f64()));
    let mut cases = options.cases.clone();
    if !need("faketime") {
        tell("no clock is set wrong");
        cases.retain(|case| !case.has(Fault::ClockAhead));
    }
    tell("the friends have met");
    let waiting = Mutex::new(cases.iter().enumerate());
    let rows = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((index, case)) = next else { break };
                    let mut row = perform(&homes, case, options);
                    if let Some(doubt) = row.may_be_the_machine() {
                        tell(&format!("{}: {doubt}; it is made again", case.name));
                        row = row.made_again(doubt, perform(&homes, case, options));
                    }
                    let got = row.named().map_or_else(|| "-".to_owned(), |cause| cause.to_string());
                    let problem = row.problem.as_deref().unwrap_or_default();
                    tell(&format!("{}: {got} {problem}", case.name));
                    rows.lock().unwrap_or_else(PoisonError::into_inner).insert(index, row);
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect();
    tell("all cases are done");
    Report { rows, only_injected: options.only_inject }
}

/// One case; what panics in it is its problem.
fn perform(homes: &Homes, case: &Case, options: &Options) -> Row {
    let nothing = Row {
        case: case.clone(),
        said: None,
        exit: -1,
        took: Duration::ZERO,
        problem: None,
        unsettled: None,
        repeated: None,
    };
    let performed = catch_unwind(AssertUnwindSafe(|| {
        let mut stage = Stage::build(homes, &case.name, case.scene);
        for (fault, side) in case.faults.iter().rev() {
            inject(&mut stage, *fault, *side);
        }
        if options.only_inject {
            return nothing.clone();
        }
        let unsettled = settle(&stage, case);
        let asked = ask(&stage, case);
        let said: Result<Diagnosis, _> = serde_json::from_str(&asked.stdout);
        let problem =
            said.as_ref().err().map(|error| format!("NO DIAGNOSIS ({error}): {}", asked.stderr.trim()));
        let row = Row {
            said: said.ok(),
            exit: asked.code,
            took: asked.took,
            problem,
            unsettled,
            ..nothing.clone()
        };
        if let (Some(directory), false) = (&options.keep, row.is_good()) {
            keep(directory, case, &asked, &stage);
        }
        row
    }));
    performed.unwrap_or_else(|panic| Row { problem: Some(words(&*panic)), ..nothing })
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
    format!("{NOT_MADE}: {}", text.lines().next().unwrap_or_default())
}

/// Both look for each other anew, as they do by themselves a while after something broke; then there is the link that is left.
fn settle(stage: &Stage, case: &Case) -> Option<String> {
    let left = match (case.leaves(), case.scene.help) {
        (Linked::Stays, _) => return None,
        (Linked::ByHelp, Help::Relay | Help::Hub) => Linked::ByHelp,
        _ => Linked::Not,
    };
    for side in [Side::Anna, Side::Bert] {
        // Whoever is ended can't.
        stage.computer(side).kith(&["ra"]);
    }
    let (asker, other) = (stage.computer(case.asker), stage.computer(case.asker.other()).name());
    let begun = Instant::now();
    loop {
        let friends = asker.kith(&["friends", other, "--json"]);
        if friends.code != 0 {
            return None;
        }
        let friend = friends.json()[0].take();
        let linked = friend["connected"] == true;
        let settled = match left {
            Linked::ByHelp => linked && friend["path"] == "relayed",
            _ => !linked,
        };
        if settled {
            return None;
        }
        if begun.elapsed() > NOTICED {
            return Some(format!("the link is {} ({left:?} was expected)", friend["path"]));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks the doctor.
fn ask(stage: &Stage, case: &Case) -> Outcome {
    let (asker, other) = (stage.computer(case.asker), stage.computer(case.asker.other()));
    let mut words = vec!["doctor", other.name(), "--json"];
    let code;
    if case.with_code {
        code = other.kith(&["doctor", "--code"]).stdout.trim().to_owned();
        words.extend(["--with", &code]);
    }
    asker.kith(&words)
}

fn keep(directory: &Path, case: &Case, asked: &Outcome, stage: &Stage) {
    std::fs::create_dir_all(directory).unwrap();
    let write = |ending: &str, text: &str| {
        std::fs::write(directory.join(format!("{}.{ending}", case.name)), text).unwrap();
    };
    write("json", &asked.stdout);
    write("stderr", &asked.stderr);
    for end in &stage.ends {
        write(&format!("{}.log", end.computer.name()), &end.computer.log());
    }
}
