//! How fast a real vLLM page is read. Budgets stand in `benches/peers/run.sh`, which runs other parsers on the same page.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vllm_roofline_exporter::exposition::{Exposition, Line, Lines};

const PAGE: &str = include_str!("../tests/fixtures/vllm/vllm-0.32.0-cpu-after-load.prom");
const NEEDED: [&str; 3] = ["vllm:", "vllm_", "ray_vllm_"];

/// Every line, and every label of every sample.
fn full(page: &str) -> (f64, usize) {
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

/// What a tick needs: vLLM's own samples and their engine.
fn needed(page: &str) -> f64 {
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

fn exposition(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exposition");
    group.throughput(Throughput::Bytes(PAGE.len() as u64));
    group.bench_function("full", |bencher| bencher.iter(|| full(black_box(PAGE))));
    group.bench_function("needed", |bencher| bencher.iter(|| needed(black_box(PAGE))));
    group.bench_function("families", |bencher| {
        bencher.iter(|| Exposition::parse(black_box(PAGE)));
    });
    group.finish();
}

criterion_group!(benches, exposition);
criterion_main!(benches);
