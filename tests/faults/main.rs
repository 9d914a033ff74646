//! Faults around the exporter: each has its own name, affects only its own values, and is temporary. docs/faults.md lists them all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

mod answers;
mod broken;
mod clock;
mod docs;
mod engines;
mod hostile;
mod port;
mod recording;
mod restarts;
#[path = "../support/mod.rs"]
mod support;
mod ticks;
mod trust;
mod vllm;

use std::path::Path;
use std::process::Command;

use support::{Exporter, value};

/// The exporter with `vllm`, without a GPU.
fn serve(vllm: &str) -> Exporter {
    Exporter::start(&["serve", "--vllm-url", vllm, "--gpu-source", "none"])
}

/// The same, reading it once per `tick`.
fn serve_every(tick: &str, vllm: &str) -> Exporter {
    Exporter::start(&[
        "serve",
        "--vllm-url",
        vllm,
        "--gpu-source",
        "none",
        "--tick",
        tick,
    ])
}

/// Compiles the library `name` from its source here into `directory`, to be loaded into the exporter.
fn library(name: &str, directory: &Path) -> String {
    let library = directory.join(name).with_extension("so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror"])
        .arg(format!("tests/faults/{name}.c"))
        .args(["-ldl", "-o"])
        .arg(&library)
        .status()
        .expect("tests of what the system does need a C compiler, cc");
    assert!(compiled.success());
    library.to_str().unwrap().to_owned()
}

/// The number of failed reads for `reason`.
fn failures(page: &str, reason: &str) -> f64 {
    let labels = format!("source=\"vllm\",reason=\"{reason}\"");
    value(page, "vllm_roofline_source_errors_total", &labels).expect(reason)
}

/// The number of discarded windows for `reason`.
fn discards(page: &str, reason: &str) -> u64 {
    let labels = format!("vllm_roofline_window_discards_total{{reason=\"{reason}\"}} ");
    let count = page.lines().find_map(|line| line.strip_prefix(&labels));
    count.expect(reason).parse().unwrap()
}

/// Tokens decoded since the exporter started.
fn decoded(page: &str) -> Option<f64> {
    let labels = "phase=\"decode\"";
    value(page, "vllm_roofline_forward_tokens_total", labels)
}

/// Tokens decoded each second of the window.
fn decode_rate(page: &str) -> Option<f64> {
    let labels = "phase=\"decode\"";
    value(page, "vllm_roofline_tokens_per_second", labels)
}

fn up(page: &str) -> Option<f64> {
    value(page, "vllm_roofline_up", "")
}

/// Asserts that no value on `page` is negative, infinite or NaN.
#[track_caller]
fn assert_sound(page: &str) {
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(value.is_finite() && value >= 0.0, "{line}");
    }
}
