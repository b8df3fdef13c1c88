//! The benchmark beside stock restic: `cargo run --release -p e2e --bin bench`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to the person who called it"
)]

use std::process::ExitCode;

use e2e::bench::{MEASURE, Options, USAGE, measure_for_parent, run, write};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == MEASURE).is_some() {
        return measure_for_parent(arguments);
    }
    let words: Vec<String> = arguments.map(|word| word.to_string_lossy().into_owned()).collect();
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
    if cfg!(debug_assertions) {
        eprintln!("This build is not optimised: call it by  cargo run --release -p e2e --bin bench");
        return ExitCode::from(2);
    }
    let done = run(&options).and_then(|text| {
        println!("{text}");
        match &options.write {
            None => Ok(()),
            Some(path) => write(path, &text),
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
