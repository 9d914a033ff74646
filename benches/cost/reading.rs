//! Parses a real vLLM page, shared by the benches.

use vllm_roofline_exporter::exposition::{Line, Lines};

pub(crate) const PAGE: &str =
    include_str!("../../tests/fixtures/vllm/vllm-0.32.0-cpu-after-load.prom");
const NEEDED: [&str; 3] = ["vllm:", "vllm_", "ray_vllm_"];

/// Every line, and every label of every sample.
pub(crate) fn full(page: &str) -> (f64, usize) {
    let (mut sum, mut bytes) = (0.0, 0);
    for line in Lines::new(page) {
        if let Ok(Line::Sample(sample)) = line {
            sum += sample.value;
            for (name, value) in sample.labels.iter() {
                bytes += name.len() + value.len();
            }
        }
    }
    (sum, bytes)
}

/// The samples that a tick needs: vLLM's own, with their engine.
pub(crate) fn needed(page: &str) -> f64 {
    let mut sum = 0.0;
    for line in Lines::new(page).only(&NEEDED) {
        if let Ok(Line::Sample(sample)) = line
            && sample.labels.get("engine").as_deref() == Some("0")
        {
            sum += sample.value;
        }
    }
    sum
}
