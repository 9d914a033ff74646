//! Parses the page of a dcgm-exporter into rows, one per GPU or MIG instance.

use std::collections::BTreeMap;

use crate::exposition::{Labels, Line, Lines, ParseError, Sample};
use crate::sample::gpu::{Availability, Cause, Gpm, GpuIdentity, GpuQuantity, GpuReading, Traffic};
use roofline::units::{BytesPerSecond, Joules, Seconds};

use super::fields::{DcgmField, field};

/// Maximum number of GPUs and MIG instances of one page: a node of 16 GPUs has at most 112.
pub(super) const MOST_GPUS: usize = 256;
/// Maximum number of pods that share one GPU: MPS allows 48.
const MOST_PODS: usize = 64;
/// Maximum bytes of a label with a GPU or a pod; Kubernetes' names have at most 253.
const LONGEST_LABEL: usize = 256;

/// A parsed page.
#[derive(Debug, Default)]
pub(super) struct DcgmPage {
    pub(super) rows: Vec<DcgmRow>,
    /// The first line that could not be parsed: dcgm-exporter does not escape its labels.
    pub(super) fault: Option<ParseError>,
    /// Whether there are more GPUs than [`MOST_GPUS`].
    pub(super) too_many: bool,
}

/// One GPU, or one MIG instance of it.
#[derive(Clone, Debug, Default)]
pub(super) struct DcgmRow {
    uuid: String,
    index: Option<String>,
    name: String,
    driver: Option<String>,
    /// Profile of a MIG instance.
    mig: Option<String>,
    /// The pods in its labels, with their namespaces.
    pods: Vec<(String, Option<String>)>,
    values: BTreeMap<DcgmField, f64>,
}

impl DcgmPage {
    /// Groups the samples of `text` by GPU.
    pub(super) fn read(text: &str) -> Self {
        let mut page = Self::default();
        for line in Lines::new(text) {
            match line {
                Ok(Line::Sample(sample)) => page.take(&sample),
                Ok(_) => {}
                Err(fault) => {
                    page.fault.get_or_insert(fault);
                }
            }
        }
        page
    }

    fn take(&mut self, sample: &Sample<'_>) {
        let Some((field, value)) = field(sample) else {
            return;
        };
        let Some(uuid) = identity(sample.labels) else {
            return;
        };
        let known = self.rows.iter().position(|row| row.uuid == uuid);
        if known.is_none() && self.rows.len() == MOST_GPUS {
            self.too_many = true;
            return;
        }
        let place = known.unwrap_or_else(|| {
            self.rows.push(DcgmRow::new(uuid, sample.labels));
            self.rows.len() - 1
        });
        let row = &mut self.rows[place];
        row.add_pod(sample.labels);
        row.values.entry(field).or_insert(value);
    }

    /// The GPUs, for error messages.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.rows.iter().map(|row| row.uuid.as_str()).collect();
        names.join(", ")
    }
}

fn first(labels: Labels<'_>, names: &[&str]) -> Option<String> {
    names
        .iter()
        .find_map(|name| labels.get(name))
        .filter(|value| (1..=LONGEST_LABEL).contains(&value.len()))
        .map(std::borrow::Cow::into_owned)
}

/// The identity of a GPU on all its series; for a MIG instance, followed by its number.
fn identity(labels: Labels<'_>) -> Option<String> {
    let gpu = first(
        labels,
        &["UUID", "uuid", "gpu_uuid", "serial_number", "gpu", "gpu_id"],
    )?;
    Some(match first(labels, &["GPU_I_ID"]) {
        Some(instance) => format!("{gpu}/{instance}"),
        None => gpu,
    })
}

impl DcgmRow {
    fn new(uuid: String, labels: Labels<'_>) -> Self {
        Self {
            uuid,
            index: first(labels, &["gpu", "gpu_id"]),
            name: first(labels, &["modelName", "card_model"]).unwrap_or_default(),
            driver: first(labels, &["DCGM_FI_DRIVER_VERSION", "driver_version"]),
            mig: first(labels, &["GPU_I_PROFILE"]),
            ..Self::default()
        }
    }

    fn add_pod(&mut self, labels: Labels<'_>) {
        let Some(pod) = first(labels, &["exported_pod", "pod", "pod_name"]) else {
            return;
        };
        let namespace = first(
            labels,
            &["exported_namespace", "namespace", "pod_namespace"],
        );
        let labelled = (pod, namespace);
        if self.pods.len() < MOST_PODS && !self.pods.contains(&labelled) {
            self.pods.push(labelled);
        }
    }

    /// Whether `device` is its UUID or index.
    pub(super) fn is_called(&self, device: &str) -> bool {
        self.uuid == device || self.index.as_deref() == Some(device)
    }

    /// Whether its labels contain `pod`, given as `NAMESPACE/POD` or `POD`.
    pub(super) fn is_of_pod(&self, pod: &str) -> bool {
        let (namespace, pod) = pod
            .split_once('/')
            .map_or((None, pod), |(namespace, pod)| (Some(namespace), pod));
        self.pods.iter().any(|(own, own_namespace)| {
            own == pod && (namespace.is_none() || own_namespace.as_deref() == namespace)
        })
    }

    fn value(&self, field: DcgmField) -> Option<f64> {
        self.values.get(&field).copied()
    }

    /// The facts of the GPU.
    pub(super) fn facts(&self) -> GpuIdentity {
        let used = self.value(DcgmField::MemoryUsed);
        let free = self.value(DcgmField::MemoryFree);
        let reserved = self.value(DcgmField::MemoryReserved).unwrap_or(0.0);
        let sum = used.zip(free).map(|(used, free)| used + free + reserved);
        GpuIdentity {
            uuid: self.uuid.clone(),
            name: self.name.clone(),
            driver: self.driver.clone(),
            memory_bytes: self.value(DcgmField::MemoryTotal).or(sum),
            gpm: self.gpm_access(),
            is_mig_slice: self.mig.is_some(),
            shared_by_pods: self.pods.len() > 1,
            ..GpuIdentity::default()
        }
    }

    fn gpm_access(&self) -> Availability {
        match (&self.mig, self.value(DcgmField::Dram)) {
            (Some(_), _) => Availability::Absent(Cause::WholeGpu),
            (None, Some(_)) => Availability::Offered,
            (None, None) => Availability::Absent(Cause::NotExported),
        }
    }

    /// The values as a reading at `now`. For a MIG instance, counters of the whole GPU are left out.
    pub(super) fn into_reading(self, now: Seconds) -> GpuReading {
        let mut absent = Vec::new();
        let mut take = |quantity: GpuQuantity, field: DcgmField, of_board: bool| {
            let whole = of_board && self.mig.is_some();
            let value = self.value(field).filter(|_| !whole);
            if value.is_none() {
                let cause = if whole {
                    Cause::WholeGpu
                } else {
                    Cause::NotExported
                };
                absent.push((quantity, cause));
            }
            value
        };
        let energy = take(GpuQuantity::Energy, DcgmField::Energy, true).map(Joules);
        let power_watts = take(GpuQuantity::Power, DcgmField::Power, true);
        let utilization = take(GpuQuantity::Utilization, DcgmField::Utilization, true);
        let sm_clock_mhz = take(GpuQuantity::SmClock, DcgmField::SmClock, false);
        let mem_clock_mhz = take(GpuQuantity::MemClock, DcgmField::MemClock, false);
        let memory_used_bytes = take(GpuQuantity::Memory, DcgmField::MemoryUsed, false);
        let temperature_celsius = take(GpuQuantity::Temperature, DcgmField::Temperature, false);
        let reasons = take(GpuQuantity::ClockReasons, DcgmField::ClockReasons, false);
        let gpm = self.gpm();
        if let (None, Availability::Absent(cause)) = (gpm, self.gpm_access()) {
            absent.push((GpuQuantity::Gpm, cause));
        }
        GpuReading {
            time: now,
            sm_clock_mhz,
            mem_clock_mhz,
            energy,
            power_watts,
            memory_used_bytes,
            temperature_celsius,
            clock_event_reasons: reasons.and_then(mask),
            utilization,
            gpm,
            absent,
            uuid: self.uuid,
        }
    }

    fn gpm(&self) -> Option<Gpm> {
        if self.mig.is_some() {
            return None;
        }
        let traffic = |sent, received| {
            let (sent, received) = self.value(sent).zip(self.value(received))?;
            Some(Traffic {
                sent: BytesPerSecond(sent),
                received: BytesPerSecond(received),
            })
        };
        let gpm = Gpm {
            dram_bandwidth: self.value(DcgmField::Dram),
            any_tensor: self.value(DcgmField::Tensor),
            sm: self.value(DcgmField::Sm),
            sm_occupancy: self.value(DcgmField::Occupancy),
            graphics: self.value(DcgmField::Graphics),
            pcie: traffic(DcgmField::PcieSent, DcgmField::PcieReceived),
            nvlink: traffic(DcgmField::NvlinkSent, DcgmField::NvlinkReceived),
        };
        (gpm != Gpm::default()).then_some(gpm)
    }
}

/// A bit mask that was printed as a number.
fn mask(value: f64) -> Option<u64> {
    format!("{value:.0}").parse().ok()
}
