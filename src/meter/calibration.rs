//! Derives attainable ceilings and overheads from measurements instead of the table. Off by default.
//!
//! A ceiling only rises, to the highest value sustained for three successive spans: slower spans may have reasons other than the ceiling.
//! Overhead per step is the mean of the newest spans with only decode.

use roofline::cost::coefficients::{Coefficient, Coefficients};
use roofline::units::{Bytes, Seconds, ratio};

use super::account::Account;
use super::verdict;
use roofline::bound::Bound;
use roofline::engine::EngineFacts;

/// Number of successive spans that must sustain a share.
const SPANS: usize = 3;
/// Weight of a new span in the mean overhead.
const NEW: f64 = 0.1;
/// Smaller relative changes do not produce a new set of coefficients.
const NOTICEABLE: f64 = 0.01;

/// The measurements of one engine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calibration {
    bandwidth: Best,
    compute: Best,
    overhead_per_step: Option<Seconds>,
}

/// The largest share sustained for [`SPANS`] spans.
#[derive(Clone, Copy, Debug, Default)]
struct Best {
    newest: [f64; SPANS],
    best: f64,
}

impl Best {
    fn take(&mut self, share: f64) {
        self.newest.rotate_left(1);
        self.newest[SPANS - 1] = share;
        let held = self.newest.iter().copied().fold(f64::INFINITY, f64::min);
        self.best = self.best.max(held).min(1.0);
    }
}

impl Calibration {
    /// Learns from one more span.
    pub(crate) fn learn(&mut self, account: &Account, facts: &EngineFacts) {
        let (Some(time), Some(work)) = (&account.busy_time, &account.work) else {
            return;
        };
        if account.busy < account.seconds * 0.95 || account.early.is_some() {
            return;
        }
        let measured =
            account
                .hardware
                .measured_hbm_bytes(account.seconds, facts.gpus_read(), facts.gpus());
        let bytes: Bytes = measured.unwrap_or_else(|| work.bytes.total().total());
        let clocked = facts.peak_flops_at(account.hardware.sm_clock_mhz());
        let peak = clocked.or_else(|| facts.peak_flops());
        match verdict::bound(&account.time_spent(), verdict::OVERHEAD_BELOW) {
            Bound::MemoryBandwidth => {
                let most = facts.peak_hbm().map(|peak| peak * account.busy);
                let share = most.and_then(|most| ratio(bytes.0, most.0));
                self.bandwidth.take(share.unwrap_or(0.0));
            }
            Bound::Compute => {
                let most = peak.map(|peak| peak * account.busy);
                let share = most.and_then(|most| ratio(work.flops.total().0, most.0));
                self.compute.take(share.unwrap_or(0.0));
            }
            _ => {}
        }
        if account.tokens.prefill <= 0.0 {
            self.learn_overhead(time.unexplained(), account.steps);
        }
    }

    fn learn_overhead(&mut self, overhead: Seconds, steps: f64) {
        if let Some(per_step) = ratio(overhead.0, steps) {
            let known = self.overhead_per_step.map_or(per_step, |known| known.0);
            self.overhead_per_step = Some(Seconds(known + NEW * (per_step - known)));
        }
    }

    /// `current` with the adjustments, or `None` without a noticeable change.
    #[must_use]
    pub(crate) fn adjusted(&self, facts: &EngineFacts) -> Option<Coefficients> {
        let gpu = facts.gpu.as_ref()?;
        let current = facts.coefficients;
        let hbm = current
            .hbm_fraction
            .map_or(gpu.attainable_hbm.fraction, |share| share.value);
        let raised_hbm = hbm.max(self.bandwidth.best);
        let of_layers = current.seconds_per_layer.value * facts.layers();
        let of_step = self
            .overhead_per_step
            .map(|overhead| (overhead.0 - of_layers).max(0.0));
        let adjusted = Coefficients {
            hbm_fraction: Some(Coefficient::calibrated(raised_hbm)),
            clock_fraction: Coefficient::calibrated(
                current.clock_fraction.value.max(self.compute.best),
            ),
            seconds_per_step: of_step.map_or(current.seconds_per_step, Coefficient::calibrated),
            ..current
        };
        let moved = |from: f64, to: f64| (to - from).abs() > NOTICEABLE * from.abs();
        let noticeable = !current.is_calibrated()
            || moved(hbm, raised_hbm)
            || moved(current.clock_fraction.value, adjusted.clock_fraction.value)
            || moved(
                current.seconds_per_step.value,
                adjusted.seconds_per_step.value,
            );
        noticeable.then_some(adjusted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_counts_once_it_has_held() {
        let mut best = Best::default();
        for share in [0.95, 0.5, 0.95, 0.93] {
            best.take(share);
        }
        assert!((best.best - 0.5).abs() < 1e-12);
        best.take(0.94);
        assert!((best.best - 0.93).abs() < 1e-12);
        best.take(0.2);
        assert!((best.best - 0.93).abs() < 1e-12, "never lowered");
    }

    #[test]
    fn a_ceiling_is_never_above_the_peak() {
        let mut best = Best::default();
        for _ in 0..SPANS {
            best.take(1.3);
        }
        assert!((best.best - 1.0).abs() < 1e-12);
    }
}
