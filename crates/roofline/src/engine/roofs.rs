//! The roofs of an engine, over all its GPUs: datasheet ceilings, attainable ceilings, and those at the current clock.

use crate::cost::ceiling::Ceiling;
use crate::spec::precision::Precision;
use crate::units::{BytesPerSecond, FlopsPerSecond, Intensity};

use super::facts::EngineFacts;

/// A roof over all GPUs of an engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EngineRoof {
    /// `datasheet`, `attainable` or `current_clock`.
    pub level: &'static str,
    /// Compute ceiling.
    pub peak: FlopsPerSecond,
    /// Memory bandwidth: the slope.
    pub bandwidth: BytesPerSecond,
}

impl EngineRoof {
    /// The ridge point.
    #[must_use]
    pub fn ridge(&self) -> Intensity {
        self.peak / self.bandwidth
    }

    /// The points that draw the roof: intensity 0.1 (or a decade below a lower ridge), the ridge, two decades right of it.
    #[must_use]
    pub fn corners(&self) -> [(&'static str, Intensity, FlopsPerSecond); 3] {
        let ridge = self.ridge();
        let left = Intensity(0.1).min(ridge * 0.1);
        [
            ("left", left, self.bandwidth * left),
            ("ridge", ridge, self.peak),
            ("right", ridge * 100.0, self.peak),
        ]
    }
}

impl EngineFacts {
    /// Datasheet and attainable peaks of all GPUs, by precision.
    #[must_use]
    pub fn peaks(&self) -> Vec<(Precision, FlopsPerSecond, FlopsPerSecond)> {
        let Some((gpu, ceiling)) = self.gpu.as_ref().zip(self.ceiling(None)) else {
            return Vec::new();
        };
        let peaks = gpu.peaks.iter().map(|(precision, peak)| {
            (
                precision,
                self.scaled(peak),
                self.scaled(ceiling.peak(precision)),
            )
        });
        peaks.collect()
    }

    /// The roofs of the engine; the last one only if the SM clock is known.
    #[must_use]
    pub fn roofs(&self, sm_clock_mhz: Option<f64>) -> Vec<EngineRoof> {
        let Some((gpu, precision)) = self.gpu.as_ref().zip(self.main_precision()) else {
            return Vec::new();
        };
        let roof = |level, peak: FlopsPerSecond, bandwidth: BytesPerSecond| EngineRoof {
            level,
            peak: self.scaled(peak),
            bandwidth: bandwidth * self.gpus(),
        };
        let attainable = Ceiling::attainable(gpu, &self.coefficients);
        let clocked = sm_clock_mhz.and_then(|clock| gpu.peak_at_clock(precision, clock));
        let sheet = gpu
            .peak(precision)
            .map(|peak| roof("datasheet", peak, gpu.hbm_bandwidth));
        let reached = Some(roof(
            "attainable",
            attainable.peak(precision),
            attainable.hbm,
        ));
        let now = clocked.map(|peak| roof("current_clock", peak, gpu.hbm_bandwidth));
        [sheet, reached, now].into_iter().flatten().collect()
    }
}
