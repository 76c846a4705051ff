//! `completions`: prints the completion script for a shell.

use std::io::Write as _;

use clap::CommandFactory as _;

use super::arguments::{Arguments, CompletionsArguments, Failed};

/// Runs the command.
pub(super) fn run(arguments: &CompletionsArguments) -> Result<(), Failed> {
    // Write to memory first: the generator panics on a write error, for example on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Arguments::command(),
        "billing-insights-proxy",
        &mut script,
    );
    Ok(std::io::stdout().write_all(&script)?)
}
