//! Measures the program's cost, in one binary that `benches/run.sh` calls for each part:
//!
//! * `parse`, `ticks`, `grid`: work without another process;
//! * `serve`: the running program compared with other servers;
//! * `scrape`: a scrape of the vLLM at `VLLM_URL`;
//! * `instructions WHAT TIMES`: a fixed amount of work.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and the environment, and prints"
)]

mod compare;
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "made for tests"
)]
#[path = "../../tests/gpus/fake.rs"]
mod fake;
mod instructions;
mod predicting;
mod pure;
mod reading;
mod scrape;
mod serve;
mod server;
mod ticker;

use std::future::Future;

/// Starts the bare server, which is a separate process.
const BARE: &str = "bare";

fn main() -> anyhow::Result<()> {
    let words: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words[..] {
        [BARE, page] => block_on(serve::bare(page)),
        ["serve"] => block_on(serve::run()),
        ["scrape"] => block_on(scrape::run()),
        ["instructions", what, times] => instructions::run(what, times.parse()?),
        ["parse"] => {
            pure::parse();
            Ok(())
        }
        ["ticks"] => pure::ticks(),
        ["grid"] => pure::grid(),
        _ => anyhow::bail!(
            "parse, ticks, grid, serve, scrape or instructions; benches/run.sh asks for all of them"
        ),
    }
}

fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(future)
}
