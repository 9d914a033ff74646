//! `StepTimer`: how long a step is expected to take, and on what the time goes.
//!
//! The GPU runs one operation after another, each the larger of its compute and its memory time at the attainable ceilings, and small
//! kernels in between. Meanwhile the engine's process prepares the next step and the API server hands out the tokens of the last.
//! Each can be what all wait for; where two take about as long, they get in each other's way:
//!
//! `t = ∛(gpu³ + engine³ + frontend³)`
//!
//! `gpu = step + L·between + Σ max(F/peak, B/bandwidth) + communication`, `engine = step + R·sequence (+ L·launch without CUDA graphs)`,
//! `frontend = R·output + P·prompt`, with L layers, R rows of logits and P prompt tokens. The cube is the lowest power that meets the
//! recorded steps of 1 to 256 sequences of a large and a small model alike.

use super::ceiling::Ceiling;
use super::coefficients::Coefficients;
use super::shard::Shard;
use super::step::StepWork;
use crate::spec::deployment::Deployment;
use crate::spec::gpu::GpuSpec;
use crate::spec::{to_f64, to_u64};
use crate::units::{Bytes, Flops, Seconds};

/// Where the expected time of a step goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepTime {
    /// Operations that arithmetic limits.
    pub compute: Seconds,
    /// Operations that memory limits.
    pub memory: Seconds,
    /// Traffic between GPUs.
    pub communication: Seconds,
    /// Launches, scheduling, the host.
    pub overhead: Seconds,
}

impl StepTime {
    /// The whole step.
    #[must_use]
    pub fn total(&self) -> Seconds {
        self.compute + self.memory + self.communication + self.overhead
    }

    /// Adds an operation to the side that limits it.
    fn add(&mut self, compute: Seconds, memory: Seconds) {
        if compute > memory {
            self.compute += compute;
        } else {
            self.memory += memory;
        }
    }
}

/// What the steps of one deployment are timed with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepTimer {
    ceiling: Ceiling,
    coefficients: Coefficients,
    /// Kernels of a step outside the operations.
    between: Seconds,
    /// What the engine's process needs of a step, whatever is in it.
    engine: Seconds,
    /// Seconds per FLOP of projections and MLPs, of routed experts, and of everything else.
    linear: f64,
    experts: f64,
    base: f64,
    vocabulary: f64,
}

impl StepTimer {
    /// The timer of `deployment`'s `shard` on `gpu`.
    #[must_use]
    pub fn new(
        deployment: &Deployment,
        shard: &Shard,
        gpu: &GpuSpec,
        coefficients: Coefficients,
    ) -> Self {
        let ceiling = Ceiling::attainable(gpu, &coefficients);
        let efficiency = coefficients.compute_efficiency.value;
        let per_flop = |precision| (Flops(1.0) / ceiling.peak(precision)).0 / efficiency;
        let linear_total: Flops = shard.linear_flops.iter().map(|(_, flops)| flops).sum();
        let linear_time: f64 = shard
            .linear_flops
            .iter()
            .map(|(precision, flops)| flops.0 * per_flop(precision))
            .sum();
        let layers =
            to_f64(to_u64(deployment.model.layers.len())) / to_f64(deployment.parallelism.pipeline);
        let eager = if deployment.limits.enforce_eager {
            coefficients.engine_seconds_per_eager_layer.value
        } else {
            0.0
        };
        Self {
            ceiling,
            coefficients,
            between: Seconds(
                coefficients.seconds_per_step.value + coefficients.seconds_per_layer.value * layers,
            ),
            engine: Seconds(coefficients.engine_seconds_per_step.value + eager * layers),
            linear: linear_time / linear_total.0,
            experts: shard
                .experts
                .first()
                .map_or(0.0, |layers| per_flop(layers.precision)),
            base: per_flop(shard.base_precision()),
            vocabulary: shard.vocabulary,
        }
    }

    /// What a request's first token takes beside its steps.
    #[must_use]
    pub const fn per_request(&self) -> Seconds {
        Seconds(self.coefficients.seconds_per_request.value)
    }

    /// The attainable ceilings that it uses.
    #[must_use]
    pub const fn ceiling(&self) -> &Ceiling {
        &self.ceiling
    }

    /// Expected time of one step on one GPU.
    #[must_use]
    pub fn expected(&self, work: &StepWork) -> StepTime {
        let mut time = self.operations(work);
        time.communication = work.communication.seconds(&self.ceiling.link);
        let counted = time.total();
        let gpu = counted + self.between;
        let costs = &self.coefficients;
        let engine =
            self.engine + Seconds(costs.engine_seconds_per_sequence.value * work.logits_rows);
        let frontend = Seconds(
            costs.frontend_seconds_per_output_token.value * work.logits_rows
                + costs.frontend_seconds_per_prompt_token.value * work.prompt_tokens,
        );
        time.overhead = together(&[gpu, engine, frontend]) - counted;
        time
    }

    /// The roofline of each operation, one after another.
    #[must_use]
    pub fn operations(&self, work: &StepWork) -> StepTime {
        let (flops, bytes) = (&work.flops, &work.bytes);
        let memory = |bytes: Bytes| bytes / self.ceiling.hbm;
        let base = |flops: Flops| Seconds(flops.0 * self.base);
        let mut time = StepTime::default();
        let linear = Seconds(flops.linear.0 * self.linear) + base(flops.router);
        time.add(
            linear,
            memory(bytes.weights + bytes.embedding + work.activation_bytes),
        );
        time.add(
            Seconds(flops.routed_experts.0 * self.experts),
            memory(bytes.routed_experts),
        );
        time.add(
            base(flops.attention),
            memory(bytes.kv_read + bytes.kv_write + self.extra_reads(work)),
        );
        time.add(base(flops.recurrence), memory(bytes.state));
        time.add(base(flops.lm_head), memory(bytes.lm_head));
        time.add(Seconds::ZERO, memory(self.sampling(work)));
        time
    }

    /// What attention reads of each sequence beside its tokens.
    fn extra_reads(&self, work: &StepWork) -> Bytes {
        let extra = self.coefficients.attention_extra_tokens.value * work.requests;
        work.bytes.kv_write * (extra / work.tokens.max(1.0))
    }

    fn sampling(&self, work: &StepWork) -> Bytes {
        let per_logit = self.coefficients.sampling_bytes_per_logit.value;
        Bytes(per_logit * self.vocabulary * work.logits_rows)
    }
}

/// How long processes take that wait for each other: the longest, and more where others take about as long.
fn together(parts: &[Seconds]) -> Seconds {
    let cubes: f64 = parts.iter().map(|part| part.0.powi(3)).sum();
    Seconds(cubes.cbrt())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cost::step::RequestGroup;
    use crate::spec::deployment::DeploymentFlags;
    use crate::spec::gpu::GpuTable;
    use crate::spec::model::ModelSpec;

    fn llama_3_8b() -> serde_json::Value {
        json!({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
               "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256, "torch_dtype": "bfloat16"})
    }

    fn qwen_half_b() -> serde_json::Value {
        json!({"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
               "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": true,
               "torch_dtype": "bfloat16"})
    }

    fn expected(config: &serde_json::Value, group: RequestGroup) -> StepTime {
        let table = GpuTable::embedded().expect("parses");
        let gpu = table.find("H100").expect("known");
        let model = ModelSpec::from_config(config).expect("complete");
        let deployment =
            Deployment::new(model, Some(gpu.clone()), &DeploymentFlags::default()).expect("runs");
        let shard = Shard::of(&deployment);
        StepTimer::new(&deployment, &shard, gpu, Coefficients::default())
            .expected(&shard.work_of_step(&[group]))
    }

    #[test]
    fn recorded_steps_are_met() {
        for (config, group, recorded, tolerance) in [
            (
                llama_3_8b(),
                RequestGroup::decode(1.0, 190.0),
                6.45e-3,
                0.05,
            ),
            (
                llama_3_8b(),
                RequestGroup::decode(8.0, 250.0),
                6.63e-3,
                0.05,
            ),
            (
                llama_3_8b(),
                RequestGroup::decode(64.0, 320.0),
                7.94e-3,
                0.1,
            ),
            (
                llama_3_8b(),
                RequestGroup::prefill(2.0, 4096.0, 0.0),
                0.2,
                0.1,
            ),
            (
                qwen_half_b(),
                RequestGroup::decode(1.0, 190.0),
                2.29e-3,
                0.05,
            ),
            (
                qwen_half_b(),
                RequestGroup::decode(64.0, 256.0),
                4.3e-3,
                0.05,
            ),
            (
                qwen_half_b(),
                RequestGroup::decode(256.0, 256.0),
                14.45e-3,
                0.1,
            ),
        ] {
            let seconds = expected(&config, group).total().0;
            assert!(
                (seconds / recorded - 1.0).abs() < tolerance,
                "{group:?}: {seconds} for {recorded}"
            );
        }
    }

    #[test]
    fn the_largest_part_is_what_the_counters_showed() {
        let large = expected(&llama_3_8b(), RequestGroup::decode(8.0, 250.0));
        assert!(large.memory > large.overhead + large.compute);
        let prefill = expected(&llama_3_8b(), RequestGroup::prefill(1.0, 8192.0, 0.0));
        assert!(prefill.compute > prefill.memory + prefill.overhead);
        let small = expected(&qwen_half_b(), RequestGroup::decode(64.0, 256.0));
        assert!(small.overhead > small.memory + small.compute);
    }
}
