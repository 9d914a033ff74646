//! Routers with skewed expert usage, detected from GPM's measurements.

#![allow(clippy::unwrap_used, reason = "a test may fail that way")]

use std::path::Path;

use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::command::replay::replay;
use vllm_roofline_exporter::config::Settings;
use vllm_roofline_exporter::meter::figures::Figures;

/// A router that uses half of the configured experts reads as little as one with half as many experts.
#[test]
fn experts_that_the_router_leaves_out_are_found_by_what_gpm_measured() {
    let capture = Capture::open(Path::new("tests/fixtures/captures/qwen3-moe-24l-bf16")).unwrap();
    let real: u64 = 128;
    let mut config: serde_json::Value =
        serde_json::from_str(capture.model_config.as_deref().unwrap()).unwrap();
    assert_eq!(config["num_experts"], real);
    config["num_experts"] = (2 * real).into();
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("config.json"), config.to_string()).unwrap();
    let mut settings = Settings::defaults().unwrap();
    let replayed = |settings: &Settings| replay(&capture, settings).unwrap().phases;
    let real_phases = replayed(&settings);
    settings.deployment.model = Some(place.path().to_str().unwrap().to_owned());
    let phases = replayed(&settings);
    let named = |phases: &[Figures], name: &str| {
        let found = phases
            .iter()
            .find(|phase| phase.name.as_deref() == Some(name));
        found.unwrap().clone()
    };

    for name in ["decode_c16", "mixed_c64"] {
        let skewed = named(&phases, name);
        let (found, uniform) = (
            skewed.routed_experts.effective.unwrap(),
            skewed.routed_experts.uniform.unwrap(),
        );
        let true_uniform = named(&real_phases, name).routed_experts.uniform.unwrap();
        assert!(uniform > 1.2 * true_uniform, "{name}: {uniform}");
        assert!(
            (found / true_uniform - 1.0).abs() < 0.1,
            "{name}: {found} of {true_uniform}"
        );
        let ratio = skewed.hbm_bytes.unwrap().0 / skewed.hbm_bytes_measured.unwrap().0;
        assert!((ratio - 1.0).abs() < 0.1, "{name}: {ratio}");
        assert!(
            skewed
                .caveats
                .iter()
                .any(|caveat| caveat.contains("prefers some experts"))
        );
    }
    let decode = named(&real_phases, "decode_c16");
    assert_eq!(
        decode.routed_experts.effective,
        decode.routed_experts.uniform
    );
    assert!(
        named(&phases, "decode_c1")
            .routed_experts
            .effective
            .is_none()
    );
}
