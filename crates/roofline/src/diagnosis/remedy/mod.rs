//! The remedies against a finding.
//!
//! [`candidates`] lists possible changes, [`case`] predicts them for the measured load, and a change that gains enough is a remedy.
//!
//! A remedy must fit the measured load: a batch that the traffic does not fill is useless, and a second GPU must gain noticeably. Which
//! remedy fits which finding: a larger batch raises the arithmetic intensity of decode that is bound by weights, and only adds latency once
//! compute is the limit; narrower weights save bytes, not arithmetic; CUDA graphs and a faster host reduce overhead.

mod candidates;
mod case;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use self::case::Case;
use super::effect::{Effect, Gain};
use super::{FindingKind, Observation, Outlook};
use crate::bound::{Bound, states};
use crate::predict::Scenario;

/// Maximum number of remedies.
const MOST: usize = 4;

states!(
    /// The kind of a remedy.
    RemedyKind {
        /// More memory for the KV cache.
        MemoryUtilization = "gpu_memory_utilization",
        /// A KV cache in fp8.
        KvCacheFp8 = "kv_cache_fp8",
        /// Weights in fp8, and arithmetic too where the GPU supports it.
        WeightsFp8 = "weights_fp8",
        /// Weights in four bits.
        WeightsInt4 = "weights_int4",
        /// More concurrent sequences.
        MaxNumSeqs = "max_num_seqs",
        /// More tokens per step.
        TokenBudget = "max_num_batched_tokens",
        /// CUDA graphs.
        CudaGraphs = "cuda_graphs",
        /// Speculative decoding.
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
    /// Which kind.
    pub id: RemedyKind,
    /// The action to take.
    pub r#do: String,
    /// Whether it needs no new hardware.
    pub free: bool,
    /// The predicted user-visible figures under the measured load; empty without a prediction.
    pub predicted: Effect,
}

/// The remedies for an observation, with their gains. They take time to compute, and stay valid while the load is about the same.
#[derive(Clone, Debug, Default)]
pub struct Remedies {
    /// What the deployment is expected to reach without changes.
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
    /// The benefit for users, on a logarithmic scale.
    benefit: f64,
}

impl Remedies {
    /// The remedies for the findings in `seen`; `scenario` is the deployment, without its workload. Without a scenario there is no
    /// prediction.
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

    /// The remedies against a finding, with the `measured` figures after each.
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
    /// Remedies without hardware first, predicted ones before those that rest on an assumption, then by benefit.
    fn order(&self, other: &Self) -> Ordering {
        let assumed = |own: &Self| matches!(own.id, RemedyKind::Speculation | RemedyKind::HostPath);
        (!self.free, assumed(self))
            .cmp(&(!other.free, assumed(other)))
            .then(other.benefit.total_cmp(&self.benefit))
    }
}

/// The finding for the reason that requests wait.
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

/// The finding for a bound.
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
