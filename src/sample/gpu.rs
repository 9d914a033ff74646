//! Readings of one GPU from any source: NVML, a dcgm-exporter or a capture.

use std::ops::Add;

use roofline::units::{Bytes, BytesPerSecond, Joules, Seconds};

/// Static facts about a GPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuIdentity {
    /// NVML UUID; for a MIG slice its own; the index as text without one.
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
    /// Memory that the driver reports.
    pub memory_bytes: Option<f64>,
    /// Power limit in force.
    pub power_limit_watts: Option<f64>,
    /// Whether any NVLink is up; `None` if the source does not report it.
    pub nvlink: Option<bool>,
    /// Whether GPM counters can be read.
    pub gpm: Availability,
    /// Whether this is a MIG slice; SMs and memory are then those of the slice.
    pub is_mig_slice: bool,
    /// Processes that compute on it, if visible: those of our own process namespace.
    pub processes: Option<Vec<u32>>,
    /// Whether several pods share it.
    pub shared_by_pods: bool,
}

/// Whether a quantity can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It can.
    Offered,
    /// It cannot.
    Absent(Cause),
}

impl Default for Availability {
    fn default() -> Self {
        Self::Absent(Cause::NotSupported)
    }
}

impl Availability {
    /// Whether it can be read.
    #[must_use]
    pub(crate) fn is_offered(self) -> bool {
        self == Self::Offered
    }
}

/// Why a quantity of an otherwise readable GPU cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This GPU does not have it.
    NotSupported,
    /// The driver denies permission.
    NoPermission,
    /// The driver's library lacks the function.
    OldDriver,
    /// The counter covers the whole GPU, and this is a MIG slice.
    WholeGpu,
    /// The scraped exporter does not export it.
    NotExported,
    /// The driver returned an error.
    Failed,
}

impl Cause {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSupported => "not supported by this GPU",
            Self::NoPermission => "the driver denies permission",
            Self::OldDriver => "not in this driver's library",
            Self::WholeGpu => "counted for the whole GPU, not for its MIG slices",
            Self::NotExported => "not exported by the dcgm-exporter",
            Self::Failed => "the driver failed to tell",
        }
    }
}

/// A quantity of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuQuantity {
    /// SM clock.
    SmClock,
    /// Memory clock.
    MemClock,
    /// Energy counter.
    Energy,
    /// Power.
    Power,
    /// Memory in use.
    Memory,
    /// Temperature.
    Temperature,
    /// Clock event reasons.
    ClockReasons,
    /// Time with a kernel running.
    Utilization,
    /// GPM counters.
    Gpm,
}

impl GpuQuantity {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SmClock => "SM clock",
            Self::MemClock => "memory clock",
            Self::Energy => "energy",
            Self::Power => "power",
            Self::Memory => "memory in use",
            Self::Temperature => "temperature",
            Self::ClockReasons => "clock event reasons",
            Self::Utilization => "utilization",
            Self::Gpm => "GPM",
        }
    }
}

/// GPM counters, each the mean since the previous reading; shares are 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gpm {
    /// DRAM traffic over the theoretical peak.
    pub dram_bandwidth: Option<f64>,
    /// Cycles with any tensor pipe busy. Not FLOPs: padding counts, and at batch 1 the pipe shows 8 × the useful work.
    pub any_tensor: Option<f64>,
    /// SMs with at least one warp.
    pub sm: Option<f64>,
    /// Warps over the most an SM can hold.
    pub sm_occupancy: Option<f64>,
    /// Time with any compute or graphics engine active; NVML reads it at most once a second.
    pub graphics: Option<f64>,
    /// PCIe, to and from the host.
    pub pcie: Option<Traffic<BytesPerSecond>>,
    /// NVLink, all links.
    pub nvlink: Option<Traffic<BytesPerSecond>>,
}

/// Traffic over a link.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic<T> {
    /// From the GPU.
    pub sent: T,
    /// To the GPU.
    pub received: T,
}

impl Traffic<BytesPerSecond> {
    /// The traffic in `time`.
    #[must_use]
    pub fn over(self, time: Seconds) -> Traffic<Bytes> {
        Traffic {
            sent: self.sent * time,
            received: self.received * time,
        }
    }
}

impl Add for Traffic<Bytes> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            received: self.received + other.received,
        }
    }
}

/// One reading of one GPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuReading {
    /// Unix time.
    pub time: Seconds,
    /// NVML UUID, or the index as text.
    pub uuid: String,
    /// Current SM clock.
    pub sm_clock_mhz: Option<f64>,
    /// Current memory clock.
    pub mem_clock_mhz: Option<f64>,
    /// Energy used since the driver was loaded.
    pub energy: Option<Joules>,
    /// Current power in watts.
    pub power_watts: Option<f64>,
    /// Memory in use.
    pub memory_used_bytes: Option<f64>,
    /// Temperature.
    pub temperature_celsius: Option<f64>,
    /// NVML's clock event (throttle) reasons, a bit mask.
    pub clock_event_reasons: Option<u64>,
    /// Share of time with any kernel running, as NVML samples it. It does not measure how much of the GPU is used.
    pub utilization: Option<f64>,
    /// GPM counters since the previous reading.
    pub gpm: Option<Gpm>,
    /// Quantities that could not be read, and why.
    pub absent: Vec<(GpuQuantity, Cause)>,
}

/// `nvmlClocksEventReasonSwPowerCap`.
const SOFTWARE_POWER_CAP: u64 = 0x4;
/// `nvmlClocksThrottleReasonHwPowerBrakeSlowdown`.
const HARDWARE_POWER_BRAKE: u64 = 0x80;

impl GpuReading {
    /// Whether a power limit holds the clock down, or `None` if the reasons cannot be read.
    #[must_use]
    pub fn power_limited(&self) -> Option<bool> {
        self.clock_event_reasons
            .map(|reasons| reasons & (SOFTWARE_POWER_CAP | HARDWARE_POWER_BRAKE) != 0)
    }

    /// Share of the time since the previous reading with a kernel running, 0..=1: from GPM, otherwise NVML's sampled utilization.
    #[must_use]
    pub fn busy_share(&self) -> Option<f64> {
        self.engine_active()
            .or_else(|| self.utilization.and_then(plausible))
    }

    /// Share of the time since the previous reading with the compute or graphics engine active, 0..=1. Measured by GPM; NVML's utilization
    /// is too coarse to replace it.
    #[must_use]
    pub(crate) fn engine_active(&self) -> Option<f64> {
        self.gpm.and_then(|gpm| gpm.graphics).and_then(plausible)
    }

    /// Whether anything was read at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sm_clock_mhz.is_none()
            && self.mem_clock_mhz.is_none()
            && self.energy.is_none()
            && self.power_watts.is_none()
            && self.memory_used_bytes.is_none()
            && self.temperature_celsius.is_none()
            && self.clock_event_reasons.is_none()
            && self.utilization.is_none()
            && self.gpm.is_none()
    }
}

/// A share as read; `None` if it is out of range.
fn plausible(share: f64) -> Option<f64> {
    (0.0..=1.5).contains(&share).then(|| share.min(1.0))
}
