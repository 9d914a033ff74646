//! A real Prometheus, configured like the local stack, scraping the demo: every panel shows data.

#![allow(clippy::disallowed_methods, reason = "it asks for the present")]

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::dashboards::{self, panels, text};
use crate::prometheus::{Prometheus, QueryApi, config, values, wait_until};
use crate::reserved_port::ReservedPort;
use crate::support::Exporter;

/// The recording takes 49 s for all its kinds of load.
const PATIENCE_S: u64 = 120;

/// Series of an exporter with one engine on one GPU, including Prometheus's own about the scrape. grafana/README.md states this limit.
const MOST_SERIES: f64 = 220.0;

pub(crate) struct Panel {
    pub(crate) place: String,
    pub(crate) expression: String,
    instant: bool,
}

/// The selection of the single-engine dashboard: an exporter, and a server if the exporter reads several.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) instance: &'a str,
    pub(crate) target: &'a str,
}

/// The selection of a dashboard for many engines.
pub(crate) const ALL: Shown<'_> = Shown {
    instance: ".*",
    target: "",
};

/// Every query of every dashboard, as Grafana sends it with all variables at All.
pub(crate) fn queries(one: Shown<'_>) -> Vec<Panel> {
    let mut queries = Vec::new();
    for (name, dashboard) in dashboards::all() {
        // The roofline dashboard shows one engine at a time.
        let shown = if name == "roofline" { one } else { ALL };
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                queries.push(Panel {
                    place: format!(
                        "{name}: {}: {}",
                        text(panel, "title"),
                        text(target, "refId")
                    ),
                    expression: resolved(text(target, "expr"), shown),
                    instant: target["instant"] == true,
                });
            }
        }
    }
    queries
}

pub(crate) fn resolved(expression: &str, shown: Shown<'_>) -> String {
    let variables = ["$job", "$cluster", "$namespace", "$pod", "$model_name"];
    let expression = expression
        .replace("$__rate_interval", "1m")
        .replace("$__range", "2m")
        .replace("$target", shown.target)
        .replace("$instance", shown.instance);
    let resolved = variables.iter().fold(expression, |expression, variable| {
        expression.replace(variable, ".*")
    });
    assert!(!resolved.contains('$'), "{resolved}");
    resolved
}

pub(crate) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

#[test]
fn every_panel_of_every_dashboard_shows_the_demo() {
    let demo = Exporter::start(&["demo", "--gpu-hour-price", "2.5"]);
    let exporter = demo.address.to_string();
    let shown = Shown {
        instance: &exporter,
        target: "",
    };
    let vllm = demo.vllm.clone().unwrap();
    let nobody = ReservedPort::new();
    let prometheus = Prometheus::start(
        &config(&[
            (
                "127.0.0.1:8000",
                vllm.trim_start_matches("http://").to_owned(),
            ),
            ("127.0.0.1:10860", exporter.clone()),
            ("127.0.0.1:9093", nobody.address().to_string()),
            (
                "evaluation_interval: 15s",
                "evaluation_interval: 1s".to_owned(),
            ),
        ]),
        tempfile::tempdir().unwrap(),
    );

    let mut silent = queries(shown);
    silent.retain(|panel| !may_be_empty(panel));
    assert!(silent.len() > 100);
    let mut left = String::new();
    wait_until(PATIENCE_S, "every query has data", || {
        silent.retain(|panel| !has_data(&prometheus, panel));
        left = silent
            .iter()
            .map(|panel| format!("{}: {}\n", panel.place, panel.expression))
            .collect();
        eprintln!("{} queries without data\n{left}", silent.len());
        silent.is_empty()
    });

    for (name, dashboard) in dashboards::all() {
        let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
        // The local stack is one unnamed cluster, and its exporter reads one server.
        let named = |variable: &&Value| !["cluster", "target"].contains(&text(variable, "name"));
        for variable in variables.filter(named) {
            assert!(
                lists_values(&prometheus, variable, shown),
                "{name}: {} is empty",
                variable["name"]
            );
        }
    }
    rules_are_evaluated(&prometheus);
    rules_record(&prometheus);

    // Alerts and records have the labels of the target too, and are none of its series.
    let series = values(
        &prometheus.query("count({job=\"vllm-roofline-exporter\",__name__!~\"ALERTS.*|.*:.*\"})"),
    );
    eprintln!("{series:?} series of one exporter with one engine on one GPU");
    assert!(series[0] <= MOST_SERIES, "{series:?}");
}

/// The demo has one GPU without peers, and no speculation. In its first minutes no alert has held for long enough, no request fails, and a
/// percentile has close bounds only by chance.
fn may_be_empty(panel: &Panel) -> bool {
    [
        "interconnect_bytes",
        "link=\"nvlink\"",
        "spec_decode",
        "ALERTS",
        "vllm_roofline_alerts",
        "status!=\"2xx\"",
        "histogram_quantile(0.95",
        // Not in the demo's recording.
        "request_queue_time",
        "request_prefill_time",
        // If the GPU does not report kernel activity, both are overhead.
        "component=~\"host\"",
        "component=~\"kernel_latency\"",
    ]
    .iter()
    .any(|of_others| panel.expression.contains(of_others))
}

fn has_data(prometheus: &Prometheus, panel: &Panel) -> bool {
    let series = if panel.instant {
        prometheus.query(&panel.expression)
    } else {
        prometheus.query_range(&panel.expression, now() - 120.0, now(), 1.0)
    };
    values(&series).iter().any(|value| value.is_finite())
}

/// Whether `label_values(series, label)` returns anything.
fn lists_values(prometheus: &Prometheus, variable: &Value, shown: Shown<'_>) -> bool {
    let Some(query) = variable["definition"].as_str() else {
        return true;
    };
    let series = query
        .trim_start_matches("label_values(")
        .rsplit_once(", ")
        .unwrap()
        .0;
    let path = format!("/api/v1/label/{}/values", text(variable, "name"));
    let values = prometheus.api(&path, &[("match[]", &resolved(series, shown))]);
    values.as_array().is_some_and(|values| !values.is_empty())
}

/// Asserts that no rule fails.
pub(crate) fn rules_are_evaluated(prometheus: &Prometheus) {
    wait_until(60, "every rule has been evaluated", || {
        let groups = prometheus.api("/api/v1/rules", &[]);
        let rules = groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap());
        let mut health = rules.map(|rule| {
            assert_ne!(rule["health"], "err", "{rule}");
            &rule["health"]
        });
        health.all(|health| health == "ok")
    });
}

/// Asserts that every recording rule has produced series.
fn rules_record(prometheus: &Prometheus) {
    for rule in crate::rules::all() {
        let Some(record) = rule.record else { continue };
        // A share over half an hour or more needs as much history.
        if record.contains(":ratio_rate") && !record.ends_with("rate5m") {
            continue;
        }
        // Nothing restarts here, no flag changes, and no alert has held for long enough.
        let happens = [":changes3m", ":info", ":vllm_roofline_alerts"];
        if happens.iter().any(|event| record.contains(event)) {
            continue;
        }
        // Advice changes with the load.
        let ever = format!("last_over_time({record}[5m])");
        wait_until(PATIENCE_S, &format!("{record} records"), || {
            !prometheus.query(&ever).is_empty()
        });
    }
}
