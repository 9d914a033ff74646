//! GPU readings of a recording.

use std::sync::Arc;

use crate::capture::format::{GpuLine, GpuLineFacts};
use crate::sample::gpu::{GpuIdentity, GpuReading};
use roofline::units::{Joules, Seconds};

/// GPU readings of a recording, played in a loop with an energy counter that keeps growing.
#[derive(Debug)]
pub struct Playback {
    facts: GpuLineFacts,
    lines: Arc<[GpuLine]>,
    /// Recorded time of the start of the loop.
    origin: f64,
    /// Length of the loop, seconds.
    length: f64,
    /// Time when playback started.
    started: Seconds,
    /// Number of readings returned so far.
    given: usize,
}

impl Playback {
    /// Plays `lines`, sorted by time, from `started` on: first at recorded time `origin`, repeated after `length` seconds.
    #[must_use]
    pub fn new(
        facts: GpuLineFacts,
        lines: Vec<GpuLine>,
        origin: f64,
        length: f64,
        started: Seconds,
    ) -> Self {
        let lines = lines
            .into_iter()
            .filter(|line| (origin..origin + length).contains(&line.t))
            .collect();
        Self {
            facts,
            lines,
            origin,
            length,
            started,
            given: 0,
        }
    }

    /// The recorded GPUs.
    #[must_use]
    pub fn facts(&self) -> Vec<GpuIdentity> {
        (0..self.facts.count)
            .map(|index| self.facts.facts(index))
            .collect()
    }

    /// Reading number `place` since the start of playback, at the time it is due.
    fn due(&self, place: usize) -> Option<GpuReading> {
        let round = place.checked_div(self.lines.len())?;
        let line = &self.lines[place % self.lines.len()];
        let used_per_round = self.energy_of_round(line.gpu);
        let mut reading = line.reading(self.facts.uuid(line.gpu));
        reading.time = Seconds(self.started.0 + line.t - self.origin + round as f64 * self.length);
        reading.energy = reading
            .energy
            .map(|energy| energy + used_per_round * round as f64);
        Some(reading)
    }

    /// Energy of the GPU with this index between the first and the last recorded reading.
    fn energy_of_round(&self, gpu: usize) -> Joules {
        let mut energies = self
            .lines
            .iter()
            .filter(|line| line.gpu == gpu)
            .filter_map(|line| line.energy_millijoules);
        let first = energies.next().unwrap_or(0.0);
        let last = energies.next_back().unwrap_or(first);
        Joules((last - first) / 1e3)
    }

    /// The readings that became due since the last call.
    pub fn read(&mut self, now: Seconds) -> Vec<GpuReading> {
        let mut readings = Vec::new();
        while let Some(reading) = self.due(self.given).filter(|reading| reading.time <= now) {
            readings.push(reading);
            self.given += 1;
        }
        readings
    }
}
