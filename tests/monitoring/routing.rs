//! The routing example in a real Alertmanager: a cause inhibits its symptoms, for the same model only.

use std::process::Command;

use serde_json::{Value, json};

use crate::prometheus::{Alertmanager, wait_until};
use crate::rules;

const ROUTING: &str = "deploy/compose/alertmanager.yaml";

/// The alert `name` of the model `model`, with the labels of its rule.
fn firing(name: &str, model: &str) -> Value {
    let rule = rules::all()
        .into_iter()
        .find(|rule| rule.alert.as_deref() == Some(name));
    let rule = rule.unwrap_or_else(|| panic!("there is no alert {name}"));
    let mut labels = json!({"alertname": name, "namespace": "models", "model_name": model});
    for (label, value) in &rule.labels {
        labels[label] = json!(value);
    }
    json!({"labels": labels})
}

/// The output of amtool for the routing example, without an Alertmanager.
fn amtool(arguments: &[&str]) -> String {
    let output = Command::new("amtool").args(arguments).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}{complained}");
    said.trim().to_owned()
}

#[test]
fn every_alert_goes_to_who_can_act_on_it() {
    amtool(&["check-config", ROUTING]);
    let file = format!("--config.file={ROUTING}");
    for rule in rules::all() {
        let Some(alert) = rule.alert else { continue };
        let labels = rule
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let labels: Vec<_> = labels.collect();
        let mut arguments = vec!["config", "routes", "test", &file];
        arguments.extend(labels.iter().map(String::as_str));
        let queue = ["kv-capacity", "max-num-seqs", "token-budget"];
        let expected = match rule.labels["severity"].as_str() {
            "critical" => "page",
            // Replaces the page for late first tokens that it inhibits.
            _ if queue.contains(&rule.labels["cause"].as_str()) => "page",
            "warning" => "ticket",
            _ => "log",
        };
        assert_eq!(amtool(&arguments), expected, "{alert}");
    }
}

#[test]
fn a_starved_cache_silences_the_page_of_the_first_token_that_it_causes() {
    let alertmanager = Alertmanager::start();
    let page = "VllmRooflineTTFTBudgetBurnFast";
    alertmanager.post(&json!([
        firing("VllmRooflineKVCapacityBound", "starved"),
        firing("VllmRooflineGPUSaturated", "starved"),
        firing(page, "starved"),
        firing("VllmRooflineTTFTMedianBad", "starved"),
        firing(page, "slow"),
        firing("VllmRooflineRecompilation", "compiling"),
        firing("VllmRooflineHostBound", "compiling"),
        firing("VllmRooflineTPOTMedianBad", "compiling"),
    ]));
    let mut heard: Vec<(String, String)> = Vec::new();
    wait_until(30, "the alerts are inhibited", || {
        let alerts = alertmanager.alerts();
        heard = alerts
            .iter()
            .filter(|alert| alert["status"]["state"] == "active")
            .map(|alert| {
                let label = |name: &str| alert["labels"][name].as_str().unwrap().to_owned();
                (label("model_name"), label("alertname"))
            })
            .collect();
        heard.sort();
        alerts.len() == 8 && heard.len() <= 3
    });
    let expected = [
        ("compiling", "VllmRooflineRecompilation"),
        ("slow", page),
        ("starved", "VllmRooflineKVCapacityBound"),
    ];
    assert_eq!(
        heard,
        expected.map(|(model, alert)| (model.to_owned(), alert.to_owned()))
    );
    // The receiver of the first-token alert gets the cache alert.
    assert_eq!(
        alertmanager.receivers("VllmRooflineKVCapacityBound"),
        ["page"]
    );
    assert_eq!(alertmanager.receivers(page), ["page"]);
    assert_eq!(alertmanager.receivers("VllmRooflineHostBound"), ["ticket"]);
}
