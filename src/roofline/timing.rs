//! `StepTimer`: how long a step is expected to take, and on what the time goes.
//!
//! Each operation takes the larger of its compute and its memory time at the attainable ceilings, one operation after another. A
//! layer never takes less than its kernels' launches, the small kernels between the large ones come on top, and a step never takes
//! less than the host needs to schedule it and to hand out its tokens:
//!
//! `t = max(step + L·between + max(Σ max(F/peak, B/bandwidth), L·launch), host + R·host_per_sequence) + communication`
//!
//! The defaults were fitted to recordings of vLLM 0.25 on an H100 SXM (8B and 0.5B bf16, 7B AWQ without CUDA graphs; the tests
//! below hold the points they list to 10 %). Loads of 256 requests come out faster than recorded.

use serde::{Deserialize, Serialize};

use super::ceiling::Ceiling;
use super::shard::Shard;
use super::step::StepWork;
use crate::spec::deployment::Deployment;
use crate::spec::gpu::{GpuSpec, Origin};
use crate::spec::to_f64;
use crate::units::{Bytes, Flops, Seconds};

/// Shares of the ceilings and fixed costs that turn a bound into an expectation. A file of the same form replaces them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Coefficients {
    /// Attainable share of memory bandwidth; absent: the GPU's own.
    pub hbm_fraction: Option<f64>,
    /// Attainable share of compute peaks; absent: the GPU's own.
    pub flops_fraction: Option<f64>,
    /// Share of the peak at the running clock that large multiplications reach (0.88 of 754 TFLOP/s on an H100).
    pub clock_fraction: f64,
    /// Share of the attainable compute that a model's mix of shapes reaches under the power cap.
    pub compute_efficiency: f64,
    /// Seconds of a step outside its layers.
    pub seconds_per_step: f64,
    /// Seconds of the small kernels of a layer.
    pub seconds_per_layer: f64,
    /// Least seconds of a layer's large kernels, launched from a CUDA graph.
    pub launch_seconds_per_layer: f64,
    /// The same launched one by one (`--enforce-eager`).
    pub eager_launch_seconds_per_layer: f64,
    /// Seconds that the host needs per step, in parallel to the GPU.
    pub host_seconds_per_step: f64,
    /// Seconds that it needs per sequence and step.
    pub host_seconds_per_sequence: f64,
    /// Latency of a collective over NVLink.
    pub nvlink_latency_seconds: f64,
    /// The same over PCI Express.
    pub pcie_latency_seconds: f64,
    /// Measured on the GPU at hand or assumed to carry over.
    pub origin: Origin,
}

impl Default for Coefficients {
    fn default() -> Self {
        Self {
            hbm_fraction: None,
            flops_fraction: None,
            clock_fraction: 0.9,
            compute_efficiency: 0.8,
            seconds_per_step: 0.5e-3,
            seconds_per_layer: 30e-6,
            launch_seconds_per_layer: 45e-6,
            eager_launch_seconds_per_layer: 550e-6,
            host_seconds_per_step: 1e-3,
            host_seconds_per_sequence: 50e-6,
            nvlink_latency_seconds: 8e-6,
            pcie_latency_seconds: 30e-6,
            origin: Origin::Assumed,
        }
    }
}

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
    layers: f64,
    launch_per_layer: Seconds,
    /// Seconds per FLOP of projections and MLPs, of routed experts, and of everything else.
    linear: f64,
    experts: f64,
    base: f64,
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
        let per_flop =
            |precision| (Flops(1.0) / ceiling.peak(precision)).0 / coefficients.compute_efficiency;
        let linear_total: Flops = shard.linear_flops.iter().map(|(_, flops)| flops).sum();
        let linear_time: f64 = shard
            .linear_flops
            .iter()
            .map(|(precision, flops)| flops.0 * per_flop(precision))
            .sum();
        let layers = to_f64(u64::try_from(deployment.model.layers.len()).unwrap_or(u64::MAX));
        let launch = if deployment.limits.enforce_eager {
            coefficients.eager_launch_seconds_per_layer
        } else {
            coefficients.launch_seconds_per_layer
        };
        Self {
            ceiling,
            coefficients,
            layers: layers / to_f64(deployment.parallelism.pipeline),
            launch_per_layer: Seconds(launch),
            linear: linear_time / linear_total.0,
            experts: shard
                .experts
                .first()
                .map_or(0.0, |layers| per_flop(layers.precision)),
            base: per_flop(shard.base_precision()),
        }
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
        let operations = time.compute + time.memory;
        let coefficients = &self.coefficients;
        let gpu =
            Seconds(coefficients.seconds_per_step + coefficients.seconds_per_layer * self.layers)
                + operations.max(self.launch_per_layer * self.layers);
        let host = Seconds(
            coefficients.host_seconds_per_step
                + coefficients.host_seconds_per_sequence * work.logits_rows,
        );
        time.overhead = gpu.max(host) - operations;
        time.communication = work.communication.seconds(&self.ceiling.link);
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
            memory(bytes.kv_read + bytes.kv_write),
        );
        time.add(base(flops.recurrence), memory(bytes.state));
        time.add(base(flops.lm_head), memory(bytes.lm_head));
        time
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::roofline::step::RequestGroup;
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
