//! The hardware activity of an engine over a time span: the sum of its GPUs' slices.

use roofline::units::{Bytes, Joules, Seconds, ratio};

use super::gpu::GpuSlice;

/// The hardware activity of an engine over a time span, summed over its GPUs. Seconds are GPU-seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HardwareUse {
    /// Measured HBM bytes.
    pub hbm_bytes: Bytes,
    /// GPU-seconds with this measurement.
    pub hbm_seconds: Seconds,
    /// Bytes sent over NVLink.
    pub nvlink_sent: Bytes,
    /// GPU-seconds with this measurement.
    pub nvlink_seconds: Seconds,
    /// Joules.
    pub energy: Joules,
    /// GPU-seconds over which they were measured.
    pub energy_seconds: Seconds,
    /// GPU-seconds with readable clock reasons.
    pub reasons_seconds: Seconds,
    /// Of these, GPU-seconds with the clock limited by power.
    pub power_limited_seconds: Seconds,
    /// SM clock × GPU-seconds, in MHz·s.
    pub clock_mhz_seconds: f64,
    /// GPU-seconds with a known SM clock.
    pub clock_seconds: Seconds,
    /// GPU-seconds with the compute or graphics engine active.
    pub active_seconds: Seconds,
    /// GPU-seconds with this measurement.
    pub active_known_seconds: Seconds,
    /// Tensor activity × SM clock × GPU-seconds, in MHz·s.
    pub tensor_mhz_seconds: f64,
    /// GPU-seconds with a known tensor activity and SM clock.
    pub tensor_known_seconds: Seconds,
}

impl HardwareUse {
    pub(super) fn add_share(&mut self, slice: &GpuSlice, overlap: Seconds) {
        let share = overlap / (slice.end - slice.start);
        if let Some(bytes) = slice.hbm_bytes {
            self.hbm_bytes += bytes * share;
            self.hbm_seconds += overlap;
        }
        if let Some(traffic) = slice.links.nvlink {
            self.nvlink_sent += traffic.sent * share;
            self.nvlink_seconds += overlap;
        }
        if let Some(energy) = slice.energy {
            self.energy += energy * share;
            self.energy_seconds += overlap;
        }
        if let Some(limited) = slice.power_limited {
            self.reasons_seconds += overlap;
            if limited {
                self.power_limited_seconds += overlap;
            }
        }
        if let Some(clock) = slice.sm_clock_mhz {
            self.clock_mhz_seconds += clock * overlap.0;
            self.clock_seconds += overlap;
        }
        if let Some(active) = slice.engine_active {
            self.active_seconds += overlap * active;
            self.active_known_seconds += overlap;
        }
        if let Some((activity, clock)) = slice.tensor_activity.zip(slice.sm_clock_mhz) {
            self.tensor_mhz_seconds += activity * clock * overlap.0;
            self.tensor_known_seconds += overlap;
        }
    }

    /// Adds the activity of another GPU, or of another span.
    pub fn merge(&mut self, other: &Self) {
        self.hbm_bytes += other.hbm_bytes;
        self.hbm_seconds += other.hbm_seconds;
        self.nvlink_sent += other.nvlink_sent;
        self.nvlink_seconds += other.nvlink_seconds;
        self.energy += other.energy;
        self.energy_seconds += other.energy_seconds;
        self.reasons_seconds += other.reasons_seconds;
        self.power_limited_seconds += other.power_limited_seconds;
        self.clock_mhz_seconds += other.clock_mhz_seconds;
        self.clock_seconds += other.clock_seconds;
        self.active_seconds += other.active_seconds;
        self.active_known_seconds += other.active_known_seconds;
        self.tensor_mhz_seconds += other.tensor_mhz_seconds;
        self.tensor_known_seconds += other.tensor_known_seconds;
    }

    /// Mean SM clock, MHz.
    #[must_use]
    pub fn sm_clock_mhz(&self) -> Option<f64> {
        ratio(self.clock_mhz_seconds, self.clock_seconds.0)
    }

    /// Share of the readings with the clock limited by power.
    #[must_use]
    pub fn power_limited_ratio(&self) -> Option<f64> {
        ratio(self.power_limited_seconds.0, self.reasons_seconds.0)
    }

    /// Seconds of `span` without a kernel, averaged over the `read` GPUs; `None` if less than half of it was measured.
    #[must_use]
    pub(crate) fn idle_seconds(&self, span: Seconds, read: f64) -> Option<Seconds> {
        let covered = ratio(self.active_known_seconds.0, span.0 * read)?;
        let active = ratio(self.active_seconds.0, self.active_known_seconds.0)?;
        (covered >= 0.5).then(|| span * (1.0 - active))
    }

    /// HBM bytes of `gpus` GPUs over `span`, `read` of which are read: scaled to the whole span if at least half of it was measured, and to
    /// all GPUs, because those on other nodes do the same work.
    #[must_use]
    pub(crate) fn measured_hbm_bytes(&self, span: Seconds, read: f64, gpus: f64) -> Option<Bytes> {
        scaled(self.hbm_bytes, self.hbm_seconds, span, read, gpus)
    }

    /// Joules that `gpus` GPUs used during `span`, of which `read` are read, scaled in the same way.
    #[must_use]
    pub(crate) fn measured_energy(&self, span: Seconds, read: f64, gpus: f64) -> Option<Joules> {
        scaled(self.energy, self.energy_seconds, span, read, gpus)
    }

    /// Bytes that `gpus` GPUs sent over NVLink during `span`, `read` of which are read, scaled in the same way.
    #[must_use]
    pub(crate) fn measured_nvlink_bytes(
        &self,
        span: Seconds,
        read: f64,
        gpus: f64,
    ) -> Option<Bytes> {
        scaled(self.nvlink_sent, self.nvlink_seconds, span, read, gpus)
    }
}

fn scaled<T: std::ops::Div<f64, Output = T> + std::ops::Mul<f64, Output = T>>(
    amount: T,
    seconds: Seconds,
    span: Seconds,
    read: f64,
    gpus: f64,
) -> Option<T> {
    let covered = ratio(seconds.0, span.0 * read)?;
    (covered >= 0.5).then(|| amount / covered * (gpus / read))
}
