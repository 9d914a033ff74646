//! How long a static prediction takes: one whole answer (budget 10 ms as a process) and a grid of a million steps (budget 2 s).

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use vllm_roofline_exporter::predict::{Predictor, Scenario, Serving, Targets, Workload};
use vllm_roofline_exporter::roofline::coefficients::Coefficients;
use vllm_roofline_exporter::roofline::step::RequestGroup;
use vllm_roofline_exporter::spec::deployment::DeploymentFlags;
use vllm_roofline_exporter::spec::gpu::GpuTable;
use vllm_roofline_exporter::spec::model::ModelSpec;
use vllm_roofline_exporter::units::Seconds;

const GRID: u32 = 1000;

/// gpt-oss-120b on one H100: experts, windows, sinks; parsed from text as the command does.
fn scenario() -> Scenario {
    let config = json!({"model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_local_experts": 128,
        "num_experts_per_tok": 4, "num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
        "vocab_size": 201_088, "attention_bias": true, "sliding_window": 128, "max_position_embeddings": 131_072,
        "quantization_config": {"quant_method": "mxfp4"}});
    let table = GpuTable::embedded().unwrap_or_else(|error| panic!("{error}"));
    let gpu = table.find("H100").unwrap_or_else(|error| panic!("{error}"));
    let model = ModelSpec::from_json(&config.to_string()).unwrap_or_else(|error| panic!("{error}"));
    Scenario {
        name: "gpt-oss-120b".to_owned(),
        model,
        gpu: Some(gpu.clone()),
        flags: DeploymentFlags::default(),
        coefficients: Coefficients::default(),
        workload: Workload::Serving(Serving {
            input_tokens: 1024.0,
            cached_tokens: 0.0,
            output_tokens: 256.0,
            batch: 32.0,
        }),
        targets: Targets {
            ttft: Seconds(0.5),
            tpot: Seconds(0.1),
        },
    }
}

/// The expected seconds of all steps with 1 to 1,000 requests and 1,000 contexts, summed.
fn grid(predictor: &Predictor) -> Seconds {
    let Some(roof) = &predictor.roof else {
        return Seconds::ZERO;
    };
    let mut sum = Seconds::ZERO;
    for batch in 1..=GRID {
        for context in 0..GRID {
            let group = RequestGroup::decode(f64::from(batch), f64::from(context) * 16.0);
            let work = predictor.shard.work_of_step(&[group]);
            sum += roof.bound(&work) + roof.expected(&work);
        }
    }
    sum
}

fn benches(criterion: &mut Criterion) {
    criterion.bench_function(
        "static: one answer from text, advice included (budget 10 ms)",
        |bencher| {
            bencher.iter(|| black_box(scenario().predict()));
        },
    );
    let predictor = scenario()
        .predictor()
        .unwrap_or_else(|error| panic!("{error}"));
    let mut group = criterion.benchmark_group("static");
    group.sample_size(10);
    group.bench_function("a grid of a million steps (budget 2 s)", |bencher| {
        bencher.iter(|| black_box(grid(&predictor)));
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
