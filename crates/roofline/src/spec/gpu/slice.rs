//! The ceilings of a MIG slice.

use super::GpuSpec;

impl GpuSpec {
    /// The slice of this GPU with `compute` of its SMs and `memory` of its memory, bandwidth and L2 cache.
    #[must_use]
    pub fn sliced(mut self, compute: f64, memory: f64) -> Self {
        self.peaks = self
            .peaks
            .iter()
            .map(|(precision, peak)| (precision, peak * compute))
            .collect();
        // Peaks at a clock are FLOPs per clock and SM × SMs: the number of SMs stays, the rate is scaled to the slice's share.
        self.flops_per_clock_per_sm = self
            .flops_per_clock_per_sm
            .iter()
            .map(|(precision, rate)| (precision, rate * compute))
            .collect();
        self.hbm_bandwidth = self.hbm_bandwidth * memory;
        self.memory_bus_bits = None;
        self.memory = self.memory * memory;
        self.l2 = self.l2 * memory;
        self.gpm = false;
        self.list_price = None;
        self.notes = Some(format!(
            "MIG slice: {:.0} % of the SMs, {:.1} % of memory and bandwidth.",
            compute * 100.0,
            memory * 100.0
        ));
        // Slices cannot use NVLink.
        self.without_nvlink()
    }
}

#[cfg(test)]
mod tests {
    use super::super::GpuTable;
    use crate::spec::precision::Precision;

    #[test]
    fn a_slice_has_its_share_of_every_ceiling() {
        let table = GpuTable::embedded().unwrap();
        let whole = table.find("NVIDIA H100 80GB HBM3").unwrap();
        let slice = whole.clone().sliced(0.5, 0.25);
        let share = slice.peak(Precision::Bf16).unwrap() / whole.peak(Precision::Bf16).unwrap();
        assert!((share - 0.5).abs() < 1e-9);
        let clocked = |gpu: &super::GpuSpec| gpu.peak_at_clock(Precision::Bf16, 1500.0).unwrap();
        assert!((clocked(&slice) / clocked(whole) - 0.5).abs() < 1e-9);
        assert!((slice.hbm_bandwidth / whole.hbm_bandwidth - 0.25).abs() < 1e-9);
    }
}
