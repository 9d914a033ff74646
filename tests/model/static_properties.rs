//! Invariants of the static roofline for any model, batch and parallelism.

#![expect(clippy::expect_used, reason = "a test may panic")]

use std::sync::LazyLock;

use proptest::prelude::*;
use roofline::cost::ceiling::Ceiling;
use roofline::cost::coefficients::Coefficients;
use roofline::cost::shard::Shard;
use roofline::cost::step::{RequestGroup, StepWork};
use roofline::cost::timing::StepTimer;
use roofline::spec::deployment::{Deployment, DeploymentFlags};
use roofline::spec::gpu::{GpuSpec, GpuTable};
use roofline::spec::model::ModelSpec;
use roofline::spec::precision::Precision;
use roofline::units::Intensity;
use serde_json::{Value, json};

static H100: LazyLock<GpuSpec> = LazyLock::new(|| {
    let table = GpuTable::embedded().expect("parses");
    table.find("H100").expect("known").clone()
});

fn deployment(config: &Value, line: &str) -> Deployment {
    let words: Vec<&str> = line.split_whitespace().collect();
    let flags = DeploymentFlags::from_vllm_command_line(&words).expect("readable");
    let model = ModelSpec::from_config(config).expect("complete");
    Deployment::new(model, Some(H100.clone()), &flags).expect("runs")
}

fn work(config: &Value, line: &str, groups: &[RequestGroup]) -> StepWork {
    Shard::of(&deployment(config, line)).work_of_step(groups)
}

fn dense() -> Value {
    json!({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
           "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256, "torch_dtype": "bfloat16"})
}

fn experts() -> Value {
    json!({"model_type": "qwen3_moe", "hidden_size": 2048, "moe_intermediate_size": 768, "intermediate_size": 6144, "num_experts": 128,
           "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
           "vocab_size": 151_936, "torch_dtype": "bfloat16"})
}

fn windowed() -> Value {
    json!({"model_type": "gemma2", "hidden_size": 3584, "intermediate_size": 14336, "num_hidden_layers": 42, "num_attention_heads": 16,
           "num_key_value_heads": 8, "head_dim": 256, "vocab_size": 256_000, "sliding_window": 4096, "torch_dtype": "bfloat16"})
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-9 * left.abs().max(right.abs())
}

fn any_group() -> impl Strategy<Value = RequestGroup> {
    (1.0..64_f64, 1.0..2048_f64, 0.0..8192_f64, any::<bool>()).prop_map(
        |(count, new, cached, is_prefill)| RequestGroup {
            count,
            new_tokens: if is_prefill { new } else { 1.0 },
            cached_tokens_before: cached,
            is_prefill,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunks_of_a_prefill_add_up_to_the_whole(first in 1.0..4096_f64, second in 1.0..4096_f64) {
        for config in [dense(), experts(), windowed()] {
            let whole = work(&config, "", &[RequestGroup::prefill(1.0, first + second, 0.0)]).flops;
            let head = work(&config, "", &[RequestGroup::prefill(1.0, first, 0.0)]).flops;
            let tail = work(&config, "", &[RequestGroup::prefill(1.0, second, first)]).flops;
            prop_assert!(close(whole.attention.0, head.attention.0 + tail.attention.0));
            prop_assert!(close(whole.linear.0, head.linear.0 + tail.linear.0));
        }
    }

    #[test]
    fn requests_of_a_step_share_its_weights_and_nothing_else(left in any_group(), right in any_group()) {
        let together = work(&dense(), "", &[left, right]);
        let (one, other) = (work(&dense(), "", &[left]), work(&dense(), "", &[right]));
        prop_assert!(close(together.flops.total().0, one.flops.total().0 + other.flops.total().0));
        prop_assert!(close(together.bytes.kv_read.0, one.bytes.kv_read.0 + other.bytes.kv_read.0));
        prop_assert!(close(together.bytes.weights.0, one.bytes.weights.0));
    }

    #[test]
    fn more_work_never_costs_less(group in any_group(), more in 1.0..64_f64) {
        for config in [dense(), experts(), windowed()] {
            let less = work(&config, "", &[group]);
            let larger = work(&config, "", &[RequestGroup { count: group.count + more, ..group }]);
            prop_assert!(larger.flops.total() >= less.flops.total());
            prop_assert!(larger.bytes.total() >= less.bytes.total());
            prop_assert!(larger.activation_bytes >= less.activation_bytes);
        }
    }

    #[test]
    fn what_is_expected_never_beats_the_bound(group in any_group()) {
        for config in [dense(), experts(), windowed()] {
            let deployment = deployment(&config, "");
            let shard = Shard::of(&deployment);
            let h100 = &*H100;
            let ceiling = Ceiling::theoretical(h100);
            let step = shard.work_of_step(&[group]);
            let bound = step.compute_seconds(&ceiling).max(step.memory_seconds(&ceiling));
            let timer = StepTimer::new(&deployment, &shard, h100, Coefficients::default());
            prop_assert!(timer.expected(&step).total() >= bound);
        }
    }

    #[test]
    fn the_roof_rises_to_the_ridge_and_stays(intensity in 0.01..10_000_f64) {
        let ceiling = Ceiling::theoretical(&H100);
        let roof = ceiling.roof(Precision::Bf16, Intensity(intensity));
        prop_assert!(roof <= ceiling.peak(Precision::Bf16));
        let ridge = ceiling.ridge(Precision::Bf16);
        prop_assert!(close(ceiling.roof(Precision::Bf16, ridge).0, ceiling.peak(Precision::Bf16).0));
        prop_assert!((Intensity(intensity) < ridge) == (roof < ceiling.peak(Precision::Bf16)));
    }
}

#[test]
fn stages_of_a_pipeline_share_the_whole() {
    let groups = [RequestGroup::decode(16.0, 1000.0)];
    let whole = work(&dense(), "", &groups);
    let staged = work(&dense(), "-pp 4", &groups);
    assert!(close(staged.flops.total().0 * 4.0, whole.flops.total().0));
    assert!(close(staged.bytes.total().0 * 4.0, whole.bytes.total().0));
    assert!(staged.communication.point_to_point.0 > 0.0);
}

#[test]
fn tensor_ranks_share_matrices_and_repeat_scarce_kv_heads() {
    let groups = [RequestGroup::decode(16.0, 1000.0)];
    let kv = |line: &str| work(&experts(), line, &groups).bytes.kv_read.0;
    assert!(close(kv("-tp 4") * 4.0, kv("")));
    assert!(close(kv("-tp 8"), kv("-tp 4")));
    let linear = |line: &str| work(&dense(), line, &groups).flops.linear.0;
    assert!(close(linear("-tp 8") * 8.0, linear("")));
}

#[test]
fn experts_are_spread_over_replicas_not_repeated() {
    let groups = [RequestGroup::decode(16.0, 1000.0)];
    let alone = work(&experts(), "", &groups);
    let spread = work(&experts(), "-dp 4 -ep", &groups);
    assert!(close(
        spread.flops.routed_experts.0,
        alone.flops.routed_experts.0
    ));
    assert!(spread.bytes.routed_experts < alone.bytes.routed_experts);
    assert!(spread.communication.point_to_point.0 > 0.0);
    let resident = |line: &str| {
        Shard::of(&deployment(&experts(), line))
            .resident_weights()
            .0
    };
    assert!(resident("-dp 4 -ep") < resident("") / 2.0);
}

#[test]
fn a_verification_computes_logits_for_every_proposed_token() {
    let verify = RequestGroup {
        new_tokens: 5.0,
        ..RequestGroup::decode(8.0, 500.0)
    };
    let step = work(&dense(), "", &[verify]);
    assert!(close(step.logits_rows, 40.0));
    let prefill = work(&dense(), "", &[RequestGroup::prefill(8.0, 5.0, 500.0)]);
    assert!(close(prefill.logits_rows, 8.0));
}

#[test]
fn a_step_without_tokens_costs_nothing() {
    assert_eq!(work(&dense(), "", &[]), StepWork::default());
}
