//! Traffic of routed experts beyond one reading of each distinct one.
//!
//! A token's row is gathered once for each of its experts; the up projection, the activated product and the down projection of all
//! those rows are written and read; the results are combined into one row per token. The grouped kernel takes an expert's weights past
//! blocks of 128 rows, sixteen of them side by side where there are so many, and reads them once per such group.

use super::Cache;
use crate::roofline::shard::ExpertLayers;

const BLOCK_ROWS: f64 = 128.0;
const BLOCKS_SIDE_BY_SIDE: f64 = 16.0;

impl ExpertLayers {
    pub(super) fn traffic(&self, tokens: f64, activation_width: f64, cache: Cache) -> f64 {
        let rows = tokens * self.top_k * self.share;
        let up = if self.gated {
            2.0 * self.width
        } else {
            self.width
        };
        let written = |width: f64| rows * width * activation_width;
        let read = |width: f64| written(width) * cache.missed(written(width));
        let combined = tokens * self.inputs * activation_width;
        self.layers
            * (read(self.inputs)
                + written(up)
                + read(up)
                + written(self.width)
                + read(self.width)
                + written(self.inputs)
                + read(self.inputs)
                + combined
                + self.weights_again(rows, cache))
    }

    /// Readings of weights after the first.
    fn weights_again(&self, rows: f64, cache: Cache) -> f64 {
        let expert = self.bytes_per_expert.0;
        let passes = rows / self.experts / (BLOCK_ROWS * BLOCKS_SIDE_BY_SIDE);
        self.experts * expert * (passes - 1.0).max(0.0) * cache.missed(expert)
    }
}
