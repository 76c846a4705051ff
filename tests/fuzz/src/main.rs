//! The fuzz targets. One program holds them all, because most of the time goes into building the proxy;
//! `FUZZ_TARGET` says which one runs. `tests/fuzz/run` builds it for libFuzzer and runs each.
//!
//! A target says more than "it does not crash": each holds what it looks at against a naive reading of the same, or
//! against what has to be true of every input.

#![no_main]

mod cache_control;
mod configuration;
mod dates;
mod filters;
mod keys;
mod lines;
mod links;
mod page;
mod requests;
mod retry_after;
mod tokens;

use std::sync::LazyLock;

type Target = fn(&[u8]);

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    match name.as_str() {
        "cache_control" => cache_control::run,
        "configuration" => configuration::run,
        "dates" => dates::run,
        "filters" => filters::run,
        "keys" => keys::run,
        "links" => links::run,
        "page" => page::run,
        "requests" => requests::run,
        "retry_after" => retry_after::run,
        "cache" => billing_insights_proxy::cache::play_against_the_model,
        "tokens" => tokens::run,
        other => panic!("FUZZ_TARGET names no target: {other:?}"),
    }
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
