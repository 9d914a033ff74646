//! Traffic of tiled matrix multiplications beyond one read of their weights.
//!
//! M × K activations times K × N weights run in waves of one output tile per SM. The tiles of a wave advance through K together, so a wave
//! reads its rows of activations and its columns of weights once, however many of its tiles use them. What a later wave needs again depends
//! on the size and the order of the tiles:
//!
//! * [`Kernel::Squares`] (cuBLAS, `nvjet`): a wave is a square of √SMs × √SMs tiles of about 128 × 224, and the next one needs its own rows
//!   and columns. Over all waves the rows are read `N / (224·√SMs)` times, the columns `M / (128·√SMs) + ½` times: the half is the square
//!   that the last rows fill partly. A last wave that is not full reads its share.
//! * [`Kernel::Strips`] (CUTLASS: vLLM's 8-bit kernels, and Machete for weight-only ones on Hopper): persistent, in clusters of two tiles,
//!   without swizzle, along the side with fewer tiles (the tile scheduler's heuristic), so each wave needs the whole operand of that side
//!   again. vLLM's 8-bit kernels use tiles of 64 × 128 up to 128 rows, of 256 × 128 from 8,192 rows if K is 6,144 or more, and of 128 × 128
//!   otherwise (`scaled_mm_sm90_fp8_dispatch.cuh`); Machete uses tiles of 256 × 128 above 4,096 outputs (`machete/generate.py`).
//! * [`Kernel::Stripes`] (Marlin): tiles of 64 × 256, 1,024 rows per launch. SMs start all over the output, so each wave needs the launch's
//!   rows and all the weights again.
//!
//! Whether such data is still in the L2 depends on the bytes accessed in between: [`Cache::evicted`]. `docs/accuracy.md` describes the grid
//! of single kernels that tile sizes and shares were derived from.

use super::Cache;

/// The order in which a kernel processes its tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cost) enum Kernel {
    Squares,
    Strips,
    Stripes,
}

/// Columns of a cuBLAS tile: between 192 and 320, the most frequent ones; the largest, 128 × 320, decides whether one wave suffices.
const SQUARE_COLUMNS: f64 = 224.0;
const LARGEST_TILE: f64 = 128.0 * 320.0;
/// From this number of rows and inputs, vLLM's 8-bit kernels use tiles of 256 rows.
const TALL_ROWS: f64 = 8192.0;
const TALL_INPUTS: f64 = 6144.0;
/// Up to this number of outputs Machete uses tiles of 128 × 128, above it tiles of 256 rows.
const MACHETE_OUTPUTS: f64 = 4096.0;
/// From this number of inputs, the tiles of a wave of vLLM's 8-bit kernels stay in step. With fewer inputs, SMs run ahead by much of a tile
/// (two tiles take turns on each), and later ones find in the L2 what these read: 0.5 to 0.8 of an evicted operand was read again at K =
/// 4,096, 0.84 to 0.98 at 5,120.
const MARCHING_INPUTS: f64 = 5632.0;
/// Rows of one launch of Marlin: `max_par` blocks of 64.
const LAUNCH_ROWS: f64 = 16.0 * 64.0;

/// One matrix multiplication of a layer, per GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cost) struct Gemm {
    pub(in crate::cost) layers: f64,
    pub(in crate::cost) inputs: f64,
    pub(in crate::cost) outputs: f64,
    /// Number of projections that it fuses.
    pub(in crate::cost) projections: f64,
    /// Bytes per weight.
    pub(in crate::cost) weight_width: f64,
    pub(in crate::cost) kernel: Kernel,
    /// Bytes per activation as the multiplication reads it.
    pub(in crate::cost) operand_width: f64,
    /// Bytes per activation elsewhere.
    pub(in crate::cost) activation_width: f64,
    /// A compiled norm or activation function writes the narrow operand itself.
    pub(in crate::cost) fused_input: bool,
}

impl Gemm {
    /// Bytes beyond one read of the weights, for `rows` tokens.
    pub(super) fn traffic(&self, rows: f64, cache: Cache) -> f64 {
        let operands = self.operands(rows);
        cache.read(operands.activations)
            + self.again(&operands, cache)
            + rows * self.outputs * self.activation_width
            + self.narrowing(rows, cache)
    }

    /// Bytes of one launch on operands outside the L2: one read of each, repeated reads, and the output.
    #[cfg(test)]
    pub(super) fn launch(&self, rows: f64, cache: Cache) -> f64 {
        let operands = self.operands(rows);
        operands.activations
            + operands.weights
            + self.again(&operands, cache)
            + rows * self.outputs * self.activation_width
    }

    fn operands(&self, rows: f64) -> Operands {
        Operands {
            rows,
            columns: self.outputs,
            activations: rows * self.inputs * self.operand_width,
            weights: self.inputs * self.outputs * self.weight_width,
        }
    }

    /// Bytes of operands that are read again.
    fn again(&self, operands: &Operands, cache: Cache) -> f64 {
        match self.kernel {
            Kernel::Squares => operands.in_squares(cache),
            Kernel::Strips => {
                self.in_step() * operands.in_strips(self.strip_rows(operands.rows), cache)
            }
            Kernel::Stripes => operands.in_stripes(cache),
        }
    }

    /// Share of an evicted operand that the tiles of a wave read at different times, so from HBM.
    fn in_step(&self) -> f64 {
        if self.operand_width < self.activation_width {
            (self.inputs / MARCHING_INPUTS).min(1.0)
        } else {
            1.0
        }
    }

    /// Rows of a tile of CUTLASS's kernels.
    fn strip_rows(&self, rows: f64) -> f64 {
        if self.operand_width >= self.activation_width {
            let tall = rows > 256.0 && self.outputs > MACHETE_OUTPUTS;
            return if tall { 256.0 } else { 128.0 };
        }
        if rows <= 128.0 {
            64.0
        } else if rows >= TALL_ROWS && self.inputs >= TALL_INPUTS {
            256.0
        } else {
            128.0
        }
    }

    /// Cost of converting wide activations to narrow operands (fp8, int8, fp4): a pass of its own, or, if fused into the operation before,
    /// fewer bytes written.
    fn narrowing(&self, rows: f64, cache: Cache) -> f64 {
        if self.operand_width >= self.activation_width {
            return 0.0;
        }
        let narrow = rows * self.inputs * self.operand_width;
        let wide = rows * self.inputs * self.activation_width;
        if self.fused_input {
            narrow - wide
        } else {
            cache.read(wide) + narrow
        }
    }
}

/// The two operands of a multiplication: their extents in the output, and their bytes.
#[derive(Clone, Copy, Debug)]
struct Operands {
    rows: f64,
    columns: f64,
    activations: f64,
    weights: f64,
}

impl Operands {
    fn waves(&self, tile_rows: f64, tile_columns: f64, cache: Cache) -> f64 {
        (self.rows / tile_rows * self.columns / tile_columns / cache.sms).max(1.0)
    }

    fn in_squares(&self, cache: Cache) -> f64 {
        let side = cache.sms.sqrt();
        let second_wave =
            (self.rows * self.columns / (LARGEST_TILE * cache.sms) - 1.0).clamp(0.0, 1.0);
        let row_passes = (self.columns / (SQUARE_COLUMNS * side)).max(1.0);
        let column_passes = (self.rows / (128.0 * side) + 0.5).max(1.0);
        let between = self.activations / column_passes + self.weights;
        second_wave
            * ((row_passes - 1.0)
                * self.activations
                * cache.evicted(self.activations + self.weights)
                + (column_passes - 1.0) * self.weights * cache.evicted(between))
    }

    fn in_strips(&self, tile_rows: f64, cache: Cache) -> f64 {
        let rows = 2.0 * (self.rows / (2.0 * tile_rows)).ceil();
        let columns = (self.columns / 128.0).ceil();
        let waves = (rows * columns / cache.sms).max(1.0);
        let (streamed, once) = if columns > rows {
            (self.activations, self.weights)
        } else {
            (self.weights, self.activations)
        };
        (waves - 1.0) * streamed * cache.evicted(streamed + once / waves)
    }

    fn in_stripes(&self, cache: Cache) -> f64 {
        let waves = self.waves(64.0, 256.0, cache);
        let of_launch = self.activations * (LAUNCH_ROWS / self.rows).min(1.0);
        (waves - 1.0) * cache.overflow(of_launch + self.weights)
    }
}
