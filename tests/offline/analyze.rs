//! `analyze` as a program: all results in one directory, and the remaining ones if something is missing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use std::path::Path;

use crate::openai::{AT_ONCE, Answer, Server};
use assert_cmd::Command;
use serde_json::Value;

/// An analysis into `directory`, of a small load.
fn analyze(url: &str, directory: &Path, flags: &[&str]) -> Command {
    let mut command = Command::cargo_bin("vllm-roofline-exporter").unwrap();
    command
        .args(["analyze", "--vllm-url", url, "--format", "json", "--output"])
        .arg(directory)
        .args([
            "--input-len",
            "64",
            "--output-len",
            "16",
            "--num-requests",
            "12",
            "--concurrency",
            "4",
        ])
        .args(["--gpu-source", "none"])
        .args(flags);
    command
}

/// A directory with the config.json of a small model.
fn model(directory: &Path) -> String {
    let config = r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":256,"intermediate_size":688,
        "num_hidden_layers":4,"num_attention_heads":8,"num_key_value_heads":4,"head_dim":32,"vocab_size":4096,
        "max_position_embeddings":2048,"torch_dtype":"bfloat16"}"#;
    let place = directory.join("tiny");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("config.json"), config).unwrap();
    place.display().to_string()
}

fn read(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_leaves_prediction_load_analysis_and_report() {
    let server = Server::start(|_| AT_ONCE).await;
    let place = tempfile::tempdir().unwrap();
    let model = model(place.path());
    let directory = place.path().join("analysis");
    let flags = ["--gpu", "H100", "--model", &model];
    let output = analyze(&server.url(), &directory, &flags)
        .assert()
        .success();
    let summary: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();

    let prediction = read(directory.join("static.json"));
    assert_eq!(prediction["steps"]["decode"]["batch"], 4.0);
    let load = read(directory.join("load.json"));
    assert_eq!(
        (&load["completed"], &summary["completed"]),
        (&12.into(), &12.into())
    );
    let analysis = read(directory.join("dynamic.json"));
    let measured = &analysis["runs"][0]["measured"]["output_tokens_per_second"];
    let row = summary["figures"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["figure"] == "output_tokens_per_second");
    assert_eq!(&row.unwrap()["measured"], measured);
    assert!(row.unwrap()["bound"].as_f64().unwrap() > 0.0);
    let report = std::fs::read_to_string(directory.join("report.html")).unwrap();
    assert!(report.contains("H100"));
    // The server has no metrics, and the summary lists what is absent.
    assert!(
        summary["notes"].to_string().contains("were not recorded"),
        "{summary}"
    );

    let again = analyze(&server.url(), &directory, &flags).assert().code(2);
    let words = String::from_utf8_lossy(&again.get_output().stderr).into_owned();
    assert!(words.contains("holds an analysis already"), "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_model_and_gpu_the_measured_figures_remain() {
    let server = Server::start(|_| AT_ONCE).await;
    let place = tempfile::tempdir().unwrap();
    let output = analyze(&server.url(), place.path(), &["--gpu", "none"])
        .assert()
        .success();
    let summary: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert!(
        summary["notes"].to_string().contains("--model"),
        "{summary}"
    );
    assert!(!place.path().join("static.json").exists());
    assert!(place.path().join("report.html").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_without_any_answer_keeps_its_errors_and_fails() {
    let server = Server::start(|_| Answer::Status(429)).await;
    let place = tempfile::tempdir().unwrap();
    let flags = [
        "--gpu",
        "none",
        "--warmup-requests",
        "0",
        "--num-requests",
        "3",
    ];
    let mut command = Command::cargo_bin("vllm-roofline-exporter").unwrap();
    command
        .args(["analyze", "--vllm-url", &server.url(), "--output"])
        .arg(place.path())
        .args(flags);
    let failed = command.assert().code(1);
    let words = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(words.contains("http_429"), "{words}");
    assert_eq!(
        read(place.path().join("load.json"))["errors"]["http_429"],
        3
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gpu_of_ones_own_needs_no_more_than_its_ceilings() {
    let server = Server::start(|_| AT_ONCE).await;
    let place = tempfile::tempdir().unwrap();
    let (model, config) = (model(place.path()), place.path().join("config.yaml"));
    let gpu = "gpus:\n  - {id: own, vendor: amd, architecture: zen, names: [Own], match: '^own', aliases: [Own],\n      peak_tflops: {fp32: 0.19, bf16: 0.19}, memory_bandwidth_gbs: 20, memory_mib: 4096, tdp_watts: 50, source: own, confidence: low}\n";
    std::fs::write(&config, gpu).unwrap();
    let directory = place.path().join("analysis");
    let flags = ["--gpu", "Own", "--model", &model, "--config.file"];
    analyze(&server.url(), &directory, &flags)
        .arg(&config)
        .assert()
        .success();
    let latency = &read(directory.join("static.json"))["latency"];
    // JSON has no NaN: it would become null.
    assert!(
        latency["tpot_expected_seconds"].as_f64().unwrap() > 0.0,
        "{latency}"
    );
}

/// Starts an analysis whose server answers five requests and then hangs, and calls `then` once the others wait.
async fn begun(
    directory: &Path,
    then: impl FnOnce(&Server, &std::process::Child),
) -> std::process::Output {
    let server = Server::start(|number| if number < 5 { AT_ONCE } else { Answer::Silence }).await;
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_vllm-roofline-exporter"))
        .args([
            "analyze",
            "--vllm-url",
            &server.url(),
            "--gpu",
            "none",
            "--output",
        ])
        .arg(directory)
        .args([
            "--concurrency",
            "4",
            "--warmup-requests",
            "0",
            "--give-up-after",
            "300ms",
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while server.log.bodies.lock().unwrap().len() < 9 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    then(&server, &child);
    tokio::task::spawn_blocking(|| child.wait_with_output().unwrap())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_ends_in_a_report_of_what_there_is() {
    let place = tempfile::tempdir().unwrap();
    let output = begun(place.path(), |_, child| {
        let interrupt = ["-INT", &child.id().to_string()];
        let sent = std::process::Command::new("kill").args(interrupt).status();
        assert!(sent.unwrap().success());
    })
    .await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let load = read(place.path().join("load.json"));
    assert_eq!(
        (&load["interrupted"], &load["completed"]),
        (&true.into(), &5.into())
    );
    assert_eq!(load["errors"]["cancelled"], 4);
    assert!(place.path().join("report.html").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_leaves_a_report_and_a_failure() {
    let place = tempfile::tempdir().unwrap();
    let output = begun(place.path(), |server, _| server.stop()).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("the server went away"));
    let load = read(place.path().join("load.json"));
    assert_eq!(load["completed"], 5);
    assert!(
        load["errors"]["connect"].as_u64().unwrap() >= 4,
        "{}",
        load["errors"]
    );
    assert!(place.path().join("report.html").exists());
}

#[test]
fn what_makes_no_sense_costs_no_load() {
    let place = tempfile::tempdir().unwrap();
    let check = |flags: &[&str], code: i32, expected: &str| {
        let failed = analyze("http://127.0.0.1:1", place.path(), flags)
            .assert()
            .code(code);
        let words = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
        assert!(words.contains(expected), "{words}");
    };
    check(&["--gpu", "H9000"], 2, "H9000");
    check(
        &["--launch", "exit 7", "--gpu", "none"],
        1,
        "exit status: 7",
    );
}
