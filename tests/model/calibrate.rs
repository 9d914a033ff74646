//! `calibrate`: turns recordings into a file of coefficients that improves predictions of data it was not fitted to, and that other
//! commands read.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/captures")
        .join(name)
}

/// The JSON output of a command.
fn answer(arguments: &[&str]) -> Value {
    let output = cargo_bin_cmd!().args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The error of `calibrate` for unusable captures and settings.
fn refusal(arguments: &[&str]) -> String {
    let place = tempfile::tempdir().unwrap();
    let output = cargo_bin_cmd!()
        .current_dir(&place)
        .arg("calibrate")
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "wrote a file");
    said
}

#[test]
fn two_recordings_bring_coefficients_that_meet_what_was_not_fitted() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("mine.json");
    let (file, first, second) = (
        file.to_str().unwrap(),
        capture("llama-3.1-8b-bf16"),
        capture("llama-3.1-8b-kv-starved"),
    );
    let (first, second) = (first.to_str().unwrap(), second.to_str().unwrap());
    let calibrate = |captures: &[&str]| {
        let mut arguments = vec![
            "calibrate",
            "--format",
            "json",
            "--output",
            file,
            "--capture",
        ];
        arguments.extend(captures);
        answer(&arguments)
    };
    let count = |outcome: &Value, part: &str| outcome[part].as_u64().unwrap();
    let (one, both) = (calibrate(&[first]), calibrate(&[first, second]));
    assert!(count(&both, "slices_fitted") > count(&one, "slices_fitted"));
    assert!(count(&both, "slices_checked") > count(&one, "slices_checked"));
    let error = |when: &str| both[when]["mean"].as_f64().unwrap();
    assert!(error("error_after") < error("error_before"), "{both}");

    let written: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(written, both["coefficients"]);
    let predicted = |coefficients: &[&str]| {
        let mut arguments = vec![
            "static", "--gpu", "H100", "--format", "json", "--model", first,
        ];
        arguments.extend(coefficients);
        answer(&arguments)
    };
    let (usual, mine) = (predicted(&[]), predicted(&["--coefficients", file]));
    let tpot = |prediction: &Value| prediction["latency"]["tpot_expected_seconds"].clone();
    assert_ne!(tpot(&usual), tpot(&mine));
    assert_eq!(
        mine["origins"]["coefficients"]["seconds_per_layer"]["origin"],
        "calibrated"
    );
}

#[test]
fn what_cannot_be_used_is_named_and_nothing_is_written() {
    let (llama, gemma) = (capture("llama-3.1-8b-bf16"), capture("gemma-3-4b-bf16"));
    let (llama, gemma) = (llama.to_str().unwrap(), gemma.to_str().unwrap());
    let mixed = refusal(&["--capture", llama, gemma]);
    assert!(mixed.contains("gemma-3-4b-bf16: another model"), "{mixed}");
    let absent = refusal(&["--capture", "/nowhere"]);
    assert!(absent.contains("/nowhere/capture.json"), "{absent}");

    let place = tempfile::tempdir().unwrap();
    let bad = place.path().join("bad.json");
    fs::write(&bad, r#"{"seconds_per_step": -1}"#).unwrap();
    let start = refusal(&["--capture", llama, "--coefficients", bad.to_str().unwrap()]);
    assert!(
        start.contains("bad.json") && start.contains("must not be negative"),
        "{start}"
    );
}
