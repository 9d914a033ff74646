//! The series of one GPU, with the labels of the engine it serves.

use crate::snapshot::GpuSnapshot;

use super::{EngineSeries, c};

impl EngineSeries<'_> {
    /// The facts and readings of `gpu`. A quantity that was not read this time is absent.
    pub(super) fn gpu(&mut self, gpu: &GpuSnapshot) {
        let label = ("gpu", gpu.facts.uuid.as_str());
        self.add(
            &c::MEASURED_HBM_BYTES_TOTAL,
            &[label],
            gpu.hbm_bytes_total.map(|bytes| bytes.0),
        );
        self.add(
            &c::ENERGY_JOULES_TOTAL,
            &[label],
            gpu.energy_total.map(|energy| energy.0),
        );
        self.add(
            &c::GPU_BUSY_SECONDS_TOTAL,
            &[label],
            gpu.busy_total.map(|busy| busy.0),
        );
        if let Some([spec, provenance, attainable]) = self.engine.facts.gpu_spec_labels() {
            let labels = [
                label,
                ("name", gpu.facts.name.as_str()),
                ("spec", spec),
                ("provenance", provenance),
                ("attainable", attainable),
            ];
            self.add(&c::GPU_INFO, &labels, 1.0);
        }
        self.links(gpu, label);
        self.reading(gpu, label);
    }

    fn reading(&mut self, gpu: &GpuSnapshot, label: (&str, &str)) {
        let Some(reading) = &gpu.latest else {
            return;
        };
        let gpm = reading.gpm.unwrap_or_default();
        let hertz = |megahertz: Option<f64>| megahertz.map(|clock| clock * 1e6);
        for (family, value) in [
            (&c::GPU_SM_CLOCK, hertz(reading.sm_clock_mhz)),
            (&c::GPU_MEMORY_CLOCK, hertz(reading.mem_clock_mhz)),
            (&c::GPU_POWER, reading.power_watts),
            (&c::GPU_TEMPERATURE, reading.temperature_celsius),
            (&c::GPU_MEMORY_USED, reading.memory_used_bytes),
            (&c::GPU_UTILIZATION, reading.utilization),
            (&c::GPU_TENSOR_ACTIVE, gpm.any_tensor),
            (&c::GPU_SM_ACTIVE, gpm.sm),
            (&c::GPU_SM_OCCUPANCY, gpm.sm_occupancy),
            (&c::GPU_ENGINE_ACTIVE, gpm.graphics),
        ] {
            self.add(family, &[label], value);
        }
    }

    fn links(&mut self, gpu: &GpuSnapshot, label: (&str, &str)) {
        let links = gpu.links_total;
        for (link, traffic) in [("pcie", links.pcie), ("nvlink", links.nvlink)] {
            let Some(traffic) = traffic else {
                continue;
            };
            for (direction, bytes) in [("sent", traffic.sent), ("received", traffic.received)] {
                let labels = [label, ("link", link), ("direction", direction)];
                self.add(&c::GPU_LINK_BYTES_TOTAL, &labels, bytes.0);
            }
        }
    }
}
