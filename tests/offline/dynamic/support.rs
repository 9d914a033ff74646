//! Runs `dynamic` and `report` from flags to output.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;
use vllm_roofline_exporter::cli::{Cli, Command};
use vllm_roofline_exporter::command::usage::UsageError;
use vllm_roofline_exporter::command::{dynamic, report, static_roofline};

/// The output of a command, and its exit code.
pub(crate) struct Answer {
    pub(crate) out: String,
    pub(crate) end: anyhow::Result<()>,
}

impl Answer {
    /// Runs the command line `words`.
    pub(crate) fn of(words: &[&str]) -> Self {
        let line = ["vllm-roofline-exporter"].iter().chain(words);
        let mut out = Vec::new();
        let end = match Cli::try_parse_from(line).expect("flags are known").command {
            Command::Dynamic(args) => dynamic::run(&args, &mut out),
            Command::Report(args) => report::run(&args, &mut out),
            Command::Static(args) => static_roofline::run(&args, &mut out),
            other => panic!("{other:?}"),
        };
        Self {
            out: String::from_utf8(out).expect("UTF-8"),
            end,
        }
    }

    pub(crate) fn json(self) -> Value {
        self.end.expect("succeeds");
        serde_json::from_str(&self.out).expect("JSON")
    }

    /// The message of a usage error, which is the whole output.
    pub(crate) fn refusal(self) -> String {
        let error = self.end.expect_err("fails");
        assert!(error.is::<UsageError>(), "{error:?}");
        assert_eq!(self.out, "");
        error.to_string()
    }
}

/// The recording of a real H100 that `demo` plays, as a capture.
pub(crate) const CAPTURE: &str = "config/demo";
/// The configuration of its model.
pub(crate) const MODEL: &str = "config/demo/config.json";

pub(crate) fn fixture(name: &str) -> String {
    format!("tests/fixtures/bench/{name}")
}

/// Result files, with their kind.
pub(crate) const FIXTURES: [&str; 6] = [
    "vllm-0.32-bench-serve.json",
    "vllm-0.32-bench-serve-detailed.json",
    "guidellm-0.8.1-concurrent.json",
    "aiperf-0.13.0-profile_export_aiperf.json",
    "aiperf-0.13.0-profile_export.jsonl",
    "aiperf-0.13.0-server_metrics_export.json",
];

/// `dynamic` with the flags of `line` as JSON.
pub(crate) fn dynamic(line: &str) -> Value {
    let words: Vec<&str> = ["dynamic", "--format", "json"]
        .into_iter()
        .chain(line.split_whitespace())
        .collect();
    Answer::of(&words).json()
}

/// A directory for the output of commands.
pub(crate) struct Desk(TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("writable"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn name(&self, name: &str) -> String {
        text_of(&self.path(name))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("writable");
        self.name(name)
    }
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

#[track_caller]
pub(crate) fn number(value: &Value, pointer: &str) -> f64 {
    let found = value
        .pointer(pointer)
        .unwrap_or_else(|| panic!("no {pointer}"));
    found
        .as_f64()
        .unwrap_or_else(|| panic!("{pointer} is {found}"))
}
