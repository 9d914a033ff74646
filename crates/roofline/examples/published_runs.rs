//! Scores expected times against a file of published runs: `published_runs FILE [COEFFICIENTS]`.
//!
//! The file has `configs` (a `config.json` by model) and `points`, each with `model`, `gpu`, `tp`, `dp`, `ep`, `concurrency`,
//! `input_len_mean`, `output_len_mean`, the flags of the run in `serve`, and `ttft_ms` and `tpot_ms` in `measured`; or the form of
//! `tests/fixtures/published-runs.json`. It fails if a run exceeds its bounds.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a command of one screen: a panic names what is wrong with the file"
)]

#[path = "../tests/published/mod.rs"]
mod published;

use std::env::args;
use std::fs::read_to_string;
use std::process::ExitCode;

use published::{groups, print, score, violations};
use roofline::cost::coefficients::Coefficients;

fn main() -> ExitCode {
    let file = args().nth(1).expect("published_runs FILE [COEFFICIENTS]");
    let text = read_to_string(&file).expect("a readable file");
    let coefficients = args().nth(2).map_or_else(Coefficients::default, |path| {
        let text = read_to_string(path).expect("readable coefficients");
        Coefficients::from_text(&text).expect("coefficients")
    });
    let scored = score(&serde_json::from_str(&text).expect("JSON"), coefficients);
    print(&groups(&scored));
    let violations = violations(&scored);
    for violation in &violations {
        println!("beats its bound: {violation}");
    }
    ExitCode::from(u8::from(!violations.is_empty()))
}
