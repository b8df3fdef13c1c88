//! The laboratory of networks, to stand in: `cargo run -p e2e --bin lab -- up`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to the person who called it"
)]

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use e2e::is_root;
use e2e::lab::{Standing, StandingHost};

const USAGE: &str = "\
A small internet on this machine, with routers and hosts, that nothing can leave.

  lab up                      builds it
  lab list                    says who is in it
  lab sh HOST [-- COMMAND..]  opens a shell on a host or router, or runs a command there
  lab down                    takes it down, with everything that runs in it

Called by:  cargo run -p e2e --bin lab -- up";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let known = matches!(args[..], ["up" | "down" | "list"] | ["sh", _] | ["sh", _, "--", _, ..]);
    if !known {
        eprintln!("{USAGE}");
        let asked = matches!(args[..], ["help" | "--help" | "-h"]);
        return if asked { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    if !is_root() {
        eprintln!(
            "Networks can be built and entered by the superuser only: call this with sudo, or as root."
        );
        return ExitCode::FAILURE;
    }
    match act(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn act(args: &[&str]) -> Result<(), String> {
    match args {
        ["up"] => {
            show(&Standing::up()?);
            Ok(())
        }
        ["down"] => {
            let stood = Standing::down();
            println!("{}", if stood { "The lab is gone." } else { "There was no lab." });
            Ok(())
        }
        ["list"] => {
            let hosts = Standing::hosts();
            if hosts.is_empty() {
                println!("The lab does not stand; `lab up` builds it.");
            } else {
                show(&hosts);
            }
            Ok(())
        }
        ["sh", host] => {
            let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
            enter(host, &shell, &[])
        }
        ["sh", host, "--", program, arguments @ ..] => enter(host, program, arguments),
        _ => Err(USAGE.to_owned()),
    }
}

/// Becomes a program on a host.
fn enter(host: &str, program: &str, arguments: &[&str]) -> Result<(), String> {
    let mut command = Standing::command(host, program)?;
    command.args(arguments).env("KITH_LAB_HOST", host).env("PS1", format!("{host}# "));
    Err(format!("{program} can't be run on {host}: {}", command.exec()))
}

fn show(hosts: &[StandingHost]) {
    println!("{:<16} {:<16} {:<16} WHAT", "HOST", "ADDRESS", "SEEN AS");
    for StandingHost { name, address, outside, what } in hosts {
        println!("{name:<16} {address:<16} {outside:<16} {what}");
    }
    println!("\nTo stand on one of them:  cargo run -p e2e --bin lab -- sh HOST");
}
