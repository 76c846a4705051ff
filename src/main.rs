//! The program: the command line and nothing else. What it does is in the library.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    billing_insights_proxy::cli::run(billing_insights_proxy::cli::Arguments::parse())
}
