//! Readings of one GPU become slices: the GPU's activity between two readings.

use std::collections::VecDeque;

use crate::sample::gpu::{GpuIdentity, GpuReading, Traffic};
use roofline::units::{Bytes, BytesPerSecond, Joules, Seconds};

use super::hardware::HardwareUse;
use super::plausible::{believed, believed_bandwidth, is_energy_of};

/// Older slices do not overlap any interval.
const KEPT: Seconds = Seconds(120.0);
/// A longer slice, more than twice the longest tick, spans an outage and is discarded.
const LONGEST: Seconds = Seconds(150.0);

/// One or two slices without GPM are a dropped sample pair; after this many, GPM counts as lost.
const UNREPORTED: usize = 3;

/// The activity of one GPU between two readings. Every figure is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct GpuSlice {
    /// Time of the previous reading.
    pub start: Seconds,
    /// Time of this reading.
    pub end: Seconds,
    /// HBM traffic: GPM DRAM share × bus width × memory clock × 2. Agrees with counted bytes to 0.1–3.3 %.
    pub hbm_bytes: Option<Bytes>,
    /// Energy used.
    pub energy: Option<Joules>,
    /// Time with a kernel running.
    pub busy: Option<Seconds>,
    /// Share of the time with the compute or graphics engine active. Measured by GPM; dcgm's field uses the same counter.
    pub engine_active: Option<f64>,
    /// SM clock at the end.
    pub sm_clock_mhz: Option<f64>,
    /// Whether a power limit held the clock down at the end.
    pub power_limited: Option<bool>,
    /// Share of cycles with a busy tensor pipe.
    pub tensor_activity: Option<f64>,
    /// Traffic over PCIe and NVLink.
    pub links: Links<Option<Traffic<Bytes>>>,
}

/// One value for each kind of link.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Links<T> {
    /// To the host, and to peers without NVLink.
    pub pcie: T,
    /// To peers.
    pub nvlink: T,
}

/// The running account of one GPU.
#[derive(Clone, Debug)]
pub struct GpuMeter {
    /// Static facts.
    pub facts: GpuIdentity,
    /// The newest reading.
    pub latest: Option<GpuReading>,
    hbm_bytes_total: Option<Bytes>,
    energy_total: Option<Joules>,
    /// The counter as last read, with its time.
    energy_counter: Option<(Seconds, Joules)>,
    busy_total: Option<Seconds>,
    links_total: Links<Option<Traffic<Bytes>>>,
    slices: VecDeque<GpuSlice>,
}

impl GpuMeter {
    /// A GPU that was not read yet.
    #[must_use]
    pub const fn new(facts: GpuIdentity) -> Self {
        Self {
            facts,
            latest: None,
            hbm_bytes_total: None,
            energy_total: None,
            energy_counter: None,
            busy_total: None,
            links_total: Links {
                pcie: None,
                nvlink: None,
            },
            slices: VecDeque::new(),
        }
    }

    /// Takes one more reading. Readings that do not advance in time are dropped.
    pub fn observe(&mut self, reading: GpuReading) {
        let reading = believed(reading);
        let before = self.latest.as_ref();
        if before.is_some_and(|before| reading.time <= before.time) {
            return;
        }
        if let Some(slice) = before.and_then(|before| self.slice(before, &reading)) {
            self.push(slice);
        }
        self.count_energy(reading.time, reading.energy);
        self.latest = Some(reading);
    }

    /// The counter also covers outages, whatever their length. If it went down, the driver was reloaded.
    fn count_energy(&mut self, time: Seconds, counter: Option<Joules>) {
        let Some(counter) = counter else {
            return;
        };
        let used = self
            .energy_counter
            .map(|(last, before)| (time - last, counter - before))
            .filter(|&(elapsed, used)| is_energy_of(used, elapsed))
            .map_or(Joules::ZERO, |(_, used)| used);
        self.energy_counter = Some((time, counter));
        add(&mut self.energy_total, Some(used));
    }

    /// The clock was set: earlier times cannot be compared with later ones. The totals and the energy counter stay.
    pub(super) fn forget_times(&mut self) {
        self.latest = None;
        self.slices.clear();
    }

    fn push(&mut self, slice: GpuSlice) {
        add(&mut self.hbm_bytes_total, slice.hbm_bytes);
        add(&mut self.busy_total, slice.busy);
        add(&mut self.links_total.pcie, slice.links.pcie);
        add(&mut self.links_total.nvlink, slice.links.nvlink);
        self.slices.push_back(slice);
        while self
            .slices
            .front()
            .is_some_and(|first| slice.end - first.end > KEPT)
        {
            self.slices.pop_front();
        }
    }

    /// HBM bytes since the start of the program, while GPM reports them: a constant sum would look like no traffic.
    #[must_use]
    pub(crate) fn hbm_bytes_total(&self) -> Option<Bytes> {
        self.hbm_bytes_total
            .filter(|_| self.has_recent(|slice| slice.hbm_bytes.is_some()))
    }

    /// Bytes over PCIe and NVLink since the start of the program, while GPM reports them.
    #[must_use]
    pub(crate) fn links_total(&self) -> Links<Option<Traffic<Bytes>>> {
        let Links { pcie, nvlink } = self.links_total;
        Links {
            pcie: pcie.filter(|_| self.has_recent(|slice| slice.links.pcie.is_some())),
            nvlink: nvlink.filter(|_| self.has_recent(|slice| slice.links.nvlink.is_some())),
        }
    }

    /// Whether one of the newest slices has the value that `has_value` selects.
    fn has_recent(&self, has_value: impl Fn(&GpuSlice) -> bool) -> bool {
        self.slices.iter().rev().take(UNREPORTED).any(has_value)
    }

    /// Joules since the start of the program, as long as the counter can be read.
    #[must_use]
    pub fn energy_total(&self) -> Option<Joules> {
        let latest = self.latest.as_ref()?;
        self.energy_total.filter(|_| latest.energy.is_some())
    }

    /// Seconds with a kernel running since the start of the program, while they are reported.
    #[must_use]
    pub(crate) fn busy_total(&self) -> Option<Seconds> {
        self.busy_total
            .filter(|_| self.has_recent(|slice| slice.busy.is_some()))
    }

    /// Peak HBM bandwidth of a reading: bus width / 8 × memory clock × 2 (double data rate).
    fn peak_bandwidth(&self, reading: &GpuReading) -> Option<BytesPerSecond> {
        let clock_mhz = reading.mem_clock_mhz.or(self.facts.max_mem_clock_mhz)?;
        believed_bandwidth(BytesPerSecond(
            self.facts.memory_bus_bits? / 8.0 * clock_mhz * 1e6 * 2.0,
        ))
    }

    fn slice(&self, before: &GpuReading, reading: &GpuReading) -> Option<GpuSlice> {
        let span = reading.time - before.time;
        if span <= Seconds::ZERO || span > LONGEST {
            return None;
        }
        let gpm = reading.gpm.unwrap_or_default();
        let dram_share = gpm
            .dram_bandwidth
            .filter(|share| (0.0..=1.5).contains(share));
        Some(GpuSlice {
            start: before.time,
            end: reading.time,
            hbm_bytes: dram_share
                .zip(self.peak_bandwidth(reading))
                .map(|(share, peak)| peak * span * share),
            energy: energy_between(before, reading),
            busy: reading.busy_share().map(|share| span * share),
            engine_active: reading.engine_active(),
            sm_clock_mhz: reading.sm_clock_mhz,
            power_limited: reading.power_limited(),
            tensor_activity: gpm.any_tensor,
            links: Links {
                pcie: gpm.pcie.map(|rates| rates.over(span)),
                nvlink: gpm.nvlink.map(|rates| rates.over(span)),
            },
        })
    }

    /// The slices within the span `start..end`, each weighted by its overlap.
    #[must_use]
    pub fn over(&self, start: Seconds, end: Seconds) -> HardwareUse {
        let mut used = HardwareUse::default();
        for slice in self
            .slices
            .iter()
            .rev()
            .take_while(|slice| slice.end > start)
        {
            let overlap = slice.end.min(end) - slice.start.max(start);
            if overlap > Seconds::ZERO {
                used.add_share(slice, overlap);
            }
        }
        used
    }
}

/// Energy between two readings; `None` if the counter is missing or was reset with the driver.
fn energy_between(before: &GpuReading, reading: &GpuReading) -> Option<Joules> {
    let used = reading.energy? - before.energy?;
    is_energy_of(used, reading.time - before.time).then_some(used)
}

fn add<T: std::ops::Add<Output = T> + Copy>(total: &mut Option<T>, amount: Option<T>) {
    if let Some(amount) = amount {
        *total = Some(total.map_or(amount, |sum| sum + amount));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::gpu::Gpm;

    fn h100() -> GpuMeter {
        GpuMeter::new(GpuIdentity {
            uuid: "0".into(),
            memory_bus_bits: Some(5120.0),
            ..GpuIdentity::default()
        })
    }

    fn reading(time: f64, dram: f64, energy: f64) -> GpuReading {
        GpuReading {
            time: Seconds(time),
            uuid: "0".into(),
            mem_clock_mhz: Some(2619.0),
            energy: Some(Joules(energy)),
            clock_event_reasons: Some(0x4),
            gpm: Some(Gpm {
                dram_bandwidth: Some(dram),
                ..Gpm::default()
            }),
            ..GpuReading::default()
        }
    }

    #[test]
    fn bytes_are_share_times_bus_times_clock() {
        let mut meter = h100();
        meter.observe(reading(10.0, 0.1, 100.0));
        meter.observe(reading(12.0, 0.5, 700.0));
        let used = meter.over(Seconds(10.0), Seconds(12.0));
        assert!((used.hbm_bytes.0 - 0.5 * 3.35232e12 * 2.0).abs() < 1e6);
        assert_eq!(used.energy, Joules(600.0));
        assert_eq!(used.power_limited_ratio(), Some(1.0));
        let half = meter.over(Seconds(11.0), Seconds(20.0));
        assert!((half.energy.0 - 300.0).abs() < 1e-9);
        assert_eq!(half.measured_hbm_bytes(Seconds(9.0), 1.0, 1.0), None);
    }

    #[test]
    fn no_energy_of_the_counter_is_lost_but_that_of_a_reset() {
        let mut meter = h100();
        meter.observe(reading(0.0, 0.1, 100.0));
        assert_eq!(meter.energy_total(), Some(Joules::ZERO));
        // An outage, a reading without the counter, and one with it.
        meter.observe(reading(600.0, 0.1, 700.0));
        meter.observe(GpuReading {
            energy: None,
            ..reading(601.0, 0.1, 0.0)
        });
        assert_eq!(meter.energy_total(), None);
        meter.observe(reading(602.0, 0.1, 1000.0));
        assert_eq!(meter.energy_total(), Some(Joules(900.0)));
        meter.observe(reading(603.0, 0.1, 5.0));
        meter.observe(reading(604.0, 0.1, 6.0));
        assert_eq!(meter.energy_total(), Some(Joules(901.0)));
    }

    #[test]
    fn a_driver_reset_and_nan_lose_only_their_reading() {
        let mut meter = h100();
        meter.observe(reading(0.0, 0.1, 900.0));
        meter.observe(reading(1.0, f64::NAN, 5.0));
        let used = meter.over(Seconds(0.0), Seconds(1.0));
        assert_eq!(used.energy, Joules::ZERO);
        assert_eq!(used.hbm_seconds, Seconds::ZERO);
        meter.observe(reading(0.5, 0.9, 5.0));
        assert_eq!(
            meter.latest.as_ref().map(|latest| latest.time),
            Some(Seconds(1.0))
        );
    }
}
