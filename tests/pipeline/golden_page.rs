//! A `/metrics` page with every family of the catalogue: `tests/golden/metrics.prom`.
//!
//! It is generated from the embedded recording, extended by features that a single deployment rarely has together: two ranks, a price,
//! calibration, experts, a renamed vLLM metric, an unknown limit, a discarded span, a failed source. `UPDATE_GOLDEN=1` rewrites the file.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::proto::MetricFamily;
use roofline::units::Seconds;
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::config::Settings;
use vllm_roofline_exporter::export::catalogue::{ALL, BUILD_INFO, CatalogueFamily};
use vllm_roofline_exporter::export::families::families;
use vllm_roofline_exporter::export::page::text;
use vllm_roofline_exporter::player::CapturePlayer;
use vllm_roofline_exporter::snapshot::memory::Memory;
use vllm_roofline_exporter::snapshot::take::SnapshotContext;
use vllm_roofline_exporter::snapshot::{Reload, Snapshot, SourceStatus};

const GOLDEN: &str = "tests/golden/metrics.prom";
/// Seconds into the recording of this page: requests wait, and both prompts and outputs are in progress.
const TAKEN_AT: f64 = 36.0;

#[test]
#[allow(clippy::disallowed_methods, reason = "how tests are asked to rewrite")]
fn the_page_is_the_golden_one() {
    let page = stable(&text(&families(&snapshot())));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, page).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    let differing = golden
        .lines()
        .zip(page.lines())
        .find(|(old, new)| old != new);
    assert!(
        golden == page,
        "{GOLDEN} differs, first in {differing:#?}; if that is meant: UPDATE_GOLDEN=1"
    );
}

#[test]
fn every_family_of_the_catalogue_is_on_it_with_its_labels_and_no_other_is() {
    let page = families(&snapshot());
    let mut labels: BTreeMap<&str, BTreeSet<Vec<&str>>> = page.iter().map(label_sets).collect();
    for family in ALL {
        let found = labels.remove(family.name);
        let declared = BTreeSet::from([declared(family)]);
        assert_eq!(found, Some(declared), "{}", family.name);
    }
    assert!(labels.is_empty(), "not in the catalogue: {labels:?}");
}

/// The name of a family, and the label sets of its series.
fn label_sets(family: &MetricFamily) -> (&str, BTreeSet<Vec<&str>>) {
    let series = family.get_metric().iter();
    let sets = series.map(|metric| metric.get_label().iter().map(|pair| pair.name()).collect());
    (family.name(), sets.collect())
}

fn declared(family: &CatalogueFamily) -> Vec<&'static str> {
    let engine: &[&str] = if family.per_engine {
        &["model_name", "engine"]
    } else {
        &[]
    };
    engine.iter().chain(family.labels).copied().collect()
}

fn snapshot() -> Snapshot {
    let mut settings = Settings::defaults().unwrap();
    settings.gpu_hour_price = Some(2.5);
    settings.calibrate = true;
    let capture = recorded();
    let player = CapturePlayer::new(&capture, &settings).unwrap();
    let start = capture.pages[0].time();
    let mut memory = Memory::default();
    let mut newest = None;
    player.watch(start.0, start.0 + TAKEN_AT, |meter, line, _| {
        newest = Some(Snapshot::take(
            meter,
            &mut memory,
            &settings,
            around(line.time()),
        ));
    });
    newest.unwrap()
}

/// The dense model of `config` as one with the same number of weights in two experts.
fn with_experts(config: &str) -> String {
    let mut config: serde_json::Value = serde_json::from_str(config).unwrap();
    let width = config["intermediate_size"].as_u64().unwrap();
    for (field, value) in [
        ("architectures", serde_json::json!(["MixtralForCausalLM"])),
        ("model_type", "mixtral".into()),
        ("num_local_experts", 2.into()),
        ("num_experts_per_tok", 1.into()),
        ("intermediate_size", (width / 2).into()),
    ] {
        config[field] = value;
    }
    config.to_string()
}

/// The embedded recording, extended to show everything.
fn recorded() -> Capture {
    let mut capture = Capture::demo().unwrap();
    let gpu = capture.manifest.gpu.as_mut().unwrap();
    gpu.count = 2;
    gpu.uuids = vec!["GPU-0".to_owned(), "GPU-1".to_owned()];
    gpu.nvlink = Some(true);
    capture.model_config = capture.model_config.as_deref().map(with_experts);
    let arguments = &mut capture.manifest.vllm_args;
    let limit = arguments.iter().position(|word| word == "--max-num-seqs");
    arguments.drain(limit.unwrap()..limit.unwrap() + 2);
    arguments.extend(["--tensor-parallel-size".to_owned(), "2".to_owned()]);
    for reading in &mut capture.readings {
        reading.utilization_gpu_percent = Some(100.0);
        let gpm = reading.gpm.as_mut().unwrap();
        gpm.nvlink_tx_mib_per_second = Some(100.0);
        gpm.nvlink_rx_mib_per_second = Some(100.0);
        gpm.pcie_tx_mib_per_second = Some(10.0);
        gpm.pcie_rx_mib_per_second = Some(10.0);
    }
    let second = capture.readings.iter().cloned().map(|mut reading| {
        reading.gpu = 1;
        reading
    });
    let second: Vec<_> = second.collect();
    capture.readings.extend(second);
    capture
        .readings
        .sort_by(|one, other| one.t.total_cmp(&other.t));
    for page in &mut capture.pages {
        let body = page.body.take().unwrap();
        page.body = Some(body.replace("vllm:num_requests_waiting", "vllm:requests_waiting"));
    }
    // Setting the clock back discards a span.
    let late = &mut capture.pages[3];
    late.t_end = Some(late.t_start - 2.5);
    capture
}

fn around(time: Seconds) -> SnapshotContext {
    let vllm = SourceStatus {
        source: "vllm",
        target: None,
        success: Some(true),
        last_success: Some(time),
        read_seconds: Some(Seconds(0.004)),
        error: None,
        errors: BTreeMap::from([("timeout", 1)]),
    };
    SnapshotContext {
        time,
        vllm_url: "http://127.0.0.1:8000".to_owned(),
        sources: vec![vllm],
        reachable: true,
        reload: Some(Reload {
            successful: true,
            last_success: time,
        }),
        gpus_since: Seconds(f64::NEG_INFINITY),
    }
}

/// The page with six digits of each number, which are the same on every machine, and without build-dependent values.
fn stable(page: &str) -> String {
    let line = |line: &str| match line.rsplit_once(' ') {
        _ if line.starts_with('#') => format!("{line}\n"),
        _ if line.starts_with(BUILD_INFO.name) => {
            let labels = BUILD_INFO.labels.join("=\"…\",");
            format!("{}{{{labels}=\"…\"}} 1\n", BUILD_INFO.name)
        }
        Some((series, value)) => format!("{series} {:.5e}\n", value.parse::<f64>().unwrap()),
        None => format!("{line}\n"),
    };
    page.lines().map(line).collect()
}
