//! `completions`: what a shell completes commands and flags with.

use std::io::Write as _;

use clap::CommandFactory as _;

use super::{Arguments, CompletionsArguments, Failed};

/// Prints them.
pub(super) fn run(arguments: &CompletionsArguments) -> Result<(), Failed> {
    // Into memory first: the generator panics where it can't write, as when whoever reads has gone.
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Arguments::command(),
        "billing-insights-proxy",
        &mut script,
    );
    Ok(std::io::stdout().write_all(&script)?)
}
