//! Facts about one engine besides its counters: its model, its deployment, its GPUs, and which facts are missing.

use std::borrow::Cow;

use crate::cost::ceiling::Ceiling;
use crate::cost::coefficients::Coefficients;
use crate::cost::shard::Shard;
use crate::cost::step::RequestGroup;
use crate::spec::deployment::{Deployment, DeploymentFlags};
use crate::spec::gpu::{GpuProvenance, GpuSpec};
use crate::spec::precision::Precision;
use crate::units::{Bytes, BytesPerSecond, FlopsPerSecond};

/// A fact that could not be determined.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct MissingFact {
    /// Its name: `model`, `gpu`, `tensor_parallel_size`, …
    pub fact: &'static str,
    /// The reason, the figures that are absent without it, and the remedy.
    pub why: String,
}

/// All known facts about one engine besides its counters.
#[derive(Clone, Debug, Default)]
pub struct EngineFacts {
    /// The deployed model, and the work of one of its GPUs.
    pub served: Option<Served>,
    /// The engine's kind of GPU.
    pub gpu: Option<GpuSpec>,
    /// UUIDs of those of its GPUs that are read.
    pub gpu_uuids: Vec<String>,
    /// vLLM's flags, as far as they are known.
    pub flags: DeploymentFlags,
    /// Whether `--num-gpu-blocks-override` limits the KV cache.
    pub kv_blocks_overridden: bool,
    /// The origin of each fact, in words.
    pub origins: Vec<(&'static str, String)>,
    /// Facts that could not be determined.
    pub missing: Vec<MissingFact>,
    /// Attainable shares and overheads.
    pub coefficients: Coefficients,
}

/// A deployed model.
#[derive(Clone, Debug)]
pub struct Served {
    /// Model, number formats, parallelism, limits.
    pub deployment: Deployment,
    /// The work of one GPU.
    pub shard: Shard,
    /// Compute precision of most of its FLOPs.
    pub precision: Precision,
}

impl Served {
    /// Prepares `deployment` for metering.
    #[must_use]
    pub fn new(deployment: Deployment) -> Self {
        let shard = Shard::of(&deployment);
        let one = shard.work_of_step(&[RequestGroup::decode(1.0, 0.0)]);
        let most = one
            .flops_at
            .iter()
            .max_by(|one, other| one.1.0.total_cmp(&other.1.0));
        Self {
            precision: most.map_or(deployment.dtype, |(precision, _)| precision),
            shard,
            deployment,
        }
    }

    /// The work of one GPU while `running` LoRA adapters are in use; without them if their slots are not known.
    #[must_use]
    pub fn shard_with_adapters(&self, running: f64) -> Cow<'_, Shard> {
        match self.deployment.adapters {
            Some(slots) if running > 0.0 => Cow::Owned(self.shard.with_adapters(slots, running)),
            _ => Cow::Borrowed(&self.shard),
        }
    }
}

impl EngineFacts {
    /// GPUs of the engine: what its parallelism needs, otherwise the GPUs read, otherwise one.
    #[must_use]
    pub fn gpus(&self) -> f64 {
        let needed = self
            .served
            .as_ref()
            .map_or(self.gpu_uuids.len() as u64, |served| {
                served.deployment.parallelism.gpus_per_engine()
            });
        needed.max(1) as f64
    }

    /// GPUs of the engine that are read: fewer than it has where it spans nodes; all if GPUs cannot be assigned to engines.
    #[must_use]
    pub fn gpus_read(&self) -> f64 {
        match self.gpu_uuids.len() {
            0 => self.gpus(),
            read => read as f64,
        }
    }

    /// `--max-num-seqs`, only where it was set: vLLM's default depends on values that no metric exposes.
    #[must_use]
    pub fn max_num_seqs(&self) -> Option<f64> {
        self.flags.max_num_seqs.map(|limit| limit as f64)
    }

    /// Prompt tokens that fit in a step: as set, otherwise vLLM's default for this GPU.
    #[must_use]
    pub fn token_budget(&self) -> Option<f64> {
        self.served
            .as_ref()
            .map(|served| served.deployment.limits.max_num_batched_tokens as f64)
    }

    /// Tokens of a sequence that holds `resident` tokens' worth of KV cache, as vLLM counts its capacity: in sequences of the longest
    /// length. Where every layer keeps every token the two are equal; windowed layers and recurrent state hold less of a long sequence and
    /// more of a short one.
    #[must_use]
    pub fn tokens_held(&self, resident: f64) -> f64 {
        let Some(served) = &self.served else {
            return resident;
        };
        let limits = &served.deployment.limits;
        let Some(longest) = limits
            .max_model_len
            .filter(|_| !served.shard.caches_evenly())
        else {
            return resident;
        };
        let longest = longest as f64;
        let budget = limits.max_num_batched_tokens as f64;
        let capacity = served.shard.cache_bytes(longest, budget);
        let held = capacity * (resident / longest);
        served.shard.tokens_cached(held, longest)
    }

    /// The attainable ceiling of one GPU, at its current clock where known.
    #[must_use]
    pub fn ceiling(&self, sm_clock_mhz: Option<f64>) -> Option<Ceiling> {
        let gpu = self.gpu.as_ref()?;
        Some(sm_clock_mhz.map_or_else(
            || Ceiling::attainable(gpu, &self.coefficients),
            |clock| Ceiling::at_clock(gpu, &self.coefficients, clock),
        ))
    }

    /// Layers that one GPU runs.
    #[must_use]
    pub fn layers(&self) -> f64 {
        self.served.as_ref().map_or(0.0, |served| {
            let deployment = &served.deployment;
            deployment.model.layers.len() as f64 / deployment.parallelism.pipeline as f64
        })
    }

    /// Compute precision of the engine's large matrix multiplications.
    #[must_use]
    pub fn main_precision(&self) -> Option<Precision> {
        self.served.as_ref().map(|served| served.precision)
    }

    pub(super) fn scaled(&self, amount: FlopsPerSecond) -> FlopsPerSecond {
        amount * self.gpus()
    }

    /// Datasheet peak of all GPUs in [`Self::main_precision`].
    #[must_use]
    pub fn peak_flops(&self) -> Option<FlopsPerSecond> {
        let peak = self.gpu.as_ref()?.peak(self.main_precision()?)?;
        Some(self.scaled(peak))
    }

    /// Peak of all GPUs in [`Self::main_precision`] with the SMs at `sm_clock_mhz`.
    #[must_use]
    pub fn peak_flops_at(&self, sm_clock_mhz: Option<f64>) -> Option<FlopsPerSecond> {
        let gpu = self.gpu.as_ref()?;
        let peak = gpu.peak_at_clock(self.main_precision()?, sm_clock_mhz?)?;
        Some(self.scaled(peak))
    }

    /// Peak bandwidth of all GPUs.
    #[must_use]
    pub fn peak_hbm(&self) -> Option<BytesPerSecond> {
        Some(self.gpu.as_ref()?.hbm_bandwidth * self.gpus())
    }

    /// Bandwidth of the links between an engine's GPUs in one direction, summed over its GPUs; `None` for a single GPU.
    #[must_use]
    pub fn peak_interconnect(&self) -> Option<BytesPerSecond> {
        let gpu = self.gpu.as_ref().filter(|_| self.gpus() > 1.0)?;
        Some(gpu.link_bandwidth() * self.gpus())
    }

    /// Attainable bandwidth of all GPUs.
    #[must_use]
    pub fn attainable_hbm(&self) -> Option<BytesPerSecond> {
        Some(self.ceiling(None)?.hbm * self.gpus())
    }

    /// Resident weights on all GPUs.
    #[must_use]
    pub fn weights(&self) -> Option<Bytes> {
        Some(self.served.as_ref()?.shard.resident_weights() * self.gpus())
    }

    /// KV cache of one token on all GPUs.
    #[must_use]
    pub fn kv_per_token(&self) -> Option<Bytes> {
        Some(self.served.as_ref()?.shard.kv_per_token() * self.gpus())
    }

    /// Decode batches at which a limit is reached, with `context` tokens per request.
    ///
    /// `ridge`: the weights' FLOPs take as long as their bytes. `knee`: KV traffic equals weight traffic, half of the maximum throughput.
    /// `kv_capacity`: the cache is full.
    #[must_use]
    pub fn batch_limits(
        &self,
        context: Option<f64>,
        kv_capacity_tokens: Option<f64>,
    ) -> Vec<(&'static str, f64)> {
        let (Some(served), Some(gpu)) = (&self.served, &self.gpu) else {
            return Vec::new();
        };
        let one = served.shard.work_of_step(&[RequestGroup::decode(1.0, 0.0)]);
        let theory = Ceiling::theoretical(gpu);
        let weights = one.bytes.all_weights();
        let linear = one.flops.total() - one.flops.attention;
        let seconds = one.compute_seconds(&theory) * (linear / one.flops.total());
        let ridge = crate::units::ratio((weights / theory.hbm).0, seconds.0);
        let kv = served.shard.kv_per_token();
        let knee = context.and_then(|context| crate::units::ratio(weights.0, (kv * context).0));
        let capacity = kv_capacity_tokens
            .zip(context)
            .and_then(|(tokens, context)| crate::units::ratio(tokens, context));
        [("ridge", ridge), ("knee", knee), ("kv_capacity", capacity)]
            .into_iter()
            .filter_map(|(limit, batch)| Some((limit, batch?)))
            .collect()
    }

    /// Labels of `model_info`, or `None` while the model is unknown.
    #[must_use]
    pub fn model_labels(&self) -> Option<[(&'static str, String); 5]> {
        let deployment = &self.served.as_ref()?.deployment;
        let origin = self.origins.iter().find(|(fact, _)| *fact == "model");
        Some([
            ("architecture", deployment.model.architecture.clone()),
            ("dtype", deployment.dtype.name().to_owned()),
            (
                "quantization",
                deployment
                    .quantization
                    .method()
                    .unwrap_or("none")
                    .to_owned(),
            ),
            ("kv_cache_dtype", deployment.kv_cache.name.clone()),
            (
                "source",
                origin.map_or_else(String::new, |(_, origin)| origin.clone()),
            ),
        ])
    }

    /// Labels of `gpu_info` about the spec: its id, its origin, and whether its attainable ceilings were measured.
    #[must_use]
    pub fn gpu_spec_labels(&self) -> Option<[&str; 3]> {
        let gpu = self.gpu.as_ref()?;
        let provenance = match gpu.provenance {
            GpuProvenance::Table => "table",
            GpuProvenance::User => "user",
            GpuProvenance::Derived => "derived",
        };
        Some([&gpu.id, provenance, self.attainable_origin()])
    }

    /// `measured`, `assumed` or `calibrated`.
    #[must_use]
    pub fn attainable_origin(&self) -> &'static str {
        use crate::spec::gpu::CoefficientOrigin;
        if self.coefficients.is_calibrated() {
            return CoefficientOrigin::Calibrated.name();
        }
        let measured =
            self.gpu
                .as_ref()
                .zip(self.main_precision())
                .is_some_and(|(gpu, precision)| {
                    gpu.attainable_hbm.origin == CoefficientOrigin::Measured
                        && gpu.attainable_flops(precision).origin == CoefficientOrigin::Measured
                });
        if measured { "measured" } else { "assumed" }
    }

    /// Labels of `deployment_info`; empty where unknown.
    #[must_use]
    pub fn deployment_labels(&self) -> [(&'static str, String); 5] {
        let text = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        let parallelism = self
            .served
            .as_ref()
            .map(|served| served.deployment.parallelism);
        [
            ("tensor_parallel_size", text(parallelism.map(|p| p.tensor))),
            (
                "pipeline_parallel_size",
                text(parallelism.map(|p| p.pipeline)),
            ),
            (
                "gpus",
                text(parallelism.map(crate::spec::deployment::Parallelism::gpus_per_engine)),
            ),
            ("max_num_seqs", text(self.flags.max_num_seqs)),
            (
                "max_num_batched_tokens",
                text(self.flags.max_num_batched_tokens),
            ),
        ]
    }
}
