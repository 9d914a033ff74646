//! Traffic of routed experts beyond reading each distinct expert once.
//!
//! The router reads every token. A token's row is gathered once for each of its experts; the up projection, the activated product and the
//! down projection of all those rows are written and read (except the up projection where its kernel applies the activation function
//! itself); the results are combined into one row per token. `grouped.rs` models what the kernels read again.

use super::Cache;
use super::grouped::Grouped;
use crate::cost::shard::ExpertLayers;

impl ExpertLayers {
    pub(super) fn traffic(&self, tokens: f64, activation_width: f64, cache: Cache) -> f64 {
        let rows = tokens * self.top_k * self.share;
        let up = if self.gated {
            2.0 * self.width
        } else {
            self.width
        };
        let written = |width: f64| rows * width * activation_width;
        let read = |width: f64| cache.read(written(width));
        let stream = tokens * self.inputs * activation_width;
        let router = cache.read(stream);
        let combined = stream;
        let unactivated = if self.kernel.fuses_activation() {
            0.0
        } else {
            written(up) + read(up)
        };
        self.layers
            * (router
                + read(self.inputs)
                + unactivated
                + written(self.width)
                + read(self.width)
                + written(self.inputs)
                + read(self.inputs)
                + combined
                + self.operands_again(tokens, up, activation_width, cache))
    }

    /// Repeated reads of rows and weights, over all experts of a layer.
    fn operands_again(&self, tokens: f64, up: f64, activation_width: f64, cache: Cache) -> f64 {
        let rows = tokens * self.top_k * self.share;
        let tiling = self.kernel.tiling(tokens, self.experts, self.top_k);
        let down_share = self.width / (self.width + up);
        let weights = self.bytes_per_expert.0;
        let first = Grouped {
            rows,
            distinct_rows: tokens.min(rows),
            row_width: self.inputs * activation_width,
            experts: self.distinct(tokens),
            columns: up,
            weights: weights * (1.0 - down_share),
        };
        let second = Grouped {
            distinct_rows: rows,
            row_width: self.width * activation_width,
            columns: self.inputs,
            weights: weights * down_share,
            ..first
        };
        first.again(tiling, cache) + second.again(tiling, cache)
    }
}
