//! One run of NVML, from its initialisation to the error that ends it: the GPUs that are read, and their readings.

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::sample::gpu::GpuIdentity;
use crate::source::gpu::{GpuError, GpuReadResult};
use roofline::units::Seconds;

use super::device::NvmlDevice;
use super::of_gpu;

/// Interval of the checks for processes on a GPU, and for changes of the GPUs.
const SURVEY_PAUSE: Seconds = Seconds(15.0);

/// The GPUs that are read.
#[derive(Debug)]
pub(super) struct Session<'nvml> {
    nvml: &'nvml Nvml,
    gpus: Vec<NvmlDevice<'nvml>>,
    /// GPUs that the driver counts.
    count: u32,
    /// Why a GPU cannot be read from the start.
    problem: Option<GpuError>,
    surveyed: Option<Seconds>,
}

impl<'nvml> Session<'nvml> {
    /// Opens the GPUs in `devices`, by index or UUID, or all.
    pub(super) fn open(nvml: &'nvml Nvml, devices: &[String]) -> Self {
        let (count, uncounted) = match nvml.device_count() {
            Ok(count) => (count, None),
            Err(error) => (0, Some(of_gpu("count", &error))),
        };
        let mut found = FoundDevices::default();
        for index in 0..count {
            match gpus_at(nvml, index) {
                Ok(gpus) => found.gpus.extend(gpus.into_iter().map(|gpu| (index, gpu))),
                Err(error) => found.refused.push((index, error)),
            }
        }
        let problem = uncounted.or_else(|| found.problem(devices));
        let gpus = found.gpus.into_iter();
        let asked = gpus.filter(|(index, gpu)| {
            devices.is_empty()
                || devices
                    .iter()
                    .any(|device| names(device, *index, &gpu.facts))
        });
        Self {
            nvml,
            gpus: asked.map(|(_, gpu)| gpu).collect(),
            count,
            problem,
            surveyed: None,
        }
    }

    /// The current facts of the GPUs.
    pub(super) fn facts(&self) -> Vec<GpuIdentity> {
        self.gpus.iter().map(|gpu| gpu.facts.clone()).collect()
    }

    /// Periodically checks what changes rarely. Returns `false` if the GPUs are no longer those of the start.
    pub(super) fn survey(&mut self, now: Seconds) -> bool {
        if self.surveyed.is_some_and(|last| now - last < SURVEY_PAUSE) {
            return true;
        }
        self.surveyed = Some(now);
        for gpu in &mut self.gpus {
            gpu.survey();
        }
        self.nvml
            .device_count()
            .is_ok_and(|count| count == self.count)
            && self.gpus.iter().all(NvmlDevice::is_still_there)
    }

    /// Reads every GPU, each with its own time.
    pub(super) fn read(&mut self, clock: fn() -> Seconds) -> GpuReadResult {
        let mut sight = GpuReadResult {
            readings: Vec::with_capacity(self.gpus.len()),
            problem: self.problem.clone(),
        };
        for gpu in &mut self.gpus {
            match gpu.read(clock()) {
                Ok(reading) => sight.readings.extend(reading),
                Err(error) => {
                    let problem = of_gpu(&gpu.facts.uuid, &error);
                    sight.problem.get_or_insert(problem);
                }
            }
        }
        sight
    }
}

/// The GPUs behind the driver's indices.
#[derive(Default)]
struct FoundDevices<'nvml> {
    gpus: Vec<(u32, NvmlDevice<'nvml>)>,
    refused: Vec<(u32, GpuError)>,
}

impl FoundDevices<'_> {
    /// Why a requested GPU is not read. The driver also counts GPUs that it denies: if others are readable, that is not a failure.
    fn problem(&self, devices: &[String]) -> Option<GpuError> {
        let mut refused = self.refused.iter();
        if devices.is_empty() {
            let lost = refused.find(|(_, error)| !matches!(error, GpuError::NoPermission(_)));
            let denied = self.refused.first().filter(|_| self.gpus.is_empty());
            let none = self.gpus.is_empty().then_some(GpuError::NoGpu);
            return lost.or(denied).map(|(_, error)| error.clone()).or(none);
        }
        let unseen = |device: &&String| {
            !self
                .gpus
                .iter()
                .any(|(index, gpu)| names(device, *index, &gpu.facts))
        };
        let asked = devices.iter().find(unseen)?;
        let own = refused.find(|(index, _)| *asked == index.to_string());
        // A GPU that cannot be opened has no UUID: it may be the requested one.
        let other = self.refused.first().filter(|_| asked.contains('-'));
        let error = own.or(other).map(|(_, error)| error.clone());
        Some(error.unwrap_or_else(|| GpuError::NoSuchGpu {
            asked: asked.clone(),
            seen: self.seen(),
        }))
    }

    fn seen(&self) -> String {
        let seen: Vec<_> = self
            .gpus
            .iter()
            .map(|(index, gpu)| format!("{index} ({})", gpu.facts.uuid))
            .collect();
        if seen.is_empty() {
            "none".to_owned()
        } else {
            seen.join(", ")
        }
    }
}

/// Whether `device`, a UUID or an index, names the GPU. An index names all MIG slices of its GPU.
fn names(device: &str, index: u32, gpu: &GpuIdentity) -> bool {
    device == gpu.uuid || device == index.to_string()
}

/// The GPU with this index, or its MIG slices.
fn gpus_at(nvml: &Nvml, index: u32) -> Result<Vec<NvmlDevice<'_>>, GpuError> {
    let failed = |error: NvmlError| of_gpu(&index.to_string(), &error);
    let device = nvml.device_by_index(index).map_err(failed)?;
    let cut = device.mig_mode().is_ok_and(|mode| mode.current == 1);
    if !cut {
        return Ok(vec![
            NvmlDevice::whole(nvml, device, index).map_err(failed)?,
        ]);
    }
    let most = device.mig_device_count().unwrap_or(0);
    let mut slices = Vec::new();
    for slice in (0..most).filter_map(|slice| device.mig_device_by_index(slice).ok()) {
        let parent = nvml.device_by_index(index).map_err(failed)?;
        slices.push(NvmlDevice::slice(nvml, parent, slice).map_err(failed)?);
    }
    if slices.is_empty() {
        return Err(GpuError::NoMigSlice(index.to_string()));
    }
    Ok(slices)
}
