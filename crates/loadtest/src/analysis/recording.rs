//! `Recording`: what an analysis needs from a recording of vLLM's and the GPU's counters, whatever its storage.

use std::fmt;

use roofline::bound::{Admission, Bound, TimeSeconds};
use roofline::diagnosis::Finding;
use roofline::units::{Bytes, Flops, Seconds};

use super::run::{MeasuredRun, ModelledRun, RunWorkload, TimelineMoment};

/// A recording of one engine.
pub trait Recording: fmt::Debug {
    /// Its name.
    fn name(&self) -> &str;

    /// The name that the model was served under.
    fn served_name(&self) -> Option<String>;

    /// Its phases in order of time; empty where it names none.
    fn phases(&self) -> Vec<RecordedPhase>;

    /// What the counters show for the time between `from` and `to` (Unix seconds); the figures leave out the first `warm_up` seconds.
    /// `None` without any activity.
    fn stretch(&self, from: f64, to: f64, warm_up: f64) -> Option<RecordedStretch>;
}

/// A named phase of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedPhase {
    /// Its name.
    pub name: String,
    /// Unix time of its start.
    pub from: f64,
    /// Unix time at which its load ended.
    pub to: f64,
    /// Requests that the client kept in flight.
    pub concurrency: Option<f64>,
    /// Tokens of each prompt, as the client sent them.
    pub input_tokens: Option<f64>,
    /// Tokens of each answer, as the client requested.
    pub output_tokens: Option<f64>,
}

/// A stretch of a recording.
#[derive(Clone, Debug)]
pub struct RecordedStretch {
    /// What bounded the engine.
    pub observed: ObservedBound,
    /// Counts and times.
    pub measured: MeasuredRun,
    /// What follows from the roofline model.
    pub modelled: ModelledRun,
    /// The same figures over time.
    pub timeline: Vec<TimelineMoment>,
    /// The load on the server.
    pub load: RunWorkload,
    /// Requests answered in full.
    pub completed: u64,
}

/// What bounded a stretch, and the evidence: time and work.
#[derive(Clone, Debug)]
pub struct ObservedBound {
    /// Unix time of the first reading.
    pub start: f64,
    /// Wall time between the first reading and the last.
    pub seconds: Seconds,
    /// What bounded the engine.
    pub bound: Bound,
    /// Why requests waited.
    pub admission: Admission,
    /// Where the seconds went; `None` while the model or the GPU is not known.
    pub time_seconds: Option<TimeSeconds>,
    /// Whether memory time uses the HBM traffic that the GPU measured.
    pub memory_is_measured: bool,
    /// Work of prefill.
    pub prefill: PhaseWork,
    /// Work of decode.
    pub decode: PhaseWork,
    /// Findings with their remedies, the weightiest first.
    pub verdict: Vec<Finding>,
    /// Caveats: what makes these figures less than exact.
    pub caveats: Vec<String>,
}

/// The work of one phase, on all GPUs of the engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct PhaseWork {
    /// Modelled FLOPs.
    pub flops: Option<Flops>,
    /// Modelled HBM bytes.
    pub hbm_bytes: Option<Bytes>,
    /// Busy seconds of the phase.
    pub busy_seconds: Seconds,
}
