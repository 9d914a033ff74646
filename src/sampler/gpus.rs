//! The GPU source within a tick: reads it, records its status, passes the readings to the meter.

use crate::meter::Meter;
use crate::sample::gpu::{GpuIdentity, GpuReading};
use crate::snapshot::SourceStatus;
use crate::source::gpu::{GpuReadResult, GpuSource};
use roofline::units::Seconds;

use super::clock::steady;
use super::status;

/// The GPU source with its status.
#[derive(Debug)]
pub(super) struct SampledGpus {
    source: GpuSource,
    status: SourceStatus,
}

impl SampledGpus {
    pub(super) fn new(source: GpuSource) -> Self {
        Self {
            status: status::unread(source.name(), source.reasons()),
            source,
        }
    }

    /// Switches to another source; failure counters continue if it is of the same kind.
    pub(super) fn replace(&mut self, source: GpuSource) {
        let counted = (source.name() == self.source.name()).then(|| self.status.errors.clone());
        *self = Self::new(source);
        self.status.errors.extend(counted.unwrap_or_default());
    }

    /// The known GPUs.
    pub(super) fn facts(&self) -> Vec<GpuIdentity> {
        self.source.facts()
    }

    /// Why there is no source, if there is none.
    pub(super) fn absence(&self) -> Option<&str> {
        match &self.source {
            GpuSource::None(why) => Some(why),
            _ => None,
        }
    }

    /// The status of the source; `None` without a source.
    pub(super) fn status(&self) -> Option<SourceStatus> {
        self.absence().is_none().then(|| self.status.clone())
    }

    /// Reads the GPUs.
    pub(super) async fn read(&mut self, clock: fn() -> Seconds) -> Vec<GpuReading> {
        if self.absence().is_some() {
            return Vec::new();
        }
        let (begun, started) = (clock(), steady());
        let GpuReadResult { readings, problem } = self.source.read(clock).await;
        let took = steady() - started;
        match problem {
            None => status::succeed(&mut self.status, None, begun, took),
            Some(error) => {
                status::fail(
                    &mut self.status,
                    None,
                    error.reason(),
                    &error.to_string(),
                    took,
                );
            }
        }
        readings
    }
}

/// Passes `readings` of the GPUs in `known` to the meter.
pub(super) fn observe(meter: &mut Meter, readings: Vec<GpuReading>, known: &[GpuIdentity]) {
    meter.observe_gpus(readings, |reading| {
        let facts = known.iter().find(|gpu| gpu.uuid == reading.uuid);
        facts.cloned().unwrap_or_else(|| GpuIdentity {
            uuid: reading.uuid.clone(),
            ..GpuIdentity::default()
        })
    });
}
