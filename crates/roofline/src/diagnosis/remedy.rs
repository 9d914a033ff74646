//! What would help against a finding.
//!
//! Only what fits the load as it is: a batch that the traffic does not fill helps nobody, and a second GPU has to gain noticeably.
//! Why which remedy fits which finding: a larger batch raises the intensity of decode that is bound by weights, and does nothing but harm once
//! compute limits; narrower weights save bytes, not arithmetic; overhead is cured by CUDA graphs and a faster host.

use serde::{Deserialize, Serialize};

use super::effect::{Change, Effect, Gain, Load};
use super::text::count;
use super::{FindingKind, Observation};
use crate::bound::{Bound, Dominant, states};
use crate::predict::Scenario;
use crate::spec::deployment::DeploymentFlags;

/// Gains below this are within the error of a prediction.
const LEAST_GAIN: f64 = 1.03;
/// Hardware has to gain more than that to be worth a word.
const LEAST_GAIN_OF_HARDWARE: f64 = 1.15;
/// More remedies than this are no advice.
const MOST: usize = 4;
/// `--gpu-memory-utilization` that leaves room for little else.
const HIGH_UTILIZATION: f64 = 0.95;
/// Decode batches up to this leave the arithmetic idle that verifying drafts takes.
const SMALL_BATCH: f64 = 8.0;

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
pub struct Remedies(Vec<Prepared>);

#[derive(Clone, Debug)]
struct Prepared {
    against: FindingKind,
    id: RemedyKind,
    r#do: String,
    free: bool,
    replicas: f64,
    gain: Option<Gain>,
}

/// A change that may help, before its gain is known.
struct Candidate {
    id: RemedyKind,
    r#do: String,
    free: bool,
    change: Option<Change>,
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
        let kinds = [queue_kind(seen), Some(hardware_kind(seen.bound))];
        let prepared = kinds.into_iter().flatten().flat_map(|against| {
            let mut found: Vec<Prepared> = case
                .iter()
                .flat_map(|case| {
                    case.candidates(against)
                        .into_iter()
                        .filter_map(|candidate| case.prepare(against, candidate))
                })
                .collect();
            found.sort_by(|one, other| other.rank().total_cmp(&one.rank()));
            found.truncate(MOST);
            found
        });
        Self(prepared.collect())
    }

    /// Those against a finding, with what they leave of the `measured` figures.
    pub(super) fn against(&self, id: FindingKind, seen: &Observation) -> Vec<Remedy> {
        let own = self.0.iter().filter(|prepared| prepared.against == id);
        own.map(|prepared| Remedy {
            id: prepared.id,
            r#do: prepared.r#do.clone(),
            free: prepared.free,
            predicted: prepared.gain.map_or_else(Effect::default, |gain| {
                gain.applied(&seen.users, prepared.replicas, seen.waits_for_requests())
            }),
        })
        .collect()
    }
}

impl Prepared {
    /// What is free before what is not, what is predicted before what rests on an assumption, then by gain.
    fn rank(&self) -> f64 {
        let gain = self.gain.map_or(0.0, |gain| gain.benefit().ln());
        let assumed = matches!(self.id, RemedyKind::Speculation | RemedyKind::HostPath);
        let free = if self.free { 1e3 } else { 0.0 };
        gain + free - if assumed { 1e2 } else { 0.0 }
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

/// What remedies are found for.
struct Case<'a> {
    seen: &'a Observation,
    scenario: Option<&'a Scenario>,
    load: Load,
}

impl Case<'_> {
    fn candidates(&self, against: FindingKind) -> Vec<Candidate> {
        let mut found = Vec::new();
        match against {
            FindingKind::KvCapacity => {
                found.extend(self.more_memory());
                found.extend(self.kv_cache_fp8(true));
                found.extend(self.weights_fp8(true));
                found.push(self.replica());
                found.extend(self.more_ranks(true));
            }
            FindingKind::MaxNumSeqs | FindingKind::Waiting => {
                found.extend(self.more_sequences());
                found.push(self.replica());
            }
            FindingKind::TokenBudget => {
                found.extend(self.larger_steps());
                found.push(self.replica());
            }
            FindingKind::MemoryBandwidth if self.seen.dominant == Some(Dominant::Kv) => {
                found.extend(self.kv_cache_fp8(false));
                found.extend(self.more_ranks(false));
            }
            FindingKind::MemoryBandwidth => {
                found.extend(self.weights_fp8(false));
                found.extend(self.weights_int4());
                found.extend(self.speculation());
                found.extend(self.more_ranks(false));
            }
            FindingKind::Compute => {
                found.extend(self.weights_fp8(false));
                found.extend(self.more_ranks(false));
                found.push(self.replica());
            }
            FindingKind::Host => {
                found.extend(self.cuda_graphs());
                found.push(self.host_path());
                found.extend(self.fewer_ranks());
            }
            FindingKind::KernelLatency | FindingKind::Overhead => {
                found.extend(self.cuda_graphs());
                found.extend(self.fewer_ranks());
            }
            FindingKind::Interconnect => found.extend(self.fewer_ranks()),
            _ => {}
        }
        found
    }

    /// `candidate` with its gain, if that is worth a word.
    fn prepare(&self, against: FindingKind, candidate: Candidate) -> Option<Prepared> {
        let replicas = candidate
            .change
            .as_ref()
            .map_or(1.0, |change| change.replicas);
        let gain = match (self.scenario, &candidate.change) {
            (Some(now), Some(change)) => {
                let gain = Gain::of(now, &self.load, change)?;
                let least = if candidate.free {
                    LEAST_GAIN
                } else {
                    LEAST_GAIN_OF_HARDWARE
                };
                (gain.benefit() >= least).then_some(gain)?.into()
            }
            (_, None) if candidate.id == RemedyKind::HostPath => {
                Some(Gain::without(self.share(&[Bound::Host])))
            }
            // What cannot be predicted is said where it costs nothing.
            _ => {
                candidate.free.then_some(())?;
                None
            }
        };
        Some(Prepared {
            against,
            id: candidate.id,
            r#do: candidate.r#do,
            free: candidate.free,
            replicas,
            gain,
        })
    }

    /// Share of busy time of `bounds` together; all of it where the shares are not known.
    fn share(&self, bounds: &[Bound]) -> f64 {
        if self.seen.busy_shares.is_empty() {
            return 1.0;
        }
        bounds
            .iter()
            .filter_map(|bound| self.seen.share_of(*bound))
            .sum::<f64>()
            .min(1.0)
    }

    /// The deployment with other flags.
    fn with(&self, flags: impl FnOnce(&mut DeploymentFlags)) -> Option<Scenario> {
        let mut scenario = self.scenario?.clone();
        flags(&mut scenario.flags);
        Some(scenario)
    }

    /// The same load under other flags, which act on `acts_on` of busy time.
    fn retuned(&self, acts_on: f64, flags: impl FnOnce(&mut DeploymentFlags)) -> Option<Change> {
        Some(Change {
            scenario: self.with(flags)?,
            running: self.load.running,
            acts_on,
            gpus: 1.0,
            replicas: 1.0,
        })
    }

    /// The load under other flags whose KV cache holds more of it.
    fn roomier(&self, flags: impl Fn(&mut DeploymentFlags)) -> Option<Change> {
        let before = capacity(&self.with(|own| own.gpu_memory_utilization = self.utilization())?)?;
        let after = capacity(&self.with(|own| {
            own.gpu_memory_utilization = self.utilization();
            flags(own);
        })?)?;
        Some(Change {
            running: self.load.running * (after / before).max(1.0),
            ..self.retuned(1.0, flags)?
        })
    }

    fn flags(&self) -> Option<&DeploymentFlags> {
        self.scenario.map(|scenario| &scenario.flags)
    }

    /// The share of GPU memory that the cache in use needs: what was set may be overruled by `--num-gpu-blocks-override`, or not known.
    fn utilization(&self) -> Option<f64> {
        let predictor = self.scenario?.predictor().ok()?;
        let set = predictor.deployment.limits.gpu_memory_utilization;
        let memory = &predictor.roof.as_ref()?.memory;
        let measured = self.seen.kv_capacity_tokens?;
        let predicted = memory.capacity_tokens();
        if predicted <= 0.0 || (measured / predicted - 1.0).abs() < 0.1 {
            return Some(set);
        }
        let whole = memory.budget.0 / set;
        let beside = memory.weights.0 + memory.activations.0 + memory.runtime.0;
        Some(((memory.cache.0 * measured / predicted + beside) / whole).clamp(0.05, 1.0))
    }

    fn more_memory(&self) -> Option<Candidate> {
        let used = self.utilization().unwrap_or(0.0);
        if used > HIGH_UTILIZATION - 0.02 {
            return None;
        }
        let from = if used > 0.0 {
            format!(" from {used:.2}")
        } else {
            String::new()
        };
        Some(Candidate {
            id: RemedyKind::MemoryUtilization,
            r#do: format!("raise --gpu-memory-utilization{from} to {HIGH_UTILIZATION}"),
            free: true,
            change: self.roomier(|flags| flags.gpu_memory_utilization = Some(HIGH_UTILIZATION)),
        })
    }

    fn kv_cache_fp8(&self, for_room: bool) -> Option<Candidate> {
        let kv = self
            .flags()
            .and_then(|flags| flags.kv_cache_dtype.as_deref());
        if kv.is_some_and(|kv| kv.contains("8")) {
            return None;
        }
        let fp8 = |flags: &mut DeploymentFlags| flags.kv_cache_dtype = Some("fp8".to_owned());
        Some(Candidate {
            id: RemedyKind::KvCacheFp8,
            r#do: "--kv-cache-dtype fp8".to_owned(),
            free: true,
            change: if for_room {
                self.roomier(fp8)
            } else {
                self.retuned(self.share(&[Bound::MemoryBandwidth]), fp8)
            },
        })
    }

    /// Whether the checkpoint is not quantised.
    fn is_plain(&self) -> bool {
        let predictor = self.scenario.and_then(|scenario| scenario.predictor().ok());
        predictor.is_some_and(|predictor| predictor.deployment.quantization.method().is_none())
    }

    fn weights_fp8(&self, for_room: bool) -> Option<Candidate> {
        let fp8 = |flags: &mut DeploymentFlags| flags.quantization = Some("fp8".to_owned());
        self.is_plain().then(|| Candidate {
            id: RemedyKind::WeightsFp8,
            r#do: "--quantization fp8, or an FP8 checkpoint".to_owned(),
            free: true,
            change: if for_room {
                self.roomier(fp8)
            } else {
                self.retuned(self.share(&[Bound::MemoryBandwidth, Bound::Compute]), fp8)
            },
        })
    }

    fn weights_int4(&self) -> Option<Candidate> {
        let acts_on = self.share(&[Bound::MemoryBandwidth]);
        self.is_plain().then(|| Candidate {
            id: RemedyKind::WeightsInt4,
            r#do: "a 4-bit checkpoint (AWQ or GPTQ)".to_owned(),
            free: true,
            change: self.retuned(acts_on, |flags| flags.quantization = Some("awq".to_owned())),
        })
    }

    /// As many sequences as there are requests, as far as the KV cache holds them.
    fn more_sequences(&self) -> Option<Candidate> {
        let length = self.load.input_tokens + self.load.output_tokens / 2.0;
        let fit = self
            .seen
            .kv_capacity_tokens
            .map_or(f64::INFINITY, |tokens| tokens / length);
        let wanted = (self.load.offered.min(fit) / 8.0).ceil() * 8.0;
        if wanted <= self.load.running * 1.1 {
            return None;
        }
        let from = self
            .flags()
            .and_then(|flags| flags.max_num_seqs)
            .map_or_else(String::new, |now| format!(" from {now}"));
        Some(Candidate {
            id: RemedyKind::MaxNumSeqs,
            r#do: format!("raise --max-num-seqs{from} to {}", count(wanted)),
            free: true,
            change: self.scenario.map(|scenario| Change {
                scenario: scenario.clone(),
                running: wanted,
                acts_on: 1.0,
                gpus: 1.0,
                replicas: 1.0,
            }),
        })
    }

    fn larger_steps(&self) -> Option<Candidate> {
        let predictor = self.scenario.and_then(|scenario| scenario.predictor().ok());
        let now = predictor.map_or(8192, |predictor| {
            predictor.deployment.limits.max_num_batched_tokens
        });
        let wanted = 2 * now;
        Some(Candidate {
            id: RemedyKind::TokenBudget,
            r#do: format!("raise --max-num-batched-tokens from {now} to {wanted}"),
            free: true,
            change: self.retuned(1.0, |flags| flags.max_num_batched_tokens = Some(wanted)),
        })
    }

    fn cuda_graphs(&self) -> Option<Candidate> {
        let acts_on = self.share(&[Bound::Host, Bound::KernelLatency, Bound::Overhead]);
        self.flags()
            .is_some_and(|flags| flags.enforce_eager)
            .then(|| Candidate {
                id: RemedyKind::CudaGraphs,
                r#do: "drop --enforce-eager: CUDA graphs spare the launches".to_owned(),
                free: true,
                change: self.retuned(acts_on, |flags| flags.enforce_eager = false),
            })
    }

    fn speculation(&self) -> Option<Candidate> {
        let config = r#"{"method":"ngram","num_speculative_tokens":3}"#;
        let small = self
            .seen
            .decode_batch
            .is_some_and(|batch| batch <= SMALL_BATCH);
        let flags = self.flags()?;
        let applies = small && flags.speculative_config.is_none() && self.load.output_tokens > 1.0;
        applies.then(|| Candidate {
            id: RemedyKind::Speculation,
            r#do: format!("--speculative-config '{config}', if drafts fit this traffic (70 % accepted are assumed)"),
            free: true,
            change: self.retuned(1.0 - self.share(&[Bound::Compute]), |flags| {
                flags.speculative_config = Some(config.to_owned());
            }),
        })
    }

    fn host_path(&self) -> Candidate {
        Candidate {
            id: RemedyKind::HostPath,
            r#do: "a faster host path: --async-scheduling, --api-server-count 2 or more, CPU cores of its own (at most this, without any wait)".to_owned(),
            free: true,
            change: None,
        }
    }

    fn fewer_ranks(&self) -> Option<Candidate> {
        let ranks = self.flags()?.tensor_parallel_size.unwrap_or(1) / 2;
        let half = self.load.offered / 2.0;
        (ranks > 0 && half >= 1.0).then(|| Candidate {
            id: RemedyKind::FewerRanks,
            r#do: format!(
                "--tensor-parallel-size {ranks}, and a second engine on the GPUs that frees"
            ),
            free: true,
            change: self
                .retuned(1.0, |flags| flags.tensor_parallel_size = Some(ranks))
                .map(|change| Change {
                    running: half,
                    replicas: 2.0,
                    ..change
                }),
        })
    }

    fn more_ranks(&self, for_room: bool) -> Option<Candidate> {
        let ranks = 2 * self.flags()?.tensor_parallel_size.unwrap_or(1);
        let double = |flags: &mut DeploymentFlags| flags.tensor_parallel_size = Some(ranks);
        let change = if for_room {
            self.roomier(double)
        } else {
            self.retuned(
                self.share(&[Bound::MemoryBandwidth, Bound::Compute]),
                double,
            )
        };
        Some(Candidate {
            id: RemedyKind::MoreRanks,
            r#do: format!("--tensor-parallel-size {ranks}: twice the GPUs"),
            free: false,
            change: change.map(|change| Change {
                gpus: 2.0,
                ..change
            }),
        })
    }

    fn replica(&self) -> Candidate {
        Candidate {
            id: RemedyKind::Replica,
            r#do: "a second engine on GPUs of its own".to_owned(),
            free: false,
            change: self.scenario.map(|scenario| Change {
                scenario: scenario.clone(),
                running: self.load.running,
                acts_on: 1.0,
                gpus: 2.0,
                replicas: 2.0,
            }),
        }
    }
}

/// Tokens that the KV cache of a deployment holds.
fn capacity(scenario: &Scenario) -> Option<f64> {
    let predictor = scenario.predictor().ok()?;
    let tokens = predictor.roof.as_ref()?.memory.capacity_tokens();
    (tokens > 0.0).then_some(tokens)
}
