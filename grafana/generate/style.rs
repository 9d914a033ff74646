//! One colour and one name for each thing, on every panel.

use roofline::bound::{Admission, Bound, EngineState};
use serde_json::{Value, json};

/// A phase's colour: prefill is mostly bound by compute, decode by memory, so they share their colours.
pub(crate) const PREFILL: &str = "blue";
pub(crate) const DECODE: &str = "green";

/// Roof levels with their names and colours.
pub(crate) const ROOFS: [(&str, &str, &str); 3] = [
    ("datasheet", "Datasheet roof", "orange"),
    ("attainable", "Attainable roof", "yellow"),
    ("current_clock", "Roof at the current clock", "purple"),
];

/// Components of `time_seconds_total`, as they are stacked, with their colours.
pub(crate) const COMPONENTS: [(&str, &str); 8] = [
    ("compute", "blue"),
    ("memory", "green"),
    ("communication", "purple"),
    ("host", "orange"),
    ("kernel_latency", "yellow"),
    ("overhead", "red"),
    ("stalled", "dark-red"),
    ("idle", "#6e7077"),
];

const fn bound_color(bound: Bound) -> &'static str {
    match bound {
        Bound::Compute => "blue",
        Bound::MemoryBandwidth => "green",
        Bound::Interconnect => "purple",
        Bound::Host => "orange",
        Bound::KernelLatency => "yellow",
        Bound::Overhead => "red",
        Bound::Idle => "#6e7077",
        Bound::Unknown => "#44464d",
    }
}

const fn admission_color(admission: Admission) -> &'static str {
    match admission {
        Admission::Open => "#3b5f45",
        Admission::KvCapacity => "red",
        Admission::MaxNumSeqs => "orange",
        Admission::TokenBudget => "yellow",
        Admission::Unknown => "#44464d",
    }
}

const fn state_color(state: EngineState) -> &'static str {
    match state {
        EngineState::Running => "#3b5f45",
        EngineState::Idle => "#6e7077",
        EngineState::Stalled => "dark-red",
        EngineState::Sleeping => "purple",
        EngineState::Unreachable => "red",
    }
}

/// A state set of the exporter, drawn as one number per state.
pub(crate) struct StateSet {
    pub(crate) metric: &'static str,
    pub(crate) label: &'static str,
    /// Codes of different sets differ, so that one panel can show several.
    first_code: usize,
    states: Vec<(&'static str, &'static str)>,
}

impl StateSet {
    pub(crate) fn bound() -> Self {
        let states = Bound::ALL
            .iter()
            .map(|&bound| (bound.as_str(), bound_color(bound)));
        Self {
            metric: "vllm_roofline_bound",
            label: "bound",
            first_code: 1,
            states: states.collect(),
        }
    }

    pub(crate) fn admission() -> Self {
        let states = Admission::ALL
            .iter()
            .map(|&admission| (admission.as_str(), admission_color(admission)));
        Self {
            metric: "vllm_roofline_admission",
            label: "state",
            first_code: 11,
            states: states.collect(),
        }
    }

    pub(crate) fn engine_state() -> Self {
        let states = EngineState::ALL
            .iter()
            .map(|&state| (state.as_str(), state_color(state)));
        Self {
            metric: "vllm_roofline_engine_state",
            label: "state",
            first_code: 21,
            states: states.collect(),
        }
    }

    /// The code of the state that holds, by `labels`.
    pub(crate) fn code(&self, labels: &str) -> String {
        let Self { metric, label, .. } = self;
        let terms: Vec<_> = self
            .states
            .iter()
            .enumerate()
            .map(|(at, (state, _))| {
                format!(
                    "{metric}{{ENGINE,{label}=\"{state}\"}} * {}",
                    self.first_code + at
                )
            })
            .collect();
        format!("max by ({labels}) ({})", terms.join(" or "))
    }

    /// What the codes mean.
    pub(crate) fn mapping(&self) -> Value {
        let options: serde_json::Map<_, _> = self
            .states
            .iter()
            .enumerate()
            .map(|(at, (state, color))| {
                let code = self.first_code + at;
                (
                    code.to_string(),
                    json!({"text": state, "color": color, "index": at}),
                )
            })
            .collect();
        json!({"type": "value", "options": options})
    }

    /// States with their colours.
    pub(crate) fn colors(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.states.iter().copied()
    }
}
