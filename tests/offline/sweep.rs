//! `sweep` as a program: on a running server, and on servers that it starts and stops itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use std::net::TcpStream;
use std::time::Duration;

use crate::openai::{AT_ONCE, Answer, Server};
use crate::reserved_port::ReservedPort;
use assert_cmd::Command;
use serde_json::Value;

/// A sweep with this test program's usual small load.
fn sweep(url: &str, flags: &[&str]) -> Command {
    let mut command = Command::cargo_bin("vllm-roofline-exporter").unwrap();
    command
        .args([
            "sweep",
            "--vllm-url",
            url,
            "--format",
            "json",
            "--gpu",
            "none",
        ])
        .args([
            "--input-len",
            "8",
            "--output-len",
            "4",
            "--num-requests",
            "8",
            "--warmup-requests",
            "1",
        ])
        .args(flags);
    command
}

fn answer(command: &mut Command) -> Value {
    let output = command.assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

/// The error of a failing sweep, which exits with `code`.
fn complaint(command: &mut Command, code: i32) -> String {
    let output = command.assert().code(code).get_output().stderr.clone();
    String::from_utf8(output).unwrap()
}

/// A command line that starts this program as a server, each token of which takes 40 ms over `batch`.
fn server_line(port: u16, batch: &str) -> String {
    let program = std::env::current_exe().unwrap();
    format!(
        "FAKE_PORT={port} FAKE_BATCH={batch} {} --exact sweep::serve_until_told --ignored",
        program.display()
    )
}

#[test]
#[ignore = "not a test: the server that other tests launch"]
#[allow(
    clippy::disallowed_methods,
    reason = "how the test that launches it talks to it"
)]
fn serve_until_told() {
    let (Ok(port), Ok(batch)) = (std::env::var("FAKE_PORT"), std::env::var("FAKE_BATCH")) else {
        return;
    };
    let gap = Duration::from_millis(40) / batch.parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let _server = Server::start_at(&format!("127.0.0.1:{port}"), move |_| Answer::Tokens {
            first: gap,
            gap,
        })
        .await;
        std::future::pending::<()>().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_is_swept_by_concurrency() {
    let server = Server::start(|_| AT_ONCE).await;
    let saved = tempfile::tempdir().unwrap();
    let directory = saved.path().join("runs");
    let flags = [
        "--end",
        "4",
        "--repeats",
        "2",
        "--no-early-stop",
        "--save-results",
    ];
    let swept = answer(sweep(&server.url(), &flags).arg(&directory));
    let settings = swept["settings"].as_array().unwrap();
    let batches: Vec<_> = settings
        .iter()
        .map(|setting| setting["batch"].as_u64().unwrap())
        .collect();
    assert_eq!(batches, [1, 2, 4]);
    for setting in settings {
        assert_eq!(setting["measured"]["repeats"], 2);
        assert_eq!(setting["measured"]["completed"], 16);
        assert_eq!(setting["meets_slo"], true);
        let spread = &setting["measured"]["output_tokens_per_second"];
        assert!(spread["min"].as_f64() <= spread["mean"].as_f64());
    }
    assert_eq!(swept["best"]["meets_slo"], true);
    assert!(swept["not_predicted"].as_str().unwrap().contains("--model"));
    // Three settings twice, each with 8 requests and a warm-up, all prompts distinct.
    let mut prompts: Vec<String> = server
        .log
        .bodies
        .lock()
        .unwrap()
        .iter()
        .map(|body| body["prompt"].to_string())
        .collect();
    prompts.sort_unstable();
    prompts.dedup();
    assert_eq!(prompts.len(), 6 * 9);
    let run = std::fs::read_to_string(directory.join("batch4-run2.json")).unwrap();
    let run: Value = serde_json::from_str(&run).unwrap();
    assert_eq!(
        (&run["completed"], &run["load"]["concurrency"]),
        (&8.into(), &4.into())
    );
}

/// Requests that the sweep cancels on an interrupt are not failures of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_sweep_misses_no_target() {
    let slow = Answer::Tokens {
        first: Duration::from_millis(10),
        gap: Duration::from_millis(50),
    };
    let server = Server::start(move |_| slow).await;
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_vllm-roofline-exporter"))
        .args(["sweep", "--vllm-url", &server.url(), "--format", "json"])
        .args(["--gpu", "none", "--end", "1", "--duration", "1h"])
        .args(["--input-len", "8", "--output-len", "4"])
        .args(["--slo-ttft", "1h", "--slo-tpot", "1h"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Four of them are the warm-up.
    while server.log.bodies.lock().unwrap().len() < 7 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let swept: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(swept["interrupted"], true);
    let setting = &swept["settings"][0];
    assert_eq!(setting["measured"]["errors"]["cancelled"], 1, "{swept}");
    assert_eq!(setting["meets_slo"], true, "{swept}");
}

#[test]
fn a_launched_server_is_restarted_for_each_setting_and_ended() {
    let reserved = ReservedPort::new();
    let line = server_line(reserved.address().port(), "{batch}");
    let url = reserved.url();
    let flags = ["--end", "4", "--concurrency", "2", "--launch", &line];
    let swept = answer(&mut sweep(&url, &flags));
    assert_eq!(swept["concurrency"], 2);
    assert_eq!(swept["settings"].as_array().unwrap().len(), 3);
    // Each doubling halves the time per token.
    assert_eq!(swept["best"]["batch"], 4);
    assert!(
        TcpStream::connect(reserved.address()).is_err(),
        "the last server was not ended"
    );
}

#[test]
fn a_server_that_does_not_start_is_told_with_its_last_words() {
    let reserved = ReservedPort::new();
    let url = reserved.url();
    let line = "echo no such model {batch} >&2; exit 3";
    let words = complaint(&mut sweep(&url, &["--end", "1", "--launch", line]), 1);
    assert!(
        words.contains("exit status: 3") && words.contains("no such model 1"),
        "{words}"
    );
    let flags = [
        "--end",
        "1",
        "--launch-timeout",
        "300ms",
        "--launch",
        "echo loading; exec sleep 60",
    ];
    let words = complaint(&mut sweep(&url, &flags), 1);
    assert!(
        words.contains("was not ready within 300ms") && words.contains("loading"),
        "{words}"
    );
}

#[test]
fn a_launched_server_ends_with_all_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let child = directory.path().join("child");
    let line = format!("sleep 300 & echo $! > {}; wait", child.display());
    let reserved = ReservedPort::new();
    let url = reserved.url();
    let flags = ["--end", "1", "--launch-timeout", "1s", "--launch", &line];
    complaint(&mut sweep(&url, &flags), 1);
    let child = std::fs::read_to_string(child).unwrap();
    let state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
    // Gone, or dead and not yet reaped.
    assert!(
        state.is_err() || state.unwrap().contains(") Z "),
        "the child lives on"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_that_do_not_go_together_are_refused() {
    let server = Server::start(|_| AT_ONCE).await;
    let check = |flags: &[&str], expected: &str| {
        let words = complaint(&mut sweep(&server.url(), flags), 2);
        assert!(words.contains(expected), "{words}");
    };
    check(
        &["--start", "5", "--end", "4"],
        "--start 5 is above --end 4",
    );
    check(&["--concurrency", "3"], "varies --concurrency");
    check(&["--request-rate", "3"], "--request-rate needs --launch");
    check(&["--launch", "true"], "has no {batch}");
    check(
        &["--max-num-batched-tokens", "1k,2k"],
        "several values need --launch",
    );
    check(
        &["--launch", "true {batch} {gpu_memory_utilization}"],
        "which values to try",
    );
    let two = [
        "--launch",
        "true {batch}",
        "--gpu-memory-utilization",
        "0.8,0.9",
    ];
    check(&two, "has no {gpu_memory_utilization}");
    check(&["--launch", "true {batch}"], "answers at");
    check(&["--served-model-name", "other"], "it serves fake");
    let remote = complaint(&mut sweep("http://gpu-7:8000", &[]), 2);
    assert!(remote.contains("--allow-remote-target gpu-7"), "{remote}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_without_any_answer_fails_and_says_why() {
    let server = Server::start(|_| Answer::Status(503)).await;
    let flags = [
        "--end",
        "1",
        "--duration",
        "300ms",
        "--warmup-requests",
        "0",
    ];
    let mut command = Command::cargo_bin("vllm-roofline-exporter").unwrap();
    command
        .args(["sweep", "--vllm-url", &server.url()])
        .args(flags);
    let words = complaint(&mut command, 1);
    assert!(words.contains("http_503"), "{words}");
    let nobody = ReservedPort::new();
    let words = complaint(&mut sweep(&nobody.url(), &[]), 1);
    assert!(words.contains("is the server up"), "{words}");
}
