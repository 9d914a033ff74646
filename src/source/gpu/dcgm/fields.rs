//! Metric names of the exporters: DCGM's field names before and since 4.6, those of dcgm-exporter 1.x, and AMD's.

use crate::exposition::Sample;

/// A quantity of a GPU, in the exporter's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DcgmField {
    /// Share, 0..=1.
    Dram,
    /// Share.
    Tensor,
    /// Share.
    Graphics,
    /// Share.
    Sm,
    /// Share.
    Occupancy,
    /// Bytes per second.
    PcieSent,
    /// Bytes per second.
    PcieReceived,
    /// Bytes per second.
    NvlinkSent,
    /// Bytes per second.
    NvlinkReceived,
    /// MHz.
    SmClock,
    /// MHz.
    MemClock,
    /// Watts.
    Power,
    /// Joules.
    Energy,
    /// Bytes.
    MemoryUsed,
    /// Bytes.
    MemoryFree,
    /// Bytes.
    MemoryReserved,
    /// Bytes.
    MemoryTotal,
    /// Share of time.
    Utilization,
    /// °C.
    Temperature,
    /// NVML's bit mask.
    ClockReasons,
}

impl DcgmField {
    /// An upper limit above any existing GPU. Values above it, and below 0, are invalid.
    const fn most(self) -> f64 {
        match self {
            Self::Dram
            | Self::Tensor
            | Self::Graphics
            | Self::Sm
            | Self::Occupancy
            | Self::Utilization => 1.1,
            Self::PcieSent | Self::PcieReceived | Self::NvlinkSent | Self::NvlinkReceived => 1e15,
            Self::SmClock | Self::MemClock | Self::Power => 1e5,
            Self::Energy
            | Self::MemoryUsed
            | Self::MemoryFree
            | Self::MemoryReserved
            | Self::MemoryTotal => 1e15,
            Self::Temperature => 1e3,
            // A 64-bit mask, up to the largest integer that a float represents exactly.
            Self::ClockReasons => 9_007_199_254_740_992.0,
        }
    }
}

/// Name in lower case, field, and factor to the field's unit.
const NAMES: &[(&str, DcgmField, f64)] = &[
    ("dcgm_fi_prof_dram_active", DcgmField::Dram, 1.0),
    ("dcgm_fi_prof_dram_util_ratio", DcgmField::Dram, 1.0),
    ("dcgm_fi_prof_pipe_tensor_active", DcgmField::Tensor, 1.0),
    ("dcgm_fi_prof_tensor_util_ratio", DcgmField::Tensor, 1.0),
    ("dcgm_fi_prof_gr_engine_active", DcgmField::Graphics, 1.0),
    (
        "dcgm_fi_prof_gr_engine_util_ratio",
        DcgmField::Graphics,
        1.0,
    ),
    ("dcgm_fi_prof_sm_active", DcgmField::Sm, 1.0),
    ("dcgm_fi_prof_sm_util_ratio", DcgmField::Sm, 1.0),
    ("dcgm_fi_prof_sm_occupancy", DcgmField::Occupancy, 1.0),
    ("dcgm_fi_prof_sm_occupancy_ratio", DcgmField::Occupancy, 1.0),
    ("dcgm_fi_prof_pcie_tx_bytes", DcgmField::PcieSent, 1.0),
    ("dcgm_fi_prof_pcie_rx_bytes", DcgmField::PcieReceived, 1.0),
    ("dcgm_fi_prof_nvlink_tx_bytes", DcgmField::NvlinkSent, 1.0),
    (
        "dcgm_fi_prof_nvlink_rx_bytes",
        DcgmField::NvlinkReceived,
        1.0,
    ),
    ("dcgm_fi_dev_sm_clock", DcgmField::SmClock, 1.0),
    ("dcgm_sm_clock", DcgmField::SmClock, 1.0),
    ("dcgm_fi_dev_mem_clock", DcgmField::MemClock, 1.0),
    ("dcgm_memory_clock", DcgmField::MemClock, 1.0),
    ("dcgm_fi_dev_power_usage", DcgmField::Power, 1.0),
    ("dcgm_fi_dev_board_power_watts", DcgmField::Power, 1.0),
    ("dcgm_power_usage", DcgmField::Power, 1.0),
    (
        "dcgm_fi_dev_total_energy_consumption",
        DcgmField::Energy,
        1e-3,
    ),
    ("dcgm_total_energy_consumption", DcgmField::Energy, 1e-3),
    ("dcgm_fi_dev_fb_used", DcgmField::MemoryUsed, MIB),
    ("dcgm_fb_used", DcgmField::MemoryUsed, MIB),
    ("dcgm_fi_dev_fb_free", DcgmField::MemoryFree, MIB),
    ("dcgm_fb_free", DcgmField::MemoryFree, MIB),
    ("dcgm_fi_dev_fb_reserved", DcgmField::MemoryReserved, MIB),
    ("dcgm_fi_dev_gpu_util", DcgmField::Utilization, 1e-2),
    ("dcgm_fi_dev_gpu_util_ratio", DcgmField::Utilization, 1e-2),
    ("dcgm_gpu_utilization", DcgmField::Utilization, 1e-2),
    ("dcgm_fi_dev_gpu_temp", DcgmField::Temperature, 1.0),
    ("dcgm_fi_dev_gpu_temp_celsius", DcgmField::Temperature, 1.0),
    ("dcgm_gpu_temp", DcgmField::Temperature, 1.0),
    (
        "dcgm_fi_dev_clocks_event_reasons",
        DcgmField::ClockReasons,
        1.0,
    ),
    (
        "dcgm_fi_dev_clock_throttle_reasons",
        DcgmField::ClockReasons,
        1.0,
    ),
    // AMD's exporter counts the kilobytes that its profiler fetched and wrote, over a time that it does not report: no traffic there.
    ("gpu_prof_tensor_active_percent", DcgmField::Tensor, 1e-2),
    ("gpu_package_power", DcgmField::Power, 1.0),
    ("gpu_power_usage", DcgmField::Power, 1.0),
    ("gpu_energy_consumed", DcgmField::Energy, 1e-6),
    ("gpu_used_vram", DcgmField::MemoryUsed, MIB),
    ("gpu_total_vram", DcgmField::MemoryTotal, MIB),
    ("gpu_gfx_activity", DcgmField::Utilization, 1e-2),
    ("gpu_junction_temperature", DcgmField::Temperature, 1.0),
];

const MIB: f64 = 1_048_576.0;

/// The field of `sample`, and its value in the field's unit. `None` for the placeholders that DCGM prints for missing values.
pub(super) fn field(sample: &Sample<'_>) -> Option<(DcgmField, f64)> {
    let name = sample.name.to_ascii_lowercase();
    let name = name.strip_prefix("amd_").unwrap_or(&name);
    if is_blank(sample.value) {
        return None;
    }
    let (field, value) = if name == "gpu_clock" {
        (amd_clock(sample)?, sample.value)
    } else {
        let (_, field, factor) = NAMES.iter().find(|(known, ..)| *known == name)?;
        (*field, sample.value * factor)
    };
    (0.0..=field.most())
        .contains(&value)
        .then_some((field, value))
}

/// AMD has one metric for all clocks; the first system clock is used as the SM clock.
fn amd_clock(sample: &Sample<'_>) -> Option<DcgmField> {
    let kind = sample.labels.get("clock_type")?.to_ascii_lowercase();
    if kind.ends_with("system") {
        Some(DcgmField::SmClock)
    } else if kind.ends_with("memory") {
        Some(DcgmField::MemClock)
    } else {
        None
    }
}

/// DCGM's placeholders, and the codes just above them (not found, not supported, no permission), as 32-bit and 64-bit integers and as
/// floating point; and values that are not numbers.
fn is_blank(value: f64) -> bool {
    !value.is_finite()
        || (2_147_483_632.0..=2_147_483_647.0).contains(&value)
        || (140_737_488_355_328.0..=140_737_488_355_343.0).contains(&value)
        || value >= 9.2e18
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(DcgmField, f64)> {
        let (page, errors) = crate::exposition::Exposition::parse(line);
        assert_eq!(errors, []);
        field(page.samples().next().unwrap())
    }

    #[test]
    fn old_and_new_names_mean_the_same() {
        for (old, new) in [
            ("DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_DRAM_UTIL_RATIO"),
            ("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_BOARD_POWER_WATTS"),
            ("DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_GPU_TEMP_CELSIUS"),
        ] {
            let value = |name: &str| read(&format!("{name} 0.5\n"));
            assert!(value(old).is_some(), "{old}");
            assert_eq!(value(old), value(new));
        }
    }

    #[test]
    fn millijoules_and_microjoules_become_joules() {
        let dcgm = read("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION 66252765\n").unwrap();
        assert_eq!(dcgm.0, DcgmField::Energy);
        assert!((dcgm.1 - 66_252.765).abs() < 1e-6);
        let amd = read("amd_gpu_energy_consumed 1.4e17\n").unwrap();
        assert!((amd.1 - 1.4e11).abs() < 1.0);
    }

    #[test]
    fn what_no_gpu_shows_is_no_value() {
        for line in [
            "DCGM_FI_PROF_DRAM_ACTIVE -1",
            "DCGM_FI_PROF_DRAM_ACTIVE 1e9",
            "DCGM_FI_DEV_FB_USED -1",
            "DCGM_FI_DEV_POWER_USAGE 1e30",
            "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION 9e18",
            "gpu_clock{clock_type=\"system\"} -5",
        ] {
            assert_eq!(read(&format!("{line}\n")), None, "{line}");
        }
    }

    #[test]
    fn blanks_are_no_values() {
        for blank in [
            "2147483632",
            "9223372036854775792",
            "140737488355330",
            "NaN",
        ] {
            assert_eq!(read(&format!("DCGM_FI_PROF_DRAM_ACTIVE {blank}\n")), None);
        }
    }

    #[test]
    fn no_name_stands_twice() {
        let mut names: Vec<_> = NAMES.iter().map(|(name, ..)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NAMES.len());
    }
}
