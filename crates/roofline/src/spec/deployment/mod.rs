//! `Deployment`: a model, its number formats, its parallelism and vLLM's limits, validated together with the GPU.

mod adapters;
#[cfg(feature = "clap")]
pub mod command_line;
mod flags;
mod formats;
mod graphs;
mod limits;
#[cfg(feature = "clap")]
mod misspelt;
mod speculation;
#[cfg(feature = "clap")]
mod spelling;
#[cfg(feature = "clap")]
mod vllm_flags;

pub use adapters::AdapterSlots;
#[cfg(feature = "clap")]
pub use command_line::{CommandLineError, takes};
pub use flags::DeploymentFlags;
pub use formats::KvCacheFormat;
pub use graphs::GraphLimit;
pub use speculation::{draft_model, speculative_tokens};

use thiserror::Error;

use super::gpu::{ComputeCapability, GpuSpec};
use super::model::{LatentAttention, Mixer, ModelSpec, Recurrent};
use super::precision::Precision;
use super::quantization::{Arithmetic, Quantization, QuantizationError, Scheme};
use super::{to_f64, to_u64};

/// Why a deployment cannot run.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum DeploymentError {
    /// The storage of the weights is not supported.
    #[error(transparent)]
    Quantization(#[from] QuantizationError),
    /// A number format that the GPU does not support.
    #[error("{gpu} cannot run {what}; use {remedy}")]
    Unsupported {
        /// The GPU.
        gpu: String,
        /// The requested format.
        what: String,
        /// A format that works.
        remedy: String,
    },
    /// A degree of parallelism that does not divide what it splits.
    #[error("{flag} {size} does not divide the {count} {what} of this model; use {}", divisors(*count))]
    Indivisible {
        /// The flag.
        flag: &'static str,
        /// Its value.
        size: u64,
        /// The number of units to divide.
        count: u64,
        /// Their kind.
        what: &'static str,
    },
    /// A value outside what the flag accepts.
    #[error("{flag} {value}: {problem}")]
    BadFlag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// The accepted values.
        problem: String,
    },
}

/// The divisors that are powers of two, as a remedy.
fn divisors(count: u64) -> String {
    let powers = (0..8)
        .map(|power| 1_u64 << power)
        .filter(|size| count.is_multiple_of(*size));
    powers
        .map(|size| size.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Degrees of parallelism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parallelism {
    /// GPUs that share each layer.
    pub tensor: u64,
    /// Stages of layers.
    pub pipeline: u64,
    /// Replicas; experts are spread over them.
    pub data: u64,
    /// Whether whole experts are distributed.
    pub expert: bool,
}

impl Parallelism {
    /// GPUs of one engine (one data-parallel replica).
    #[must_use]
    pub const fn gpus_per_engine(self) -> u64 {
        self.tensor * self.pipeline
    }

    /// GPUs that share the experts of a layer.
    #[must_use]
    pub(crate) const fn expert_ranks(self) -> u64 {
        self.tensor * self.data
    }
}

/// vLLM's limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SchedulerLimits {
    /// Longest sequence.
    pub max_model_len: Option<u64>,
    /// Most sequences in one step.
    pub max_num_seqs: u64,
    /// Most tokens in one step.
    pub max_num_batched_tokens: u64,
    /// Share of GPU memory that vLLM may take.
    pub gpu_memory_utilization: f64,
    /// CUDA graphs are off.
    pub enforce_eager: bool,
    /// Which steps run as CUDA graphs.
    pub graphs: GraphLimit,
    /// Tokens that the API server collects before it sends them on.
    pub stream_interval: u64,
}

/// vLLM's default since 0.19; the recordings of 0.25 confirm it.
const DEFAULT_GPU_MEMORY_UTILIZATION: f64 = 0.92;

/// A deployed model.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The model.
    pub model: ModelSpec,
    /// The GPU; without one, everything that needs its ceilings is absent.
    pub gpu: Option<GpuSpec>,
    /// dtype of activations and of unquantised weights.
    pub dtype: Precision,
    /// Storage of the weights.
    pub quantization: Quantization,
    /// Storage of the KV cache.
    pub kv_cache: KvCacheFormat,
    /// Degrees of parallelism.
    pub parallelism: Parallelism,
    /// vLLM's limits.
    pub limits: SchedulerLimits,
    /// Tokens proposed per step by speculative decoding, 0 without.
    pub speculative_tokens: u64,
    /// The model that proposes them, if it is one of its own and its configuration is known.
    pub draft: Option<Box<Self>>,
    /// Slots for LoRA adapters.
    pub adapters: Option<AdapterSlots>,
    /// Effects that a prediction for this deployment omits.
    pub not_modelled: Vec<String>,
}

impl Deployment {
    /// Combines model, GPU and flags, and validates them.
    ///
    /// # Errors
    /// When the GPU does not support a number format, a degree of parallelism does not divide the model, or a flag has an invalid value.
    pub fn new(
        model: ModelSpec,
        gpu: Option<GpuSpec>,
        flags: &DeploymentFlags,
    ) -> Result<Self, DeploymentError> {
        let mut not_modelled = model.not_modelled.clone();
        let quantization = Quantization::read(
            model.quantization_config.as_ref(),
            flags.quantization.as_deref(),
        )?;
        let dtype = formats::activation_dtype(
            &model,
            gpu.as_ref(),
            flags.dtype.as_deref(),
            &mut not_modelled,
        )?;
        let kv_cache = KvCacheFormat::read(flags.kv_cache_dtype.as_deref(), &quantization, dtype)?;
        let parallelism = parallelism(&model, flags)?;
        let speculative_tokens = speculative_tokens(flags.speculative_config.as_deref())?;
        let draft = speculation::draft(gpu.as_ref(), flags);
        if speculative_tokens > 0 {
            not_modelled.push(speculation::left_out(draft.is_some()).to_owned());
        }
        let adapters = AdapterSlots::read(flags);
        if adapters.is_some() {
            not_modelled.push(
                "the work of LoRA adapters: only the memory of their slots is counted".to_owned(),
            );
        }
        let deployment = Self {
            limits: limits::read(&model, gpu.as_ref(), flags)?,
            model,
            gpu,
            dtype,
            quantization,
            kv_cache,
            parallelism,
            speculative_tokens,
            draft,
            adapters,
            not_modelled,
        };
        deployment.check_formats()?;
        Ok(deployment)
    }

    /// Compute precision of matrix multiplications with weights of `scheme` on this GPU.
    ///
    /// If the GPU does not support the scheme's own arithmetic, Marlin kernels widen the weights to the activations' dtype.
    #[must_use]
    pub(crate) fn compute_precision(&self, scheme: Option<Scheme>) -> Precision {
        let native = match scheme.map_or(Arithmetic::Activations, Scheme::arithmetic) {
            Arithmetic::Activations => self.dtype,
            Arithmetic::Fp8 => Precision::Fp8,
            Arithmetic::Int8 => Precision::Int8,
            Arithmetic::Fp4 => Precision::Fp4,
        };
        let runs = self
            .gpu
            .as_ref()
            .is_none_or(|gpu| gpu.peak(native).is_some());
        if runs { native } else { self.dtype }
    }

    /// Bytes per weight of a matrix stored by `scheme` with `inputs` input channels.
    #[must_use]
    pub(crate) fn bytes_per_weight(&self, scheme: Option<Scheme>, inputs: u64) -> f64 {
        scheme.map_or(self.dtype.bytes(), |scheme| {
            scheme.bytes_per_weight(to_f64(inputs))
        })
    }

    /// Bytes per element of recurrent states.
    #[must_use]
    pub(crate) fn state_bytes_per_element(&self) -> f64 {
        self.model.state_dtype.unwrap_or(self.dtype).bytes()
    }

    /// The same deployment with tensor parallelism `tensor`; `None` where that does not divide the model.
    #[must_use]
    pub fn over(&self, tensor: u64) -> Option<Self> {
        check_divisible(&self.model, tensor).ok()?;
        let parallelism = Parallelism {
            tensor,
            ..self.parallelism
        };
        Some(Self {
            parallelism,
            ..self.clone()
        })
    }

    /// Narrow formats need Ampere at least, whatever kernel runs them.
    fn check_formats(&self) -> Result<(), DeploymentError> {
        let Some((gpu, capability)) = self
            .gpu
            .as_ref()
            .and_then(|gpu| Some((gpu, gpu.compute_capability?)))
        else {
            return Ok(());
        };
        let unsupported = |what: &str, remedy: &str| DeploymentError::Unsupported {
            gpu: format!("{} (compute capability {capability})", gpu.name),
            what: what.to_owned(),
            remedy: remedy.to_owned(),
        };
        let old = capability < ComputeCapability::AMPERE;
        let schemes = self.model.layers.iter().flat_map(|layer| {
            let modules = ["mlp.up_proj", super::model::Moe::EXPERT_MODULE];
            modules
                .into_iter()
                .filter_map(move |module| self.quantization.scheme_of(layer.index, module))
        });
        let narrow = schemes.into_iter().find(|scheme| {
            matches!(
                scheme,
                Scheme::Fp8 { .. } | Scheme::Nvfp4 { .. } | Scheme::Mxfp4
            )
        });
        match narrow {
            Some(Scheme::Fp8 { .. }) if old => {
                Err(unsupported("fp8 weights", "an AWQ or GPTQ checkpoint"))
            }
            Some(_) if old => Err(unsupported(
                "4-bit floating-point weights",
                "an AWQ or GPTQ checkpoint",
            )),
            _ if old && self.kv_cache.is_fp8() => {
                Err(unsupported("an fp8 KV cache", "--kv-cache-dtype auto"))
            }
            _ => Ok(()),
        }
    }
}

/// Reads the degrees of parallelism and checks that they divide the model.
fn parallelism(model: &ModelSpec, flags: &DeploymentFlags) -> Result<Parallelism, DeploymentError> {
    let parallelism = Parallelism {
        tensor: flags.tensor_parallel_size.unwrap_or(1),
        pipeline: flags.pipeline_parallel_size.unwrap_or(1),
        data: flags.data_parallel_size.unwrap_or(1),
        expert: flags.enable_expert_parallel,
    };
    check_divisible(model, parallelism.tensor)?;
    let layers = to_u64(model.layers.len());
    if parallelism.pipeline > layers {
        return Err(DeploymentError::BadFlag {
            flag: "--pipeline-parallel-size",
            value: parallelism.pipeline.to_string(),
            problem: format!("the model has only {layers} layers"),
        });
    }
    Ok(parallelism)
}

fn check_divisible(model: &ModelSpec, tensor: u64) -> Result<(), DeploymentError> {
    for layer in &model.layers {
        for (count, what) in divided(&layer.mixer) {
            let divides =
                count.is_multiple_of(tensor) || (what == KV_HEADS && tensor.is_multiple_of(count));
            if !divides {
                return Err(DeploymentError::Indivisible {
                    flag: "--tensor-parallel-size",
                    size: tensor,
                    count,
                    what,
                });
            }
        }
    }
    Ok(())
}

const KV_HEADS: &str = "key-value heads";

/// What tensor parallelism divides in a mixer. KV heads may also be replicated.
fn divided(mixer: &Mixer) -> Vec<(u64, &'static str)> {
    match mixer {
        Mixer::None => Vec::new(),
        Mixer::Grouped(attention) => vec![
            (attention.query_heads, "attention heads"),
            (attention.kv_heads, KV_HEADS),
        ],
        Mixer::Latent(LatentAttention { heads, .. }) => vec![(*heads, "attention heads")],
        Mixer::Recurrent(Recurrent::GatedDelta {
            key_heads,
            value_heads,
            ..
        }) => {
            vec![
                (*key_heads, "linear-attention key heads"),
                (*value_heads, "linear-attention value heads"),
            ]
        }
        Mixer::Recurrent(Recurrent::KimiDelta { heads, .. }) => {
            vec![(*heads, "linear-attention heads")]
        }
        Mixer::Recurrent(Recurrent::ShortConv { channels, .. }) => {
            vec![(*channels, "convolution channels")]
        }
        Mixer::Recurrent(Recurrent::Mamba2 { heads, .. }) => vec![(*heads, "mamba heads")],
        Mixer::Recurrent(Recurrent::Mamba1 { inner, .. }) => vec![(*inner, "mamba channels")],
    }
}

#[cfg(test)]
#[cfg(feature = "clap")]
mod tests;
