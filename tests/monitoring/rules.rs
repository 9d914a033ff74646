//! The rules as files: valid, tested, explained, and made of metrics that exist.

use std::collections::{BTreeMap, BTreeSet};
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
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
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

/// Every rule that is shipped.
pub(crate) fn all() -> Vec<Rule> {
    ["recording.yaml", "alerts.yaml"]
        .iter()
        .map(|file| yaml::<File>(&Path::new(RULES).join(file)))
        .flat_map(|file| file.groups)
        .flat_map(|group| group.rules)
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
fn every_alert_says_what_to_do() {
    let mut pages: BTreeSet<_> = std::fs::read_dir("deploy/prometheus/runbooks")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for rule in all() {
        let Some(alert) = &rule.alert else { continue };
        assert!(
            ["critical", "warning", "info"].contains(&rule.labels["severity"].as_str()),
            "{alert}"
        );
        assert!(rule.annotations["summary"].ends_with('.'), "{alert}");
        assert!(
            rule.annotations["description"].contains("{{ $labels."),
            "{alert}"
        );
        let page = format!("{alert}.md");
        assert!(
            rule.annotations["runbook_url"]
                .ends_with(&format!("/deploy/prometheus/runbooks/{page}")),
            "{alert}"
        );
        assert!(pages.remove(&page), "{alert} has no runbook");
        let runbook =
            std::fs::read_to_string(format!("deploy/prometheus/runbooks/{page}")).unwrap();
        for part in [
            "**Meaning.**",
            "## Look",
            "## Do\n",
            "## Do not",
            "## False alarms",
        ] {
            assert!(runbook.contains(part), "{page} has no part {part}");
        }
    }
    assert!(pages.is_empty(), "runbooks of no alert: {pages:?}");
}

#[test]
fn rules_read_what_exists() {
    let rules = all();
    let recorded: BTreeSet<_> = rules
        .iter()
        .filter_map(|rule| rule.record.as_deref())
        .collect();
    for rule in &rules {
        names::check(&rule.expr).unwrap();
        for name in rule
            .expr
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
            .filter(|word| word.contains("_model:"))
        {
            assert!(
                recorded.contains(name),
                "nothing records {name}: {}",
                rule.expr
            );
        }
    }
}
