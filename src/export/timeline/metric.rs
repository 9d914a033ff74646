//! One metric over time: its points, and how they are written once or repeatedly.

use std::collections::HashMap;
use std::io::{self, Write};

/// The samples that share all labels except `le`, in order of time: contiguous, never interleaved with those of another metric.
#[derive(Debug, Default)]
pub(super) struct MetricSeries {
    /// Names and labels of the series.
    samples: Vec<String>,
    index: HashMap<String, usize>,
    pub(super) points: Vec<SeriesPoint>,
}

/// The state of one series while it is written.
#[derive(Clone, Copy, Debug, Default)]
struct SeriesCursor {
    /// Offset of a counter's recorded values in this round.
    raised: f64,
    /// Recorded and written value of the previous point.
    last: Option<(f64, f64)>,
    /// The step written last.
    step: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct SeriesPoint {
    pub(super) time: f64,
    sample: usize,
    value: f64,
}

/// Relative rounding error of sums.
const ROUNDING: f64 = 1e-9;

/// When points are written.
#[derive(Clone, Debug)]
pub(super) struct PlayedRounds {
    /// Recorded time of the first moment, which is the last one of the round before.
    pub(super) first: f64,
    /// Added to the recorded time in each round.
    pub(super) shifts: Vec<f64>,
    /// Seconds between written points; 0 writes all.
    pub(super) step: f64,
}

/// How a value changes from round to round.
#[derive(Clone, Copy, Debug)]
pub(super) enum ValuePace {
    /// Continues from the end of the previous round, whose last value is the first of this one.
    Grows,
    /// The same for a counter that starts with the recording: its first value was counted within the recording.
    GrowsFromZero,
    /// A time, which advances with the clock.
    Goes,
    /// Repeats unchanged.
    Repeats,
}

impl MetricSeries {
    pub(super) fn push(&mut self, time: f64, series: String, value: f64) {
        let sample = *self.index.entry(series.clone()).or_insert_with(|| {
            self.samples.push(series);
            self.samples.len() - 1
        });
        self.points.push(SeriesPoint {
            time,
            sample,
            value,
        });
    }

    /// Writes the points once in each of `rounds`.
    ///
    /// # Errors
    /// When writing to `out` fails.
    pub(super) fn write(
        &self,
        pace: ValuePace,
        rounds: &PlayedRounds,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut progress = vec![SeriesCursor::default(); self.samples.len()];
        for (round, shift) in rounds.shifts.iter().enumerate() {
            progress.iter_mut().for_each(SeriesCursor::begin_round);
            for point in &self.points {
                let progress = &mut progress[point.sample];
                let is_seam = point.time <= rounds.first;
                let value = match pace {
                    ValuePace::Grows => progress.raise(point.value, is_seam),
                    ValuePace::GrowsFromZero => progress.raise(point.value, false),
                    ValuePace::Goes => point.value + shift,
                    ValuePace::Repeats => point.value,
                };
                let time = point.time + shift;
                let is_written = is_seam && round > 0;
                if !is_written && progress.is_due(time, rounds.step) {
                    writeln!(out, "{} {value} {time:.3}", self.samples[point.sample])?;
                }
            }
        }
        Ok(())
    }
}

impl SeriesCursor {
    /// A round begins: its values are not those after the ones before.
    fn begin_round(&mut self) {
        if let Some((_, raised)) = self.last {
            self.last = Some((f64::NAN, raised));
        }
    }

    /// The counter's value in this round. If it `continues`, its first value in the round is the one written last; otherwise it has counted
    /// from zero. A process that restarts within the recording counts from zero again.
    fn raise(&mut self, recorded: f64, continues: bool) -> f64 {
        match self.last {
            Some((before, raised)) if before.is_nan() => {
                self.raised = if continues { raised - recorded } else { raised };
            }
            Some((before, _)) if recorded < before - ROUNDING * before.abs() => {
                self.raised = 0.0;
                self.last = None;
            }
            _ => {}
        }
        // A decrease by a rounding error would look like a counter reset.
        let raised = (recorded + self.raised).max(self.last.map_or(f64::MIN, |(_, raised)| raised));
        self.last = Some((recorded, raised));
        raised
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "seconds since 1970 over a step fit into 64 bits"
    )]
    fn is_due(&mut self, time: f64, step: f64) -> bool {
        if step <= 0.0 {
            return true;
        }
        let now = (time / step).floor() as i64;
        self.step.replace(now) != Some(now)
    }
}
