//! The routing example in a real Alertmanager: a cause silences what follows from it, of the same model only.

use serde_json::{Value, json};

use crate::prometheus::{Alertmanager, wait_until};
use crate::rules;

/// The alert `name` of the model `model`, with the labels that its rule gives it.
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
    // Who would have been called for the first token is called for the cache.
    assert_eq!(
        alertmanager.receivers("VllmRooflineKVCapacityBound"),
        ["page"]
    );
    assert_eq!(alertmanager.receivers(page), ["page"]);
    assert_eq!(alertmanager.receivers("VllmRooflineHostBound"), ["ticket"]);
}
