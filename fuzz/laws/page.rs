//! vLLM's page: pages of one server, one second apart, lead to a well-formed and finite page of ours.

use std::sync::LazyLock;

use roofline::spec::deployment::DeploymentFlags;
use roofline::spec::gpu::GpuTable;
use roofline::units::Seconds;
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::config::Settings;
use vllm_roofline_exporter::export::snapshot_json;
use vllm_roofline_exporter::exposition::{Exposition, utf8};
use vllm_roofline_exporter::landing;
use vllm_roofline_exporter::meter::Meter;
use vllm_roofline_exporter::sample::page;
use vllm_roofline_exporter::sampler::Published;
use vllm_roofline_exporter::snapshot::Snapshot;
use vllm_roofline_exporter::snapshot::memory::Memory;
use vllm_roofline_exporter::snapshot::take::SnapshotContext;
use vllm_roofline_exporter::source::discovery::{DiscoveryInputs, KnownValue};

/// The fixed inputs: settings, and an 8B model on an H100.
struct Known8B {
    settings: Settings,
    table: GpuTable,
    clues: DiscoveryInputs,
}

static KNOWN: LazyLock<Known8B> = LazyLock::new(|| {
    let capture = Capture::demo().expect("embedded");
    Known8B {
        settings: Settings::defaults().expect("embedded"),
        table: GpuTable::embedded().expect("embedded"),
        clues: DiscoveryInputs {
            model_config: capture.model_config.map(|value| {
                let origin = "the recording".to_owned();
                Ok(KnownValue { value, origin })
            }),
            flags: DeploymentFlags::from_vllm_command_line(&capture.manifest.vllm_args)
                .expect("recorded"),
            gpu: Some("H100".to_owned()),
            ..DiscoveryInputs::default()
        },
    }
});

/// `data` as pages separated by zero bytes.
pub fn holds(data: &[u8]) {
    let known = &*KNOWN;
    let mut meter = Meter::new(known.settings.meter());
    let mut memory = Memory::default();
    for (second, part) in super::parts(data).take(4).enumerate() {
        let time = Seconds(1e9 + second as f64);
        let Ok(text) = utf8(part) else { continue };
        let reachable = match page::read(text, time) {
            Ok(engines) => {
                meter.observe_engines(engines, |totals| known.clues.facts(&known.table, totals, 0));
                true
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                meter.miss(time);
                false
            }
        };
        let around = SnapshotContext {
            time,
            vllm_url: "http://127.0.0.1:8000".to_owned(),
            sources: Vec::new(),
            reachable,
            reload: None,
            gpus_since: Seconds(f64::NEG_INFINITY),
        };
        is_sound(Snapshot::take(
            &mut meter,
            &mut memory,
            &known.settings,
            around,
        ));
    }
}

fn is_sound(snapshot: Snapshot) {
    let settings = &KNOWN.settings;
    let html = landing::page(Some(&snapshot), settings);
    assert!(html.is_ok(), "{html:?}");
    super::is_json(&snapshot_json::of(&snapshot).to_string());
    let published = Published::new(snapshot, false);
    for text in [published.text(), published.openmetrics()] {
        let bytes = text.plain();
        let text = utf8(&bytes).expect("a string");
        let (page, errors) = Exposition::parse(text);
        assert_eq!(errors, [], "{text}");
        for sample in page.samples() {
            assert!(sample.value.is_finite(), "{sample}");
        }
    }
}
