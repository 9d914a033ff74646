//! GPU data of a capture, in NVML's units; only this file converts them to base units.

use serde::{Deserialize, Serialize};

use crate::sample::gpu::{Availability, Cause, Gpm, GpuIdentity, GpuReading, Traffic};
use roofline::units::{BytesPerSecond, Joules, Seconds};

/// The `gpu` of `capture.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GpuLineFacts {
    /// NVML product name.
    pub name: String,
    /// GPUs recorded.
    #[serde(default = "one")]
    pub count: usize,
    /// UUIDs in the order of the readings' `gpu`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uuids: Vec<String>,
    /// Driver version.
    #[serde(default)]
    pub driver: Option<String>,
    /// Highest SM clock.
    #[serde(default)]
    pub max_sm_clock_mhz: Option<f64>,
    /// Highest memory clock.
    #[serde(default)]
    pub max_mem_clock_mhz: Option<f64>,
    /// Width of the memory bus.
    #[serde(default)]
    pub memory_bus_bits: Option<f64>,
    /// Streaming multiprocessors.
    #[serde(default)]
    pub sm_count: Option<f64>,
    /// CUDA compute capability.
    #[serde(default)]
    pub compute_capability: Option<String>,
    /// Memory the driver reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<f64>,
    /// Power limit.
    #[serde(default)]
    pub power_limit_milliwatts: Option<f64>,
    /// Whether any NVLink is up, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvlink: Option<bool>,
    /// Whether GPM can be read.
    #[serde(default)]
    pub gpm_supported: bool,
}

const fn one() -> usize {
    1
}

impl GpuLineFacts {
    /// The UUID of the GPU with this index; the index itself where the capture has none.
    #[must_use]
    pub fn uuid(&self, index: usize) -> String {
        self.uuids
            .get(index)
            .cloned()
            .unwrap_or_else(|| index.to_string())
    }

    /// Facts of the GPU with this index.
    #[must_use]
    pub fn facts(&self, index: usize) -> GpuIdentity {
        GpuIdentity {
            uuid: self.uuid(index),
            name: self.name.clone(),
            driver: self.driver.clone(),
            max_sm_clock_mhz: self.max_sm_clock_mhz,
            max_mem_clock_mhz: self.max_mem_clock_mhz,
            memory_bus_bits: self.memory_bus_bits,
            sm_count: self.sm_count,
            compute_capability: self.compute_capability.clone(),
            memory_bytes: self.memory_bytes,
            power_limit_watts: self.power_limit_milliwatts.map(|limit| limit / 1e3),
            nvlink: self.nvlink,
            gpm: if self.gpm_supported {
                Availability::Offered
            } else {
                Availability::Absent(Cause::NotSupported)
            },
            ..GpuIdentity::default()
        }
    }

    /// The facts to record for GPUs that are read live, all of one kind.
    #[must_use]
    pub fn of(gpus: &[GpuIdentity]) -> Option<Self> {
        let first = gpus.first()?;
        Some(Self {
            name: first.name.clone(),
            count: gpus.len(),
            uuids: gpus.iter().map(|gpu| gpu.uuid.clone()).collect(),
            driver: first.driver.clone(),
            max_sm_clock_mhz: first.max_sm_clock_mhz,
            max_mem_clock_mhz: first.max_mem_clock_mhz,
            memory_bus_bits: first.memory_bus_bits,
            sm_count: first.sm_count,
            compute_capability: first.compute_capability.clone(),
            memory_bytes: first.memory_bytes,
            power_limit_milliwatts: first.power_limit_watts.map(|limit| limit * 1e3),
            nvlink: first.nvlink,
            gpm_supported: first.gpm.is_offered(),
        })
    }
}

/// A line of `gpu.jsonl.gz`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GpuLine {
    /// Unix time.
    pub t: f64,
    /// Index of the GPU.
    #[serde(default)]
    pub gpu: usize,
    /// NVML's power reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_milliwatts: Option<f64>,
    /// NVML's energy counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_millijoules: Option<f64>,
    /// SM clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_clock_mhz: Option<f64>,
    /// Memory clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_clock_mhz: Option<f64>,
    /// Memory in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<f64>,
    /// Temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<f64>,
    /// Clock event reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clocks_event_reasons: Option<u64>,
    /// NVML's utilization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization_gpu_percent: Option<f64>,
    /// GPM counters in percent over the interval since the previous reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpm: Option<GpmLine>,
}

/// The GPM counters that are used, in percent.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct GpmLine {
    /// DRAM bandwidth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dram_bw_util: Option<f64>,
    /// Any tensor pipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any_tensor_util: Option<f64>,
    /// SM activity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_util: Option<f64>,
    /// SM occupancy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_occupancy: Option<f64>,
    /// Graphics engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graphics_util: Option<f64>,
    /// PCIe, from the GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_tx_mib_per_second: Option<f64>,
    /// PCIe, to the GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_rx_mib_per_second: Option<f64>,
    /// NVLink, from the GPU, all links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvlink_tx_mib_per_second: Option<f64>,
    /// NVLink, to the GPU, all links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvlink_rx_mib_per_second: Option<f64>,
}

/// Unit of GPM's traffic rates.
const MIB: f64 = 1_048_576.0;

type RecordedRates = Option<Traffic<BytesPerSecond>>;

impl GpmLine {
    fn counters(&self) -> Gpm {
        let share = |percent: Option<f64>| percent.map(|percent| percent / 100.0);
        let traffic = |sent: Option<f64>, received: Option<f64>| {
            let (sent, received) = sent.zip(received)?;
            Some(Traffic {
                sent: BytesPerSecond(sent * MIB),
                received: BytesPerSecond(received * MIB),
            })
        };
        Gpm {
            dram_bandwidth: share(self.dram_bw_util),
            any_tensor: share(self.any_tensor_util),
            sm: share(self.sm_util),
            sm_occupancy: share(self.sm_occupancy),
            graphics: share(self.graphics_util),
            pcie: traffic(self.pcie_tx_mib_per_second, self.pcie_rx_mib_per_second),
            nvlink: traffic(self.nvlink_tx_mib_per_second, self.nvlink_rx_mib_per_second),
        }
    }

    fn of(gpm: &Gpm) -> Self {
        let percent = |share: Option<f64>| share.map(|share| share * 100.0);
        let sent = |traffic: RecordedRates| traffic.map(|traffic| traffic.sent.0 / MIB);
        let received = |traffic: RecordedRates| traffic.map(|traffic| traffic.received.0 / MIB);
        Self {
            dram_bw_util: percent(gpm.dram_bandwidth),
            any_tensor_util: percent(gpm.any_tensor),
            sm_util: percent(gpm.sm),
            sm_occupancy: percent(gpm.sm_occupancy),
            graphics_util: percent(gpm.graphics),
            pcie_tx_mib_per_second: sent(gpm.pcie),
            pcie_rx_mib_per_second: received(gpm.pcie),
            nvlink_tx_mib_per_second: sent(gpm.nvlink),
            nvlink_rx_mib_per_second: received(gpm.nvlink),
        }
    }
}

impl GpuLine {
    /// The reading, of the GPU with this `uuid`.
    #[must_use]
    pub fn reading(&self, uuid: String) -> GpuReading {
        GpuReading {
            time: Seconds(self.t),
            uuid,
            sm_clock_mhz: self.sm_clock_mhz,
            mem_clock_mhz: self.mem_clock_mhz,
            energy: self.energy_millijoules.map(|energy| Joules(energy / 1e3)),
            power_watts: self.power_milliwatts.map(|power| power / 1e3),
            memory_used_bytes: self.memory_used_bytes,
            temperature_celsius: self.temperature_celsius,
            clock_event_reasons: self.clocks_event_reasons,
            utilization: self.utilization_gpu_percent.map(|percent| percent / 100.0),
            gpm: self.gpm.as_ref().map(GpmLine::counters),
            absent: Vec::new(),
        }
    }

    /// The line for `reading`, of the GPU with this index.
    #[must_use]
    pub fn of(reading: &GpuReading, index: usize) -> Self {
        Self {
            t: reading.time.0,
            gpu: index,
            power_milliwatts: reading.power_watts.map(|power| power * 1e3),
            // The counter is an integer: rounding restores what the division lost.
            energy_millijoules: reading.energy.map(|energy| (energy.0 * 1e3).round()),
            sm_clock_mhz: reading.sm_clock_mhz,
            mem_clock_mhz: reading.mem_clock_mhz,
            memory_used_bytes: reading.memory_used_bytes,
            temperature_celsius: reading.temperature_celsius,
            clocks_event_reasons: reading.clock_event_reasons,
            utilization_gpu_percent: reading.utilization.map(|share| share * 100.0),
            gpm: reading.gpm.as_ref().map(GpmLine::of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_survives_the_file() {
        let reading = GpuReading {
            time: Seconds(10.5),
            uuid: "GPU-1".into(),
            sm_clock_mhz: Some(1980.0),
            energy: Some(Joules(12.5)),
            power_watts: Some(700.0),
            clock_event_reasons: Some(4),
            gpm: Some(Gpm {
                dram_bandwidth: Some(0.5),
                ..Gpm::default()
            }),
            ..GpuReading::default()
        };
        let line = serde_json::to_string(&GpuLine::of(&reading, 0)).unwrap();
        let read: GpuLine = serde_json::from_str(&line).unwrap();
        assert_eq!(read.reading("GPU-1".into()), reading);
    }
}
