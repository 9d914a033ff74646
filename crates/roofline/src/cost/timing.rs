//! `StepTimer`: the expected time of a step, by component.
//!
//! The GPU runs one operation after another, each taking the larger of its compute and its memory time at its kernel's attainable rates,
//! with small kernels in between. Meanwhile the engine's process prepares the next step and the API server sends the tokens of the last
//! one. The slowest of the three sets the pace; where two take about as long, they delay each other:
//!
//! `t = ∛(gpu³ + engine³ + frontend³)`
//!
//! * `gpu = step + L·layer + L_moe·experts + L_mla·latent + Σ max(F/peak, B/bandwidth) + communication`. The fixed parts are kernels whose
//!   time neither FLOPs nor bytes explain: norms, rotary embedding, quantisation of activations, routing and sorting of tokens. Kernels of
//!   prefill attention and decode attention run one after the other, so their times add up.
//! * `engine = step + R·sequence + launch`. Steps with a captured CUDA graph are launched at once; larger ones, and all of them with
//!   `--enforce-eager`, layer by layer.
//! * `frontend = R·output + P·prompt`, with R rows of logits and P prompt tokens.
//!
//! The cube is the lowest power that fits the recorded steps of 1 to 256 sequences of both a large and a small model. Values and their
//! sources: `data/coefficients.yaml`; each term's contribution to the accuracy: `docs/prediction.md`.

use super::ceiling::Ceiling;
use super::coefficients::{Coefficients, Kernels};
use super::shard::Shard;
use super::step::{AttentionWork, StepWork};
use crate::spec::deployment::{Deployment, GraphLimit};
use crate::spec::gpu::GpuSpec;
use crate::spec::model::{FeedForward, Layer, Mixer};
use crate::spec::precision::{ByPrecision, Precision};
use crate::spec::{to_f64, to_u64};
use crate::units::{Bytes, BytesPerSecond, Flops, Seconds};

/// The expected time of a step, by component.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepTime {
    /// Operations that arithmetic limits.
    pub compute: Seconds,
    /// Operations that memory limits.
    pub memory: Seconds,
    /// Traffic between GPUs.
    pub communication: Seconds,
    /// Launches, scheduling, other host time.
    pub overhead: Seconds,
}

impl StepTime {
    /// The whole step.
    #[must_use]
    pub fn total(&self) -> Seconds {
        self.compute + self.memory + self.communication + self.overhead
    }

    /// Adds an operation to the component that limits it.
    fn add(&mut self, compute: Seconds, memory: Seconds) {
        if compute > memory {
            self.compute += compute;
        } else {
            self.memory += memory;
        }
    }
}

/// Computes the expected times of the steps of one deployment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepTimer {
    ceiling: Ceiling,
    coefficients: Coefficients,
    kernels: Kernels,
    main: Precision,
    /// Fixed time of a step's kernels outside the operations.
    between: Seconds,
    launch: Launch,
    /// Rates of reading.
    weights: BytesPerSecond,
    kv_cache: BytesPerSecond,
    experts: BytesPerSecond,
    /// Seconds per FLOP of projections and MLPs, of routed experts, and of everything else.
    per_linear_flop: f64,
    per_expert_flop: f64,
    per_base_flop: f64,
    vocabulary: f64,
    /// Share of the output that the frontend sends token by token.
    streamed: f64,
}

/// The time that the engine's process needs to launch the layers of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Launch {
    /// Largest number of tokens with a captured CUDA graph.
    most_tokens: f64,
    /// Time outside graphs.
    layers: Seconds,
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
        let theoretical = Ceiling::theoretical(gpu);
        let main = most_computed(&shard.linear_flops);
        let kernels = Kernels::of(&coefficients, deployment, gpu, main);
        let per_flop =
            |precision: Precision, share: f64| (Flops(1.0) / theoretical.peak(precision)).0 / share;
        let per_dense_flop = |precision| per_flop(precision, kernels.compute(precision));
        let linear: Flops = shard.linear_flops.iter().map(|(_, flops)| flops).sum();
        let linear_time: f64 = shard
            .linear_flops
            .iter()
            .map(|(precision, flops)| flops.0 * per_dense_flop(precision))
            .sum();
        let counts = LayerCounts::of(deployment);
        let experts = kernels.experts;
        let peak_hbm = gpu.hbm_bandwidth;
        Self {
            ceiling,
            coefficients,
            kernels,
            main,
            between: counts.fixed_kernels(&coefficients, &kernels),
            launch: counts.launch(&coefficients, &kernels, deployment),
            weights: peak_hbm * kernels.weights.value,
            kv_cache: peak_hbm * kernels.kv_cache.value,
            experts: experts.map_or(peak_hbm, |kernel| {
                let most = kernel
                    .bytes_per_second
                    .map_or(f64::INFINITY, |most| most.value);
                BytesPerSecond((peak_hbm.0 * kernel.memory.value).min(most))
            }),
            per_linear_flop: linear_time / linear.0,
            per_expert_flop: shard
                .experts
                .first()
                .zip(experts)
                .map_or(0.0, |(layers, kernel)| {
                    per_flop(layers.precision, kernel.compute.value)
                }),
            per_base_flop: per_dense_flop(shard.base_precision()),
            vocabulary: shard.vocabulary,
            streamed: streamed(deployment.limits.stream_interval),
        }
    }

    /// Time to first token of a request with `prompt_tokens` outside of steps.
    #[must_use]
    pub(crate) fn per_request(&self, prompt_tokens: f64) -> Seconds {
        let costs = &self.coefficients;
        Seconds(
            costs.seconds_per_request.value + costs.seconds_per_prompt_token.value * prompt_tokens,
        )
    }

    /// Steps that a request waits for before its first step: decode steps, and steps that also process prompts.
    #[must_use]
    pub const fn waits(&self) -> (f64, f64) {
        (
            self.coefficients.wait_decode_steps.value,
            self.coefficients.wait_mixed_steps.value,
        )
    }

    /// The attainable ceilings; the live figures use the same.
    #[must_use]
    pub const fn ceiling(&self) -> &Ceiling {
        &self.ceiling
    }

    /// Compute precision of most dense multiplications.
    #[must_use]
    pub const fn main_precision(&self) -> Precision {
        self.main
    }

    /// The coefficients of the kernels that this deployment runs.
    #[must_use]
    pub const fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// Expected time of one step on one GPU.
    #[must_use]
    pub fn expected(&self, work: &StepWork) -> StepTime {
        let mut time = self.operations(work);
        time.communication = work.communication.seconds(&self.ceiling.link);
        let counted = time.total();
        let gpu = counted + self.between;
        time.overhead = together(&[gpu, self.engine(work), self.frontend(work)]) - counted;
        time
    }

    /// Time of the engine's process for a step.
    fn engine(&self, work: &StepWork) -> Seconds {
        let costs = &self.coefficients;
        let scheduling = Seconds(
            costs.engine_seconds_per_step.value
                + costs.engine_seconds_per_sequence.value * work.logits_rows,
        );
        if work.tokens > self.launch.most_tokens {
            scheduling + self.launch.layers
        } else {
            scheduling
        }
    }

    /// Time of the API server and its clients for a step.
    fn frontend(&self, work: &StepWork) -> Seconds {
        let costs = &self.coefficients;
        Seconds(
            costs.frontend_seconds_per_output_token.value * work.logits_rows * self.streamed
                + costs.frontend_seconds_per_prompt_token.value * work.prompt_tokens,
        )
    }

    /// The roofline time of each operation, summed.
    #[must_use]
    pub fn operations(&self, work: &StepWork) -> StepTime {
        let (flops, bytes) = (&work.flops, &work.bytes);
        let base = |flops: Flops| Seconds(flops.0 * self.per_base_flop);
        let mut time = StepTime::default();
        let linear = Seconds(flops.linear.0 * self.per_linear_flop) + base(flops.router);
        time.add(
            linear,
            (bytes.weights + bytes.embedding + work.activation_bytes) / self.weights,
        );
        time.add(
            Seconds(flops.routed_experts.0 * self.per_expert_flop),
            bytes.routed_experts / self.experts,
        );
        for attention in [&work.prefill_attention, &work.decode_attention] {
            time.add(
                base(attention.flops),
                self.attention_bytes(attention, work) / self.kv_cache,
            );
        }
        time.add(base(flops.recurrence), bytes.state / self.weights);
        time.add(base(flops.lm_head), bytes.lm_head / self.weights);
        time.add(Seconds::ZERO, self.sampling(work) / self.weights);
        time
    }

    /// Bytes that attention reads: the keys and values of its requests, and for each request the extra tokens of its tiles.
    fn attention_bytes(&self, attention: &AttentionWork, work: &StepWork) -> Bytes {
        let extra = self.coefficients.attention_extra_tokens.value * attention.requests;
        attention.kv_read + work.bytes.kv_write * (extra / work.tokens.max(1.0))
    }

    fn sampling(&self, work: &StepWork) -> Bytes {
        let per_logit = self.coefficients.sampling_bytes_per_logit.value;
        Bytes(per_logit * self.vocabulary * work.logits_rows)
    }
}

/// Layers of one GPU with fixed costs.
#[derive(Clone, Copy, Debug)]
struct LayerCounts {
    all: f64,
    experts: f64,
    latent: f64,
}

impl LayerCounts {
    fn of(deployment: &Deployment) -> Self {
        let layers = &deployment.model.layers;
        let stages = to_f64(deployment.parallelism.pipeline);
        let count = |which: &dyn Fn(&Layer) -> bool| {
            to_f64(to_u64(layers.iter().filter(|layer| which(layer)).count())) / stages
        };
        Self {
            all: count(&|_| true),
            experts: count(&|layer| matches!(layer.feed_forward, FeedForward::Experts(_))),
            latent: count(&|layer| matches!(layer.mixer, Mixer::Latent(_))),
        }
    }

    /// GPU time of a step outside its operations.
    fn fixed_kernels(&self, costs: &Coefficients, kernels: &Kernels) -> Seconds {
        let experts = kernels
            .experts
            .map_or(0.0, |kernel| kernel.seconds_per_layer.value);
        Seconds(
            costs.seconds_per_step.value
                + costs.seconds_per_layer.value * self.all
                + costs.seconds_per_latent_layer.value * self.latent
                + experts * self.experts,
        )
    }

    /// How steps are launched: by graphs, up to their limit; eagerly without graphs.
    fn launch(&self, costs: &Coefficients, kernels: &Kernels, deployment: &Deployment) -> Launch {
        let experts = kernels
            .experts
            .map_or(0.0, |kernel| kernel.launch_seconds_per_layer.value);
        let compiled = Seconds(
            costs.launch_seconds_per_layer.value * self.all
                + costs.launch_seconds_per_latent_layer.value * self.latent
                + experts * self.experts,
        );
        match deployment.limits.graphs {
            GraphLimit::Eager => Launch {
                most_tokens: 0.0,
                layers: Seconds(costs.engine_seconds_per_eager_layer.value * self.all),
            },
            GraphLimit::Tokens(most) => Launch {
                most_tokens: to_f64(most),
                layers: compiled,
            },
        }
    }
}

/// The precision that most of `flops` are computed in.
fn most_computed(flops: &ByPrecision<Flops>) -> Precision {
    flops
        .iter()
        .max_by(|(_, left), (_, right)| left.0.total_cmp(&right.0))
        .map_or(Precision::Bf16, |(precision, _)| precision)
}

/// Remaining share of the frontend's work per token with `--stream-interval`: every token is detokenised, but only every n-th is sent. The
/// half that is attributed to sending is an assumption.
fn streamed(interval: u64) -> f64 {
    0.5 + 0.5 / to_f64(interval.max(1))
}

/// Combined time of processes that wait for each other: the longest, plus a delay where others take about as long.
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
