//! Readings of one GPU, whatever read them: NVML, a dcgm-exporter or a capture.

use crate::units::{Joules, Seconds};

/// What does not change while a GPU is up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuFacts {
    /// NVML UUID; the index as text where a capture has none.
    pub uuid: String,
    /// NVML product name.
    pub name: String,
    /// Driver version.
    pub driver: Option<String>,
    /// Highest SM clock.
    pub max_sm_clock_mhz: Option<f64>,
    /// Highest memory clock.
    pub max_mem_clock_mhz: Option<f64>,
    /// Width of the memory bus.
    pub memory_bus_bits: Option<f64>,
    /// Streaming multiprocessors.
    pub sm_count: Option<f64>,
    /// CUDA compute capability, such as `9.0`.
    pub compute_capability: Option<String>,
    /// Memory the driver reports.
    pub memory_bytes: Option<f64>,
    /// Whether GPM counters can be read.
    pub gpm_supported: bool,
}

/// GPM counters, each the mean of the interval since the reading before, 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gpm {
    /// DRAM traffic over the theoretical peak.
    pub dram_bandwidth: Option<f64>,
    /// Cycles any tensor pipe was busy. Not FLOPs: padding counts, and at batch 1 the pipe says 8 × the useful work.
    pub any_tensor: Option<f64>,
    /// SMs with at least one warp.
    pub sm: Option<f64>,
    /// Warps over the most an SM can hold.
    pub sm_occupancy: Option<f64>,
    /// Time any compute or graphics engine was active.
    pub graphics: Option<f64>,
}

/// One reading of one GPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuReading {
    /// When, Unix time.
    pub time: Seconds,
    /// Which: NVML UUID, or the index as text.
    pub uuid: String,
    /// SM clock now.
    pub sm_clock_mhz: Option<f64>,
    /// Memory clock now.
    pub mem_clock_mhz: Option<f64>,
    /// Energy used since the driver was loaded.
    pub energy: Option<Joules>,
    /// Power now, watts.
    pub power_watts: Option<f64>,
    /// Memory in use.
    pub memory_used_bytes: Option<f64>,
    /// Temperature.
    pub temperature_celsius: Option<f64>,
    /// NVML's clock event (throttle) reasons, a bit mask.
    pub clock_event_reasons: Option<u64>,
    /// GPM counters since the reading before.
    pub gpm: Option<Gpm>,
}

/// `nvmlClocksEventReasonSwPowerCap`.
const SOFTWARE_POWER_CAP: u64 = 0x4;
/// `nvmlClocksThrottleReasonHwPowerBrakeSlowdown`.
const HARDWARE_POWER_BRAKE: u64 = 0x80;

impl GpuReading {
    /// Whether a power limit holds the clock down, or `None` where the reasons cannot be read.
    #[must_use]
    pub fn power_limited(&self) -> Option<bool> {
        self.clock_event_reasons
            .map(|reasons| reasons & (SOFTWARE_POWER_CAP | HARDWARE_POWER_BRAKE) != 0)
    }

    /// Share of the time since the reading before with a kernel running, 0..=1.
    #[must_use]
    pub fn busy_share(&self) -> Option<f64> {
        let share = self.gpm?.graphics?;
        (0.0..=1.5).contains(&share).then(|| share.min(1.0))
    }
}
