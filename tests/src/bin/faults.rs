//! Something broken between two friends, and what the doctor says: `cargo run -p e2e --bin faults`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to the person who called it"
)]

use std::process::ExitCode;

use e2e::faults::{Options, USAGE, expectations, run};
use e2e::{need, need_lab};

/// Programs beside those of the laboratory.
const PROGRAMS: [&str; 4] = ["microsocks", "tinyproxy", "python3", "openssl"];

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
    let report = run(&options, &|text| eprintln!("{text}"));
    print!("{report}");
    let broken = report.broken_promises();
    broken.iter().for_each(|promise| println!("NOT KEPT: {promise}"));
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
