//! SIGHUP: changes take effect without a gap; an invalid configuration is rejected and reported, and the previous one stays active.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use std::path::PathBuf;

use crate::support::{Answering, Exporter, ok, value};
use tempfile::TempDir;

const SUCCESSFUL: &str = "vllm_roofline_config_last_reload_successful";
const LAST_SUCCESS: &str = "vllm_roofline_config_last_reload_success_timestamp_seconds";

/// A configuration file that a running exporter reads.
pub(crate) struct Configured {
    file: PathBuf,
    pub(crate) exporter: Exporter,
    _directory: TempDir,
}

impl Configured {
    pub(crate) fn start(command: &[&str], text: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("exporter.yaml");
        std::fs::write(&file, text).unwrap();
        let configured = [command, &["--config.file", file.to_str().unwrap()]].concat();
        let exporter = Exporter::start(&configured);
        exporter.wait_for("/metrics", 10, |page| {
            value(page, SUCCESSFUL, "") == Some(1.0)
        });
        Self {
            file,
            exporter,
            _directory: directory,
        }
    }

    /// The page of the first tick after a reload with `text` for which `test` holds.
    #[track_caller]
    pub(crate) fn reloaded(&self, text: &str, test: impl Fn(&str) -> bool) -> String {
        std::fs::write(&self.file, text).unwrap();
        self.exporter.hangup();
        self.exporter.wait_for("/metrics", 10, test)
    }

    /// The page after a reload with `text` that is refused.
    #[track_caller]
    pub(crate) fn refused(&self, text: &str) -> String {
        self.reloaded(text, |page| value(page, SUCCESSFUL, "") == Some(0.0))
    }
}

fn target(page: &str) -> Option<f64> {
    value(page, "vllm_roofline_slo_seconds", "slo=\"ttft\"")
}

/// Every counter of the page except `process_*`, with its series.
fn counters(page: &str) -> Vec<(&str, f64)> {
    let series = page.lines().filter_map(|line| line.rsplit_once(' '));
    series
        .filter(|(name, _)| name.starts_with("vllm_roofline_") && name.contains("_total{"))
        .map(|(name, count)| (name, count.parse().unwrap()))
        .collect()
}

#[test]
fn new_targets_and_prices_are_in_force_and_no_counter_goes_back() {
    let demo = Configured::start(&["demo"], "slo-ttft: 300ms\ngpu-hour-price: 4\n");
    let busy = |page: &str| {
        value(page, "vllm_roofline_cost_dollars_total", "").is_some_and(|cost| cost > 0.0)
    };
    let before = demo.exporter.wait_for("/metrics", 20, busy);
    assert_eq!(target(&before), Some(0.3));
    let after = demo.reloaded("slo-ttft: 700ms\ngpu-hour-price: 0.001\n", |page| {
        target(page) == Some(0.7)
    });
    for (series, count) in counters(&before) {
        let now = counters(&after)
            .into_iter()
            .find(|(name, _)| *name == series);
        assert!(
            now.is_some_and(|(_, now)| now >= count),
            "{series}: {count}, then {now:?}"
        );
    }
    let discarded =
        |page: &str| value(page, "vllm_roofline_window_discards_total", "counter_reset");
    assert_eq!(discarded(&after), Some(0.0));
    assert_eq!(value(&after, SUCCESSFUL, ""), Some(1.0));
    assert!(value(&after, LAST_SUCCESS, "") > value(&before, LAST_SUCCESS, ""));
    assert!(demo.exporter.get("/api/v1/config").1.contains("700ms"));
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_until_it_is_repaired() {
    let server = Answering::with(ok(
        "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 0.0\n",
    ));
    let command = ["serve", "--vllm-url", &server.url, "--gpu-source", "none"];
    let serve = Configured::start(&command, "slo-ttft: 300ms\n");
    for (text, expected) in [
        ("tik: 1s\n", "tik"),
        ("overhead-below: 2\n", "between 0 and 1"),
        ("log: {level: \"a=b=c\"}\n", "log.level"),
        (
            "web: {telemetry-path: /other}\n",
            "web.telemetry-path is /metrics, and /other takes a restart",
        ),
        ("log: {format: json}\n", "log.format is logfmt"),
        ("web: {config: {file: /nowhere.yaml}}\n", "/nowhere.yaml"),
        ("vllm-ca-file: /nowhere.pem\n", "/nowhere.pem"),
        ("gpus: [{id: x}]\n", "gpus"),
    ] {
        let before = serve.exporter.get("/metrics").1;
        let page = serve.refused(&format!("slo-ttft: 400ms\n{text}"));
        assert_eq!(target(&page), Some(0.3), "{text}");
        assert_eq!(
            value(&page, LAST_SUCCESS, ""),
            value(&before, LAST_SUCCESS, ""),
            "{text}"
        );
        let log = serve.exporter.log();
        assert!(
            log.contains("configuration not reloaded") && log.contains(expected),
            "no {expected} in: {log}"
        );
        let repaired = serve.reloaded("slo-ttft: 300ms\n", |page| {
            value(page, SUCCESSFUL, "") == Some(1.0)
        });
        assert!(value(&repaired, LAST_SUCCESS, "") > value(&before, LAST_SUCCESS, ""));
    }
}

fn engine(model: &str, tokens: u32) -> Vec<u8> {
    let labels = format!("{{engine=\"0\",model_name=\"{model}\"}}");
    ok(&format!(
        "vllm:num_requests_running{labels} 0.0\nvllm:num_requests_waiting{labels} 0.0\nvllm:generation_tokens_total{labels} {tokens}.0\n"
    ))
}

#[test]
fn another_vllm_is_read_from_then_on_and_nothing_is_left_of_the_first() {
    let (first, second) = (
        Answering::with(engine("one", 7)),
        Answering::with(engine("two", 9)),
    );
    let read = |server: &Answering, seqs: u32| {
        let url = &server.url;
        format!("vllm-url: {url}\ndeployment: {{max-num-seqs: {seqs}}}\n")
    };
    let serve = Configured::start(&["serve", "--gpu-source", "none"], &read(&first, 7));
    let shows = |model: &str, seqs: u32| {
        let labels = [
            format!("model_name=\"{model}\""),
            format!("max_num_seqs=\"{seqs}\""),
        ];
        move |page: &str| {
            page.lines()
                .filter(|line| line.starts_with("vllm_roofline_deployment_info{"))
                .any(|line| labels.iter().all(|label| line.contains(label)))
        }
    };
    serve.exporter.wait_for("/metrics", 10, shows("one", 7));
    let page = serve.reloaded(&read(&second, 7), shows("two", 7));
    assert!(!page.contains("model_name=\"one\""));
    serve.reloaded(&read(&second, 8), shows("two", 8));
}
