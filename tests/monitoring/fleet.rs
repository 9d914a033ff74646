//! 500 pods behind one Prometheus. Prints what the fleet dashboard's queries and the rules cost; run it by hand:
//!
//! `cargo test --test monitoring -- --ignored --nocapture fleet`

#![allow(clippy::disallowed_methods, reason = "it measures")]

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dashboards::{self, panels, text};
use crate::live::{now, resolved};
use crate::prometheus::{Prometheus, values, wait_until};
use crate::support::{Exporter, get, ok};

const PODS: usize = 500;
const MODELS: usize = 5;

/// Serves the demo's pages as those of many pods: `/vllm/17` and `/exporter/17`.
struct Fleet {
    vllm: SocketAddr,
    exporter: SocketAddr,
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
        let (kind, pod) = path
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or_default();
        let source = if kind == "vllm" {
            self.vllm
        } else {
            self.exporter
        };
        let pod: usize = pod.parse().unwrap_or_default();
        let page = get(source, "/metrics").1;
        let own = page
            .replace("/models/llama-3.1-8b", &format!("model-{}", pod % MODELS))
            .replace("gpu=\"0\"", &format!("gpu=\"GPU-{pod}\""));
        let _ = stream.write_all(&ok(&own));
    }
}

fn scraping(fleet: SocketAddr) -> String {
    let rules = std::fs::canonicalize("deploy/prometheus").unwrap();
    let mut config = format!(
        "global: {{scrape_interval: 15s, evaluation_interval: 15s}}\nrule_files: [{0}/recording.yaml, {0}/alerts.yaml]\nscrape_configs:\n",
        rules.display()
    );
    for (job, port) in [("vllm", 8000), ("exporter", 10860)] {
        // Writing to a String cannot fail.
        let _ = writeln!(config, "  - job_name: {job}\n    static_configs:");
        for pod in 0..PODS {
            let _ = writeln!(
                config,
                "      - {{targets: ['{fleet}'], labels: {{__metrics_path__: /{job}/{pod}, instance: 'pod-{pod}:{port}', namespace: ai, pod: vllm-{pod}}}}}"
            );
        }
    }
    config
}

#[test]
#[ignore = "two minutes and both cores; it prints figures"]
fn the_fleet_dashboard_and_the_rules_over_500_pods() {
    let demo = Exporter::start(&["demo", "--gpu-hour-price", "2.5"]);
    let vllm = demo
        .vllm
        .as_deref()
        .unwrap()
        .trim_start_matches("http://")
        .parse()
        .unwrap();
    let fleet = Fleet {
        vllm,
        exporter: demo.address,
    }
    .serve();
    let prometheus = Prometheus::start(&scraping(fleet), tempfile::tempdir().unwrap());
    wait_until(120, "every pod is scraped", || {
        let up = prometheus.query("sum(up)");
        values(&up) == [2.0 * PODS as f64]
    });
    // Enough for a rate of every pod, and for the rules to have met it.
    std::thread::sleep(Duration::from_secs(75));

    for job in ["exporter", "vllm"] {
        let series = values(&prometheus.query(&format!("count({{job=\"{job}\"}})")));
        eprintln!(
            "{job}: {} series, {} per pod",
            series[0],
            series[0] / PODS as f64
        );
    }
    time_dashboards(&prometheus);
    let groups = prometheus.api("/api/v1/rules", &[]);
    for group in groups["groups"].as_array().unwrap() {
        eprintln!(
            "rules {}: evaluated in {} s",
            group["name"], group["evaluationTime"]
        );
    }
}

/// Prints the slowest query of each dashboard.
fn time_dashboards(prometheus: &Prometheus) {
    for (name, dashboard) in dashboards::all() {
        let instance = if name == "roofline" {
            "pod-17:10860"
        } else {
            ".*"
        };
        let mut slowest = (Duration::ZERO, String::new());
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                let expression = resolved(text(target, "expr"), instance);
                let started = Instant::now();
                if target["instant"] == true {
                    prometheus.query(&expression);
                } else {
                    prometheus.query_range(&expression, now() - 3600.0, now(), 15.0);
                }
                let took = started.elapsed();
                if took > slowest.0 {
                    slowest = (took, text(panel, "title").to_owned());
                }
            }
        }
        eprintln!(
            "dashboard {name}: slowest query {:?}: {}",
            slowest.0, slowest.1
        );
    }
}
