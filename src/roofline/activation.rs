//! Traffic beyond the lower bound: activations between unfused operations, and operands that tiled multiplications read again.
//!
//! A multiplication of M × K activations with K × N weights runs in waves of one 128 × 256 output tile per SM, laid out as a square
//! of √SMs × √SMs tiles. Each wave reads its rows of activations and its columns of weights once, so over all waves the activations
//! are read `N / (256·√SMs)` times and the weights `M / (128·√SMs)` times. Weight-only kernels (Marlin) take the weights past short
//! blocks of rows and read them once per 256 rows.
//!
//! Every tensor between operations is written to HBM once. Reading what was just written, or reading an operand again, comes from
//! the L2 if the tensor fits in a quarter of it, from HBM if it is larger than half of it, and in proportion in between (the L2 of
//! large parts is two halves that hold copies of shared data).
//!
//! Against the DRAM counter of an H100 the whole step comes to 0.96 of the traffic of 8B bf16 prefill, 0.93 of 0.5B, 1.02 of 7B AWQ.

use super::shard::{ExpertLayers, Shard};
use super::step::StepWork;
use crate::spec::gpu::GpuSpec;
use crate::spec::model::{FeedForward, Layer, Mixer};
use crate::spec::to_f64;
use crate::units::Bytes;

const TILE_ROWS: f64 = 128.0;
const TILE_COLUMNS: f64 = 256.0;
/// Measured on AWQ with Marlin kernels on an H100.
const WEIGHT_ONLY_ROWS: f64 = 256.0;

/// What tiles are computed on and kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cache {
    /// Tiles down, and across, that one wave covers.
    wave_side: f64,
    l2: f64,
}

impl Cache {
    /// That of `gpu`; without one, that of an A100.
    pub(super) fn of(gpu: Option<&GpuSpec>) -> Self {
        let sms = gpu.and_then(|gpu| gpu.sm_count).map_or(108.0, f64::from);
        Self {
            wave_side: sms.sqrt(),
            l2: gpu.map_or(40e6, |gpu| gpu.l2.0),
        }
    }

    /// Share of a tensor of `bytes` that is read from HBM although it passed the L2 just before.
    fn missed(self, bytes: f64) -> f64 {
        (4.0 * bytes / self.l2 - 1.0).clamp(0.0, 1.0)
    }
}

/// One matrix multiplication of a layer, per GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gemm {
    pub(super) layers: f64,
    pub(super) inputs: f64,
    pub(super) outputs: f64,
    /// Bytes per weight.
    pub(super) weight_width: f64,
    /// Weights are narrower than what the multiplication computes in.
    pub(super) weight_only: bool,
    /// Bytes per activation as the multiplication reads it.
    pub(super) operand_width: f64,
    /// Bytes per activation elsewhere.
    pub(super) activation_width: f64,
}

impl Gemm {
    /// Bytes beyond one reading of the weights when `rows` tokens pass.
    fn traffic(&self, rows: f64, cache: Cache) -> f64 {
        let activations = rows * self.inputs * self.operand_width;
        let activation_passes = (self.outputs / (TILE_COLUMNS * cache.wave_side)).max(1.0);
        let weights = self.inputs * self.outputs * self.weight_width;
        let rows_per_pass = if self.weight_only {
            WEIGHT_ONLY_ROWS
        } else {
            TILE_ROWS * cache.wave_side
        };
        let weight_passes = (rows / rows_per_pass).max(1.0);
        activations * activation_passes * cache.missed(activations)
            + weights * (weight_passes - 1.0) * cache.missed(weights)
            + rows * self.outputs * self.activation_width
            + self.narrowing(rows, cache)
    }

    /// A pass that makes narrow operands of wide activations (dynamic fp8, int8, fp4).
    fn narrowing(&self, rows: f64, cache: Cache) -> f64 {
        if self.operand_width >= self.activation_width {
            return 0.0;
        }
        let wide = rows * self.inputs * self.activation_width;
        wide * cache.missed(wide) + rows * self.inputs * self.operand_width
    }
}

/// The operations between the multiplications of a layer, as widths of the tensors that they pass on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Elementwise {
    pub(super) layers: f64,
    /// Bytes per token of the residual stream.
    stream: f64,
    /// Norms, each of which adds to the residual: reads the block's output and the residual, writes the sum and its norm.
    norms: f64,
    /// Bytes per token of queries, keys and values.
    heads: f64,
    /// Bytes per token that the mixer writes beside its projections: rotated queries and keys, its output.
    mixed: f64,
    /// Bytes per token of the up projection, with the gate.
    up: f64,
    /// Bytes per token of the activated product.
    activated: f64,
}

impl Elementwise {
    /// One GPU's share of `layer`, which stands for `layers`, with activations of `width` bytes.
    pub(super) fn of(layer: &Layer, hidden: f64, tensor: f64, width: f64, layers: f64) -> Self {
        let (heads, mixed) = mixer_widths(&layer.mixer);
        let (up, activated) = match &layer.feed_forward {
            FeedForward::None => (0, 0),
            FeedForward::Dense(mlp) => activation_widths(mlp.width, mlp.gated),
            FeedForward::Experts(moe) => activation_widths(moe.shared_width, moe.gated),
        };
        let share = |elements: u64| to_f64(elements) * width / tensor;
        Self {
            layers,
            stream: hidden * width,
            norms: f64::from(layer.blocks()),
            heads: share(heads),
            mixed: share(mixed),
            up: share(up),
            activated: share(activated),
        }
    }

    fn traffic(&self, rows: f64, cache: Cache) -> f64 {
        let reread = |width: f64| width * cache.missed(width * rows);
        let norm = 3.0 * self.stream + reread(self.stream);
        let mixer = 2.0 * reread(self.heads) + self.mixed;
        let feed_forward = reread(self.up) + self.activated;
        rows * (self.norms * norm + mixer + feed_forward)
    }
}

/// Elements per token that a mixer's kernels read from its projections, and that they write.
fn mixer_widths(mixer: &Mixer) -> (u64, u64) {
    match mixer {
        Mixer::None => (0, 0),
        Mixer::Grouped(attention) => {
            let (queries, keys) = (
                attention.query_heads * attention.head_dim,
                attention.kv_heads * attention.head_dim,
            );
            (queries + 2 * keys, 2 * queries + keys)
        }
        Mixer::Latent(attention) => {
            let queries = attention.heads * (attention.nope_dim + attention.rope_dim);
            (
                queries + attention.latent_width(),
                queries + attention.heads * attention.value_dim,
            )
        }
        Mixer::Recurrent(recurrent) => recurrent.widths(),
    }
}

/// Elements that an activation function reads and writes.
fn activation_widths(width: u64, gated: bool) -> (u64, u64) {
    (if gated { 2 * width } else { width }, width)
}

impl ExpertLayers {
    /// Traffic beyond one reading of each distinct expert: rows gathered, up projection, activation and down projection written and
    /// read, results combined.
    fn traffic(&self, tokens: f64, activation_width: f64, cache: Cache) -> f64 {
        let rows = tokens * self.top_k * self.share;
        let up = if self.gated {
            2.0 * self.width
        } else {
            self.width
        };
        let passed_on = |width: f64| {
            let bytes = rows * width * activation_width;
            bytes + bytes * cache.missed(bytes)
        };
        let gathered = rows * self.inputs * activation_width;
        self.layers
            * (gathered * cache.missed(gathered)
                + passed_on(up)
                + passed_on(self.width)
                + passed_on(self.inputs))
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
            .map(|layers| layers.layers * layers.traffic(rows, self.cache));
        let experts = self
            .experts
            .iter()
            .map(|layers| layers.traffic(rows, self.activation_width, self.cache));
        let logits = work.logits_rows * self.vocabulary * self.activation_width;
        Bytes(gemms.chain(between).chain(experts).sum::<f64>() + logits)
    }
}
