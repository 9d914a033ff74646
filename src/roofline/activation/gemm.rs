//! Traffic of tiled matrix multiplications beyond one reading of their weights.
//!
//! M × K activations times K × N weights run in waves of one output tile per SM. The tiles of a wave march through K together, so a
//! wave reads its rows of activations and its columns of weights once, whatever the number of tiles that use them.
//!
//! * 16-bit operands: tiles of 128 × 256 (cuBLAS on Hopper), 8-bit ones 128 × 128 (vLLM's CUTLASS kernels). A wave is a square of
//!   √SMs × √SMs tiles. Waves go along N: each needs the rows of the one before, and new columns. Over all of them the rows are read
//!   `N / (columns·√SMs)` times, unless the L2 keeps them while one wave passes, and the columns `M / (rows·√SMs)` times, unless it
//!   keeps all the weights.
//! * Weight-only kernels (Marlin) take 1,024 rows a launch, 8,192 where N is at most 4,096, and hand out tiles of 64 × 256 in
//!   stripes: a wave spans all rows and columns. Each of the `M·N / (64·256·SMs)` waves fetches what the L2 could not keep of the
//!   launch's rows and the weights.

use super::Cache;

/// Output tile of one SM: rows, columns.
const TILE_16_BIT: (f64, f64) = (128.0, 256.0);
const TILE_8_BIT: (f64, f64) = (128.0, 128.0);
const TILE_WEIGHT_ONLY: (f64, f64) = (64.0, 256.0);
/// Marlin's `max_par` blocks of rows in a launch, and eight times as many up to 4,096 outputs.
const LAUNCH_ROWS: f64 = 16.0 * 64.0;
const NARROW_OUTPUTS: f64 = 4096.0;

/// One matrix multiplication of a layer, per GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::roofline) struct Gemm {
    pub(in crate::roofline) layers: f64,
    pub(in crate::roofline) inputs: f64,
    pub(in crate::roofline) outputs: f64,
    /// Bytes per weight.
    pub(in crate::roofline) weight_width: f64,
    /// Weights are narrower than what the multiplication computes in.
    pub(in crate::roofline) weight_only: bool,
    /// Bytes per activation as the multiplication reads it.
    pub(in crate::roofline) operand_width: f64,
    /// Bytes per activation elsewhere.
    pub(in crate::roofline) activation_width: f64,
    /// A compiled norm or activation function writes the narrow operand itself.
    pub(in crate::roofline) fused_input: bool,
}

impl Gemm {
    /// Bytes beyond one reading of the weights when `rows` tokens pass.
    pub(super) fn traffic(&self, rows: f64, cache: Cache) -> f64 {
        let activations = rows * self.inputs * self.operand_width;
        let weights = self.inputs * self.outputs * self.weight_width;
        let operands = if self.weight_only {
            self.striped(rows, activations, weights, cache)
        } else {
            self.squares(rows, activations, weights, cache)
        };
        operands + rows * self.outputs * self.activation_width + self.narrowing(rows, cache)
    }

    fn squares(&self, rows: f64, activations: f64, weights: f64, cache: Cache) -> f64 {
        let (tile_rows, tile_columns) = if self.operand_width < 2.0 {
            TILE_8_BIT
        } else {
            TILE_16_BIT
        };
        let side = cache.sms.sqrt();
        let (wave_rows, wave_columns) = (tile_rows * side, tile_columns * side);
        let depth = self.inputs * self.operand_width;
        let wave = (rows.min(wave_rows) + self.outputs.min(wave_columns)) * depth;
        let row_passes = (self.outputs / wave_columns).max(1.0);
        let column_passes = (rows / wave_rows).max(1.0);
        activations
            * (cache.missed(activations) + (row_passes - 1.0) * cache.missed(activations.min(wave)))
            + weights * (column_passes - 1.0) * cache.missed(weights)
    }

    fn striped(&self, rows: f64, activations: f64, weights: f64, cache: Cache) -> f64 {
        let (tile_rows, tile_columns) = TILE_WEIGHT_ONLY;
        let waves = (rows / tile_rows * self.outputs / tile_columns / cache.sms).max(1.0);
        let most = if self.outputs <= NARROW_OUTPUTS {
            8.0 * LAUNCH_ROWS
        } else {
            LAUNCH_ROWS
        };
        let of_launch = activations * (most / rows).min(1.0);
        activations * cache.missed(activations)
            + (waves - 1.0) * cache.overflow(of_launch + weights)
    }

    /// What making narrow operands of wide activations costs (fp8, int8, fp4): a pass of its own, or, fused into the operation
    /// before, less to write.
    fn narrowing(&self, rows: f64, cache: Cache) -> f64 {
        if self.operand_width >= self.activation_width {
            return 0.0;
        }
        let narrow = rows * self.inputs * self.operand_width;
        let wide = rows * self.inputs * self.activation_width;
        if self.fused_input {
            narrow - wide
        } else {
            wide * cache.missed(wide) + narrow
        }
    }
}
