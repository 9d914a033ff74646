//! One colour and one name per quantity, on every panel.

use roofline::bound::{Admission, Bound, EngineState};
use roofline::diagnosis::{FindingKind, RemedyKind};
use serde_json::{Value, json};

/// Phases. No colour here is a bound's, and green, orange and red are reserved for good and bad.
pub(crate) const PREFILL: &str = "#22c3dd";
pub(crate) const DECODE: &str = "#ff78c8";

/// Roof levels with their names and colours.
pub(crate) const ROOFS: [(&str, &str, &str); 3] = [
    ("datasheet", "Datasheet roof", "#e0e2e6"),
    ("attainable", "Attainable roof", "#9fa7b3"),
    ("current_clock", "Roof at the current clock", "#6b7480"),
];

/// A component of time and the corresponding bound: the same thing under the names of two metrics.
pub(crate) struct Part {
    /// The value of `component` in `time_seconds_total`.
    pub(crate) component: &'static str,
    /// The value of `bound`.
    bound: &'static str,
    /// Its name on every panel.
    pub(crate) name: &'static str,
    pub(crate) color: &'static str,
}

const fn part(
    component: &'static str,
    bound: &'static str,
    name: &'static str,
    color: &'static str,
) -> Part {
    Part {
        component,
        bound,
        name,
        color,
    }
}

/// The components of time, in stacking order.
pub(crate) const PARTS: [Part; 8] = [
    part("compute", "compute", "compute", "#5794f2"),
    part("memory", "memory_bandwidth", "memory bandwidth", "#9d70f9"),
    part("communication", "interconnect", "interconnect", "#14b8a6"),
    part(
        "kernel_latency",
        "kernel_latency",
        "kernel latency",
        "#fade2a",
    ),
    part("host", "host", "host", "#ff9830"),
    part("overhead", "overhead", "overhead", "#b0764f"),
    part("stalled", "stalled", "stalled", "#c4162a"),
    part("idle", "idle", "idle", "#6e7077"),
];

/// Kinds of bytes, in shades of the colour of memory bandwidth.
pub(crate) const KINDS: [(&str, &str); 4] = [
    ("weights", "#9d70f9"),
    ("kv", "#5f3bb0"),
    ("state", "#c9b3fb"),
    ("activations", "#3f3a63"),
];

/// Figures of a latency: the mean, and a percentile if the buckets resolve it.
pub(crate) const MEAN: &str = "text";
pub(crate) const PERCENTILE: &str = "#9fa7b3";
/// States without a problem.
const GOOD: &str = "#56a64b";
/// Requests.
pub(crate) const RUNNING: &str = "#9fa7b3";
pub(crate) const WAITING: &str = "#ff7383";

/// Name and colour of a bound.
fn named(bound: &'static str) -> (&'static str, &'static str) {
    PARTS
        .iter()
        .find(|part| part.bound == bound)
        .map_or((bound, "#44464d"), |part| (part.name, part.color))
}

const fn admission_color(admission: Admission) -> &'static str {
    match admission {
        Admission::Open => GOOD,
        Admission::KvCapacity => "#ff7383",
        Admission::MaxNumSeqs => "#d6bfff",
        Admission::TokenBudget => "#8ab8ff",
        Admission::Unknown => "#44464d",
    }
}

const fn admission_name(admission: Admission) -> &'static str {
    match admission {
        Admission::Open => "nobody waits",
        Admission::KvCapacity => "KV capacity",
        Admission::MaxNumSeqs => "max_num_seqs",
        Admission::TokenBudget => "token budget",
        Admission::Unknown => "unknown",
    }
}

const fn state_color(state: EngineState) -> &'static str {
    match state {
        EngineState::Running => GOOD,
        EngineState::Idle => "#6e7077",
        EngineState::Stalled => "#c4162a",
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
    /// Value of the label, name and colour.
    states: Vec<(&'static str, &'static str, &'static str)>,
}

impl StateSet {
    pub(crate) fn bound() -> Self {
        let states = Bound::ALL.iter().map(|&bound| {
            let (name, color) = named(bound.as_str());
            (bound.as_str(), name, color)
        });
        Self {
            metric: "vllm_roofline_bound",
            label: "bound",
            first_code: 1,
            states: states.collect(),
        }
    }

    pub(crate) fn admission() -> Self {
        let states = Admission::ALL.iter().map(|&admission| {
            (
                admission.as_str(),
                admission_name(admission),
                admission_color(admission),
            )
        });
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
            .map(|&state| (state.as_str(), state.as_str(), state_color(state)));
        Self {
            metric: "vllm_roofline_engine_state",
            label: "state",
            first_code: 21,
            states: states.collect(),
        }
    }

    /// The code of the state that holds, by `labels`; of several, the one that is listed last. `counted` selects how many engines are
    /// in the state STATE.
    pub(crate) fn code(&self, counted: &str, labels: &str) -> String {
        let terms = self.states.iter().enumerate().map(|(at, (state, ..))| {
            let own = counted.replace("STATE", &format!("{}=\"{state}\"", self.label));
            format!("({own} > bool 0) * {}", self.first_code + at)
        });
        let terms: Vec<_> = terms.collect();
        format!("max by ({labels}) ({})", terms.join(" or "))
    }

    /// What the codes mean.
    pub(crate) fn mapping(&self) -> Value {
        let options: serde_json::Map<_, _> = self
            .states
            .iter()
            .enumerate()
            .map(|(at, (_, name, color))| {
                let code = self.first_code + at;
                (
                    code.to_string(),
                    json!({"text": name, "color": color, "index": at}),
                )
            })
            .collect();
        json!({"type": "value", "options": options})
    }

    /// Every value of the label, with its name and colour.
    pub(crate) fn states(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        self.states.iter().copied()
    }
}

/// The displayed name of a remedy: its flag, if there is one.
const fn remedy_name(remedy: RemedyKind) -> &'static str {
    match remedy {
        RemedyKind::MemoryUtilization => "more KV cache: --gpu-memory-utilization",
        RemedyKind::KvCacheFp8 => "KV cache in fp8: --kv-cache-dtype fp8",
        RemedyKind::WeightsFp8 => "weights in fp8: --quantization fp8",
        RemedyKind::WeightsInt4 => "weights in 4 bits: an AWQ or GPTQ model",
        RemedyKind::MaxNumSeqs => "more requests at a time: --max-num-seqs",
        RemedyKind::TokenBudget => "more tokens a step: --max-num-batched-tokens",
        RemedyKind::CudaGraphs => "CUDA graphs: no --enforce-eager",
        RemedyKind::Speculation => "drafts: --speculative-config",
        RemedyKind::HostPath => "a faster host",
        RemedyKind::ApiServers => "more API servers: --api-server-count",
        RemedyKind::FewerRanks => "fewer GPUs an engine, more engines",
        RemedyKind::MoreRanks => "more GPUs an engine: --tensor-parallel-size",
        RemedyKind::Replica => "one more engine",
    }
}

/// What the values of the label `remedy` mean.
pub(crate) fn remedy_mapping() -> Value {
    let options: serde_json::Map<_, _> = RemedyKind::ALL
        .iter()
        .enumerate()
        .map(|(at, &remedy)| {
            let named = json!({"text": remedy_name(remedy), "index": at});
            (remedy.as_str().to_owned(), named)
        })
        .collect();
    json!({"type": "value", "options": options})
}

/// What the values of the label `finding` mean: the first words of the sentence on the exporter's page.
pub(crate) fn finding_mapping() -> Value {
    let options: serde_json::Map<_, _> = FindingKind::ALL
        .iter()
        .enumerate()
        .map(|(at, &finding)| {
            let named = json!({"text": finding.headline(), "index": at});
            (finding.as_str().to_owned(), named)
        })
        .collect();
    json!({"type": "value", "options": options})
}

/// The codes of the parts, for a timeline of the largest.
pub(crate) fn largest_part(shares: &str, labels: &str) -> String {
    let terms: Vec<_> = PARTS
        .iter()
        .enumerate()
        .map(|(at, part)| {
            let own = shares.replace("PART", &format!("component=\"{}\"", part.component));
            let all = shares.replace("PART", "component!=\"\"");
            format!(
                "(sum by ({labels}) ({own}) >= max by ({labels}) (sum by ({labels}, component) ({all}))) * 0 + {}",
                PART_CODE + at
            )
        })
        .collect();
    terms.join(" or ")
}

/// The code of the first part; those of state sets are lower.
const PART_CODE: usize = 31;

/// What the codes of the parts mean.
pub(crate) fn part_mapping() -> Value {
    let options: serde_json::Map<_, _> = PARTS
        .iter()
        .enumerate()
        .map(|(at, part)| {
            let code = (PART_CODE + at).to_string();
            (
                code,
                json!({"text": part.name, "color": part.color, "index": at}),
            )
        })
        .collect();
    json!({"type": "value", "options": options})
}
