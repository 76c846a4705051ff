//! The program: the command line and nothing else. What it does is in the library.

use std::process::ExitCode;

use clap::Parser as _;

/// Beside the system's allocator a hit takes a tenth less processor time, and what is passed through a seventh
/// (`src/server/workers.rs` has the figures).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages, of which a connection's buffers fill a part and take the whole: 21 KiB for an idle
    // connection instead of 12, and 20 MiB for an idle proxy instead of 13. Where the system does not have them it is well.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    billing_insights_proxy::cli::run(billing_insights_proxy::cli::Arguments::parse())
}
