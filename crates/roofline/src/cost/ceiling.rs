//! `Ceiling`: the theoretical and attainable ceilings of one GPU, and of its link to peers.

use super::coefficients::Coefficients;
use crate::spec::gpu::GpuSpec;
use crate::spec::precision::{ByPrecision, Precision};
use crate::units::{BytesPerSecond, FlopsPerSecond, Intensity, Seconds};

/// Roof of one GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceiling {
    peaks: ByPrecision<FlopsPerSecond>,
    /// Memory bandwidth.
    pub hbm: BytesPerSecond,
    /// Link to another GPU of the host.
    pub link: Link,
}

/// Connection to a peer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Bandwidth in one direction.
    pub bandwidth: BytesPerSecond,
    /// Bandwidth that a one-shot kernel reaches on a small message.
    pub small_messages: BytesPerSecond,
    /// Bandwidth that NCCL reaches on a large message.
    pub large_messages: BytesPerSecond,
    /// Latency of a collective with a negligible payload.
    pub latency: Seconds,
}

impl Ceiling {
    /// The data sheet's roof.
    #[must_use]
    pub fn theoretical(gpu: &GpuSpec) -> Self {
        Self {
            peaks: gpu.peaks,
            hbm: gpu.hbm_bandwidth,
            link: Link {
                bandwidth: gpu.link_bandwidth(),
                small_messages: gpu.link_bandwidth(),
                large_messages: gpu.link_bandwidth(),
                latency: Seconds::ZERO,
            },
        }
    }

    /// The roof that good kernels reach.
    #[must_use]
    pub fn attainable(gpu: &GpuSpec, coefficients: &Coefficients) -> Self {
        Self::theoretical(gpu).lowered(gpu, coefficients)
    }

    /// The attainable roof with the SMs at `sm_clock_mhz`.
    ///
    /// The measured shares of the peak were taken under the power cap; with a measured clock, kernels that keep the tensor cores busy reach
    /// `clock_fraction` of the peak at that clock.
    #[must_use]
    pub(crate) fn at_clock(gpu: &GpuSpec, coefficients: &Coefficients, sm_clock_mhz: f64) -> Self {
        let attainable = Self::attainable(gpu, coefficients);
        let peaks = attainable.peaks.iter().map(|(precision, peak)| {
            let at_clock = gpu.peak_at_clock(precision, sm_clock_mhz);
            (
                precision,
                at_clock.map_or(peak, |clocked| clocked * coefficients.clock_fraction.value),
            )
        });
        Self {
            peaks: peaks.collect(),
            ..attainable
        }
    }

    fn lowered(self, gpu: &GpuSpec, coefficients: &Coefficients) -> Self {
        let peaks = self.peaks.iter().map(|(precision, peak)| {
            let fraction = coefficients.flops_fraction.map_or_else(
                || gpu.attainable_flops(precision).fraction,
                |stated| stated.value,
            );
            (precision, peak * fraction)
        });
        let (generation, _) = coefficients.generations.of(gpu);
        let large = generation
            .all_reduce_large_fraction
            .map_or(1.0, |share| share.value);
        // Without NVLink there are no dedicated kernels for small messages.
        let (latency, small) = match gpu.nvlink_per_direction {
            Some(_) => (
                coefficients.nvlink_latency_seconds,
                coefficients.all_reduce_small_fraction.value,
            ),
            None => (coefficients.pcie_latency_seconds, large),
        };
        let hbm_fraction = coefficients
            .hbm_fraction
            .map_or(gpu.attainable_hbm.fraction, |stated| stated.value);
        Self {
            peaks: peaks.collect(),
            hbm: self.hbm * hbm_fraction,
            link: Link {
                latency: Seconds(latency.value),
                small_messages: self.link.bandwidth * small,
                large_messages: self.link.bandwidth * large,
                ..self.link
            },
        }
    }

    /// Peak at `precision`; if the GPU does not support it, the peak of its widest format.
    #[must_use]
    pub fn peak(&self, precision: Precision) -> FlopsPerSecond {
        let stated = self.peaks.get(precision);
        stated
            .or_else(|| self.peaks.iter().next().map(|(_, peak)| peak))
            .unwrap_or_default()
    }

    /// Arithmetic intensity above which compute is the limit, at `precision`.
    #[must_use]
    pub fn ridge(&self, precision: Precision) -> Intensity {
        self.peak(precision) / self.hbm
    }

    /// The roof at `intensity`: `min(peak, bandwidth × intensity)`.
    #[must_use]
    pub fn roof(&self, precision: Precision, intensity: Intensity) -> FlopsPerSecond {
        self.peak(precision).min(self.hbm * intensity)
    }
}
