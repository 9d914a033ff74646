//! A restart with other flags, on the page and in the API: two recordings of the same model in sequence.

use roofline::units::Seconds;
use serde_json::Value;
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::config::Settings;
use vllm_roofline_exporter::export::verdict_json;
use vllm_roofline_exporter::landing;
use vllm_roofline_exporter::meter::Meter;
use vllm_roofline_exporter::player::{CapturePlayer, engines_of};
use vllm_roofline_exporter::snapshot::Snapshot;
use vllm_roofline_exporter::snapshot::memory::Memory;
use vllm_roofline_exporter::snapshot::take::SnapshotContext;

/// One exporter that reads one vLLM after another.
struct Exporter {
    settings: Settings,
    meter: Meter,
    memory: Memory,
    now: Seconds,
}

impl Exporter {
    fn new() -> Self {
        let settings = Settings::defaults().unwrap();
        Self {
            meter: Meter::new(settings.meter()),
            memory: Memory::default(),
            now: Seconds(1e9),
            settings,
        }
    }

    /// Reads the recording of `name`, one second after the previous one.
    fn see(&mut self, name: &str) -> Snapshot {
        let directory = format!("tests/fixtures/captures/{name}");
        let capture = Capture::open(directory.as_ref()).unwrap();
        let facts = CapturePlayer::new(&capture, &self.settings)
            .unwrap()
            .facts();
        let shift = self.now + Seconds(1.0) - capture.pages[0].time();
        let mut newest = Snapshot::default();
        for line in &capture.pages {
            let Some(mut engines) = engines_of(line) else {
                continue;
            };
            self.now = line.time() + shift;
            for engine in &mut engines {
                engine.time = self.now;
            }
            self.meter.observe_engines(engines, |_| facts.clone());
            for engine in self.meter.engines.values_mut() {
                engine.facts = facts.clone();
            }
            let around = SnapshotContext {
                time: self.now,
                vllm_url: String::new(),
                sources: Vec::new(),
                reachable: true,
                reload: None,
                gpus_since: Seconds(f64::NEG_INFINITY),
            };
            newest = Snapshot::take(&mut self.meter, &mut self.memory, &self.settings, around);
        }
        newest
    }
}

fn events(snapshot: &Snapshot) -> Vec<Value> {
    let history = verdict_json::history(snapshot);
    history["engines"][0]["events"].as_array().unwrap().clone()
}

#[test]
fn a_restart_with_other_flags_is_told_with_what_it_did() {
    let mut exporter = Exporter::new();
    assert_eq!(
        events(&exporter.see("llama-3.1-8b-kv-starved")),
        [] as [Value; 0]
    );
    let after = exporter.see("llama-3.1-8b-bf16");

    let [event] = &events(&after)[..] else {
        panic!("{:?}", events(&after));
    };
    assert_eq!(event["kind"], "restart");
    let changed = event["changed"].to_string();
    assert!(changed.contains("gpu-memory-utilization"), "{changed}");
    let figures = event["figures"].as_array().unwrap();
    let names: Vec<_> = figures
        .iter()
        .map(|moved| moved["figure"].as_str().unwrap())
        .collect();
    for figure in ["output_tokens_per_second", "waiting"] {
        assert!(names.contains(&figure), "{names:?}");
    }

    let history = verdict_json::history(&after);
    let points = history["engines"][0]["points"].as_array().unwrap();
    let restarted = event["time"].as_f64().unwrap();
    let before = points
        .iter()
        .filter(|point| point["time"].as_f64().unwrap() < restarted);
    assert!(before.count() >= 5, "the history outlives the restart");

    let page = landing::page(Some(&after), &exporter.settings).unwrap();
    assert!(page.contains("vLLM restarted: "), "{page}");
    assert!(page.contains("<line class=\"event\""));
}

#[test]
fn a_restart_with_the_same_flags_says_so() {
    let mut exporter = Exporter::new();
    exporter.see("llama-3.1-8b-bf16");
    let after = exporter.see("llama-3.1-8b-bf16");
    let [event] = &events(&after)[..] else {
        panic!("{:?}", events(&after));
    };
    assert_eq!(event["changed"], serde_json::json!([]));
    let page = landing::page(Some(&after), &exporter.settings).unwrap();
    assert!(page.contains("vLLM restarted, deployed as before"));
}
