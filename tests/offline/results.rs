//! Files of four load-test tools: every percentile that the tool printed is preserved, and errors are named.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    reason = "a test may fail that way"
)]

use std::path::{Path, PathBuf};

use loadtest::results::{Distribution, LoadResult, PercentileOrigin, read, read_all};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new("tests/fixtures/bench").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(fixture(name)).unwrap()
}

fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap()
}

fn one(name: &str) -> LoadResult {
    let results = read(&fixture(name)).unwrap();
    let [result] = <[_; 1]>::try_from(results).expect("one run");
    result
}

#[track_caller]
fn close(found: Option<f64>, expected: &Value, what: &str) {
    let expected = expected
        .as_f64()
        .unwrap_or_else(|| panic!("{what} is printed"));
    let found = found.unwrap_or_else(|| panic!("{what} is read"));
    assert!(
        (found - expected).abs() <= 1e-9 * expected.abs(),
        "{what}: {found} instead of {expected}"
    );
}

/// A statistic of a distribution by its usual name, in milliseconds.
fn statistic(distribution: &Distribution, name: &str) -> Option<f64> {
    let seconds = match name {
        "mean" | "avg" => distribution.mean_seconds,
        "std" | "std_dev" => distribution.std_seconds,
        "min" => distribution.min_seconds,
        "max" => distribution.max_seconds,
        "median" | "p50" => distribution.p50_seconds,
        "p90" => distribution.p90_seconds,
        "p95" => distribution.p95_seconds,
        "p99" => distribution.p99_seconds,
        other => panic!("{other}"),
    };
    seconds.map(|seconds| seconds * 1e3)
}

#[test]
fn vllm_bench_serve_is_reproduced() {
    for name in [
        "vllm-0.32-bench-serve.json",
        "vllm-0.32-bench-serve-detailed.json",
    ] {
        let (file, result) = (json(name), one(name));
        let latency = &result.latency;
        for (metric, distribution) in [
            ("ttft", &latency.ttft),
            ("tpot", &latency.tpot),
            ("itl", &latency.itl),
        ] {
            let distribution = distribution.as_ref().unwrap();
            assert_eq!(distribution.origin, PercentileOrigin::Tool);
            for statistic_name in ["mean", "median", "std", "p99"] {
                let key = format!("{statistic_name}_{metric}_ms");
                close(statistic(distribution, statistic_name), &file[&key], &key);
            }
        }
        close(Some(result.duration.0), &file["duration"], "duration");
        close(
            result.rates.output_tokens_per_second,
            &file["output_throughput"],
            "throughput",
        );
        close(
            result.rates.total_tokens_per_second,
            &file["total_token_throughput"],
            "throughput",
        );
        close(
            result.rates.requests_per_second,
            &file["request_throughput"],
            "throughput",
        );
        assert_eq!((result.completed, result.failed), (6, 0));
        assert_eq!(result.load.max_concurrency, Some(2.0));
        assert_eq!(result.load.request_rate, None, "inf is no rate");
        assert_eq!(result.model.as_deref(), Some("tiny"));
    }
}

#[test]
fn percentiles_of_vllms_single_requests_are_those_it_printed() {
    let name = "vllm-0.32-bench-serve-detailed.json";
    let (file, result) = (json(name), one(name));
    let requests = &result.requests;
    let computed = [
        (
            "ttft",
            Distribution::of(requests.iter().filter_map(|request| request.ttft)),
        ),
        (
            "tpot",
            Distribution::of(requests.iter().filter_map(|request| request.tpot())),
        ),
        (
            "itl",
            Distribution::of(requests.iter().flat_map(|request| request.itl.clone())),
        ),
        (
            "e2el",
            Distribution::of(requests.iter().map(|request| request.e2e)),
        ),
    ];
    for (metric, distribution) in computed {
        let distribution = distribution.unwrap();
        for statistic_name in ["mean", "median", "std", "p99"] {
            let key = format!("{statistic_name}_{metric}_ms");
            close(statistic(&distribution, statistic_name), &file[&key], &key);
        }
    }
    let ttft = result.latency.ttft.unwrap();
    assert!(
        ttft.p90_seconds > ttft.p50_seconds && ttft.p90_seconds < ttft.p99_seconds,
        "computed beside what is printed"
    );
}

#[test]
fn guidellm_is_reproduced() {
    let name = "guidellm-0.8.1-concurrent.json";
    let (file, result) = (json(name), one(name));
    let metrics = &file["benchmarks"][0]["metrics"];
    let latency = &result.latency;
    for (metric, distribution, unit) in [
        ("time_to_first_token_ms", &latency.ttft, 1.0),
        ("inter_token_latency_ms", &latency.tpot, 1.0),
        ("request_latency", &latency.e2e, 1e-3),
    ] {
        let (printed, distribution) = (
            &metrics[metric]["successful"],
            distribution.as_ref().unwrap(),
        );
        for statistic_name in ["p50", "p90", "p95", "p99"] {
            let found = statistic(distribution, statistic_name).map(|value| value * unit);
            close(found, &printed["percentiles"][statistic_name], metric);
        }
        for statistic_name in ["mean", "std_dev", "min", "max"] {
            let found = statistic(distribution, statistic_name).map(|value| value * unit);
            close(found, &printed[statistic_name], metric);
        }
    }
    close(
        result.rates.output_tokens_per_second,
        &metrics["output_tokens_per_second"]["successful"]["mean"],
        "throughput",
    );
    assert_eq!((result.tokens.input, result.tokens.output), (390.0, 72.0));
    assert_eq!(result.source.version.as_deref(), Some("0.8.1"));
    let concurrency = result.concurrency().unwrap();
    close(
        Some(concurrency),
        &metrics["request_concurrency"]["successful"]["mean"],
        "Little's law",
    );
}

#[test]
fn aiperf_is_reproduced() {
    let name = "aiperf-0.13.0-profile_export_aiperf.json";
    let (file, result) = (json(name), one(name));
    let latency = &result.latency;
    for (metric, distribution) in [
        ("time_to_first_token", &latency.ttft),
        ("inter_token_latency", &latency.tpot),
        ("request_latency", &latency.e2e),
    ] {
        for statistic_name in ["avg", "std", "min", "max", "p50", "p90", "p95", "p99"] {
            let found = statistic(distribution.as_ref().unwrap(), statistic_name);
            close(found, &file[metric][statistic_name], metric);
        }
    }
    close(
        result.rates.output_tokens_per_second,
        &file["output_token_throughput"]["avg"],
        "throughput",
    );
    assert_eq!(
        result.tokens.output, 144.0,
        "what the server counted, not the client's 183"
    );
    assert!(result.caveats[0].contains("183"), "{:?}", result.caveats);
    assert_eq!(result.load.max_concurrency, Some(2.0));
}

#[test]
fn aiperfs_lines_and_the_servers_own_counts_are_read() {
    let lines = one("aiperf-0.13.0-profile_export.jsonl");
    assert_eq!((lines.completed, lines.tokens.input), (2, 130.0));
    assert!((lines.requests[0].ttft.unwrap() - 0.069_864_858).abs() < 1e-12);
    assert_eq!(lines.requests[0].output_tokens, 12.0);

    let name = "aiperf-0.13.0-server_metrics_export.json";
    let server = one(name);
    assert_eq!(
        (server.completed, server.tokens.input, server.tokens.output),
        (12, 780.0, 144.0)
    );
    // Over the measured phase of 0.67 s, not over the 5.4 s of scraping like AIPerf's own rate.
    assert!((server.rates.output_tokens_per_second.unwrap() - 144.0 / 0.673_745_045).abs() < 1e-6);
    assert_eq!(
        server.latency.ttft.unwrap().origin,
        PercentileOrigin::Histogram
    );

    let joined = read_all(&[
        fixture("aiperf-0.13.0-profile_export_aiperf.json"),
        fixture(name),
    ])
    .unwrap();
    assert_eq!(joined.len(), 1, "one run, seen from both ends");
    assert_eq!(joined[0].tokens.cached, Some(0.0));
}

#[test]
fn appended_runs_and_lists_are_runs() {
    let directory = tempfile::tempdir().unwrap();
    let (plain, detailed) = (
        text("vllm-0.32-bench-serve.json"),
        text("vllm-0.32-bench-serve-detailed.json"),
    );
    for (name, content) in [
        ("appended.json", format!("{plain}\n{detailed}\n")),
        ("glued.json", format!("{plain}{detailed}")),
        ("summary.json", format!("[{plain},{detailed}]")),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        assert_eq!(read(&path).unwrap().len(), 2, "{name}");
    }
}

#[test]
fn what_cannot_be_read_is_named_with_the_tools_that_can() {
    let directory = tempfile::tempdir().unwrap();
    let whole = text("vllm-0.32-bench-serve.json");
    for (name, content, expected) in [
        ("empty.json", "", "is empty"),
        ("page.html", "<html>", "is not JSON"),
        ("cut.json", &whole[..whole.len() / 2], "is not JSON"),
        ("other.json", r#"{"hello": 1}"#, "unknown tool"),
        ("number.json", "3", "no object"),
        (
            "latency.json",
            r#"{"avg_latency": 1, "latencies": [1]}"#,
            "vllm bench latency",
        ),
        (
            "static.json",
            r#"{"schema": 1, "not_modelled": []}"#,
            "--static",
        ),
        (
            "short.json",
            r#"{"request_throughput": 1, "completed": 1, "duration": 2}"#,
            "total_input_tokens",
        ),
        (
            "type.json",
            &whole.replace("\"completed\": 6", "\"completed\": \"six\""),
            "looks like a result of vllm bench serve",
        ),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        let message = read(&path).expect_err(name).to_string();
        assert!(
            message.contains(expected) && message.contains(name),
            "{name}: {message}"
        );
    }
    let missing = read(&directory.path().join("none.json")).unwrap_err();
    assert!(missing.to_string().contains("none.json"), "{missing}");
}

/// `value` with `change` applied to every number and text.
fn changed(value: &Value, change: &impl Fn(&Value) -> Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(|value| changed(value, change)).collect(),
        Value::Object(members) => {
            let members = members.iter();
            Value::Object(
                members
                    .map(|(name, value)| (name.clone(), changed(value, change)))
                    .collect(),
            )
        }
        plain => change(plain),
    }
}

/// Implausible numbers lead to a figure or to an error that names the file, never to a crash.
#[test]
fn hostile_results_are_read_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    let hostile = ["9223372036854775808", "-1", "0", "1e308", "5e-324", "null"];
    for name in [
        "vllm-0.32-bench-serve.json",
        "vllm-0.32-bench-serve-detailed.json",
        "guidellm-0.8.1-concurrent.json",
        "aiperf-0.13.0-profile_export_aiperf.json",
    ] {
        for number in hostile {
            let number: Value = serde_json::from_str(number).unwrap();
            let result = changed(&json(name), &|value| {
                if value.is_number() {
                    number.clone()
                } else {
                    value.clone()
                }
            });
            std::fs::write(&file, result.to_string()).unwrap();
            let mut command = assert_cmd::Command::cargo_bin("vllm-roofline-exporter").unwrap();
            let command = command.args(["dynamic", "--gpu", "H100", "--results"]);
            let output = command.arg(&file).output().unwrap();
            let message = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code();
            assert!(matches!(code, Some(0..=2)), "{name} {number}: {message}");
            let named =
                message.contains("result.json") || message.contains("no request was completed");
            assert!(code != Some(2) || named, "{name} {number}: {message}");
        }
    }
}
