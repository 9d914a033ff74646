//! Hours of history: the demo's recording, played repeatedly into a Prometheus database. Tests which alerts would have fired, and whether a
//! firing alert reaches a real Alertmanager.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::live::now;
use crate::prometheus::{Alertmanager, Prometheus, QueryApi, config, wait_until};
use crate::reserved_port::ReservedPort;
use crate::rules;
use crate::tools::promtool;

/// Length of the recording, in seconds.
const ROUND_S: f64 = 48.0;
/// Three and a half hours: the six-hour budget is evaluated after three hours.
const ROUNDS: u32 = 260;
/// Evaluation interval of the rules in the history.
const STEP_S: f64 = 60.0;

/// The recording has a queue of tens of seconds in every fourth quarter of a minute, and is fast otherwise.
const EXPECTED: [&str; 3] = [
    "VllmRooflineTTFTBudgetBurnFast",
    "VllmRooflineTTFTMedianBad",
    "VllmRooflineTTFTMedianOffTarget",
];

#[test]
fn alerts_fire_in_hours_of_history_and_one_reaches_an_alertmanager() {
    let alertmanager = Alertmanager::start();
    let end = now();
    let start = end - f64::from(ROUNDS) * ROUND_S;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    record(start, directory.path(), &data);
    // Three passes: requests, then the slow ones among them, then their shares; each is recorded from the previous one.
    let directory = (0..3).fold(directory, |directory, _| backfill(directory, start, end));

    let nobody = ReservedPort::new();
    let unscraped = nobody.address().to_string();
    let prometheus = Prometheus::start(
        &config(&[
            ("127.0.0.1:8000", unscraped.clone()),
            ("127.0.0.1:10860", unscraped),
            ("127.0.0.1:9093", alertmanager.address().to_string()),
            (
                "evaluation_interval: 15s",
                "evaluation_interval: 1s".to_owned(),
            ),
        ]),
        directory,
    );
    assert_eq!(
        fired(&prometheus, start, end),
        EXPECTED.map(str::to_owned).into()
    );

    wait_until(60, "the burning budget reaches the Alertmanager", || {
        alertmanager
            .alerts()
            .iter()
            .any(|alert| alert["labels"]["alertname"] == EXPECTED[0])
    });
    let alerts = alertmanager.alerts();
    let burning = alerts
        .iter()
        .find(|alert| alert["labels"]["alertname"] == EXPECTED[0])
        .unwrap();
    assert_eq!(burning["labels"]["severity"], "critical");
    assert_eq!(burning["labels"]["slo"], "ttft");
    assert_eq!(burning["labels"]["namespace"], "demo");
    let description = burning["annotations"]["description"].as_str().unwrap();
    assert!(
        description.contains("of requests took over 500 ms"),
        "{description}"
    );
    // Alerts with a `for` are still pending, and the others have no reason to fire.
    let sent: BTreeSet<_> = alerts
        .iter()
        .map(|alert| alert["labels"]["alertname"].as_str().unwrap())
        .collect();
    assert!(sent.is_subset(&BTreeSet::from([EXPECTED[0]])), "{sent:?}");
}

/// Plays the recording from `start` on into the database `data`, limited to the series that the rules read.
fn record(start: f64, directory: &Path, data: &Path) {
    let mut replay = Command::new(env!("CARGO_BIN_EXE_vllm-roofline-exporter"))
        .args([
            "replay",
            "--capture",
            "config/demo",
            "--format",
            "openmetrics",
        ])
        .args([
            "--start",
            &start.to_string(),
            "--repeat",
            &ROUNDS.to_string(),
            "--step",
            "15",
        ])
        .args([
            "--label",
            "job=demo",
            "--label",
            "instance=demo:1",
            "--label",
            "namespace=demo",
            "--label",
            "pod=vllm-0",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = directory.join("recording.om");
    let mut kept = BufWriter::new(std::fs::File::create(&text).unwrap());
    for line in BufReader::new(replay.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if is_read(&line) {
            writeln!(kept, "{line}").unwrap();
        }
    }
    assert!(replay.wait().unwrap().success());
    kept.into_inner().unwrap().sync_all().unwrap();
    promtool(&[
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        text.to_str().unwrap(),
        data.to_str().unwrap(),
    ]);
}

/// Whether a rule reads the series of `line`; buckets only at a target.
fn is_read(line: &str) -> bool {
    if line.starts_with('#') {
        return true;
    }
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    let bucket = ["le=\"0.05\"", "le=\"0.1\"", "le=\"0.5\""];
    match name.strip_suffix("_bucket") {
        Some(_) => bucket.iter().any(|le| line.contains(le)),
        None => {
            name.starts_with("vllm:")
                || [
                    "time_seconds",
                    "steps_total",
                    "admission{",
                    "engine_state{",
                    "gpu_busy",
                    "power_limited",
                    "model_",
                    "measured_band",
                    "missing_",
                    "source_",
                    "build_info",
                ]
                .iter()
                .any(|read| {
                    line.strip_prefix("vllm_roofline_")
                        .is_some_and(|rest| rest.starts_with(read))
                })
        }
    }
}

/// Adds the results of the recording rules.
fn backfill(directory: tempfile::TempDir, start: f64, end: f64) -> tempfile::TempDir {
    let recorded = directory.path().join("recorded");
    let prometheus = Prometheus::start("", directory);
    promtool(&[
        "tsdb",
        "create-blocks-from",
        "rules",
        &format!("--start={}", start.floor()),
        &format!("--end={}", end.floor()),
        &format!("--url=http://{}", prometheus.address()),
        &format!("--output-dir={}", recorded.display()),
        "deploy/prometheus/recording.yaml",
    ]);
    let directory = prometheus.stop();
    for block in std::fs::read_dir(&recorded).unwrap() {
        let block = block.unwrap();
        std::fs::rename(
            block.path(),
            directory.path().join("data").join(block.file_name()),
        )
        .unwrap();
    }
    directory
}

/// The alerts whose condition held for their `for` duration, at some time.
fn fired(prometheus: &Prometheus, start: f64, end: f64) -> BTreeSet<String> {
    let alerts: BTreeMap<_, _> = rules::all()
        .into_iter()
        .filter_map(|rule| Some((rule.alert.clone()?, rule)))
        .collect();
    alerts
        .into_iter()
        .filter(|(_, rule)| {
            let held_for = rule.held_for.as_deref().map_or(0.0, seconds);
            let series = prometheus.query_range(&rule.expr, start, end, STEP_S);
            series.iter().any(|series| longest_run(series) >= held_for)
        })
        .map(|(alert, _)| alert)
        .collect()
}

/// Longest time in seconds for which a series exists without a gap.
fn longest_run(series: &Value) -> f64 {
    let mut longest: f64 = 0.0;
    let (mut first, mut last) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for point in series["values"].as_array().unwrap() {
        let time = point[0].as_f64().unwrap();
        if time - last > 1.5 * STEP_S {
            first = time;
        }
        last = time;
        longest = longest.max(last - first);
    }
    longest
}

/// `5m` as seconds.
fn seconds(duration: &str) -> f64 {
    let minutes: f64 = duration.strip_suffix('m').unwrap().parse().unwrap();
    minutes * 60.0
}
