//! Traffic of tiled matrix multiplications beyond one reading of their weights.
//!
//! M × K activations times K × N weights run in waves of one output tile per SM. The tiles of a wave march through K together, so a
//! wave reads its rows of activations and its columns of weights once, however many of its tiles use them. What a later wave needs
//! again depends on the order of the tiles:
//!
//! * [`Kernel::Squares`] (cuBLAS): a wave is a square of √SMs × √SMs tiles, and the next one to its right needs the same rows. Over
//!   all waves the rows are read `N / (columns·√SMs)` times, unless the L2 keeps them while one wave passes, and the columns
//!   `M / (rows·√SMs)` times, unless it keeps all the weights. Tiles are 128 × 256, below 4,096 rows 128 × 128.
//! * [`Kernel::Strips`] (CUTLASS: vLLM's 8-bit kernels, and Machete for weight-only ones on Hopper): waves go along the shorter side
//!   of the output in tiles of 128 × 128, so each needs the whole operand of that side again.
//! * [`Kernel::Stripes`] (Marlin): tiles of 64 × 256, 1,024 rows a launch. SMs start all over the output, so each wave needs the
//!   launch's rows and all the weights again.
//!
//! Of what a wave needs again, it fetches what lies beyond the share of the L2 that such streams keep ([`Cache::overflow`]).

use super::Cache;

/// How a kernel orders its tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cost) enum Kernel {
    Squares,
    Strips,
    Stripes,
}

/// From so many rows on, cuBLAS was seen to take the larger tile.
const MANY_ROWS: f64 = 4096.0;
/// Rows of one launch of Marlin: `max_par` blocks of 64.
const LAUNCH_ROWS: f64 = 16.0 * 64.0;

/// One matrix multiplication of a layer, per GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cost) struct Gemm {
    pub(in crate::cost) layers: f64,
    pub(in crate::cost) inputs: f64,
    pub(in crate::cost) outputs: f64,
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
    /// Bytes beyond one reading of the weights when `rows` tokens pass.
    pub(super) fn traffic(&self, rows: f64, cache: Cache) -> f64 {
        let operands = Operands {
            rows,
            columns: self.outputs,
            activations: rows * self.inputs * self.operand_width,
            weights: self.inputs * self.outputs * self.weight_width,
        };
        let again = match self.kernel {
            Kernel::Squares => operands.in_squares(cache),
            Kernel::Strips => operands.in_strips(cache),
            Kernel::Stripes => operands.in_stripes(cache),
        };
        cache.read(operands.activations)
            + again
            + rows * self.outputs * self.activation_width
            + self.narrowing(rows, cache)
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
            cache.read(wide) + narrow
        }
    }
}

/// The two operands of a multiplication: their extents in the output, and their bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands {
    pub(super) rows: f64,
    pub(super) columns: f64,
    pub(super) activations: f64,
    pub(super) weights: f64,
}

impl Operands {
    fn waves(&self, tile_rows: f64, tile_columns: f64, cache: Cache) -> f64 {
        (self.rows / tile_rows * self.columns / tile_columns / cache.sms).max(1.0)
    }

    fn in_squares(&self, cache: Cache) -> f64 {
        let side = cache.sms.sqrt();
        let tile_columns = if self.rows < MANY_ROWS { 128.0 } else { 256.0 };
        let row_passes = (self.columns / (tile_columns * side)).max(1.0);
        let column_passes = (self.rows / (128.0 * side)).max(1.0);
        let wave = self.activations / column_passes + self.weights / row_passes;
        (row_passes - 1.0) * self.activations * cache.missed(wave.min(self.activations))
            + (column_passes - 1.0) * self.weights * cache.missed(self.weights)
    }

    fn in_strips(&self, cache: Cache) -> f64 {
        let waves = self.waves(128.0, 128.0, cache);
        let (streamed, once) = if self.columns > self.rows {
            (self.activations, self.weights)
        } else {
            (self.weights, self.activations)
        };
        (waves - 1.0) * streamed.min(cache.overflow(streamed + once / waves))
    }

    fn in_stripes(&self, cache: Cache) -> f64 {
        let waves = self.waves(64.0, 256.0, cache);
        let of_launch = self.activations * (LAUNCH_ROWS / self.rows).min(1.0);
        (waves - 1.0) * cache.overflow(of_launch + self.weights)
    }

    /// The grouped kernel of routed experts (Triton): tiles of 128 × 128, sixteen down and as many across as there are SMs, so each
    /// wave needs the rows of up to sixteen tiles again.
    pub(super) fn in_groups(&self, cache: Cache) -> f64 {
        const GROUP_ROWS: f64 = 16.0 * 128.0;
        let waves = self.waves(128.0, 128.0, cache);
        let groups = (self.rows / GROUP_ROWS).max(1.0);
        let rows = self.activations / groups;
        (waves - groups).max(0.0) * rows.min(cache.overflow(rows + self.weights * groups / waves))
            + (groups - 1.0) * self.weights * cache.missed(self.weights)
    }
}
