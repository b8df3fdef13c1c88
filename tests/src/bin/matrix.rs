//! Every kind of site against every kind: `cargo run -p e2e --bin matrix`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to the person who called it"
)]

use std::process::ExitCode;

use e2e::matrix::{Options, USAGE, expectations, punch, run};
use e2e::{need, need_lab};

/// Programs beside those of the laboratory.
const PROGRAMS: [&str; 3] = ["microsocks", "tinyproxy", "python3"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if matches!(words.first().map(String::as_str), Some("help" | "--help" | "-h")) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(&words) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if options.only_expected {
        print!("{}", expectations());
        return ExitCode::SUCCESS;
    }
    if !need_lab() || !PROGRAMS.into_iter().all(need) {
        return ExitCode::FAILURE;
    }
    if let Some(tries) = options.punches {
        let times = punch(options.helped, options.round_trip, tries, options.logs.as_deref());
        let found: Vec<f64> = times.iter().flatten().map(std::time::Duration::as_secs_f64).collect();
        println!("{} of {tries} punched, after {found:.2?} s", found.len());
        // 19 of 20.
        return if found.len() * 20 >= tries * 19 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let report = run(&options, &mut |text| eprintln!("{text}"));
    print!("{report}");
    if report.surprises().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
