//! GPUs without a GPU: the program loads a fake driver library through the real FFI, and reads fake pages of a dcgm-exporter.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

mod dcgm;
#[cfg(feature = "nvml")]
mod devices;
#[cfg(feature = "nvml")]
mod fake;
#[cfg(feature = "nvml")]
mod faults;
#[cfg(feature = "nvml")]
mod peers;
#[cfg(feature = "nvml")]
mod recording;
#[path = "../support/mod.rs"]
mod support;

use std::process::Command;

use support::{Answering, Exporter, ok, value};

/// A served model, so that GPUs belong to an engine.
const MODEL: &str = "config/demo/config.json";

/// A vLLM that is idle.
fn idle_vllm() -> Answering {
    let labels = "{engine=\"0\",model_name=\"m\"}";
    Answering::with(ok(&format!(
        "process_start_time_seconds 1.0\nvllm:num_requests_running{labels} 0.0\nvllm:num_requests_waiting{labels} 0.0\nvllm:generation_tokens_total{labels} 1000.0\n"
    )))
}

/// `serve` with an idle vLLM.
fn serve(environment: &[(&str, String)], arguments: &[&str]) -> (Exporter, Answering) {
    let vllm = idle_vllm();
    let mut all = vec!["serve", "--vllm-url", &vllm.url, "--model", MODEL];
    all.extend(arguments);
    (Exporter::start_in(environment, &all), vllm)
}

/// The output of `check` about GPUs.
fn check(environment: &[(&str, String)], arguments: &[&str]) -> String {
    let vllm = idle_vllm();
    let output = Command::new(env!("CARGO_BIN_EXE_vllm-roofline-exporter"))
        .args(["check", "--vllm-url", &vllm.url, "--model", MODEL])
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every state is reported everywhere: metric, log, page and `check`; and the metrics continue.
#[track_caller]
fn assert_told_everywhere(
    environment: &[(&str, String)],
    arguments: &[&str],
    source: &str,
    reason: &str,
    words: &str,
) {
    let (exporter, _vllm) = serve(environment, arguments);
    assert_told(&exporter, source, reason, words);
    let checked = check(environment, arguments);
    assert!(checked.contains(words), "{checked}");
}

#[track_caller]
fn assert_told(exporter: &Exporter, source: &str, reason: &str, words: &str) {
    let counted = format!("source=\"{source}\",reason=\"{reason}\"");
    let page = exporter.wait_for("/metrics", 20, |page| {
        value(page, "vllm_roofline_source_errors_total", &counted).is_some_and(|count| count >= 1.0)
            && value(page, "vllm_roofline_up", "") == Some(1.0)
    });
    assert_eq!(success(&page, source), Some(0.0));
    assert!(!page.contains("NaN"));
    assert_eq!(exporter.get("/metrics").0, 200);
    assert_eq!(exporter.get("/-/ready").0, 200);
    let (_, home) = exporter.get("/");
    assert!(home.contains(words), "{home}");
    let log = exporter.log();
    assert!(log.contains(words), "{log}");
}

fn success(page: &str, source: &str) -> Option<f64> {
    let labels = format!("source=\"{source}\"");
    value(page, "vllm_roofline_source_success", &labels)
}

/// The value of the family `name`, of the GPU with this UUID.
fn of_gpu(page: &str, name: &str, uuid: &str) -> Option<f64> {
    let name = format!("vllm_roofline_{name}");
    value(page, &name, &format!("gpu=\"{uuid}\""))
}

fn missing(page: &str, fact: &str) -> Option<f64> {
    let labels = format!("fact=\"{fact}\"");
    value(page, "vllm_roofline_missing_fact", &labels)
}
