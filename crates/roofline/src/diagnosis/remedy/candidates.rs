//! Candidate changes against each finding.

use super::super::FindingKind;
use super::super::effect::LoadChange;
use super::RemedyKind;
use super::case::Case;
use crate::bound::{Bound, Dominant};
use crate::spec::deployment::DeploymentFlags;

/// `--gpu-memory-utilization` that leaves little for other uses.
const HIGH_UTILIZATION: f64 = 0.95;
/// Up to this decode batch, there is idle arithmetic for verifying drafts.
const SMALL_BATCH: f64 = 8.0;

/// A candidate change, before its gain is known.
pub(super) struct Candidate {
    pub(super) id: RemedyKind,
    pub(super) r#do: String,
    pub(super) free: bool,
    pub(super) change: Option<LoadChange>,
}

impl Case<'_> {
    /// The candidates against a finding of kind `against`.
    pub(super) fn candidates(&self, against: FindingKind) -> Vec<Candidate> {
        let mut found = Vec::new();
        match against {
            FindingKind::FrontEnd => found.push(api_servers()),
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
            FindingKind::Host | FindingKind::Overhead => {
                found.extend(self.cuda_graphs());
                found.extend(self.speculation());
                found.push(self.host_path());
                found.extend(self.fewer_ranks());
            }
            FindingKind::KernelLatency => {
                found.extend(self.cuda_graphs());
                found.extend(self.speculation());
                found.extend(self.fewer_ranks());
            }
            FindingKind::Interconnect => found.extend(self.fewer_ranks()),
            _ => {}
        }
        found
    }

    fn more_memory(&self) -> Option<Candidate> {
        if self.seen.kv_blocks_overridden {
            return Some(self.no_blocks_override());
        }
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

    fn no_blocks_override(&self) -> Candidate {
        let set = self.set_utilization();
        Candidate {
            id: RemedyKind::MemoryUtilization,
            r#do: "remove --num-gpu-blocks-override".to_owned(),
            free: true,
            change: self.roomier(|flags| flags.gpu_memory_utilization = set),
        }
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

    /// Whether the checkpoint is unquantised.
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

    /// As many sequences as there are requests, as far as they fit in the KV cache.
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
            r#do: format!("raise --max-num-seqs{from} to {wanted:.0}"),
            free: true,
            change: self.scenario.map(|scenario| LoadChange {
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
        let bounded = if self.seen.share_of(Bound::Host).is_some() {
            " (at most this, without any wait)"
        } else {
            ""
        };
        Candidate {
            id: RemedyKind::HostPath,
            r#do: format!(
                "a faster host path: --async-scheduling, --api-server-count 2 or more, CPU cores of its own{bounded}"
            ),
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
                .map(|change| LoadChange {
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
            change: change.map(|change| LoadChange {
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
            change: self.scenario.map(|scenario| LoadChange {
                scenario: scenario.clone(),
                running: self.load.running,
                acts_on: 1.0,
                gpus: 2.0,
                replicas: 2.0,
            }),
        }
    }
}

fn api_servers() -> Candidate {
    Candidate {
        id: RemedyKind::ApiServers,
        r#do: "--api-server-count 2 or more, or faster CPU cores for the API server (at most this)"
            .to_owned(),
        free: true,
        change: None,
    }
}
