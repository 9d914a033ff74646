//! Output files: an unwritable name is a usage error in every command, reported before any work.

use assert_cmd::Command;

const NOWHERE: &str = "/nowhere/result";

/// Asserts that the command exits with 2 and names the file.
#[track_caller]
fn refuses(arguments: &[&str]) {
    let mut command = Command::cargo_bin("vllm-roofline-exporter").unwrap();
    let assert = command.args(arguments).assert().code(2);
    let message = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(
        message.contains(&format!("cannot write {NOWHERE}")),
        "{arguments:?}: {message}"
    );
}

#[test]
fn a_result_that_cannot_be_written_is_refused_alike_everywhere() {
    let capture = "tests/fixtures/captures/qwen2.5-0.5b-bf16";
    let mut command = Command::cargo_bin("vllm-roofline-exporter").unwrap();
    let predicted = command.args(["static", "--model", capture, "--gpu", "H100"]);
    let predicted = predicted.args(["--format", "json"]).assert().success();
    let directory = tempfile::tempdir().unwrap();
    let prediction = directory.path().join("static.json");
    std::fs::write(&prediction, &predicted.get_output().stdout).unwrap();
    let prediction = prediction.to_str().unwrap();
    // No server listens there: starting a load would fail with another error.
    let load = ["dynamic", "--vllm-url", "http://127.0.0.1:1"];
    refuses(&["report", "--static", prediction, "--output", NOWHERE]);
    refuses(&["dynamic", "--capture", capture, "--output", NOWHERE]);
    refuses(&[&load[..], &["--output", NOWHERE]].concat());
    refuses(&[&load[..], &["--save-result", NOWHERE]].concat());
    refuses(&["calibrate", "--capture", capture, "--output", NOWHERE]);
}

#[test]
fn what_was_there_stays_until_there_is_something_to_write() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("earlier.json");
    std::fs::write(&file, "precious").unwrap();
    let mut command = Command::cargo_bin("vllm-roofline-exporter").unwrap();
    let load = ["dynamic", "--vllm-url", "http://127.0.0.1:1", "--output"];
    command.args(load).arg(&file).assert().failure();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}
