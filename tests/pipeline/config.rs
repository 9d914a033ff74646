//! Settings: errors name file, key and remedy; flags override the environment, which overrides the file.

#![allow(clippy::unwrap_used, reason = "a test may fail that way")]

use std::process::Output;

use assert_cmd::cargo::cargo_bin_cmd;
use tempfile::TempDir;

/// `serve --config.check` with a configuration file of `text`, environment variables and more arguments.
fn check(text: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("exporter.yaml");
    std::fs::write(&file, text).unwrap();
    cargo_bin_cmd!()
        .args([
            "serve",
            "--config.check",
            "--config.file",
            file.to_str().unwrap(),
        ])
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

#[track_caller]
fn refused(output: &Output, expected: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in expected {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
}

#[track_caller]
fn accepted(output: &Output) {
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_file_is_refused_with_its_name_and_the_key() {
    for (text, expected) in [
        ("tik: 1s\n", &["unknown", "tik", "exporter.yaml line 1"][..]),
        (
            "tick: 1s\nweb:\n  listen-adress: a\n",
            &["web.listen-adress", "exporter.yaml line 3"],
        ),
        (
            "web: {listen_address: \"0.0.0.0:1\"}\n",
            &["listen_address", "listen-address"],
        ),
        ("tick: fast\n", &["tick", "fast"]),
        ("tick: 50ms\n", &["tick", "200ms..1m"]),
        ("window: 100ms\n", &["window", "shorter than one tick"]),
        ("tick: 1s\ntick: 2s\n", &["tick", "duplicate"]),
        (
            "overhead-below: 2\n",
            &["overhead-below", "between 0 and 1"],
        ),
        ("gpu-hour-price: -1\n", &["gpu-hour-price", "dollars"]),
        ("gpu-hour-price: 1e300\n", &["gpu-hour-price", "dollars"]),
        ("gpu-source: cuda\n", &["gpu-source", "nvml", "dcgm"]),
        ("gpu-source: dcgm\n", &["dcgm-url", "9400"]),
        (
            "web: {telemetry-path: metrics}\n",
            &["web.telemetry-path", "/"],
        ),
        ("gpus: [{id: x}]\n", &["gpus"]),
        (
            "vllm-url: \"ftp://me:hunter2@a\"\n",
            &["vllm-url `ftp://me:<secret>@a`", "http or https"],
        ),
        (
            "web: {telemetry-path: /}\n",
            &["web.telemetry-path", "exporter itself"],
        ),
        (
            "web: {telemetry-path: /-/healthy}\n",
            &["web.telemetry-path", "exporter itself"],
        ),
        ("web: {telemetry-path: \"/:x\"}\n", &["web.telemetry-path"]),
        ("web: {telemetry-path: \"/*\"}\n", &["web.telemetry-path"]),
        ("web: {telemetry-path: \"/{x}\"}\n", &["web.telemetry-path"]),
        ("log: {level: loud}\n", &["log.level", "loud", "trace"]),
        ("gpu: h9000\n", &["gpu", "h9000"]),
        ("deployment: {model: no/such}\n", &["no/such"]),
        (
            "vllm-api-key-file: /nowhere/key\n",
            &["vllm-api-key-file", "/nowhere/key"],
        ),
        (
            "gpu-hour-price: .nan\n",
            &[".nan", "line 1", "exporter.yaml"],
        ),
        ("window: 1000000h\n", &["window"]),
        ("window: 2h\n", &["window", "hour"]),
        ("log: {level: a=b=c}\n", &["log.level", "trace"]),
        ("web: [\n", &["exporter.yaml"]),
    ] {
        refused(&check(text, &[], &[]), expected);
    }
}

#[test]
fn an_empty_file_changes_nothing() {
    accepted(&check("", &[], &[]));
    accepted(&check("# nothing\n", &[], &[]));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = cargo_bin_cmd!()
        .args([
            "serve",
            "--config.check",
            "--config.file",
            "/nowhere/exporter.yaml",
        ])
        .output()
        .unwrap();
    refused(&output, &["/nowhere/exporter.yaml", "--config.file"]);
}

/// The program would wait for a pipe and read a device until memory ends; a running exporter too, because it rereads these files.
#[test]
fn a_pipe_or_a_device_is_no_file_of_settings() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for path in [pipe.to_str().unwrap(), "/dev/zero"] {
        let certificate = directory.path().join("web.yaml");
        let text = format!("tls_server_config: {{cert_file: {path}, key_file: {path}}}\n");
        std::fs::write(&certificate, text).unwrap();
        for (flag, value) in [
            ("--config.file", path),
            ("--web.config.file", path),
            ("--web.config.file", certificate.to_str().unwrap()),
            ("--vllm-api-key-file", path),
            ("--vllm-ca-file", path),
            ("--coefficients", path),
        ] {
            let output = cargo_bin_cmd!("vllm-roofline-exporter")
                .args(["serve", "--config.check", "--vllm-url", "https://a"])
                .args([flag, value])
                .output()
                .unwrap();
            refused(&output, &[path, "not a regular file"]);
        }
    }
}

/// Each layer has a window that is too short, except the one with precedence.
#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let bad = "window: 100ms\n";
    let good = ("ROOFLINE__WINDOW", "20s");
    refused(&check(bad, &[], &[]), &["window"]);
    accepted(&check(bad, &[good], &[]));
    refused(&check(bad, &[good], &["--window", "100ms"]), &["window"]);
    accepted(&check(
        bad,
        &[("ROOFLINE__WINDOW", "1ms")],
        &["--window", "20s"],
    ));
}

#[test]
fn a_wrong_variable_is_named() {
    refused(
        &check("", &[("ROOFLINE__TIK", "1s")], &[]),
        &["tik", "ROOFLINE__"],
    );
    let nested = ("ROOFLINE__WEB__LISTEN_ADDRESS", "nowhere");
    refused(&check("", &[nested], &[]), &["listen-address"]);
}

/// Kubernetes injects `<SERVICE>_PORT` for every service, and a service may be called `roofline`.
#[test]
fn variables_of_services_are_no_settings() {
    accepted(&check(
        "",
        &[
            ("ROOFLINE_PORT", "tcp://10.0.0.1:80"),
            ("ROOFLINE_SERVICE_HOST", "10.0.0.1"),
        ],
        &[],
    ));
}

#[test]
fn flags_without_sense_are_refused() {
    for (flag, given, expected) in [
        ("--gpu-hour-price", "NaN", "finite"),
        ("--overhead-below", "inf", "finite"),
        ("--tick", "18446744073709551615s", "ten years"),
        ("--log.level", "loud", "no level"),
        ("--gpu", "h9000", "h9000"),
    ] {
        refused(&check("", &[], &[flag, given]), &[expected]);
    }
    let port = ["--web.listen-address", ":10861"];
    accepted(&check("", &[], &port));
    accepted(&check("web: {listen-address: \":10861\"}\n", &[], &[]));
}
