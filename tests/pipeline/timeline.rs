//! A recording as OpenMetrics, imported into a database and queried with the real tools.

#![allow(clippy::unwrap_used, reason = "a test may fail that way")]

use std::path::Path;

use crate::tools::promtool;
use assert_cmd::cargo::cargo_bin_cmd;

const START: f64 = 1_790_000_000.0;

/// The samples of `series` in the database at `database`, in order of time.
fn dump(database: &Path, series: &str) -> Vec<(f64, f64)> {
    let output = promtool(&[
        "tsdb",
        "dump",
        "--match",
        series,
        database.to_str().unwrap(),
    ]);
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let mut words = line.rsplit(' ');
            let milliseconds: f64 = words.next()?.parse().ok()?;
            Some((milliseconds / 1000.0, words.next()?.parse().ok()?))
        })
        .collect()
}

#[test]
fn promtool_makes_a_database_of_a_repeated_recording() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("recording.om");
    let database = directory.path().join("data");
    let output = cargo_bin_cmd!()
        .args([
            "replay",
            "--capture",
            "config/demo",
            "--format",
            "openmetrics",
        ])
        .args([
            "--start",
            "1790000000",
            "--repeat",
            "3",
            "--label",
            "job=vllm",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::write(&text, output.stdout).unwrap();
    promtool(&[
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        text.to_str().unwrap(),
        database.to_str().unwrap(),
    ]);
    // Prometheus would create it when it starts on the blocks; `dump` requires it.
    std::fs::create_dir(database.join("wal")).unwrap();

    let generated = dump(&database, "vllm:generation_tokens_total{job=\"vllm\"}");
    let (first, last) = (generated[0], generated[generated.len() - 1]);
    assert!((first.0 - START).abs() < 1.0, "{first:?}");
    assert!(last.0 > START + 2.5 * 49.0, "{last:?}");
    assert!(
        generated
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1)
    );

    let flops = dump(
        &database,
        "vllm_roofline_flops_total{job=\"vllm\",phase=\"decode\"}",
    );
    assert!(flops.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    assert!(flops[flops.len() - 1].1 > 2.5 * flops[flops.len() / 3].1);
    let bounds = dump(
        &database,
        "vllm_roofline_bound{job=\"vllm\",bound=\"memory_bandwidth\"}",
    );
    assert!(bounds.iter().any(|(_, held)| *held > 0.0));
    // A value that is itself a time advances with the clock.
    let read = dump(
        &database,
        "vllm_roofline_source_last_success_timestamp_seconds",
    );
    assert!(read.iter().all(|(time, at)| (time - at).abs() < 2.0));
}

#[test]
fn a_label_that_is_none_is_refused_by_name() {
    let output = cargo_bin_cmd!()
        .args([
            "replay",
            "--capture",
            "config/demo",
            "--format",
            "openmetrics",
        ])
        .args(["--label", "9x=vllm"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("\"9x\" is no label name"));
}

/// The families of `text` whose values must not decrease, with every sample and its series: Prometheus takes any decrease for a counter
/// reset, and adds the whole earlier count.
fn counted(text: &str) -> Vec<(&str, f64)> {
    let mut counted = Vec::new();
    let mut grows = false;
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            grows = family.ends_with(" counter") || family.ends_with(" histogram");
        } else if grows && !line.starts_with('#') {
            let mut words = line.rsplitn(3, ' ').skip(1);
            let value = words.next().unwrap().parse().unwrap();
            counted.push((words.next().unwrap(), value));
        }
    }
    counted
}

#[test]
fn the_seam_between_two_rounds_loses_no_time() {
    for capture in [
        "config/demo",
        "tests/fixtures/captures/llama-3.1-8b-kv-starved",
    ] {
        let seconds = |rounds: &str| {
            let output = cargo_bin_cmd!()
                .args([
                    "replay",
                    "--format",
                    "openmetrics",
                    "--start",
                    "0",
                    "--repeat",
                    rounds,
                ])
                .args(["--capture", capture])
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let mut parts = std::collections::BTreeMap::new();
            for (series, value) in counted(&text) {
                if series.starts_with("vllm_roofline_time_seconds_total") {
                    parts.insert(series, value);
                }
            }
            let times = text.lines().filter(|line| !line.starts_with('#'));
            let times = times.filter_map(|line| line.rsplit(' ').next()?.parse().ok());
            (parts.values().sum::<f64>(), times.fold(0.0, f64::max))
        };
        let (once, length) = seconds("1");
        let (thrice, whole) = seconds("3");
        // Times are written in milliseconds.
        assert!(
            (whole - 3.0 * length).abs() < 0.01,
            "{capture}: {whole} {length}"
        );
        assert!((once - length).abs() < 0.01, "{capture}: {once} {length}");
        assert!((thrice - whole).abs() < 0.01, "{capture}: {thrice} {whole}");
    }
}

#[test]
fn no_counter_falls_in_a_recording_or_between_its_rounds() {
    let captures = std::fs::read_dir("tests/fixtures/captures").unwrap();
    for capture in captures.map(|entry| entry.unwrap().path()) {
        let output = cargo_bin_cmd!()
            .args(["replay", "--format", "openmetrics", "--repeat", "3"])
            .args(["--gpu-hour-price", "2.5", "--capture"])
            .arg(&capture)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut last: std::collections::HashMap<&str, f64> = std::collections::HashMap::new();
        for (series, value) in counted(&text) {
            let before = last.insert(series, value).unwrap_or(value);
            assert!(
                value >= before,
                "{}: {series} falls from {before} to {value}",
                capture.display()
            );
        }
        assert!(last.len() > 100, "{}: {}", capture.display(), last.len());
    }
}
