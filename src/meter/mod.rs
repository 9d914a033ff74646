//! The meter: takes readings of engines and GPUs, and produces accounts and verdicts.
//!
//! A state machine without a clock: every reading carries its time, so a recording gives the same figures as the live run.

pub mod account;
pub mod backfill;
pub mod bound_hysteresis;
pub mod calibration;
pub mod caveats;
mod context;
pub mod engine;
pub mod figures;
pub mod gpu;
pub mod hardware;
pub mod interval;
pub mod observe;
mod plausible;
mod prompt_ledger;
pub mod reconcile;
pub mod spans;
pub mod spend;
pub mod steps;
pub mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sample::engine::{EngineKey, EngineTotals};
use crate::sample::gpu::{GpuIdentity, GpuReading};
use roofline::units::Seconds;

use engine::{EngineMeter, MeterSettings};
use gpu::GpuMeter;
use hardware::HardwareUse;
use interval::Gap;
use roofline::engine::EngineFacts;
use spans::AccountedSpan;

/// GPUs whose totals are kept: a node has a few at a time, and every re-created MIG instance is a new one.
const MOST_GPUS: usize = 256;

/// All engines of one vLLM and their GPUs.
#[derive(Debug)]
pub struct Meter {
    /// The settings.
    pub settings: MeterSettings,
    /// Engines by their labels.
    pub engines: BTreeMap<EngineKey, EngineMeter>,
    /// GPUs by UUID.
    pub gpus: BTreeMap<String, GpuMeter>,
    /// Discarded readings, by reason.
    pub discards: BTreeMap<Gap, u64>,
}

/// A newly accounted span with its engine.
pub(crate) type EngineSpan = (EngineKey, AccountedSpan);

impl Meter {
    /// A meter without readings.
    #[must_use]
    pub fn new(settings: MeterSettings) -> Self {
        Self {
            settings,
            engines: BTreeMap::new(),
            gpus: BTreeMap::new(),
            discards: Gap::ALL.map(|gap| (gap, 0)).into(),
        }
    }

    /// Takes readings of GPUs; `facts` are those of a newly seen GPU.
    pub fn observe_gpus(
        &mut self,
        readings: Vec<GpuReading>,
        facts: impl Fn(&GpuReading) -> GpuIdentity,
    ) {
        for reading in readings {
            if self.gpus.len() >= MOST_GPUS && !self.gpus.contains_key(&reading.uuid) {
                self.forget_a_gpu();
            }
            self.gpus
                .entry(reading.uuid.clone())
                .or_insert_with(|| GpuMeter::new(facts(&reading)))
                .observe(reading);
        }
    }

    /// Forgets the GPU with the oldest reading.
    fn forget_a_gpu(&mut self) {
        let read = |gpu: &GpuMeter| {
            gpu.latest
                .as_ref()
                .map_or(Seconds::ZERO, |latest| latest.time)
        };
        let oldest = self
            .gpus
            .iter()
            .min_by(|one, other| read(one.1).0.total_cmp(&read(other.1).0));
        if let Some(uuid) = oldest.map(|(uuid, _)| uuid.clone()) {
            self.gpus.remove(&uuid);
        }
    }

    /// Takes the engines of one page; `facts` are those of a newly seen engine. Returns the newly accounted spans.
    pub fn observe_engines(
        &mut self,
        page: Vec<EngineTotals>,
        facts: impl Fn(&EngineTotals) -> Arc<EngineFacts>,
    ) -> Vec<EngineSpan> {
        self.forget_vanished(&page);
        let mut accounted = Vec::with_capacity(page.len());
        for totals in page {
            let key = totals.key.clone();
            let meter = self
                .engines
                .entry(key.clone())
                .or_insert_with(|| EngineMeter::new(facts(&totals)));
            let known = Arc::clone(&meter.facts);
            let gpus = &self.gpus;
            let hardware = |start, end| hardware_use(gpus, &known.gpu_uuids, start, end);
            match meter.observe(totals, &self.settings, hardware) {
                Ok(span) => accounted.extend(span.map(|span| (key, span))),
                Err(gap) => *self.discards.entry(gap).or_default() += 1,
            }
        }
        accounted
    }

    /// Notes that no page could be read at `now`.
    pub fn miss(&mut self, now: Seconds) {
        for engine in self.engines.values_mut() {
            engine.miss(now);
        }
    }

    /// Nothing more is read: what happened last counts as it is known now.
    pub fn settle(&mut self) {
        for engine in self.engines.values_mut() {
            engine.settle();
        }
    }

    /// Forgets all engines: another vLLM is read from now on, with unrelated counters.
    pub(crate) fn forget_engines(&mut self) {
        self.forget_vanished(&[]);
    }

    /// Notes that the clock was set, or that the machine slept: the time between the readings before and after is discarded.
    pub fn clock_was_set(&mut self) {
        for engine in self.engines.values_mut() {
            engine.forget_times();
        }
        for gpu in self.gpus.values_mut() {
            gpu.forget_times();
        }
        *self.discards.entry(Gap::ClockSet).or_default() += 1;
    }

    /// Drops engines that are no longer on the page, with their series.
    fn forget_vanished(&mut self, page: &[EngineTotals]) {
        let before = self.engines.len();
        self.engines
            .retain(|key, _| page.iter().any(|totals| totals.key == *key));
        if self.engines.len() < before {
            *self.discards.entry(Gap::EnginesChanged).or_default() += 1;
        }
    }
}

fn hardware_use(
    gpus: &BTreeMap<String, GpuMeter>,
    uuids: &[String],
    start: Seconds,
    end: Seconds,
) -> HardwareUse {
    let mut used = HardwareUse::default();
    for gpu in uuids.iter().filter_map(|uuid| gpus.get(uuid)) {
        used.merge(&gpu.over(start, end));
    }
    used
}
