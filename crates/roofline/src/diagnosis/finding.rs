//! Findings, their severity and their order.

use serde::{Deserialize, Serialize};

use super::Observation;
use super::evidence;
use super::remedy::{Remedies, Remedy};
use super::text::{count, percent, requests};
use crate::bound::{Admission, Bound, Dominant, EngineState, states};

states!(
    /// What holds an engine back.
    FindingKind {
        /// vLLM's page cannot be read.
        Unreachable = "unreachable",
        /// Requests are in the engine and no counter moves.
        Stalled = "stalled",
        /// The engine sleeps.
        Sleeping = "sleeping",
        /// Requests wait for room in the KV cache.
        KvCapacity = "kv_capacity",
        /// Requests wait because `--max-num-seqs` requests are running.
        MaxNumSeqs = "max_num_seqs",
        /// Requests wait for their share of `--max-num-batched-tokens`.
        TokenBudget = "token_budget",
        /// Requests wait for an unknown reason.
        Waiting = "waiting",
        /// Requests spend their time in the API server.
        FrontEnd = "front_end",
        /// The tensor cores.
        Compute = "compute",
        /// HBM bandwidth.
        MemoryBandwidth = "memory_bandwidth",
        /// Links between GPUs.
        Interconnect = "interconnect",
        /// The GPU waits for the host.
        Host = "host",
        /// Kernels whose time no component explains.
        KernelLatency = "kernel_latency",
        /// Host or kernels; no measurement separates the two.
        Overhead = "overhead",
        /// A power limit holds the clock down.
        PowerLimit = "power_limit",
        /// It is slower than comparable engines.
        Replica = "replica",
        /// No request runs.
        Idle = "idle",
        /// Not enough is known.
        Unknown = "unknown",
    }
);

impl FindingKind {
    /// The finding without its figures, for places that have no room for them: most sentences begin with it.
    #[must_use]
    pub const fn headline(self) -> &'static str {
        match self {
            Self::Unreachable => "vLLM's metrics cannot be read",
            Self::Stalled => "Requests are in the engine and nothing moves",
            Self::Sleeping => "The engine sleeps",
            Self::KvCapacity => "The KV cache is full",
            Self::MaxNumSeqs => "--max-num-seqs is reached",
            Self::TokenBudget => "Prompts wait for their share of --max-num-batched-tokens",
            Self::Waiting => "Requests wait beside free KV cache",
            Self::FrontEnd => "The API server is behind",
            Self::Compute => "The tensor cores are the limit",
            Self::MemoryBandwidth => "HBM bandwidth is the limit",
            Self::Interconnect => "The links between the GPUs are the limit",
            Self::Host => "The GPU waits for the host",
            Self::KernelLatency => "Kernels are slow",
            Self::Overhead => "The host or slow kernels are the limit",
            Self::PowerLimit => "A power limit holds the clock down",
            Self::Replica => "This replica lags behind its peers",
            Self::Idle => "No request is running",
            Self::Unknown => "Not enough is known or measured yet to name the bound",
        }
    }
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// No immediate action is needed.
    Info,
    /// Costs throughput or latency.
    Warning,
    /// Users are affected now.
    Critical,
}

impl Severity {
    /// The name in JSON and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which kind.
    pub id: FindingKind,
    /// The finding as a sentence; users read it first.
    pub finding: String,
    /// Its severity.
    pub severity: Severity,
    /// Share of requests that wait, or of busy time in this component.
    pub share: Option<f64>,
    /// The evidence, each item with its origin.
    pub evidence: Vec<String>,
    /// The remedies: those without new hardware first, then by predicted gain.
    pub remedies: Vec<Remedy>,
}

impl Finding {
    pub(super) fn new(
        id: FindingKind,
        severity: Severity,
        share: Option<f64>,
        finding: String,
    ) -> Self {
        Self {
            id,
            finding,
            severity,
            share,
            evidence: Vec::new(),
            remedies: Vec::new(),
        }
    }
}

/// The findings of `seen`, the weightiest first, with their remedies from `remedies`.
#[must_use]
pub fn diagnose(seen: &Observation, remedies: &Remedies) -> Vec<Finding> {
    let mut found = match seen.state {
        EngineState::Running => of_running(seen),
        state => vec![at_rest(state)],
    };
    for finding in &mut found {
        finding.evidence = evidence::of(finding.id, seen);
        finding.remedies = remedies.against(finding.id, seen);
    }
    found
}

fn at_rest(state: EngineState) -> Finding {
    let (id, severity, rest) = match state {
        EngineState::Unreachable => (
            FindingKind::Unreachable,
            Severity::Critical,
            ": nothing here is current",
        ),
        EngineState::Stalled => (
            FindingKind::Stalled,
            Severity::Critical,
            ": look at vLLM's log",
        ),
        EngineState::Sleeping => (
            FindingKind::Sleeping,
            Severity::Info,
            ": its weights are off the GPU",
        ),
        EngineState::Idle | EngineState::Running => (FindingKind::Idle, Severity::Info, ""),
    };
    Finding::new(id, severity, None, format!("{}{rest}.", id.headline()))
}

fn of_running(seen: &Observation) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(queue(seen));
    let hardware = hardware(seen);
    // Prompts that wait while the tensor cores are saturated wait for the tensor cores.
    let is_symptom = |finding: &Finding| {
        matches!(finding.id, FindingKind::TokenBudget | FindingKind::Waiting)
            && seen.bound == Bound::Compute
    };
    let place = usize::from(found.first().is_some_and(|first| !is_symptom(first)));
    found.insert(place, hardware);
    found.splice(0..0, front_end(seen));
    found.extend(power(seen));
    found
}

/// Why requests wait.
fn queue(seen: &Observation) -> Option<Finding> {
    let running = seen.running.unwrap_or(0.0);
    let waiting = seen.waiting.unwrap_or(0.0);
    let share = (waiting > 0.0).then(|| waiting / (waiting + running));
    let run = requests(running, "runs", "run");
    let wait = count(waiting);
    let used = seen.kv_usage.map_or_else(
        || "free KV cache".to_owned(),
        |used| format!("a KV cache that is {} full", percent(used)),
    );
    let (id, severity, rest) = match seen.admission {
        Admission::Open => return None,
        Admission::KvCapacity => {
            let bad = seen.preemptions_per_second > 0.0 || waiting > 0.25 * running;
            let rest = if waiting > 0.0 {
                format!("{run} and {wait} wait for room in it.")
            } else {
                format!("{run} and are preempted for room in it.")
            };
            let severity = if bad {
                Severity::Critical
            } else {
                Severity::Warning
            };
            (FindingKind::KvCapacity, severity, rest)
        }
        Admission::MaxNumSeqs => (
            FindingKind::MaxNumSeqs,
            Severity::Warning,
            format!("{run} and {wait} wait beside {used}."),
        ),
        Admission::TokenBudget => (
            FindingKind::TokenBudget,
            Severity::Warning,
            format!("{run} and {wait} wait beside {used}."),
        ),
        Admission::Unknown => {
            let sentence = format!(
                "{} beside {used}: set --max-num-seqs as vLLM has it to know why.",
                requests(waiting, "waits", "wait")
            );
            return Some(Finding::new(
                FindingKind::Waiting,
                Severity::Warning,
                share,
                sentence,
            ));
        }
    };
    let sentence = format!("{}: {rest}", id.headline());
    Some(Finding::new(id, severity, share, sentence))
}

/// An API server that does not keep up with the engine: users wait for it first.
fn front_end(seen: &Observation) -> Option<Finding> {
    let share = seen.lag()?;
    let severity = if share > 0.5 {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let id = FindingKind::FrontEnd;
    let sentence = format!(
        "{}: {} of a request's time passes outside the engine.",
        id.headline(),
        percent(share)
    );
    Some(Finding::new(id, severity, Some(share), sentence))
}

/// The dominant HBM traffic, as the subject of a sentence.
const fn traffic(dominant: Option<Dominant>) -> &'static str {
    match dominant {
        Some(Dominant::Weights) => "traffic, mostly of weights,",
        Some(Dominant::Kv) => "traffic, mostly of the KV cache,",
        Some(Dominant::Activations) | None => "traffic",
    }
}

/// What bounds the running requests.
fn hardware(seen: &Observation) -> Finding {
    let share = seen.share_of(seen.bound);
    let part = share.map_or_else(|| "most".to_owned(), percent);
    let much = share.is_some_and(|share| share > 0.5);
    let severity = if much {
        Severity::Warning
    } else {
        Severity::Info
    };
    let (id, severity, rest) = match seen.bound {
        Bound::Compute => (
            FindingKind::Compute,
            Severity::Info,
            format!("arithmetic takes {part} of busy time."),
        ),
        Bound::MemoryBandwidth => (
            FindingKind::MemoryBandwidth,
            Severity::Info,
            format!("{} takes {part} of busy time.", traffic(seen.dominant)),
        ),
        Bound::Interconnect => (
            FindingKind::Interconnect,
            Severity::Warning,
            format!("collectives take {part} of busy time."),
        ),
        Bound::Host => (
            FindingKind::Host,
            severity,
            format!("no kernel runs in {part} of busy time."),
        ),
        Bound::KernelLatency => (
            FindingKind::KernelLatency,
            severity,
            format!("in {part} of busy time they run without saturating compute or HBM."),
        ),
        Bound::Overhead => (
            FindingKind::Overhead,
            severity,
            format!("the roofline does not explain {part} of busy time."),
        ),
        Bound::Idle => (FindingKind::Idle, Severity::Info, String::new()),
        Bound::Unknown => (FindingKind::Unknown, Severity::Info, String::new()),
    };
    let sentence = if rest.is_empty() {
        format!("{}.", id.headline())
    } else {
        format!("{}: {rest}", id.headline())
    };
    Finding::new(id, severity, share, sentence)
}

/// A clock that is limited most of the time.
fn power(seen: &Observation) -> Option<Finding> {
    let share = seen.power_limited_ratio.filter(|share| *share > 0.5)?;
    // A lower clock reduces arithmetic throughput, and memory bandwidth only slightly.
    let severity = if seen.bound == Bound::Compute {
        Severity::Warning
    } else {
        Severity::Info
    };
    let id = FindingKind::PowerLimit;
    let sentence = format!("{} in {} of the readings.", id.headline(), percent(share));
    Some(Finding::new(id, severity, Some(share), sentence))
}
