//! Traffic beyond the lower bound: activations between unfused operations, and operands that tiled multiplications read again.
//!
//! Every tensor between operations is written to HBM once. Reading a tensor that was just written, or reading an operand again, hits the L2
//! if the tensor fits in a quarter of it, and HBM if it is larger than half of it; in between, a proportional share (the L2 of large parts
//! is two halves that hold copies of shared data).

mod adapters;
mod elementwise;
mod experts;
mod gemm;
mod grouped;
#[cfg(test)]
mod tests;

pub(super) use elementwise::Elementwise;
pub(super) use gemm::{Gemm, Kernel};
pub(super) use grouped::ExpertKernel;

use super::shard::Shard;
use super::step::StepWork;
use crate::spec::gpu::GpuSpec;
use crate::units::Bytes;

/// Bytes of a logit once it is widened for sampling.
const SAMPLED_WIDTH: f64 = 4.0;

/// Share of the L2 that retains operands which all SMs read wave after wave. Between a sixth and a half, about a third, in single Marlin
/// kernels of an H100.
const KEPT: f64 = 1.0 / 3.0;

/// The SMs that compute tiles, and the L2 that holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cache {
    sms: f64,
    l2: f64,
}

impl Cache {
    /// The L2 of `gpu`; that of an A100 without a GPU, or where its table entry has none.
    pub(super) fn of(gpu: Option<&GpuSpec>) -> Self {
        Self {
            sms: gpu.and_then(|gpu| gpu.sm_count).map_or(108.0, f64::from),
            l2: gpu
                .map(|gpu| gpu.l2.0)
                .filter(|l2| *l2 > 0.0)
                .unwrap_or(40e6),
        }
    }

    /// Part of `bytes`, which the SMs read again and again, that does not stay in the L2.
    fn overflow(self, bytes: f64) -> f64 {
        (bytes - self.l2 * KEPT).max(0.0)
    }

    /// Share of an operand that is read from HBM again where `footprint` bytes pass between two reads of it: none up to a third of the L2,
    /// all from 0.58 of it. The two halves of the L2 hold copies, so little of a footprint over half of it survives. Fitted to fp8 CUTLASS
    /// kernels on an H200, whose waves read one operand again and again.
    fn evicted(self, footprint: f64) -> f64 {
        (4.0 * footprint / self.l2 - 1.3).clamp(0.0, 1.0)
    }

    /// Bytes read from HBM when a tensor of `bytes` is read right after it was written.
    fn read(self, bytes: f64) -> f64 {
        bytes * self.missed(bytes)
    }

    /// Share of a tensor of `bytes` that is read from HBM although it passed through the L2 just before.
    fn missed(self, bytes: f64) -> f64 {
        (4.0 * bytes / self.l2 - 1.0).clamp(0.0, 1.0)
    }
}

impl Shard {
    /// Traffic of a step beyond its lower bound.
    pub(super) fn activation_bytes(&self, work: &StepWork) -> Bytes {
        let rows = work.tokens;
        let gemms = self
            .gemms
            .iter()
            .map(|gemm| gemm.layers * gemm.traffic(rows, self.cache));
        let between = self
            .elementwise
            .iter()
            .map(|layers| layers.layers * layers.traffic(rows, work.prompt_tokens, self.cache));
        let experts = self
            .experts
            .iter()
            .map(|layers| layers.traffic(rows, self.activation_width, self.cache));
        let layers: f64 = gemms.chain(between).chain(experts).sum();
        Bytes(layers + self.adapters(rows) + self.sampling(work.logits_rows))
    }

    /// Logits are written, read and widened, and read again to sample a token.
    fn sampling(&self, rows: f64) -> f64 {
        let passed_on = |width: f64| {
            let bytes = rows * self.vocabulary * width;
            bytes + self.cache.read(bytes)
        };
        passed_on(self.activation_width) + passed_on(SAMPLED_WIDTH)
    }
}
