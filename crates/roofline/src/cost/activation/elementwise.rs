//! Traffic of the operations between a layer's matrix multiplications: norms, rotary embeddings, attention operands, activation functions.

use super::Cache;
use crate::spec::model::{FeedForward, Layer, Mixer};
use crate::spec::to_f64;

/// The operations between the matrix multiplications of a layer, as widths of their tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cost) struct Elementwise {
    pub(in crate::cost) layers: f64,
    /// Bytes per token of the residual stream.
    stream: f64,
    /// Norms, each of which adds to the residual: reads the block's output and the residual, writes the sum and its norm.
    norms: f64,
    /// Bytes per token of queries, keys and values.
    heads: f64,
    /// Bytes per token of queries and keys with norms of their own, which add a pass over both.
    normed: f64,
    /// Bytes per token that the mixer writes beside its projections: rotated queries and keys, its output.
    mixed: f64,
    /// Bytes per prompt token that the kernels of a chunked scan exchange.
    scanned: f64,
    /// Bytes per token of the up projection, with the gate.
    up: f64,
    /// Bytes per token of the activated product.
    activated: f64,
}

impl Elementwise {
    /// One GPU's share of `layer`, which represents `layers` equal ones, with activations of `width` bytes and recurrent states of
    /// `state_width`.
    pub(in crate::cost) fn of(
        layer: &Layer,
        hidden: f64,
        tensor: f64,
        (width, state_width): (f64, f64),
        layers: f64,
    ) -> Self {
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
            normed: share(normed_width(&layer.mixer)),
            mixed: share(mixed),
            scanned: match &layer.mixer {
                Mixer::Recurrent(recurrent) => recurrent.scan_bytes(width, state_width) / tensor,
                _ => 0.0,
            },
            up: share(up),
            activated: share(activated),
        }
    }

    /// Bytes of a step with `rows` tokens, `prompts` of them from prompts.
    pub(super) fn traffic(&self, rows: f64, prompts: f64, cache: Cache) -> f64 {
        let reread = |width: f64| cache.read(width * rows) / rows;
        let norm = 3.0 * self.stream + reread(self.stream);
        let mixer = 2.0 * reread(self.heads) + self.normed + reread(self.normed) + self.mixed;
        let feed_forward = reread(self.up) + self.activated;
        let scanned = self.scanned * prompts;
        rows * (self.norms * norm + mixer + feed_forward) + scanned + cache.read(scanned)
    }
}

/// Elements per token that a mixer's kernels read from its projections, and elements that they write.
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
            // Keys are concatenated from the up-projection and the one rotated key that all heads share.
            let keys = attention.heads * (attention.nope_dim + attention.rope_dim);
            let values = attention.heads * attention.value_dim;
            (
                2 * keys + values + attention.latent_width(),
                2 * keys + values,
            )
        }
        Mixer::Recurrent(recurrent) => recurrent.widths(),
    }
}

/// Elements per token of queries and keys that are normed per head.
fn normed_width(mixer: &Mixer) -> u64 {
    match mixer {
        Mixer::Grouped(attention) if attention.norms_heads() => {
            (attention.query_heads + attention.kv_heads) * attention.head_dim
        }
        _ => 0,
    }
}

/// Elements that an activation function reads and writes.
fn activation_widths(width: u64, gated: bool) -> (u64, u64) {
    (if gated { 2 * width } else { width }, width)
}
