//! The coefficients that depend on the GPU generation and the kernel.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Coefficient;
use crate::spec::gpu::GpuSpec;
use crate::spec::precision::Precision;

/// The GPU generations with coefficients of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Generations {
    /// Compute capability 9.x: H100, H200, GH200, H20.
    pub hopper: Generation,
    /// Compute capability 10.x: B200, B300, GB200, GB300.
    pub blackwell: Generation,
    /// All others.
    pub other: Generation,
}

/// Shares that the kernels of one generation reach. Absent: the GPU's own attainable share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Generation {
    /// Share of the link that an all-reduce of more than [`LARGE_MESSAGE`](crate::cost::communication::LARGE_MESSAGE) reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_reduce_large_fraction: Option<Coefficient>,
    /// Share of HBM bandwidth at which dense weights are read.
    pub weights: ByFormat,
    /// The same share for keys and values.
    pub kv_cache: KvCacheShares,
    /// Share of the dense peak that dense multiplications reach.
    pub compute: ByFormat,
    /// Routed experts.
    pub experts: ExpertKernels,
}

/// By compute format of a multiplication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ByFormat {
    /// 16 and 32 bits, weight-only quantisation included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wide: Option<Coefficient>,
    /// 8 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fp8: Option<Coefficient>,
    /// 4 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fp4: Option<Coefficient>,
}

impl ByFormat {
    pub(super) const fn name(precision: Precision) -> &'static str {
        match precision {
            Precision::Fp8 | Precision::Int8 => "fp8",
            Precision::Fp4 | Precision::Int4 => "fp4",
            _ => "wide",
        }
    }

    /// The share of `precision`.
    #[must_use]
    pub const fn of(&self, precision: Precision) -> Option<Coefficient> {
        match precision {
            Precision::Fp8 | Precision::Int8 => self.fp8,
            Precision::Fp4 | Precision::Int4 => self.fp4,
            _ => self.wide,
        }
    }
}

/// By storage format of the KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KvCacheShares {
    /// 16-bit keys and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wide: Option<Coefficient>,
    /// 8-bit keys and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fp8: Option<Coefficient>,
    /// Compressed vectors (MLA).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latent: Option<Coefficient>,
}

/// Kernels of routed experts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpertKernels {
    /// 16-bit weights.
    pub wide: ExpertKernelCoefficients,
    /// 8-bit weights and activations.
    pub fp8: ExpertKernelCoefficients,
    /// NVFP4 weights and activations.
    pub nvfp4: ExpertKernelCoefficients,
    /// MXFP4 weights, where the GPU multiplies them natively.
    pub mxfp4: ExpertKernelCoefficients,
    /// Narrow weights that are widened before they are multiplied (Marlin).
    pub weight_only: ExpertKernelCoefficients,
}

/// One kernel of routed experts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpertKernelCoefficients {
    /// Share of HBM bandwidth at which the distinct experts of uniform routing are read; above 1 where real routing reaches fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Coefficient>,
    /// Maximum bytes per second, where widening is the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<Coefficient>,
    /// Share of the dense peak: small groups of rows per expert fill tiles badly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute: Option<Coefficient>,
    /// Seconds of routing, sorting, quantising and combining in a layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_per_layer: Option<Coefficient>,
    /// Seconds that the engine needs to launch them, outside CUDA graphs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_seconds_per_layer: Option<Coefficient>,
}

impl ExpertKernelCoefficients {
    /// Its coefficients, falling back to those of `other`. Widening limits this kernel only.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            memory: self.memory.or(other.memory),
            bytes_per_second: self.bytes_per_second,
            compute: self.compute.or(other.compute),
            seconds_per_layer: self.seconds_per_layer.or(other.seconds_per_layer),
            launch_seconds_per_layer: self
                .launch_seconds_per_layer
                .or(other.launch_seconds_per_layer),
        }
    }
}

impl KvCacheShares {
    /// The share called `name`.
    pub(super) fn named_mut(&mut self, name: &str) -> &mut Option<Coefficient> {
        match name {
            "latent" => &mut self.latent,
            "fp8" => &mut self.fp8,
            _ => &mut self.wide,
        }
    }
}

impl ExpertKernels {
    /// The kernel called `name`.
    pub(super) fn named_mut(&mut self, name: &str) -> &mut ExpertKernelCoefficients {
        match name {
            "fp8" => &mut self.fp8,
            "nvfp4" => &mut self.nvfp4,
            "mxfp4" => &mut self.mxfp4,
            "weight_only" => &mut self.weight_only,
            _ => &mut self.wide,
        }
    }
}

impl Generations {
    /// The first value out of range: shares and costs are positive or absent.
    pub(super) fn problem(&self) -> Option<String> {
        let tables = serde_json::to_value(self).ok()?;
        negative("generations", &tables)
    }

    /// The entry of `gpu`'s generation, mutable.
    pub(super) fn of_mut(&mut self, gpu: &GpuSpec) -> &mut Generation {
        match gpu.compute_capability.map(|capability| capability.major) {
            Some(9) => &mut self.hopper,
            Some(10) => &mut self.blackwell,
            _ => &mut self.other,
        }
    }

    /// The entry of `gpu`'s generation, and whether its values were fitted on that generation.
    #[must_use]
    pub fn of(&self, gpu: &GpuSpec) -> (Generation, bool) {
        match gpu.compute_capability.map(|capability| capability.major) {
            Some(9) => (self.hopper, true),
            Some(10) => (self.blackwell, true),
            _ => (self.other, false),
        }
    }
}

/// The first negative value in `table`, by its name in the file.
fn negative(name: &str, table: &Value) -> Option<String> {
    let entries = table.as_object()?;
    match entries.get("value").and_then(Value::as_f64) {
        Some(value) if value < 0.0 => Some(format!("{name} is {value}; it must not be negative")),
        Some(_) => None,
        None => entries
            .iter()
            .find_map(|(key, entry)| negative(&format!("{name}.{key}"), entry)),
    }
}
