//! A capture of several engines: each has its own figures, with its own GPU.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use serde_json::Value;
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::command::replay::{Replay, replay};
use vllm_roofline_exporter::config::Settings;

const RECORDED: &str = "tests/fixtures/captures/qwen2.5-0.5b-bf16";

fn recorded() -> Capture {
    Capture::open(RECORDED.as_ref()).unwrap()
}

fn played(capture: &Capture) -> Replay {
    replay(capture, &Settings::defaults().unwrap()).unwrap()
}

/// The same capture with a second engine on a second GPU that did exactly the same.
fn doubled(mut capture: Capture) -> Capture {
    for body in capture
        .pages
        .iter_mut()
        .filter_map(|line| line.body.as_mut())
    {
        let of_second: String = body
            .lines()
            .filter(|line| !line.starts_with('#') && line.contains("engine=\"0\""))
            .map(|line| line.replace("engine=\"0\"", "engine=\"1\"") + "\n")
            .collect();
        *body = format!("{}\n{of_second}", body.trim_end());
    }
    let readings = std::mem::take(&mut capture.readings);
    capture.readings = readings
        .into_iter()
        .flat_map(|first| {
            let mut second = first.clone();
            second.gpu = 1;
            [first, second]
        })
        .collect();
    capture.manifest.gpu.as_mut().unwrap().count = 2;
    capture
}

#[test]
fn engines_that_do_the_same_have_the_figures_of_one() {
    let (alone, both) = (played(&recorded()), played(&doubled(recorded())));
    assert_eq!(both.phases.len(), 2 * alone.phases.len());
    assert_eq!(both.windows.len(), 2 * alone.windows.len());
    for (place, phase) in both.phases.iter().enumerate() {
        let engine = (place % 2).to_string();
        assert_eq!(phase.engine.as_deref(), Some(engine.as_str()));
        let mut shown = serde_json::to_value(phase).unwrap();
        let mut expected = serde_json::to_value(&alone.phases[place / 2]).unwrap();
        for figures in [&mut shown, &mut expected] {
            figures.as_object_mut().unwrap().remove("engine");
        }
        assert_eq!(shown, expected);
        assert_ne!(shown["hbm_bytes_measured"], Value::Null);
    }
}
