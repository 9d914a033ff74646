//! Offline analysis: load tests, their results and analysis, sweeps.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may fail that way"
)]

mod analyze;
mod dynamic;
mod launch;
mod load;
#[path = "../support/openai.rs"]
mod openai;
mod output;
#[path = "../support/reserved_port.rs"]
mod reserved_port;
mod results;
mod sweep;
#[path = "../support/tools.rs"]
mod tools;
