//! One exporter that reads several servers: their series differ only by `target`, and no rule and no panel mixes them.

use crate::dashboards;
use crate::generate::names::lists;
use crate::live::{Shown, queries, rules_are_evaluated};
use crate::prometheus::{Prometheus, QueryApi, config, wait_until};
use crate::reserved_port::ReservedPort;
use crate::rules;
use crate::support::Exporter;

#[test]
fn who_groups_by_engine_groups_by_server() {
    let rules = rules::all().into_iter().map(|rule| rule.expr);
    let dashboards = dashboards::all();
    let panels = dashboards
        .iter()
        .flat_map(|(_, dashboard)| dashboards::expressions(dashboard))
        .map(str::to_owned);
    let mut grouped = 0;
    for expression in rules.chain(panels) {
        for labels in lists(&expression, &["by (", "on ("]) {
            if labels.contains(&"engine") {
                grouped += 1;
                assert!(labels.contains(&"target"), "{expression}");
            }
        }
    }
    assert!(grouped > 20, "{grouped}");
}

#[test]
fn rules_and_panels_hold_over_an_exporter_of_two_servers() {
    let demos = [(); 2].map(|()| Exporter::start(&["demo"]));
    let [one, two] = demos.each_ref().map(|demo| demo.vllm.as_deref().unwrap());
    let exporter = Exporter::start(&[
        "serve",
        "--vllm-url",
        one,
        "--vllm-url",
        two,
        "--gpu-source",
        "none",
        "--gpu",
        "h100-sxm5-80gb",
        "--model",
        "config/demo/config.json",
    ]);
    let instance = exporter.address.to_string();
    let nobody = ReservedPort::new();
    let prometheus = Prometheus::start(
        &config(&[
            (
                "127.0.0.1:8000",
                one.trim_start_matches("http://").to_owned(),
            ),
            ("127.0.0.1:10860", instance.clone()),
            ("127.0.0.1:9093", nobody.address().to_string()),
            (
                "evaluation_interval: 15s",
                "evaluation_interval: 1s".to_owned(),
            ),
        ]),
        tempfile::tempdir().unwrap(),
    );
    wait_until(60, "the worst engines are recorded", || {
        prometheus.query("engine:vllm_roofline_worst:topk50").len() == 2
    });
    rules_are_evaluated(&prometheus);

    for target in [one, two] {
        let instance = &instance;
        for panel in queries(Shown { instance, target }) {
            // A join that matches the series of both servers is an error.
            let series = prometheus.query(&panel.expression);
            if panel.place.starts_with("roofline: Engine:") {
                assert_eq!(series.len(), 1, "{}: {series:?}", panel.expression);
            }
            if panel.place.starts_with("fleet: Engines: queue") {
                for row in series {
                    let named = row["metric"]["target"].as_str().unwrap();
                    assert!([one, two].contains(&named), "{row}");
                }
            }
        }
    }
}
