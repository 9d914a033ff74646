//! Every recording as 75 minutes of series, evaluated with the real rules by promtool: which alerts fire in which phase, and that all
//! others stay silent. `expected.tsv` lists the expected alerts with reasons.

pub(crate) mod played;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::rules;
use played::{MINUTES, STEP, Series, Slice, cut, exporter_restarts, phases, play, pod_restarts};

const EXPECTED: &str = include_str!("expected.tsv");

/// The alerts of each `recording/phase`, without the prefix `VllmRoofline`.
type Alerts = BTreeMap<String, BTreeSet<String>>;

/// The expected alerts: the second column.
fn expected() -> Alerts {
    EXPECTED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut columns = line.split('\t');
            let (place, alerts) = (columns.next().unwrap(), columns.next().unwrap());
            let alerts = alerts.split_whitespace().map(str::to_owned);
            (place.to_owned(), alerts.collect())
        })
        .collect()
}

fn captures_in(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut captures: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    captures.sort();
    captures
}

fn captures() -> Vec<PathBuf> {
    let mut captures = captures_in("tests/fixtures/captures");
    captures.extend(captures_in("tests/fixtures/captures-h200"));
    captures.push("config/demo".into());
    captures
}

#[test]
fn alerts_fire_in_the_phases_that_call_for_them_and_in_no_other() {
    let places: Vec<_> = captures()
        .iter()
        .flat_map(|capture| phases(capture))
        .collect();

    let directory = tempfile::tempdir().unwrap();
    let mut all = play_all(&places, directory.path());
    let starved = "llama-3.1-8b-kv-starved/";
    let before = &all[&format!("{starved}starved_c128")];
    let (exporter, pod) = (exporter_restarts(before), pod_restarts(before));
    all.insert("restart/exporter".to_owned(), exporter);
    all.insert("restart/pod".to_owned(), pod);
    let both = places.iter().filter(|(name, _)| name.starts_with(starved));
    let [first, second] = both.map(|(_, slice)| slice).collect::<Vec<_>>()[..] else {
        panic!("{starved} has two phases");
    };
    let restarted = directory.path().join("vllm");
    cut(&[second, first], &restarted);
    all.insert("restart/vllm".to_owned(), play(&restarted, "restart/vllm"));

    let (fired, expected) = (fired(&all, directory.path()), expected());
    assert_eq!(
        fired.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "expected.tsv lists every phase, and no other"
    );
    let wrong = fired
        .iter()
        .filter(|(place, alerts)| expected[*place] != **alerts);
    let wrong: Vec<_> = wrong
        .map(|(place, alerts)| format!("{place}: fired {alerts:?}, should {:?}", expected[place]))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Alerts on a median: the client's latency, and the alert's threshold for it.
const MEDIANS: [(&str, &str, f64); 4] = [
    ("TTFTMedianBad", "ttft_p50_seconds", 0.5),
    ("TTFTMedianOffTarget", "ttft_p50_seconds", 0.1),
    ("TPOTMedianBad", "itl_p50_seconds", 0.1),
    ("TPOTMedianOffTarget", "itl_p50_seconds", 0.05),
];
/// Closer to a threshold than this factor, the clocks of client and server may disagree.
const CLEAR: f64 = 1.35;

#[test]
fn latencies_should_alert_where_clients_saw_them_over_the_bound() {
    let expected = expected();
    let mut compared = 0;
    for capture in captures() {
        let name = capture.file_name().unwrap().to_str().unwrap();
        let manifest = std::fs::read(capture.join("capture.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        for phase in manifest["phases"].as_array().into_iter().flatten() {
            let place = format!("{name}/{}", phase["name"].as_str().unwrap());
            for (alert, latency, bound) in MEDIANS {
                let Some(seen) = phase["client"][latency].as_f64() else {
                    continue;
                };
                if seen > bound * CLEAR || seen < bound / CLEAR {
                    compared += 1;
                    let alerts = expected[&place].contains(alert);
                    assert_eq!(alerts, seen > bound, "{place}: {alert}, {seen} s");
                }
            }
        }
    }
    assert!(compared > 150, "{compared}");
}

#[test]
#[ignore = "prints what fires over recordings of your own: RECORDINGS=DIRECTORY, of captures with phases"]
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "by hand")]
fn what_fires_over_recordings_of_your_own() {
    let directory = std::env::var("RECORDINGS").unwrap();
    let places: Vec<_> = captures_in(&directory)
        .iter()
        .flat_map(|capture| phases(capture))
        .collect();
    let scratch = tempfile::tempdir().unwrap();
    let all = play_all(&places, scratch.path());
    for (place, alerts) in fired(&all, scratch.path()) {
        let alerts: Vec<_> = alerts.into_iter().collect();
        println!("{place}\t{}", alerts.join(" "));
    }
}

/// The series of all `places`, half of them at a time.
fn play_all(places: &[(String, Slice)], scratch: &Path) -> BTreeMap<String, Series> {
    let play_some = |places: &[(String, Slice)]| -> Vec<_> {
        let played = places.iter().map(|(name, slice)| {
            let directory = scratch.join(name.replace('/', "."));
            cut(&[slice], &directory);
            (name.clone(), play(&directory, name))
        });
        played.collect()
    };
    let (one, other) = places.split_at(places.len() / 2);
    std::thread::scope(|scope| {
        let played = [one, other].map(|some| scope.spawn(move || play_some(some)));
        played
            .into_iter()
            .flat_map(|half| half.join().unwrap())
            .collect()
    })
}

/// The alerts that fire at some time in each place: promtool's failures of a test that expects none.
fn fired(all: &BTreeMap<String, Series>, scratch: &Path) -> Alerts {
    let test = scratch.join("recordings.yaml");
    std::fs::write(&test, unit_test(all).to_string()).unwrap();
    let output = Command::new("promtool")
        .args(["test", "rules"])
        .arg(&test)
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let mut fired: Alerts = all
        .keys()
        .map(|place| (place.clone(), BTreeSet::new()))
        .collect();
    let mut failures = said.split("expr: ");
    let heading = failures.next().unwrap();
    assert!(
        output.status.success() || heading.contains("FAILED"),
        "{said}"
    );
    for failure in failures {
        let place = between(failure, "namespace=\\\"", "\\\"").next().unwrap();
        let alerts = between(failure, "{alertname=\"VllmRoofline", "\"").map(str::to_owned);
        fired.get_mut(place).unwrap().extend(alerts);
    }
    fired
}

/// Every part of `text` between `before` and the next `after`.
fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before)
        .skip(1)
        .filter_map(move |rest| Some(rest.split_once(after)?.0))
}

/// The input of `promtool test rules`: the series, and for each place a test for the alerts that fire at some time.
fn unit_test(all: &BTreeMap<String, Series>) -> Value {
    let rules = std::fs::canonicalize("deploy/prometheus").unwrap();
    let mut input = Vec::new();
    for (place, series) in all {
        for (name, values) in series {
            let mut text = String::new();
            for value in values {
                // Writing to a String cannot fail.
                let _ = match value {
                    Some(value) => write!(text, "{value} "),
                    None => write!(text, "_ "),
                };
            }
            let name = name.replace("namespace=\"\"", &format!("namespace=\"{place}\""));
            input.push(json!({"series": name, "values": text.trim_end()}));
        }
    }
    let questions = all.keys().map(|place| {
        json!({
            "expr": format!("group by (alertname) (max_over_time(ALERTS{{alertstate=\"firing\",namespace=\"{place}\"}}[{MINUTES}m]))"),
            "eval_time": format!("{MINUTES}m"),
            "exp_samples": [],
        })
    });
    json!({
        "rule_files": [rules.join("recording.yaml"), rules.join("alerts.yaml")],
        "evaluation_interval": format!("{STEP}s"),
        "group_eval_order": rules::groups(),
        "tests": [{
            "interval": format!("{STEP}s"),
            "input_series": input,
            "promql_expr_test": questions.collect::<Vec<_>>(),
        }],
    })
}
