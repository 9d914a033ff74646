//! The dashboard files: up to date, and valid for Grafana.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::generate::{self, names};

/// Panel types included in every Grafana.
const CORE_PANELS: [&str; 8] = [
    "bargauge",
    "heatmap",
    "row",
    "stat",
    "state-timeline",
    "table",
    "timeseries",
    "xychart",
];
/// Transformations with public code, tested for what the panels need.
const TRANSFORMATIONS: [&str; 3] = ["merge", "organize", "sortBy"];

/// Name and content of every dashboard file.
pub(crate) fn all() -> Vec<(String, Value)> {
    let mut dashboards: Vec<_> = std::fs::read_dir("grafana/dashboards")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).unwrap())
        })
        .collect();
    dashboards.sort_by(|one, other| one.0.cmp(&other.0));
    dashboards
}

/// The panels of `dashboard` except rows, including those in collapsed rows.
pub(crate) fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels
        .clone()
        .chain(panels.flat_map(|panel| panel["panels"].as_array().into_iter().flatten()))
        .filter(|panel| panel["type"] != "row")
}

/// The expression of every query in every panel.
pub(crate) fn expressions(dashboard: &Value) -> impl Iterator<Item = &str> {
    panels(dashboard)
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| text(target, "expr"))
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

#[test]
fn the_files_are_what_the_generator_writes() {
    let generated = generate::dashboards().unwrap();
    assert_eq!(generated.len(), all().len());
    for (name, json) in generated {
        let stored = std::fs::read_to_string(format!("grafana/dashboards/{name}")).unwrap();
        assert!(
            stored == json,
            "{name} is stale; run `cargo run --example dashboards`"
        );
    }
}

#[test]
fn a_query_of_what_nobody_exports_is_refused_by_name() {
    let wrong = |expression: &str| names::check(expression).unwrap_err();
    assert!(
        wrong("sum(vllm_roofline_boundary{bound=\"compute\"})")
            .contains("`vllm_roofline_boundary`")
    );
    assert!(
        wrong("rate(vllm:generated_tokens_total[5m])").contains("`vllm:generated_tokens_total`")
    );
    assert!(wrong("vllm_roofline_bound{state=\"compute\"}").contains("no label `state`"));
    assert!(wrong("sum by (phase) (vllm_roofline_bound)").contains("the label `phase`"));
    names::check("sum by (bound) (vllm_roofline_bound{job=\"x\",bound!=\"idle\"})").unwrap();
    names::check("vllm:kv_cache_usage_perc or vllm:gpu_cache_usage_perc").unwrap();
}

#[test]
fn panels_are_explained_and_need_no_plugin() {
    for (name, dashboard) in all() {
        assert_eq!(dashboard["id"], Value::Null, "{name}");
        for panel in panels(&dashboard) {
            let place = format!("{name}: {}", text(panel, "title"));
            assert!(CORE_PANELS.contains(&text(panel, "type")), "{place}");
            assert_eq!(panel["pluginVersion"], "11.6.0", "{place}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
            let description = text(panel, "description");
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{place}");
            for target in targets {
                let expression = text(target, "expr");
                for selection in names::selections(expression) {
                    let named = format!(
                        "`{}` ({})",
                        selection.metric,
                        names::provenance(selection.metric)
                    );
                    assert!(
                        description.contains(&named),
                        "{place} does not name {named}"
                    );
                }
                for hard_coded in ["Prometheus", "localhost", "llama"] {
                    assert!(!expression.contains(hard_coded), "{place}: {expression}");
                }
            }
            for transformation in panel["transformations"].as_array().unwrap() {
                assert!(
                    TRANSFORMATIONS.contains(&text(transformation, "id")),
                    "{place}"
                );
            }
        }
    }
}

#[test]
fn every_dashboard_begins_with_the_verdict() {
    for (name, dashboard) in all() {
        let sentence = "What holds it back now";
        // The fleet reads records only, by model.
        let of_engines = (name != "fleet").then_some(sentence);
        let verdict = [
            "What is wrong, and what to do",
            "What would help most",
            "What bounds it",
            "Since when",
            "Time lost",
            "What it costs",
        ];
        let verdict: Vec<_> = of_engines.into_iter().chain(verdict).collect();
        let first: Vec<_> = panels(&dashboard)
            .take(verdict.len())
            .map(|panel| text(panel, "title"))
            .collect();
        assert_eq!(first, verdict, "{name}");
    }
}

#[test]
fn the_fleet_reads_what_rules_record_and_nothing_else() {
    let all = all();
    let (_, fleet) = all.iter().find(|(name, _)| name == "fleet").unwrap();
    for panel in panels(fleet) {
        for target in panel["targets"].as_array().unwrap() {
            for selection in names::selections(text(target, "expr")) {
                assert!(
                    selection.metric.contains(":vllm_") || selection.metric.starts_with("ALERTS"),
                    "{}: {}",
                    panel["title"],
                    selection.metric
                );
            }
        }
    }
    for annotation in fleet["annotations"]["list"].as_array().unwrap() {
        let expression = text(annotation, "expr");
        assert!(
            expression.contains(":vllm_") || expression.starts_with("ALERTS"),
            "{expression}"
        );
    }
}

#[test]
fn a_thing_has_one_colour_and_one_name_on_every_panel() {
    let mut colors: std::collections::BTreeMap<String, BTreeSet<String>> = Default::default();
    for (_, dashboard) in all() {
        for panel in panels(&dashboard) {
            for entry in panel["fieldConfig"]["overrides"].as_array().unwrap() {
                let properties = entry["properties"].as_array().unwrap();
                let of = |id: &str| {
                    let property = properties.iter().find(|property| property["id"] == id);
                    property.map(|property| &property["value"])
                };
                let Some(color) = of("color").and_then(|color| color["fixedColor"].as_str()) else {
                    continue;
                };
                let name = of("displayName").unwrap_or(&entry["matcher"]["options"]);
                colors
                    .entry(name.as_str().unwrap().to_owned())
                    .or_default()
                    .insert(color.to_owned());
            }
        }
    }
    for (name, colors) in colors {
        // A measured figure and a roof share the colour of the series below them.
        if !["measured", "peak", "running", "mean"].contains(&name.as_str()) {
            assert_eq!(colors.len(), 1, "{name}: {colors:?}");
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    for (name, dashboard) in all() {
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let side = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(side("x") + side("w") <= 24, "{name}: {}", panel["title"]);
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(taken.insert((x, y)), "{name}: {} overlaps", panel["title"]);
                }
            }
        }
    }
}
