//! Traffic of routed experts beyond one reading of each distinct one.
//!
//! The router reads every token. A token's row is gathered once for each of its experts; the up projection, the activated product
//! and the down projection of all those rows are written and read; the results are combined into one row per token. Where an expert
//! gets more rows than one wave of tiles takes, operands are read again.

use super::Cache;
use super::gemm::Operands;
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
        self.layers
            * (router
                + read(self.inputs)
                + written(up)
                + read(up)
                + written(self.width)
                + read(self.width)
                + written(self.inputs)
                + read(self.inputs)
                + combined
                + self.operands_again(rows, up, activation_width, cache))
    }

    /// Readings of rows and weights after the first, all experts of a layer.
    fn operands_again(&self, rows: f64, up: f64, activation_width: f64, cache: Cache) -> f64 {
        let each = rows / self.experts;
        let down_share = self.width / (self.width + up);
        let weights = self.bytes_per_expert.0;
        let multiplication = |inputs: f64, outputs: f64, weights: f64| Operands {
            rows: each,
            columns: outputs,
            activations: each * inputs * activation_width,
            weights,
        };
        let up = multiplication(self.inputs, up, weights * (1.0 - down_share));
        let down = multiplication(self.width, self.inputs, weights * down_share);
        self.experts * (up.in_groups(cache) + down.in_groups(cache))
    }
}
