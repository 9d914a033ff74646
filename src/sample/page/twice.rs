//! A series that appears more than once on a page, and the reason.

use crate::exposition::Sample;

/// Maximum bytes of a series that an error quotes.
const LONGEST_QUOTE: usize = 200;
/// Labels that vLLM, Ray's agent or its telemetry library add to the series that are read.
const USUAL: [&str; 13] = [
    "model_name",
    "engine",
    "le",
    "source",
    "sleep_state",
    "finished_reason",
    "ReplicaId",
    "WorkerId",
    "Component",
    "NodeAddress",
    "SessionName",
    "Version",
    "pid",
];

/// A duplicate series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twice {
    /// The series, truncated if long.
    pub series: String,
    /// The reason, and what to do.
    pub cause: String,
}

impl Twice {
    pub(super) fn of(sample: &Sample<'_>) -> Self {
        Self {
            series: quoted(sample),
            cause: cause(sample),
        }
    }
}

impl std::fmt::Display for Twice {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "duplicate series {}: {}", self.series, self.cause)
    }
}

fn cause(sample: &Sample<'_>) -> String {
    if sample.labels.get("pid").is_some() {
        return "it is there once per process (label pid), as vLLM 0.9 to 0.11.0 writes it with several API servers, or because \
                PROMETHEUS_MULTIPROC_DIR was left from an earlier run; update vLLM, or use --api-server-count 1"
            .to_owned();
    }
    let mut labels = sample.labels.iter().map(|(label, _)| label);
    let foreign = labels.find(|label| !USUAL.contains(label) && !label.starts_with("otel_"));
    match foreign {
        Some(label) => format!(
            "its series differ in the label `{label}`, so the page joins several servers; point --vllm-url at one vLLM"
        ),
        None => "the page has it twice; does a proxy join the pages of several servers? Point --vllm-url at one vLLM".to_owned(),
    }
}

/// The series of `sample`, truncated if long.
pub(super) fn quoted(sample: &Sample<'_>) -> String {
    let mut series = format!("{}{}", sample.name, sample.labels);
    if series.len() > LONGEST_QUOTE {
        series.truncate(series.floor_char_boundary(LONGEST_QUOTE));
        series.push('…');
    }
    series
}
