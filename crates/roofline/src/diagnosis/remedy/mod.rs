//! What would help against a finding.
//!
//! [`candidates`] names the changes that may help, [`case`] tries them on the load as measured, and what gains enough is a remedy.
//!
//! Only what fits the load as it is: a batch that the traffic does not fill helps nobody, and a second GPU has to gain noticeably.
//! Why which remedy fits which finding: a larger batch raises the intensity of decode that is bound by weights, and does nothing but harm once
//! compute limits; narrower weights save bytes, not arithmetic; overhead is cured by CUDA graphs and a faster host.

mod candidates;
mod case;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use self::case::Case;
use super::effect::{Effect, Gain};
use super::{FindingKind, Observation, Outlook};
use crate::bound::{Bound, states};
use crate::predict::Scenario;

/// More remedies than this are no advice.
const MOST: usize = 4;

states!(
    /// What can be done.
    RemedyKind {
        /// More memory for the KV cache.
        MemoryUtilization = "gpu_memory_utilization",
        /// A KV cache in fp8.
        KvCacheFp8 = "kv_cache_fp8",
        /// Weights, and where the GPU can arithmetic, in fp8.
        WeightsFp8 = "weights_fp8",
        /// Weights in four bits.
        WeightsInt4 = "weights_int4",
        /// More sequences at a time.
        MaxNumSeqs = "max_num_seqs",
        /// More tokens a step.
        TokenBudget = "max_num_batched_tokens",
        /// CUDA graphs.
        CudaGraphs = "cuda_graphs",
        /// Drafts.
        Speculation = "speculative_decoding",
        /// A faster path from request to launch.
        HostPath = "host_path",
        /// More API servers.
        ApiServers = "api_server_count",
        /// Fewer GPUs per engine and more engines.
        FewerRanks = "fewer_ranks",
        /// More GPUs per engine.
        MoreRanks = "more_ranks",
        /// One more engine.
        Replica = "replica",
    }
);

/// One remedy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remedy {
    /// Which.
    pub id: RemedyKind,
    /// What to do.
    pub r#do: String,
    /// Whether it needs no hardware.
    pub free: bool,
    /// What users should then see under the load as measured; an empty one where nothing predicts it.
    pub predicted: Effect,
}

/// The remedies for an observation, with their gains: what takes time to find, and holds as long as the load is about the same.
#[derive(Clone, Debug, Default)]
pub struct Remedies {
    /// What the deployment should reach as it is.
    pub outlook: Option<Outlook>,
    prepared: Vec<PreparedRemedy>,
}

#[derive(Clone, Debug)]
struct PreparedRemedy {
    against: FindingKind,
    id: RemedyKind,
    r#do: String,
    free: bool,
    replicas: f64,
    gain: Option<Gain>,
    /// What the gain is worth to users, on a logarithmic scale.
    benefit: f64,
}

impl Remedies {
    /// The remedies for what is found in `seen`; `scenario` is the deployment, its workload aside. Without one nothing is predicted.
    #[must_use]
    pub fn of(seen: &Observation, scenario: Option<&Scenario>) -> Self {
        let load = seen.load();
        let case = load.map(|load| Case {
            seen,
            scenario,
            load,
        });
        let front_end = seen.lag().map(|_| FindingKind::FrontEnd);
        let kinds = [front_end, queue_kind(seen), Some(hardware_kind(seen.bound))];
        let prepared = kinds.into_iter().flatten().flat_map(|against| {
            let mut found: Vec<PreparedRemedy> = case
                .iter()
                .flat_map(|case| {
                    case.candidates(against)
                        .into_iter()
                        .filter_map(|candidate| case.prepare(against, candidate))
                })
                .collect();
            found.sort_by(PreparedRemedy::order);
            found.truncate(MOST);
            found
        });
        let outlook = |load| Outlook::of(scenario?, &load, seen.waits_for_requests());
        Self {
            prepared: prepared.collect(),
            outlook: load.and_then(outlook),
        }
    }

    /// Those against a finding, with what they leave of the `measured` figures.
    pub(super) fn against(&self, id: FindingKind, seen: &Observation) -> Vec<Remedy> {
        let own = self
            .prepared
            .iter()
            .filter(|prepared| prepared.against == id);
        own.map(|prepared| Remedy {
            id: prepared.id,
            r#do: prepared.r#do.clone(),
            free: prepared.free,
            predicted: prepared.gain.map_or_else(Effect::default, |gain| {
                gain.applied(&seen.felt(), prepared.replicas, seen.waits_for_requests())
            }),
        })
        .collect()
    }
}

impl PreparedRemedy {
    /// What is free before what is not, what is predicted before what rests on an assumption, then by what it is worth.
    fn order(&self, other: &Self) -> Ordering {
        let assumed = |own: &Self| matches!(own.id, RemedyKind::Speculation | RemedyKind::HostPath);
        (!self.free, assumed(self))
            .cmp(&(!other.free, assumed(other)))
            .then(other.benefit.total_cmp(&self.benefit))
    }
}

/// The finding that requests wait for.
fn queue_kind(seen: &Observation) -> Option<FindingKind> {
    use crate::bound::Admission;
    match seen.admission {
        Admission::Open => None,
        Admission::KvCapacity => Some(FindingKind::KvCapacity),
        Admission::MaxNumSeqs => Some(FindingKind::MaxNumSeqs),
        Admission::TokenBudget => Some(FindingKind::TokenBudget),
        Admission::Unknown => Some(FindingKind::Waiting),
    }
}

/// The finding that a bound is.
const fn hardware_kind(bound: Bound) -> FindingKind {
    match bound {
        Bound::Compute => FindingKind::Compute,
        Bound::MemoryBandwidth => FindingKind::MemoryBandwidth,
        Bound::Interconnect => FindingKind::Interconnect,
        Bound::Host => FindingKind::Host,
        Bound::KernelLatency => FindingKind::KernelLatency,
        Bound::Overhead => FindingKind::Overhead,
        Bound::Idle => FindingKind::Idle,
        Bound::Unknown => FindingKind::Unknown,
    }
}
