//! The program: the command line and nothing else. What it does is in the library.

use std::process::ExitCode;

use clap::Parser as _;

/// Beside the system's allocator a hit takes a tenth less processor time, and what is passed through a seventh
/// (`src/server/workers.rs` has the figures).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    billing_insights_proxy::cli::run(billing_insights_proxy::cli::Arguments::parse())
}
