//! The rule files: valid, tested, documented, and based on existing metrics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::generate::names;
use crate::tools::promtool;

const RULES: &str = "deploy/prometheus";

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
pub(crate) struct Rule {
    pub(crate) record: Option<String>,
    pub(crate) alert: Option<String>,
    pub(crate) expr: String,
    #[serde(default, rename = "for")]
    pub(crate) held_for: Option<String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct TestFile {
    tests: Vec<TestCase>,
}

#[derive(Deserialize)]
struct TestCase {
    #[serde(default)]
    alert_rule_test: Vec<AlertCase>,
}

#[derive(Deserialize)]
struct AlertCase {
    alertname: String,
    exp_alerts: Vec<serde_json::Value>,
}

fn yaml<T: for<'de> Deserialize<'de>>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn groups_of(files: &[&str]) -> impl Iterator<Item = Group> {
    files
        .iter()
        .flat_map(|file| yaml::<File>(&Path::new(RULES).join(file)).groups)
}

const FILES: [&str; 3] = ["recording.yaml", "alerts.yaml", "fleet.yaml"];

/// Writes the rules into `directory`, without the alerts' `for`: a test does not wait for an hour.
pub(crate) fn write_impatient(directory: &Path) {
    for file in FILES {
        let text = std::fs::read_to_string(Path::new(RULES).join(file)).unwrap();
        let kept = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("for: "));
        let kept: Vec<_> = kept.collect();
        std::fs::write(directory.join(file), kept.join("\n")).unwrap();
    }
}

/// Every rule that is shipped.
pub(crate) fn all() -> Vec<Rule> {
    groups_of(&FILES).flat_map(|group| group.rules).collect()
}

/// The groups of the alerts, in the order in which they depend on each other.
pub(crate) fn groups() -> Vec<String> {
    groups_of(&["recording.yaml", "alerts.yaml"])
        .map(|group| group.name)
        .collect()
}

fn test_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(RULES).join("tests")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn promtool_accepts_the_rules_and_the_local_stack() {
    promtool(&[
        "check",
        "rules",
        "deploy/prometheus/recording.yaml",
        "deploy/prometheus/alerts.yaml",
        "deploy/prometheus/fleet.yaml",
    ]);
    promtool(&["check", "config", "deploy/compose/prometheus.yaml"]);
}

#[test]
fn alerts_fire_when_they_should_and_say_so() {
    std::thread::scope(|scope| {
        for file in test_files() {
            scope.spawn(move || drop(promtool(&["test", "rules", file.to_str().unwrap()])));
        }
    });
}

#[test]
fn every_alert_is_seen_firing_and_seen_silent() {
    let cases: Vec<_> = test_files()
        .iter()
        .flat_map(|file| yaml::<TestFile>(file).tests)
        .flat_map(|test| test.alert_rule_test)
        .collect();
    for alert in all().into_iter().filter_map(|rule| rule.alert) {
        let expected = |fires: bool| {
            cases
                .iter()
                .any(|case| case.alertname == alert && case.exp_alerts.is_empty() != fires)
        };
        assert!(expected(true), "no test sees {alert} fire");
        assert!(expected(false), "no test sees {alert} silent");
    }
}

#[test]
fn rules_read_what_exists() {
    for rule in all() {
        names::check(&rule.expr).unwrap();
    }
}
