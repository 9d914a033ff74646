//! `Recording`: what an analysis needs from a recording of vLLM's and the GPU's counters, whatever keeps it.

use std::fmt;

use roofline::bound::{Admission, Bound, TimeSeconds};
use roofline::diagnosis::Finding;
use roofline::units::{Bytes, Flops, Seconds};

use super::run::{MeasuredRun, ModelledRun, RunWorkload, TimelineMoment};

/// A recording of one engine.
pub trait Recording: fmt::Debug {
    /// What it is called.
    fn name(&self) -> &str;

    /// The name that the model was served under.
    fn served_name(&self) -> Option<String>;

    /// Its phases, in order of time; none where it names none.
    fn phases(&self) -> Vec<RecordedPhase>;

    /// What the counters say about the time between `from` and `to` (Unix seconds); figures leave out the first `warm_up` seconds.
    /// `None` where nothing happened.
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
    /// Tokens of each prompt, by the client.
    pub input_tokens: Option<f64>,
    /// Tokens of each answer, by the client.
    pub output_tokens: Option<f64>,
}

/// A stretch of a recording.
#[derive(Clone, Debug)]
pub struct RecordedStretch {
    /// What the engine was doing.
    pub observed: ObservedBound,
    /// What was counted and timed.
    pub measured: MeasuredRun,
    /// What follows by the roofline.
    pub modelled: ModelledRun,
    /// The same over time.
    pub timeline: Vec<TimelineMoment>,
    /// What the server was asked for.
    pub load: RunWorkload,
    /// Requests answered in full.
    pub completed: u64,
}

/// What bounded a stretch, and the time and work that say so.
#[derive(Clone, Debug)]
pub struct ObservedBound {
    /// Unix time of the first reading.
    pub start: f64,
    /// Wall time between the first reading and the last.
    pub seconds: Seconds,
    /// What bounded the engine.
    pub bound: Bound,
    /// What kept requests waiting.
    pub admission: Admission,
    /// Where the seconds went; `None` while the model or the GPU is not known.
    pub time_seconds: Option<TimeSeconds>,
    /// Whether memory time follows the traffic that the GPU measured.
    pub memory_is_measured: bool,
    /// Work of prefill.
    pub prefill: PhaseWork,
    /// Work of decode.
    pub decode: PhaseWork,
    /// What held the engine back and what would help, the weightiest first.
    pub verdict: Vec<Finding>,
    /// What makes these figures less than exact.
    pub caveats: Vec<String>,
}

/// The work of one phase, on all GPUs of the engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct PhaseWork {
    /// Modelled FLOPs.
    pub flops: Option<Flops>,
    /// Modelled HBM bytes.
    pub hbm_bytes: Option<Bytes>,
    /// Busy seconds that it took.
    pub busy_seconds: Seconds,
}
