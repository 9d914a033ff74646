//! Draws the roof with characters: FLOP/s over FLOPs per byte, both logarithmic, with the steps placed on it.

use roofline::predict::{GpuFacts, StepPrediction};

const WIDTH: usize = 64;
const HEIGHT: usize = 13;
/// Powers of two of the arithmetic intensity at the left and the right edge.
const INTENSITIES: (f64, f64) = (-1.0, 14.0);

/// A canvas with logarithmic axes.
struct Canvas {
    cells: Vec<Vec<char>>,
    /// Powers of two of FLOP/s at the bottom and the top.
    rates: (f64, f64),
}

/// Lines of the drawing: the datasheet roof, the attainable roof dotted, and each of `steps` as its letter at its expected performance.
pub(super) fn draw(gpu: &GpuFacts, steps: &[(char, &StepPrediction)]) -> Vec<String> {
    let (peak, hbm) = (gpu.peak_flops_per_second.0, gpu.hbm_bytes_per_second.0);
    let (attainable_peak, attainable_hbm) = (
        gpu.attainable_flops_per_second.0,
        gpu.attainable_hbm_bytes_per_second.0,
    );
    let mut canvas = Canvas {
        cells: vec![vec![' '; WIDTH]; HEIGHT],
        rates: (hbm.log2() + INTENSITIES.0, peak.log2() + 0.5),
    };
    for column in 0..WIDTH {
        let intensity = Canvas::intensity(column);
        let attainable = (attainable_hbm * intensity).min(attainable_peak);
        canvas.plot(intensity, attainable, '·');
        let slope = if hbm * intensity < peak { '/' } else { '─' };
        canvas.plot(intensity, (hbm * intensity).min(peak), slope);
    }
    for (letter, step) in steps {
        if let Some(seconds) = step.expected_seconds {
            let rate = step.flops_per_gpu / seconds;
            canvas.plot(step.arithmetic_intensity.0, rate.0, *letter);
        }
    }
    canvas.lines(peak)
}

impl Canvas {
    #[expect(clippy::cast_precision_loss, reason = "columns are few")]
    fn intensity(column: usize) -> f64 {
        let share = column as f64 / (WIDTH - 1) as f64;
        (INTENSITIES.0 + share * (INTENSITIES.1 - INTENSITIES.0)).exp2()
    }

    /// Sets the cell nearest to a point; points outside are placed at the edge.
    fn plot(&mut self, intensity: f64, rate: f64, letter: char) {
        let column = nearest(intensity.log2(), INTENSITIES, WIDTH);
        let row = HEIGHT - 1 - nearest(rate.log2(), self.rates, HEIGHT);
        self.cells[row][column] = letter;
    }

    fn lines(&self, peak: f64) -> Vec<String> {
        let mut lines: Vec<String> = self
            .cells
            .iter()
            .enumerate()
            .map(|(row, cells)| {
                let label = if row == 0 {
                    format!("{:.0} TFLOP/s", peak / 1e12)
                } else {
                    String::new()
                };
                let cells: String = cells.iter().collect();
                format!("{label:>13} │{}", cells.trim_end())
            })
            .collect();
        lines.push(format!("{:>13} └{}", "", "─".repeat(WIDTH)));
        let axis: String = ["1", "8", "64", "512", "4096"]
            .iter()
            .zip([1.0_f64, 8.0, 64.0, 512.0, 4096.0])
            .fold(String::new(), |axis, (label, intensity)| {
                let column = nearest(intensity.log2(), INTENSITIES, WIDTH);
                format!("{axis:<column$}{label}")
            });
        lines.push(format!("{:>13}  {axis}  FLOP/B", ""));
        lines
    }
}

/// The cell of `count` that contains `value`, on an axis from `range.0` to `range.1`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to the few cells of the canvas"
)]
fn nearest(value: f64, range: (f64, f64), count: usize) -> usize {
    let share = ((value - range.0) / (range.1 - range.0)).clamp(0.0, 1.0);
    (share * (count - 1) as f64).round() as usize
}
