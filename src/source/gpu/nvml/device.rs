//! One GPU, or one MIG slice of it: its facts and its readings. Every call may fail, which affects only its own value.

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use crate::sample::gpu::{Availability, Cause, Gpm, GpuIdentity, GpuQuantity, GpuReading};
use roofline::spec::gpu::{ComputeCapability, cores_per_sm};
use roofline::units::{Joules, Seconds};

use super::gpm::GpmPairs;

/// Minimum time between readings: GPM counters are refreshed about every 100 ms, and closer pairs read zero.
const CLOSEST: Seconds = Seconds(0.2);
/// Minimum time between reads of the energy counter: the driver needs 3 to 4 ms of CPU time for it (580.159, H100), more than for all other
/// calls together. Slightly less than two seconds, so that it is every second tick of one second.
const ENERGY_PAUSE: Seconds = Seconds(1.9);

/// A GPU or MIG slice that is read.
#[derive(Debug)]
pub(super) struct NvmlDevice<'nvml> {
    nvml: &'nvml Nvml,
    device: Device<'nvml>,
    /// The GPU that a MIG slice is part of.
    parent: Option<Device<'nvml>>,
    /// Its facts.
    pub(super) facts: GpuIdentity,
    gpm: GpmPairs<'nvml>,
    last: Option<Seconds>,
    energy: EnergyCounter,
}

/// The energy counter as last read.
#[derive(Debug, Default)]
struct EnergyCounter {
    read: Option<(Seconds, u64)>,
}

impl EnergyCounter {
    /// Millijoules, at most [`ENERGY_PAUSE`] old.
    fn read(&mut self, board: &Device<'_>, now: Seconds) -> Result<u64, NvmlError> {
        if let Some((then, counter)) = self.read
            && is_within(ENERGY_PAUSE, then, now)
        {
            return Ok(counter);
        }
        self.read = None;
        let counter = board.total_energy_consumption()?;
        self.read = Some((now, counter));
        Ok(counter)
    }
}

impl<'nvml> NvmlDevice<'nvml> {
    /// A whole GPU.
    ///
    /// # Errors
    /// A GPU that is lost or denied.
    pub(super) fn whole(
        nvml: &'nvml Nvml,
        device: Device<'nvml>,
        index: u32,
    ) -> Result<Self, NvmlError> {
        let nvlink = nvlink(&device);
        let gpm = GpmPairs::of(&device, nvlink);
        let facts = GpuIdentity {
            nvlink,
            uuid: or_else(device.uuid(), || index.to_string())?,
            name: or_else(device.name(), String::new)?,
            gpm: gpm.access(),
            ..facts(nvml, &device)
        };
        Ok(Self {
            nvml,
            device,
            parent: None,
            facts,
            gpm,
            last: None,
            energy: EnergyCounter::default(),
        })
    }

    /// A MIG slice of `parent`. GPM values of a slice are undocumented, and left out.
    ///
    /// # Errors
    /// A slice whose name cannot be read.
    pub(super) fn slice(
        nvml: &'nvml Nvml,
        parent: Device<'nvml>,
        device: Device<'nvml>,
    ) -> Result<Self, NvmlError> {
        let gpm = GpmPairs::absent(Cause::WholeGpu);
        // Within a container, many properties of a slice's whole GPU are not accessible.
        let whole = facts(nvml, &parent);
        let attributes = device.attributes().ok();
        let attributes = attributes.as_ref();
        let facts = GpuIdentity {
            uuid: device.uuid()?,
            name: or_else(device.name(), String::new)?,
            sm_count: attributes.map(|attributes| f64::from(attributes.multiprocessor_count)),
            memory_bytes: attributes
                .map(|attributes| attributes.memory_size_mb as f64 * 1_048_576.0),
            memory_bus_bits: None,
            gpm: gpm.access(),
            is_mig_slice: true,
            power_limit_watts: None,
            ..whole
        };
        Ok(Self {
            nvml,
            device,
            parent: Some(parent),
            facts,
            gpm,
            last: None,
            energy: EnergyCounter::default(),
        })
    }

    /// Updates the processes on the GPU, which can change without a reset.
    pub(super) fn survey(&mut self) {
        let processes = self.device.running_compute_processes();
        self.facts.processes = processes.ok().map(|processes| {
            let mut pids: Vec<_> = processes.iter().map(|process| process.pid).collect();
            pids.sort_unstable();
            pids
        });
    }

    /// Whether it is still the same: without a new MIG partition, and the same slice.
    pub(super) fn is_still_there(&self) -> bool {
        if self.parent.is_some() {
            return self.device.uuid().is_ok_and(|uuid| uuid == self.facts.uuid);
        }
        !self.device.mig_mode().is_ok_and(|mode| mode.current == 1)
    }

    /// A reading, or `None` if the last one is too recent.
    ///
    /// # Errors
    /// A GPU that is lost, or returns no value at all.
    pub(super) fn read(&mut self, now: Seconds) -> Result<Option<GpuReading>, NvmlError> {
        if self.last.is_some_and(|last| is_within(CLOSEST, last, now)) {
            return Ok(None);
        }
        self.last = Some(now);
        let mut answers = Answers::default();
        let gpm = self.gpm(now, &mut answers);
        // Clocks and power are the whole GPU's; a slice runs at them. Its share of energy and power is not known.
        let board = self.parent.as_ref().unwrap_or(&self.device);
        let shared = self.parent.is_some();
        let energy = answers.of_whole(GpuQuantity::Energy, shared, || self.energy.read(board, now));
        let power = answers.of_whole(GpuQuantity::Power, shared, || board.power_usage());
        let utilization = answers.of_whole(GpuQuantity::Utilization, shared, || {
            board.utilization_rates()
        });
        let sm_clock = answers.take(GpuQuantity::SmClock, board.clock_info(Clock::SM));
        let mem_clock = answers.take(GpuQuantity::MemClock, board.clock_info(Clock::Memory));
        let memory = answers.take(GpuQuantity::Memory, self.device.memory_info());
        let temperature = answers.take(
            GpuQuantity::Temperature,
            board.temperature(TemperatureSensor::Gpu),
        );
        let reasons = answers.take(GpuQuantity::ClockReasons, board.current_throttle_reasons());
        let reading = GpuReading {
            time: now,
            uuid: self.facts.uuid.clone(),
            sm_clock_mhz: sm_clock.map(f64::from),
            mem_clock_mhz: mem_clock.map(f64::from),
            energy: energy.map(|millijoules| Joules(millijoules as f64 / 1e3)),
            power_watts: power.map(|milliwatts| f64::from(milliwatts) / 1e3),
            memory_used_bytes: memory.map(|memory| memory.used as f64),
            temperature_celsius: temperature.map(f64::from),
            clock_event_reasons: reasons.map(|reasons| reasons.bits()),
            utilization: utilization.map(|rates| f64::from(rates.gpu) / 100.0),
            gpm,
            absent: Vec::new(),
        };
        self.facts.gpm = self.gpm.access();
        answers.into_reading(reading).map(Some)
    }

    fn gpm(&mut self, now: Seconds, answers: &mut Answers) -> Option<Gpm> {
        let read = self.gpm.read(self.nvml, &self.device, now);
        if let (Ok(None), Availability::Absent(cause)) = (&read, self.gpm.access()) {
            answers.absent.push((GpuQuantity::Gpm, cause));
        }
        answers.take(GpuQuantity::Gpm, read).flatten()
    }
}

/// Whether `now` is less than `pause` after `then`; false if the clock was set back.
fn is_within(pause: Seconds, then: Seconds, now: Seconds) -> bool {
    (0.0..pause.0).contains(&(now - then).0)
}

/// The errors of the calls of one reading.
#[derive(Default)]
struct Answers {
    absent: Vec<(GpuQuantity, Cause)>,
    /// The GPU is gone.
    fatal: Option<NvmlError>,
    /// The last error of any kind.
    other: Option<NvmlError>,
}

impl Answers {
    fn take<T>(&mut self, quantity: GpuQuantity, answer: Result<T, NvmlError>) -> Option<T> {
        match answer {
            Ok(value) => Some(value),
            Err(error) if is_fatal(&error) => {
                self.fatal = Some(error);
                None
            }
            Err(error) => {
                self.absent.push((quantity, cause(&error)));
                self.other = Some(error);
                None
            }
        }
    }

    /// A quantity of the whole GPU, which does not apply to a MIG slice.
    fn of_whole<T>(
        &mut self,
        quantity: GpuQuantity,
        shared: bool,
        call: impl FnOnce() -> Result<T, NvmlError>,
    ) -> Option<T> {
        if shared {
            self.absent.push((quantity, Cause::WholeGpu));
            return None;
        }
        self.take(quantity, call())
    }

    fn into_reading(self, reading: GpuReading) -> Result<GpuReading, NvmlError> {
        match (self.fatal, self.other) {
            (Some(fatal), _) => Err(fatal),
            (None, Some(error)) if reading.is_empty() => Err(error),
            _ => Ok(GpuReading {
                absent: self.absent,
                ..reading
            }),
        }
    }
}

/// `answer`, or an alternative if this driver lacks the function; not if the GPU is lost or denied.
fn or_else(
    answer: Result<String, NvmlError>,
    other: impl FnOnce() -> String,
) -> Result<String, NvmlError> {
    answer.or_else(|error| {
        if is_fatal(&error) || matches!(error, NvmlError::NoPermission) {
            Err(error)
        } else {
            Ok(other())
        }
    })
}

/// The static facts, except the names.
fn facts<'nvml>(nvml: &'nvml Nvml, device: &Device<'nvml>) -> GpuIdentity {
    let clock = |clock| device.max_clock_info(clock).ok().map(f64::from);
    let capability = device.cuda_compute_capability().ok();
    let capability =
        capability.map(|capability| format!("{}.{}", capability.major, capability.minor));
    let cores = device.num_cores().ok();
    GpuIdentity {
        driver: nvml.sys_driver_version().ok(),
        max_sm_clock_mhz: clock(Clock::SM),
        max_mem_clock_mhz: clock(Clock::Memory),
        memory_bus_bits: device.memory_bus_width().ok().map(f64::from),
        sm_count: cores
            .zip(capability.as_deref().and_then(ComputeCapability::parse))
            .map(|(cores, capability)| f64::from(cores / cores_per_sm(capability))),
        compute_capability: capability,
        memory_bytes: device.memory_info().ok().map(|memory| memory.total as f64),
        power_limit_watts: device
            .enforced_power_limit()
            .ok()
            .map(|milliwatts| f64::from(milliwatts) / 1e3),
        ..GpuIdentity::default()
    }
}

/// Maximum number of NVLinks of a GPU.
const MOST_LINKS: u32 = 18;

/// Whether any NVLink is up; `None` if no link reports its state.
fn nvlink(device: &Device<'_>) -> Option<bool> {
    let links = (0..MOST_LINKS).filter_map(|link| device.link_wrapper_for(link).is_active().ok());
    links.reduce(|any, up| any || up)
}

/// Whether a GPU with this error cannot be read again before NVML is restarted.
pub(super) const fn is_fatal(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::GpuLost
            | NvmlError::ResetRequired
            | NvmlError::Uninitialized
            | NvmlError::DriverNotLoaded
            | NvmlError::LibRmVersionMismatch
    )
}

/// The cause of a failed call.
pub(super) const fn cause(error: &NvmlError) -> Cause {
    match error {
        NvmlError::NotSupported => Cause::NotSupported,
        NvmlError::NoPermission => Cause::NoPermission,
        NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound => Cause::OldDriver,
        _ => Cause::Failed,
    }
}
