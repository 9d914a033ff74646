//! 5,000 pods in one Prometheus. Prints the cost of the fleet dashboard's queries and of the rules; run it by hand:
//!
//! `cargo test --test monitoring -- --ignored --nocapture fleet`

#![allow(clippy::disallowed_methods, reason = "it measures")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufWriter, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::dashboards::{self, panels, text};
use crate::live::{ALL, Shown, now, resolved};
use crate::prometheus::{Prometheus, QueryApi, values, wait_until};
use crate::recordings::played::{is_read, metrics_of_the_rules};
use crate::rules;
use crate::support::{Exporter, get, ok};
use crate::tools::promtool;

/// The simulated fleet: two clusters of models, in one Prometheus.
const PODS: usize = 5000;
const MODELS: usize = 10;
/// The label of the recording that the simulated pods lack.
const RECORDED_MODEL: &str = "model_name=\"/models/llama-3.1-8b\"";
/// Pods on one page of the simulation.
const PODS_A_PAGE: usize = 100;
/// History of earlier recording-rule results: an hour, as the dashboards show it, at the interval of the rules.
const HISTORY_S: f64 = 3600.0;
const RECORDED_EVERY_S: f64 = 30.0;
/// Repetitions of each query.
const TIMES: usize = 5;

/// Serves the demo's pages as those of many pods, with only the series that rules read: `/vllm/17` and `/exporter/17` contain the
/// seventeenth hundred.
struct Fleet {
    vllm: SocketAddr,
    exporter: SocketAddr,
    read: BTreeSet<String>,
}

impl Fleet {
    fn serve(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fleet = Arc::new(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let fleet = Arc::clone(&fleet);
                std::thread::spawn(move || fleet.answer(stream));
            }
        });
        address
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut request = [0; 4 << 10];
        let read = stream.read(&mut request).unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..read]);
        let path = request.split(' ').nth(1).unwrap_or_default();
        let Some((kind, page)) = path.trim_start_matches('/').split_once('/') else {
            return;
        };
        let page: usize = page.parse().unwrap_or_default();
        let source = if kind == "vllm" {
            self.vllm
        } else {
            self.exporter
        };
        let whole = get(source, "/metrics").1;
        let lines: Vec<_> = whole
            .lines()
            .filter(|line| is_read(line, &self.read))
            .collect();
        let mut text = String::new();
        for pod in page * PODS_A_PAGE..(page + 1) * PODS_A_PAGE {
            let own = labels(pod, kind);
            for line in &lines {
                // Writing to a String cannot fail.
                let _ = match line.split_once('{') {
                    Some((name, rest)) => writeln!(text, "{name}{{{own},{rest}"),
                    None => writeln!(text, "{}", line.replacen(' ', &format!("{{{own}}} "), 1)),
                };
            }
        }
        let text = text.replace("gpu=\"0\"", &format!("gpu=\"GPU-{page}\""));
        // The recording's own model label comes first among the labels, or last.
        let text = text.replace(&format!("{RECORDED_MODEL},"), "");
        let text = text.replace(&format!(",{RECORDED_MODEL}"), "");
        let _ = stream.write_all(&ok(&text));
    }
}

/// The labels of pod number `pod`.
fn labels(pod: usize, job: &str) -> String {
    let port = if job == "vllm" { 8000 } else { 10860 };
    let (cluster, model) = (pod % 2, pod % MODELS);
    format!(
        "cluster=\"c{cluster}\",namespace=\"ai\",pod=\"vllm-{pod}\",instance=\"pod-{pod}:{port}\",model_name=\"model-{model}\""
    )
}

fn scraping(fleet: SocketAddr, rules: &Path) -> String {
    let mut config = format!(
        "global: {{scrape_interval: 15s, evaluation_interval: 30s}}\nstorage: {{tsdb: {{out_of_order_time_window: 2h}}}}\nrule_files: [{0}/recording.yaml, {0}/alerts.yaml, {0}/fleet.yaml]\nscrape_configs:\n",
        rules.display()
    );
    for job in ["vllm", "exporter"] {
        // Writing to a String cannot fail.
        let _ = writeln!(
            config,
            "  - job_name: {job}\n    honor_labels: true\n    static_configs:"
        );
        for page in 0..PODS / PODS_A_PAGE {
            let _ = writeln!(
                config,
                "      - {{targets: ['{fleet}'], labels: {{__metrics_path__: /{job}/{page}, page: '{page}'}}}}"
            );
        }
    }
    config
}

/// Results of the recording rules for every engine in the last hour, for the one record that a panel draws over time.
fn record_history(directory: &Path) {
    let text = directory.join("history.om");
    let mut out = BufWriter::new(std::fs::File::create(&text).unwrap());
    let end = now() - 60.0;
    writeln!(out, "# TYPE engine:vllm_roofline_waste:ratio_rate5m gauge").unwrap();
    for pod in 0..PODS {
        let own = labels(pod, "exporter");
        let mut time = end - HISTORY_S;
        while time < end {
            let value = 0.2 + 0.1 * (time / 600.0 + pod as f64).sin();
            writeln!(out, "engine:vllm_roofline_waste:ratio_rate5m{{{own},job=\"exporter\",engine=\"0\"}} {value} {time:.0}").unwrap();
            time += RECORDED_EVERY_S;
        }
    }
    writeln!(out, "# EOF").unwrap();
    out.into_inner().unwrap().sync_all().unwrap();
    let data = directory.join("data");
    promtool(&[
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        text.to_str().unwrap(),
        data.to_str().unwrap(),
    ]);
}

#[test]
#[ignore = "minutes, both cores and 4 GB; it prints figures"]
fn the_fleet_dashboard_and_the_rules_over_5000_pods() {
    let demo = Exporter::start(&["demo", "--gpu-hour-price", "2.5"]);
    let vllm = demo.vllm.as_deref().unwrap();
    let vllm = vllm.trim_start_matches("http://").parse().unwrap();
    let samples = |address| {
        get(address, "/metrics")
            .1
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count()
    };
    let read = metrics_of_the_rules();
    let fleet = Fleet {
        vllm,
        exporter: demo.address,
        read,
    };
    let address = fleet.serve();
    let directory = tempfile::tempdir().unwrap();
    record_history(directory.path());
    rules::write_impatient(directory.path());
    let scraping = scraping(address, directory.path());
    let prometheus = Prometheus::start(&scraping, directory);
    wait_until(240, "every pod is scraped", || {
        let pods = prometheus.query("count(vllm_roofline_up) + count(vllm:num_requests_running)");
        values(&pods) == [2.0 * PODS as f64]
    });
    // Long enough for a rate of every pod, and for the rules to have evaluated it.
    std::thread::sleep(Duration::from_secs(150));

    eprintln!(
        "samples of a pod's exporter: {}, of its vLLM: {}",
        samples(demo.address),
        samples(vllm)
    );
    for (what, query) in [
        (
            "series that rules read",
            "count({job=~\"vllm|exporter\",__name__!~\".+:.+:.+|ALERTS.*\"})",
        ),
        ("alerts that fire", "count(ALERTS{alertstate=\"firing\"})"),
        (
            "series that rules record",
            "count({__name__=~\".+:.+:.+\"})",
        ),
    ] {
        let value = values(&prometheus.query(query));
        eprintln!("{what}: {value:?}");
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    eprintln!("load of the machine: {load}");
    time_dashboards(&prometheus);
    time_rules(&prometheus);
}

/// Prints the evaluation times of the rule groups, and their slowest rules.
fn time_rules(prometheus: &Prometheus) {
    let groups = prometheus.api("/api/v1/rules", &[]);
    let seconds = |of: &Value| of["evaluationTime"].as_f64().unwrap();
    for group in groups["groups"].as_array().unwrap() {
        let rules = group["rules"].as_array().unwrap();
        let slowest = rules
            .iter()
            .max_by(|one, other| seconds(one).total_cmp(&seconds(other)));
        let slowest = slowest.unwrap();
        eprintln!(
            "rules {}: evaluated in {:.2} s, of which {:.2} s {}",
            group["name"],
            seconds(group),
            seconds(slowest),
            slowest["name"]
        );
    }
}

/// Prints the slowest queries of the dashboards for a fleet, and for one of its engines.
fn time_dashboards(prometheus: &Prometheus) {
    for (name, dashboard) in dashboards::all() {
        let shown = match name.as_str() {
            "fleet" => ALL,
            "roofline" => Shown {
                instance: "pod-17:10860",
                target: "",
            },
            _ => continue,
        };
        let panels = panels(&dashboard).flat_map(|panel| {
            let queries = panel["targets"].as_array().unwrap().iter();
            queries.map(|query| (text(panel, "title"), query))
        });
        let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
        let annotations = annotations.map(|annotation| (text(annotation, "name"), annotation));
        let mut timed: Vec<_> = panels
            .chain(annotations)
            .map(|(title, query)| (fastest(prometheus, query, shown), title))
            .collect();
        timed.sort();
        let whole: Duration = timed.iter().map(|(took, _)| *took).sum();
        eprintln!(
            "dashboard {name}: {whole:.1?} for all {} queries",
            timed.len()
        );
        for (took, panel) in timed.iter().rev().take(5) {
            eprintln!("dashboard {name}: {took:.2?}: {panel}");
        }
    }
}

/// The fastest of some answers to `query`, of a panel or an annotation: whatever else ran on the machine made the others slower.
fn fastest(prometheus: &Prometheus, query: &Value, shown: Shown<'_>) -> Duration {
    let expression = resolved(text(query, "expr"), shown);
    let once = || {
        let started = Instant::now();
        if query["instant"] == true {
            prometheus.query(&expression);
        } else {
            prometheus.query_range(&expression, now() - HISTORY_S, now(), 15.0);
        }
        started.elapsed()
    };
    (0..TIMES).map(|_| once()).min().unwrap_or_default()
}
