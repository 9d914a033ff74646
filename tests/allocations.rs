//! Parsing a page allocates nothing per sample.

use allocation_counter::measure;
use vllm_roofline_exporter::exposition::{Line, Lines};

const PAGES: [&str; 2] = [
    include_str!("fixtures/vllm/vllm-0.32.0-cpu-after-load.prom"),
    include_str!("fixtures/vllm/vllm-0.32.0-cpu-dp2.prom"),
];

/// Reads every line and every label.
fn samples(lines: Lines<'_>) -> usize {
    let mut samples = 0;
    for line in lines {
        if let Ok(Line::Sample(sample)) = line {
            samples += 1;
            assert!(sample.labels.iter().all(|(name, _)| !name.is_empty()));
        }
    }
    samples
}

#[test]
fn samples_are_read_without_allocating() {
    for page in PAGES {
        for (what, lines) in [
            ("all", Lines::new(page)),
            ("needed", Lines::new(page).only(&["vllm:"])),
        ] {
            let mut read = 0;
            let counted = measure(|| read = samples(lines));
            assert!(read > 300, "{read} samples");
            assert_eq!(counted.count_total, 0, "{what}: {read} samples");
        }
    }
    // The allocation counter works.
    assert!(measure(|| drop(vec![0_u8; 10])).count_total > 0);
}
