//! The command line: arguments, exit codes, signals.
//!
//! Exit codes: 0 for success, 1 for a failure, 2 for wrong usage or a configuration that is refused.

mod arguments;
mod check;
mod completions;
mod demo;
mod explain;
mod health;
mod no_dumps;
mod online;
mod runtime;
mod schema;
mod serve;
mod simulate;

use std::process::ExitCode;

pub use arguments::Arguments;
use arguments::{Command, Failed};

/// Runs the command.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Health(arguments) => health::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Refused) => ExitCode::from(2),
        Err(Failed::Reported) => ExitCode::FAILURE,
        Err(Failed::Because(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
