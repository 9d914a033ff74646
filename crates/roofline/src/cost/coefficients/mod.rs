//! `Coefficients`: shares of the ceilings and fixed costs that turn a bound into an expected value, each with its origin.
//!
//! The values are data: `data/coefficients.yaml`, embedded. A user file of the same form overrides single values.

mod file;
mod generations;
mod kernels;

pub use file::CoefficientsError;
pub use generations::{
    ByFormat, ExpertKernelCoefficients, ExpertKernels, Generation, Generations, KvCacheShares,
};
pub use kernels::{Experts, Kernels};

use serde::{Deserialize, Deserializer, Serialize};

use crate::spec::gpu::{CoefficientOrigin, GpuSpec};

/// Costs that only engines on several GPUs have.
pub(crate) const BETWEEN_GPUS: [&str; 4] = [
    "nvlink_latency_seconds",
    "pcie_latency_seconds",
    "all_reduce_small_fraction",
    "all_reduce_large_fraction",
];

/// A coefficient with the origin of its value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Coefficient {
    /// Value, in the unit that its name states.
    pub value: f64,
    /// Measured, fitted, stated by the user, or assumed from similar hardware.
    pub origin: CoefficientOrigin,
}

impl Coefficient {
    /// A value measured on the GPU at hand.
    #[must_use]
    pub const fn calibrated(value: f64) -> Self {
        Self {
            value,
            origin: CoefficientOrigin::Calibrated,
        }
    }

    /// A value that is assumed without a measurement.
    #[must_use]
    pub const fn assumed(value: f64) -> Self {
        Self {
            value,
            origin: CoefficientOrigin::Assumed,
        }
    }

    /// The coefficient multiplied by `factor`.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            ..self
        }
    }
}

/// In a file: a number, whose origin is then `stated`, or a value with its origin.
#[derive(Deserialize)]
#[serde(untagged)]
enum InFile {
    Number(f64),
    Full {
        value: f64,
        origin: CoefficientOrigin,
    },
}

impl<'de> Deserialize<'de> for Coefficient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match InFile::deserialize(deserializer)? {
            InFile::Number(value) => Self {
                value,
                origin: CoefficientOrigin::Stated,
            },
            InFile::Full { value, origin } => Self { value, origin },
        })
    }
}

macro_rules! coefficients {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Fixed costs and shares. [`Coefficients::default`] is the embedded file.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Coefficients {
            /// Schema version of the file.
            pub schema: u32,
            /// Attainable share of memory bandwidth, replaces the shares by kernel.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub hbm_fraction: Option<Coefficient>,
            /// Attainable share of compute peaks, replaces the shares by kernel.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub flops_fraction: Option<Coefficient>,
            $($(#[$doc])* pub $name: Coefficient,)*
            /// Shares by GPU generation and kernel.
            pub generations: Generations,
        }

        impl Coefficients {
            /// Coefficients that do not depend on the kernel, without the two shares of the ceilings.
            #[must_use]
            pub fn costs(&self) -> Vec<(&'static str, Coefficient)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

coefficients! {
    /// Share of the peak at the running clock that large multiplications reach.
    clock_fraction,
    /// Share of the attainable compute that a model's mix of shapes reaches, where the generation has no entry of its own.
    compute_efficiency,
    /// Seconds of a step's kernels outside its layers.
    seconds_per_step,
    /// Seconds of the small kernels of a layer.
    seconds_per_layer,
    /// Additional seconds of a layer with latent attention (MLA): projections to and from the compressed vectors.
    seconds_per_latent_layer,
    /// Tokens that attention reads beyond those of a sequence: it reads whole tiles, and waits for each.
    attention_extra_tokens,
    /// Bytes that sampling moves per logit.
    sampling_bytes_per_logit,
    /// Seconds that the engine's process needs per step.
    engine_seconds_per_step,
    /// Seconds that it needs per sequence and step.
    engine_seconds_per_sequence,
    /// Seconds that it needs per layer without CUDA graphs (`--enforce-eager`), when it launches layers one by one.
    engine_seconds_per_eager_layer,
    /// The same for a compiled layer in a step larger than the largest CUDA graph.
    launch_seconds_per_layer,
    /// Additional launch seconds of a layer with latent attention.
    launch_seconds_per_latent_layer,
    /// Seconds that the API server and its clients need per output token.
    frontend_seconds_per_output_token,
    /// Seconds that they need per prompt token.
    frontend_seconds_per_prompt_token,
    /// Seconds from a request to its first step, and from that step to the client.
    seconds_per_request,
    /// Seconds that a prompt token adds on that path: HTTP, tokenising, transfer.
    seconds_per_prompt_token,
    /// Decode steps that a request waits for before its first step.
    wait_decode_steps,
    /// The same for steps that process prompts, weighted by their share of time.
    wait_mixed_steps,
    /// Latency of a collective over NVLink.
    nvlink_latency_seconds,
    /// Latency of a collective over PCI Express.
    pcie_latency_seconds,
    /// Share of NVLink that an all-reduce of a small message reaches.
    all_reduce_small_fraction,
}

impl Default for Coefficients {
    fn default() -> Self {
        file::embedded()
    }
}

impl Coefficients {
    /// The origin on `gpu`: a value measured or fitted on another generation is assumed; all recordings are from Hopper.
    #[must_use]
    pub(crate) fn origin_on(&self, gpu: &GpuSpec, origin: CoefficientOrigin) -> CoefficientOrigin {
        let (_, fitted) = self.generations.of(gpu);
        let hopper = gpu
            .compute_capability
            .is_some_and(|capability| capability.major == 9);
        match origin {
            CoefficientOrigin::Measured if hopper => CoefficientOrigin::Measured,
            CoefficientOrigin::Fitted if fitted => CoefficientOrigin::Fitted,
            CoefficientOrigin::Measured | CoefficientOrigin::Fitted => CoefficientOrigin::Assumed,
            other => other,
        }
    }

    /// Values from a calibration, by name; empty without one.
    #[must_use]
    pub fn calibrated(&self) -> Vec<(&'static str, f64)> {
        let shares = self.hbm_fraction.map(|share| ("hbm_fraction", share));
        shares
            .into_iter()
            .chain(self.costs())
            .filter(|(_, coefficient)| coefficient.origin == CoefficientOrigin::Calibrated)
            .map(|(name, coefficient)| (name, coefficient.value))
            .collect()
    }

    /// Whether any value comes from a calibration.
    #[must_use]
    pub fn is_calibrated(&self) -> bool {
        !self.calibrated().is_empty()
    }

    /// The first value out of range, if any.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let share = |name: &'static str, coefficient: Option<Coefficient>| {
            let bad = coefficient.filter(|share| !(share.value > 0.0 && share.value <= 1.0));
            bad.map(|share| {
                format!(
                    "{name} is {}; it must be above 0 and at most 1",
                    share.value
                )
            })
        };
        let cost = |(name, cost): (&'static str, Coefficient)| {
            let good = cost.value >= 0.0 && cost.value.is_finite();
            (!good).then(|| format!("{name} is {}; it must not be negative", cost.value))
        };
        share("hbm_fraction", self.hbm_fraction)
            .or_else(|| share("flops_fraction", self.flops_fraction))
            .or_else(|| share("clock_fraction", Some(self.clock_fraction)))
            .or_else(|| share("compute_efficiency", Some(self.compute_efficiency)))
            .or_else(|| {
                share(
                    "all_reduce_small_fraction",
                    Some(self.all_reduce_small_fraction),
                )
            })
            .or_else(|| self.costs().into_iter().find_map(cost))
            .or_else(|| self.generations.problem())
    }
}
