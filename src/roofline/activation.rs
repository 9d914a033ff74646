//! Traffic beyond the lower bound: activations between unfused operations, and operands that tiled multiplications read again.
//!
//! A multiplication of M × K activations with K × N weights runs in waves of one 128 × 256 output tile per SM. A wave covers m × n
//! tiles, `m·n = SMs`, and reads its rows of activations and its columns of weights once, so over all waves the activations are
//! read `N/(256·n)` times and the weights `M/(128·m)` times. Of a tensor that was just written or is read again, the L2 keeps what
//! fits: only the rest, `1 − L2/size`, comes from HBM.

use super::shard::{ExpertLayers, Shard, to_f64};
use super::step::StepWork;
use crate::spec::gpu::GpuSpec;
use crate::spec::model::{FeedForward, Layer, Mixer, Recurrent};
use crate::units::Bytes;

const TILE_ROWS: f64 = 128.0;
const TILE_COLUMNS: f64 = 256.0;

/// What tiles are computed on and kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cache {
    sms: f64,
    l2: f64,
}

impl Cache {
    /// That of `gpu`; without one, the middle of the field.
    pub(super) fn of(gpu: Option<&GpuSpec>) -> Self {
        Self {
            sms: gpu.and_then(|gpu| gpu.sm_count).map_or(108.0, f64::from),
            l2: gpu.map_or(40e6, |gpu| gpu.l2.0),
        }
    }

    /// Share of a tensor of `bytes` that does not stay in the L2.
    fn missed(self, bytes: f64) -> f64 {
        if bytes > self.l2 {
            1.0 - self.l2 / bytes
        } else {
            0.0
        }
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
    /// Bytes per element of the activations as read, and as written.
    pub(super) input_width: f64,
    pub(super) output_width: f64,
}

impl Gemm {
    pub(super) fn same_shape(&self, other: &Self) -> bool {
        Self {
            layers: other.layers,
            ..*self
        } == *other
    }

    /// Bytes beyond one reading of the weights when `rows` tokens pass.
    fn traffic(&self, rows: f64, cache: Cache) -> f64 {
        let tiles_down = (rows / TILE_ROWS).ceil();
        let tiles_across = (self.outputs / TILE_COLUMNS).ceil();
        let (down, across) = wave(tiles_down, tiles_across, cache.sms);
        let activations = rows * self.inputs * self.input_width;
        let weights = self.inputs * self.outputs * self.weight_width;
        let outputs = rows * self.outputs * self.output_width;
        let activation_passes = (tiles_across / across).max(1.0);
        let weight_passes = (tiles_down / down).max(1.0);
        activations * activation_passes * cache.missed(activations)
            + weights * (weight_passes - 1.0) * cache.missed(weights)
            + outputs * cache.missed(outputs)
    }
}

/// Tiles that a wave covers down and across: the shape with the shortest border, within the matrix.
fn wave(tiles_down: f64, tiles_across: f64, sms: f64) -> (f64, f64) {
    let square = (sms * TILE_COLUMNS / TILE_ROWS).sqrt();
    let down = square.min(tiles_down);
    let across = (sms / down).min(tiles_across);
    let down = (sms / across).min(tiles_down);
    (down, across)
}

/// Bytes per token that the operations between multiplications read and write, all layers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Elementwise {
    per_token: f64,
}

impl Elementwise {
    /// Elements per token of one layer: each block's norm reads stream and residual and writes both; RoPE reads and writes queries
    /// and keys; attention reads queries, keys and values and writes its output; the activation reads the up (and gate)
    /// projection and writes the product.
    pub(super) fn of(layer: &Layer, hidden: f64, tensor: f64) -> Self {
        let mixer = match &layer.mixer {
            Mixer::None => 0.0,
            Mixer::Grouped(attention) => {
                let queries = to_f64(attention.query_heads * attention.head_dim) / tensor;
                let keys = to_f64(attention.kv_heads * attention.head_dim) / tensor;
                2.0 * (queries + keys) + 2.0 * queries + 2.0 * keys
            }
            Mixer::Latent(attention) => {
                let heads = to_f64(attention.heads) / tensor;
                let queries = heads * to_f64(attention.nope_dim + attention.rope_dim);
                2.0 * queries + heads * to_f64(attention.value_dim)
            }
            Mixer::Recurrent(recurrent) => match *recurrent {
                Recurrent::GatedDelta {
                    key_heads,
                    value_heads,
                    key_dim,
                    value_dim,
                    ..
                } => 4.0 * to_f64(2 * key_heads * key_dim + value_heads * value_dim) / tensor,
                Recurrent::Mamba2 {
                    heads, head_dim, ..
                } => 6.0 * to_f64(heads * head_dim) / tensor,
                Recurrent::Mamba1 { inner, .. } => 6.0 * to_f64(inner) / tensor,
            },
        };
        let feed_forward = match &layer.feed_forward {
            FeedForward::None => 0.0,
            FeedForward::Dense(mlp) => activation_elements(to_f64(mlp.width) / tensor, mlp.gated),
            FeedForward::Experts(moe) => {
                activation_elements(to_f64(moe.shared_width) / tensor, moe.gated)
            }
        };
        Self {
            per_token: 4.0 * hidden * f64::from(layer.blocks()) + mixer + feed_forward,
        }
    }

    pub(super) fn scaled(self, factor: f64) -> Self {
        Self {
            per_token: self.per_token * factor,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.per_token += other.per_token;
    }
}

/// Reads `width` (twice if gated), writes it once.
fn activation_elements(width: f64, gated: bool) -> f64 {
    if gated { 3.0 * width } else { 2.0 * width }
}

impl ExpertLayers {
    /// Traffic beyond one reading of each distinct expert: rows gathered and combined, the intermediate written, activated, read.
    fn traffic(&self, tokens: f64, cache: Cache) -> f64 {
        let rows = tokens * self.top_k;
        let inner = self.width / self.slices;
        let up = if self.gated { 2.0 * inner } else { inner };
        let elements = 2.0 * self.inputs + up + activation_elements(inner, self.gated) + inner;
        let bytes = rows * elements * 2.0;
        bytes * cache.missed(rows * up * 2.0) * self.layers
    }
}

impl Shard {
    /// Traffic of a step beyond its lower bound.
    pub(super) fn activation_bytes(&self, work: &StepWork) -> Bytes {
        let rows = work.tokens;
        let gemms: f64 = self
            .gemms
            .iter()
            .map(|gemm| gemm.layers * gemm.traffic(rows, self.cache))
            .sum();
        let experts: f64 = self
            .experts
            .iter()
            .map(|layers| layers.traffic(rows, self.cache))
            .sum();
        let stream = rows * self.hidden * self.activation_width;
        Bytes(gemms + experts + self.elementwise.per_token * rows * self.cache.missed(stream))
    }
}
