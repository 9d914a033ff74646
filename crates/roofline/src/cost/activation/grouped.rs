//! The grouped multiplications of routed experts: how their kernels tile, and what the order of the tiles reads again.
//!
//! The rows of each expert are padded to blocks of `rows`. A kernel processes `group` blocks at a time, of whichever experts, and walks the
//! blocks of a group before it moves across the columns (`fused_moe_kernel` of vLLM, `matmul_ogs` of Triton for MXFP4). So
//! * a group reads its rows again for every wave that it needs to cross the columns,
//! * every group that contains blocks of an expert reads that expert's weights,
//! * and where a wave's rows and columns exceed half of the L2, tiles of one wave drift apart and read both again.

use super::Cache;
use crate::spec::gpu::GpuSpec;

/// The kernel that multiplies routed experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cost) enum ExpertKernel {
    /// vLLM's Triton kernel with its default tiles.
    Triton,
    /// The same with tuned tiles for this shape and GPU: wide ones, grouped from a small number of rows.
    TritonTuned,
    /// Triton's `matmul_ogs`, which applies the activation function before it writes.
    MatmulOgs,
}

/// How a kernel tiles an output, and how many tiles an SM runs concurrently.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tiling {
    rows: f64,
    columns: f64,
    group: f64,
    per_sm: f64,
}

/// Expert counts and intermediate widths that vLLM 0.25 ships tuned tiles for, on the H200 and on the H100 80GB.
const TUNED_H200: &[(u64, u64)] = &[
    (8, 14_336),
    (8, 1792),
    (8, 2048),
    (8, 3584),
    (8, 4096),
    (8, 7168),
    (16, 1024),
    (16, 2048),
    (64, 1280),
    (64, 2560),
    (64, 320),
    (64, 640),
    (128, 192),
    (128, 384),
    (128, 768),
];
const TUNED_H100: &[(u64, u64)] = &[
    (8, 1792),
    (8, 2048),
    (8, 3584),
    (8, 4096),
    (8, 7168),
    (16, 1344),
    (16, 1792),
    (16, 2688),
    (64, 1280),
    (64, 1536),
    (64, 320),
    (64, 640),
    (128, 384),
];

impl ExpertKernel {
    /// The kernel for 16-bit weights of `experts` experts of `width` on `gpu`.
    pub(in crate::cost) fn of_16_bit(gpu: Option<&GpuSpec>, experts: u64, width: u64) -> Self {
        let table = match gpu.map(|gpu| gpu.id.as_str()) {
            Some("h200-sxm-141gb") => TUNED_H200,
            Some("h100-sxm5-80gb") => TUNED_H100,
            _ => &[],
        };
        if table.contains(&(experts, width)) {
            Self::TritonTuned
        } else {
            Self::Triton
        }
    }

    /// The tiles for `tokens` tokens, each routed to `top_k` of `experts` experts: `get_default_config` of vLLM, the common values of its
    /// Hopper tables, and `make_default_opt_flags_nvidia` of Triton.
    pub(super) fn tiling(self, tokens: f64, experts: f64, top_k: f64) -> Tiling {
        match self {
            Self::Triton => Tiling {
                rows: steps(tokens, &[(32.0, 16.0), (96.0, 32.0), (512.0, 64.0)]),
                columns: steps(tokens, &[(64.0, 64.0)]),
                group: if tokens / experts > 128.0 { 16.0 } else { 1.0 },
                per_sm: 2.0,
            },
            Self::TritonTuned => Tiling {
                rows: steps(tokens, &[(32.0, 16.0), (96.0, 32.0), (192.0, 64.0)]),
                columns: if tokens < 192.0 { 128.0 } else { 256.0 },
                group: 16.0,
                per_sm: if tokens < 192.0 { 2.0 } else { 1.0 },
            },
            Self::MatmulOgs => Tiling {
                rows: (tokens * top_k / experts)
                    .max(1.0)
                    .log2()
                    .ceil()
                    .exp2()
                    .clamp(16.0, 128.0),
                columns: 256.0,
                group: 8.0,
                per_sm: 1.0,
            },
        }
    }

    /// Whether the first multiplication writes only the activated product.
    pub(super) fn fuses_activation(self) -> bool {
        self == Self::MatmulOgs
    }
}

/// The value of the first step that `at` does not exceed, 128 beyond all of them.
fn steps(at: f64, steps: &[(f64, f64)]) -> f64 {
    steps
        .iter()
        .find(|(limit, _)| at <= *limit)
        .map_or(128.0, |(_, value)| *value)
}

/// One grouped multiplication: all experts of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grouped {
    /// Rows of all experts together.
    pub(super) rows: f64,
    /// Distinct rows: tokens, where several experts read the same row.
    pub(super) distinct_rows: f64,
    /// Bytes of a row.
    pub(super) row_width: f64,
    /// Experts that have rows.
    pub(super) experts: f64,
    pub(super) columns: f64,
    /// Weights of one expert in bytes.
    pub(super) weights: f64,
}

/// Additional reads of a wave per L2 size by which its rows and columns exceed half of the L2, up to two: its tiles drift apart.
const DRIFT: f64 = 0.5;

impl Grouped {
    /// Blocks of rows, padding included: half a block per expert on average.
    fn blocks(&self, tiling: Tiling) -> f64 {
        self.experts * (self.rows / self.experts / tiling.rows + 0.5)
    }

    /// Bytes of rows and weights that are read from HBM again.
    pub(super) fn again(&self, tiling: Tiling, cache: Cache) -> f64 {
        if self.rows <= 0.0 {
            return 0.0;
        }
        let side_by_side = cache.sms * tiling.per_sm;
        let across = self.columns / tiling.columns;
        let blocks = self.blocks(tiling);
        let group = tiling.group.max(side_by_side / across).min(blocks);
        let groups = blocks / group;
        let experts_in_group = (group * self.experts / blocks).clamp(1.0, self.experts);
        let distinct = self.distinct_rows * self.row_width;
        let group_rows = (group * tiling.rows * self.row_width).min(distinct);
        let column = self.weights / self.columns;
        let wave_columns =
            across.min(side_by_side / group) * tiling.columns * column * experts_in_group;
        let wave = group_rows + wave_columns;
        let waves = across * group / side_by_side;
        let swept = (self.rows * self.row_width).min(groups * distinct);
        let split_experts = (groups - 1.0) * (1.0 - self.experts / blocks).max(0.0);
        let drift = 1.0 + DRIFT * ((wave / cache.l2).min(2.5) - 0.5).max(0.0);
        drift
            * ((waves - 1.0).max(0.0) * swept * cache.evicted(wave)
                + split_experts
                    * self.weights
                    * cache.evicted(group_rows + self.weights * experts_in_group))
    }
}
