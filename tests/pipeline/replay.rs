//! The recording of a real H100 through the whole core: figures validated against the hardware's own counters.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use roofline::bound::{Admission, Bound};
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::command::replay::replay;
use vllm_roofline_exporter::config::Settings;

#[test]
fn modelled_bytes_agree_with_gpm_and_bounds_with_the_load() {
    let replay = replay(&Capture::demo().unwrap(), &Settings::defaults().unwrap()).unwrap();
    let expected = [
        ("decode_c8", Bound::MemoryBandwidth, Admission::Open),
        ("mixed_c64", Bound::Compute, Admission::Open),
        ("prefill_c8", Bound::Compute, Admission::TokenBudget),
        (
            "starved_c128",
            Bound::MemoryBandwidth,
            Admission::KvCapacity,
        ),
        ("decode_c64", Bound::MemoryBandwidth, Admission::Open),
    ];
    assert_eq!(replay.phases.len(), expected.len());
    for (phase, (name, bound, admission)) in replay.phases.iter().zip(expected) {
        assert_eq!(phase.name.as_deref(), Some(name));
        assert_eq!((phase.bound, phase.admission), (bound, admission), "{name}");
        let (modelled, measured) = (
            phase.hbm_bytes.unwrap().0,
            phase.hbm_bytes_measured.unwrap().0,
        );
        assert!(
            (modelled / measured - 1.0).abs() < 0.08,
            "{name}: {:.3}",
            modelled / measured
        );
        assert!(
            phase.mfu.unwrap() < 1.0 && phase.mbu.unwrap() < 1.0,
            "{name} is above the roof"
        );
    }
}

#[test]
fn the_components_of_time_add_up_to_wall_time() {
    let replay = replay(&Capture::demo().unwrap(), &Settings::defaults().unwrap()).unwrap();
    assert!(!replay.windows.is_empty());
    for window in replay.windows.iter().chain(&replay.phases) {
        let parts: f64 = window
            .time_seconds
            .unwrap()
            .components()
            .iter()
            .map(|(_, part)| part.0)
            .sum();
        assert!(
            (parts / window.seconds.0 - 1.0).abs() < 0.01,
            "{parts} of {}",
            window.seconds.0
        );
    }
}
