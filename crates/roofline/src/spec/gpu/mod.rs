//! `GpuSpec`: the ceilings of one GPU, dense and without sparsity.
//!
//! Peaks come from `config/gpus.yaml` (vendor datasheets), a user's overrides, or NVML data for a GPU that the table lacks.

mod derived;
mod file;
mod price;
mod slice;
mod table;

pub use derived::{NvmlFacts, cores_per_sm};
pub use price::ListPrice;
pub use table::{GpuLookupError, GpuTable, GpuTableError};

use serde::{Deserialize, Serialize};

use super::precision::{ByPrecision, Precision};
use crate::units::{Bytes, BytesPerSecond, FlopsPerSecond};

/// The origin of a GPU's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuProvenance {
    /// The embedded table.
    Table,
    /// A user's file, in whole or in part.
    User,
    /// Computed from what NVML reports.
    Derived,
}

/// Whether a coefficient was measured on this hardware or assumed from similar hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CoefficientOrigin {
    /// Measured on this part.
    Measured,
    /// Fitted to published third-party runs.
    Fitted,
    /// Given by the user.
    Stated,
    /// Assumed: the usual value of the architecture.
    Assumed,
    /// Raised to a value measured on the GPU at hand.
    Calibrated,
}

impl CoefficientOrigin {
    /// The name in JSON and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Fitted => "fitted",
            Self::Stated => "stated",
            Self::Calibrated => "calibrated",
            Self::Assumed => "assumed",
        }
    }
}

/// The share of a peak that well-written kernels reach, with its origin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Attainable {
    /// Fraction of the theoretical peak, above 0 and at most 1.
    pub fraction: f64,
    /// Measured or assumed.
    pub origin: CoefficientOrigin,
}

/// The confidence in a published figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Published, and confirmed by a second source or a formula.
    High,
    /// One source, or computed.
    Medium,
    /// Preliminary, or partly estimated.
    #[default]
    Low,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuSpec {
    /// Id in the table, such as `h100-sxm5-80gb`.
    pub id: String,
    /// Product name as NVML prints it.
    pub name: String,
    /// `nvidia` or `amd`.
    pub vendor: String,
    /// Architecture, such as `hopper`.
    pub architecture: String,
    /// CUDA compute capability; `None` where the vendor has none.
    pub compute_capability: Option<ComputeCapability>,
    /// Streaming multiprocessors (compute units on AMD).
    pub sm_count: Option<u32>,
    /// Clock that the tensor peaks are quoted at, in MHz.
    pub boost_clock_mhz: Option<f64>,
    /// Highest SM clock that the driver offers, in MHz.
    pub max_sm_clock_mhz: Option<f64>,
    /// Dense peak per precision.
    pub peaks: ByPrecision<FlopsPerSecond>,
    /// Dense FLOPs per clock and SM, where the peak equals this × SMs × clock.
    pub flops_per_clock_per_sm: ByPrecision<f64>,
    /// Theoretical memory bandwidth.
    pub hbm_bandwidth: BytesPerSecond,
    /// Width of the memory bus in bits.
    pub memory_bus_bits: Option<u32>,
    /// Memory clock in MHz as NVML reports it (data moves twice a clock).
    pub memory_clock_mhz: Option<f64>,
    /// Memory in total, as the driver reports it.
    pub memory: Bytes,
    /// Second-level cache.
    pub l2: Bytes,
    /// Link to peers of the same host, in one direction, if there is one.
    pub nvlink_per_direction: Option<BytesPerSecond>,
    /// PCI Express generation, of sixteen lanes.
    pub pcie_generation: u32,
    /// Board power limit in watts.
    pub tdp_watts: Option<f64>,
    /// Whether NVML's GPM counters are expected.
    pub gpm: bool,
    /// Attainable share of memory bandwidth.
    pub attainable_hbm: Attainable,
    /// Attainable share of each peak with a measurement.
    pub measured_flops_fractions: ByPrecision<f64>,
    /// List price, where a seller has one.
    pub list_price: Option<ListPrice>,
    /// Origin of the figures.
    pub provenance: GpuProvenance,
    /// Confidence in the figures.
    pub confidence: Confidence,
    /// Notes for the reader.
    pub notes: Option<String>,
}

/// CUDA compute capability, such as 9.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComputeCapability {
    /// Generation.
    pub major: u32,
    /// Variant within it.
    pub minor: u32,
}

impl ComputeCapability {
    /// Turing data-centre parts.
    pub(crate) const TURING: Self = Self::new(7, 5);
    /// First generation with bf16.
    pub(crate) const AMPERE: Self = Self::new(8, 0);
    /// First generation with fp8.
    pub(crate) const ADA: Self = Self::new(8, 9);
    /// Hopper.
    pub(crate) const HOPPER: Self = Self::new(9, 0);
    /// First generation with fp4.
    pub(crate) const BLACKWELL: Self = Self::new(10, 0);

    /// `major.minor`.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Reads `9.0`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self::new(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl std::fmt::Display for ComputeCapability {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl GpuSpec {
    /// Dense peak at `precision`, at the datasheet clock.
    #[must_use]
    pub fn peak(&self, precision: Precision) -> Option<FlopsPerSecond> {
        self.peaks.get(precision)
    }

    /// Dense peak at `precision` when the SMs run at `sm_clock_mhz`.
    ///
    /// SMs × FLOPs per clock × clock where that formula holds, otherwise the datasheet peak scaled by the clock.
    #[must_use]
    pub fn peak_at_clock(&self, precision: Precision, sm_clock_mhz: f64) -> Option<FlopsPerSecond> {
        let by_rule = self
            .sm_count
            .zip(self.flops_per_clock_per_sm.get(precision))
            .map(|(sms, rate)| FlopsPerSecond(f64::from(sms) * rate * sm_clock_mhz * 1e6));
        by_rule.or_else(|| {
            let peak = self.peak(precision)?;
            Some(
                self.boost_clock_mhz
                    .map_or(peak, |boost| peak * (sm_clock_mhz / boost)),
            )
        })
    }

    /// Share of the peak at `precision` that large matrix multiplications reach.
    #[must_use]
    pub fn attainable_flops(&self, precision: Precision) -> Attainable {
        self.measured_flops_fractions.get(precision).map_or(
            Attainable {
                fraction: assumed_flops_fraction(&self.vendor, precision),
                origin: CoefficientOrigin::Assumed,
            },
            |fraction| Attainable {
                fraction,
                origin: CoefficientOrigin::Measured,
            },
        )
    }

    /// Bandwidth of the link to another GPU of the host, in one direction: NVLink, otherwise sixteen lanes of PCI Express.
    #[must_use]
    pub fn link_bandwidth(&self) -> BytesPerSecond {
        self.nvlink_per_direction
            .unwrap_or_else(|| pcie_bandwidth(self.pcie_generation))
    }

    /// This GPU without NVLink, as a board without its bridge: it reaches its peers over PCI Express.
    #[must_use]
    pub fn without_nvlink(mut self) -> Self {
        self.nvlink_per_direction = None;
        self
    }
}

/// `bits / 8 × clock × 2`: memory moves data on both edges of its clock.
fn bus_bandwidth(bus_bits: u32, memory_clock_mhz: f64) -> BytesPerSecond {
    BytesPerSecond(f64::from(bus_bits) / 8.0 * memory_clock_mhz * 1e6 * 2.0)
}

/// Sixteen lanes, one direction: 1 GB/s per lane for generation 3, doubling with each generation.
fn pcie_bandwidth(generation: u32) -> BytesPerSecond {
    BytesPerSecond(16e9 * 2_f64.powi(i32::try_from(generation).unwrap_or(3) - 3))
}

/// Attainable compute without a measurement: 0.75 of a 16-bit peak and 0.70 of narrower ones; 0.55 on CDNA.
fn assumed_flops_fraction(vendor: &str, precision: Precision) -> f64 {
    match precision {
        _ if vendor == "amd" => 0.55,
        Precision::Fp8 | Precision::Int8 | Precision::Fp4 | Precision::Int4 => 0.70,
        _ => 0.75,
    }
}

/// Attainable bandwidth without a measurement: 0.88 up to Hopper, 0.82 on Blackwell and later, 0.80 on CDNA.
fn assumed_hbm_fraction(vendor: &str, capability: Option<ComputeCapability>) -> f64 {
    match capability {
        _ if vendor == "amd" => 0.80,
        Some(capability) if capability >= ComputeCapability::BLACKWELL => 0.82,
        _ => 0.88,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(name: &str) -> GpuSpec {
        let table = GpuTable::embedded().expect("the embedded table parses");
        table.find(name).expect("known").clone()
    }

    #[test]
    fn the_clock_scales_the_peak() {
        let h100 = gpu("H100");
        let at_boost = h100
            .peak_at_clock(Precision::Bf16, 1830.0)
            .expect("has bf16");
        assert!((at_boost / h100.peak(Precision::Bf16).expect("has bf16") - 1.0).abs() < 0.001);
        let capped = h100
            .peak_at_clock(Precision::Bf16, 1395.0)
            .expect("has bf16");
        assert!((capped.0 / 754.2e12 - 1.0).abs() < 0.001);
    }

    #[test]
    fn a_part_nobody_measured_says_so() {
        let t4 = gpu("T4");
        assert_eq!(t4.attainable_hbm.origin, CoefficientOrigin::Assumed);
        assert_eq!(
            t4.attainable_flops(Precision::Fp16).origin,
            CoefficientOrigin::Assumed
        );
        assert_eq!(t4.peak(Precision::Bf16), None);
        assert_eq!(
            gpu("H100").attainable_flops(Precision::Bf16).origin,
            CoefficientOrigin::Measured
        );
    }

    #[test]
    fn parts_without_nvlink_talk_over_pcie() {
        assert!((gpu("T4").link_bandwidth().0 - 16e9).abs() < 1.0);
        assert!((gpu("L4").link_bandwidth().0 - 32e9).abs() < 1.0);
        assert!((gpu("H100").link_bandwidth().0 - 450e9).abs() < 1.0);
    }
}
