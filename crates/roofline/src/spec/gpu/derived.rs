//! Derives the ceilings of an NVIDIA GPU that the table lacks from NVML data.
//!
//! Bandwidth = 2 × memory clock × bus width / 8. FLOP/s = SMs × FLOPs per clock of the compute capability × clock. FLOPs per clock and SM
//! of dense 16-bit tensor cores: Volta and Ampere-consumer 1024, Turing 1024, GA100 2048, Ada 1024, Hopper 4096, Blackwell data centre
//! 8192, Blackwell RTX 1024; 8 bits are twice that, 4 bits twice again. `GeForce` parts, recognised by name, run FP32 accumulation at half
//! the rate.

use super::{
    Attainable, CoefficientOrigin, ComputeCapability, Confidence, GpuProvenance, GpuSpec,
    assumed_hbm_fraction, bus_bandwidth,
};
use crate::spec::precision::{ByPrecision, Precision};
use crate::units::{Bytes, FlopsPerSecond};

/// GPU data from NVML.
#[derive(Clone, Debug, PartialEq)]
pub struct NvmlFacts {
    /// Product name.
    pub name: String,
    /// CUDA compute capability.
    pub compute_capability: ComputeCapability,
    /// Streaming multiprocessors: CUDA cores over [`cores_per_sm`].
    pub sm_count: u32,
    /// Highest SM clock in MHz.
    pub max_sm_clock_mhz: f64,
    /// Highest memory clock in MHz.
    pub max_memory_clock_mhz: f64,
    /// Width of the memory bus in bits.
    pub memory_bus_bits: u32,
    /// Memory in total.
    pub memory: Bytes,
    /// Whether GPM counters are available.
    pub gpm: bool,
}

impl GpuSpec {
    /// The ceilings that follow from `facts`. They use the highest clock, so peaks are upper bounds; L2 and links are unknown.
    #[must_use]
    pub fn derived(facts: &NvmlFacts) -> Self {
        let capability = facts.compute_capability;
        let sm_count = facts.sm_count;
        let rates = rates(capability, is_geforce(&facts.name));
        let peak =
            |rate: f64| FlopsPerSecond(f64::from(sm_count) * rate * facts.max_sm_clock_mhz * 1e6);
        Self {
            id: facts.name.to_ascii_lowercase().replace(' ', "-"),
            name: facts.name.clone(),
            vendor: "nvidia".to_owned(),
            architecture: String::new(),
            compute_capability: Some(capability),
            sm_count: Some(sm_count),
            boost_clock_mhz: Some(facts.max_sm_clock_mhz),
            max_sm_clock_mhz: Some(facts.max_sm_clock_mhz),
            peaks: rates
                .iter()
                .map(|(precision, rate)| (precision, peak(rate)))
                .collect(),
            flops_per_clock_per_sm: rates,
            hbm_bandwidth: bus_bandwidth(facts.memory_bus_bits, facts.max_memory_clock_mhz),
            memory_bus_bits: Some(facts.memory_bus_bits),
            memory_clock_mhz: Some(facts.max_memory_clock_mhz),
            memory: facts.memory,
            l2: Bytes::ZERO,
            nvlink_per_direction: None,
            pcie_generation: 4,
            tdp_watts: None,
            gpm: facts.gpm,
            attainable_hbm: Attainable {
                fraction: assumed_hbm_fraction("nvidia", Some(capability)),
                origin: CoefficientOrigin::Assumed,
            },
            measured_flops_fractions: ByPrecision::default(),
            list_price: None,
            provenance: GpuProvenance::Derived,
            confidence: Confidence::Low,
            notes: Some("Not in the table: ceilings computed from NVML.".to_owned()),
        }
    }
}

/// CUDA cores of a streaming multiprocessor: 64 on P100, Volta, Turing and GA100, 128 elsewhere.
#[must_use]
pub const fn cores_per_sm(capability: ComputeCapability) -> u32 {
    match (capability.major, capability.minor) {
        (6, 0) | (7, _) | (8, 0) => 64,
        _ => 128,
    }
}

fn is_geforce(name: &str) -> bool {
    name.contains("GeForce")
}

/// Dense FLOPs per clock and SM for each precision that the generation's tensor cores support.
fn rates(capability: ComputeCapability, geforce: bool) -> ByPrecision<f64> {
    let half = match (capability.major, capability.minor) {
        (8, 0) => 2048.0,
        (9, _) => 4096.0,
        (10 | 11, _) => 8192.0,
        (7.., _) if geforce => 512.0,
        (7.., _) => 1024.0,
        _ => 256.0,
    };
    let fp32 = if cores_per_sm(capability) == 64 {
        128.0
    } else {
        256.0
    };
    [
        (Precision::Fp32, fp32, true),
        (Precision::Fp16, half, true),
        (
            Precision::Bf16,
            half,
            capability >= ComputeCapability::AMPERE,
        ),
        (
            Precision::Fp8,
            half * 2.0,
            capability >= ComputeCapability::ADA,
        ),
        (
            Precision::Int8,
            half * 2.0,
            capability >= ComputeCapability::TURING,
        ),
        (
            Precision::Fp4,
            half * 4.0,
            capability >= ComputeCapability::BLACKWELL,
        ),
    ]
    .into_iter()
    .filter(|(_, _, known)| *known)
    .map(|(precision, rate, _)| (precision, rate))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_h100_derived_from_nvml_agrees_with_the_table() {
        let gpu = GpuSpec::derived(&NvmlFacts {
            name: "NVIDIA H100 80GB HBM3".to_owned(),
            compute_capability: ComputeCapability::HOPPER,
            sm_count: 132,
            max_sm_clock_mhz: 1980.0,
            max_memory_clock_mhz: 2619.0,
            memory_bus_bits: 5120,
            memory: Bytes(81_559.0 * 1024.0 * 1024.0),
            gpm: true,
        });
        assert_eq!(gpu.sm_count, Some(132));
        assert_eq!(gpu.provenance, GpuProvenance::Derived);
        assert!((gpu.hbm_bandwidth.0 / 3.352e12 - 1.0).abs() < 0.001);
        let at_boost = gpu
            .peak_at_clock(Precision::Bf16, 1830.0)
            .expect("has bf16");
        assert!((at_boost.0 / 989.4e12 - 1.0).abs() < 0.001);
        assert_eq!(gpu.peak(Precision::Fp4), None);
    }

    #[test]
    fn turing_has_no_bf16() {
        let rates = rates(ComputeCapability::TURING, false);
        assert_eq!(rates.get(Precision::Bf16), None);
        assert_eq!(rates.get(Precision::Fp16), Some(1024.0));
    }
}
