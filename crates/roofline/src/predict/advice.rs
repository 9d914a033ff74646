//! `Advice`: remedies against a bound, each with the effect of a second prediction.
//!
//! Which remedy fits which bound: a larger batch raises the arithmetic intensity of weight-bound decode, and only adds latency once compute
//! is the limit; weight-only quantisation saves bytes, not arithmetic; CUDA graphs and larger steps reduce overhead; fewer ranks reduce
//! interconnect time. A remedy that the GPU cannot run, or that gains less than 2 %, is dropped.

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

use super::limits::whole;
use super::{
    ImprovedMetric, Phase, PredictedSteps, Prediction, Scenario, Serving, StepPrediction, Workload,
};
use crate::bound::Bound;
use crate::cost::step::RequestGroup;
use crate::spec::deployment::DeploymentFlags;
use crate::spec::precision::Precision;
use crate::spec::quantization::Quantization;
use crate::spec::to_f64;

/// Smaller gains are within the error of a prediction.
const LEAST_GAIN: f64 = 1.02;

/// `--gpu-memory-utilization` that leaves little for other uses.
const HIGH_UTILIZATION: f64 = 0.95;

/// One remedy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// The bottleneck that it addresses.
    pub bound: BottleneckKind,
    /// The phase; `None` for both.
    pub phase: Option<Phase>,
    /// The action to take.
    pub r#do: String,
    /// The predicted effect, in words.
    pub predicted_effect: String,
    /// The figure that it improves.
    pub metric: ImprovedMetric,
    /// Its value now.
    pub before: f64,
    /// Its value after the change.
    pub after: f64,
}

/// What a remedy addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum BottleneckKind {
    /// What bounds a step.
    Step(Bound),
    /// Lack of KV cache, which limits the load, not a step.
    #[serde(serialize_with = "kv_capacity")]
    KvCapacity,
}

impl BottleneckKind {
    /// The name in JSON and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Step(bound) => bound.as_str(),
            Self::KvCapacity => "kv_capacity",
        }
    }

    /// The bound of a step, if it is one.
    const fn of_step(self) -> Option<Bound> {
        match self {
            Self::Step(bound) => Some(bound),
            Self::KvCapacity => None,
        }
    }
}

impl<'de> Deserialize<'de> for BottleneckKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == Self::KvCapacity.name() {
            return Ok(Self::KvCapacity);
        }
        Bound::deserialize(name.into_deserializer()).map(Self::Step)
    }
}

fn kv_capacity<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(BottleneckKind::KvCapacity.name())
}

/// The phase and the figure by which its remedies are compared.
#[derive(Clone, Copy)]
struct View<'a> {
    step: &'a StepPrediction,
    time: ImprovedMetric,
    rate: ImprovedMetric,
}

/// A candidate change.
struct RemedyCandidate {
    action: String,
    metric: ImprovedMetric,
    scenario: Scenario,
}

impl RemedyCandidate {
    /// The same with the `--max-model-len` that vLLM needs to start, if the longest sequence does not fit.
    fn started(mut self) -> Self {
        let predictor = self.scenario.predictor().ok();
        let roof = predictor
            .as_ref()
            .and_then(|predictor| predictor.roof.as_ref());
        if let Some(longest) = roof.and_then(|roof| roof.memory.shorter_model_len()) {
            self.action += &format!(" and --max-model-len {longest:.0}");
            self.scenario.flags.max_model_len = Some(whole(longest));
        }
        self
    }
}

/// The remedies for the bottlenecks of `prediction`, largest gain first.
pub(super) fn advise(scenario: &Scenario, prediction: &Prediction) -> Vec<Advice> {
    advise_against(scenario, prediction, |_| None)
}

/// The same for measured bottlenecks in `found`, of a phase or of the whole run; for the predicted ones where none was found.
fn advise_against(
    scenario: &Scenario,
    prediction: &Prediction,
    found: impl Fn(Option<Phase>) -> Option<BottleneckKind>,
) -> Vec<Advice> {
    let mut advice = Vec::new();
    if found(None) == Some(BottleneckKind::KvCapacity) || is_short_of_cache(scenario, prediction) {
        let remedies = scenario.for_cache();
        advice.extend(tried(
            prediction,
            BottleneckKind::KvCapacity,
            None,
            remedies,
        ));
    }
    let views = match &prediction.steps {
        PredictedSteps::Step(step) => vec![View {
            step,
            time: ImprovedMetric::StepSeconds,
            rate: ImprovedMetric::StepTokensPerSecond,
        }],
        PredictedSteps::Steps(steps) => vec![
            View {
                step: &steps.prefill,
                time: ImprovedMetric::TtftSeconds,
                rate: ImprovedMetric::OutputTokensPerSecond,
            },
            View {
                step: &steps.decode,
                time: ImprovedMetric::TpotSeconds,
                rate: ImprovedMetric::OutputTokensPerSecond,
            },
        ],
    };
    for view in views {
        let measured = found(Some(view.step.phase)).and_then(BottleneckKind::of_step);
        let Some(bound) = measured.or(view.step.bottleneck) else {
            continue;
        };
        let remedies = scenario.for_bound(bound, view, prediction);
        advice.extend(tried(
            prediction,
            BottleneckKind::Step(bound),
            Some(view.step.phase),
            remedies,
        ));
    }
    advice.sort_by(|left, right| gain(right).total_cmp(&gain(left)));
    advice
}

fn gain(advice: &Advice) -> f64 {
    advice.metric.gain(advice.before, advice.after)
}

/// Whether requests wait for KV cache, or the model does not fit at all.
fn is_short_of_cache(scenario: &Scenario, prediction: &Prediction) -> bool {
    let capacity = prediction
        .limits
        .as_ref()
        .and_then(|limits| limits.kv_capacity_batch);
    capacity.is_some_and(|capacity| to_f64(capacity) < scenario.workload.batch())
}

/// Those of `remedies` that can run and gain enough.
fn tried(
    prediction: &Prediction,
    bound: BottleneckKind,
    phase: Option<Phase>,
    remedies: Vec<RemedyCandidate>,
) -> impl Iterator<Item = Advice> {
    remedies.into_iter().filter_map(move |remedy| {
        let metric = remedy.metric;
        let before = metric.of(prediction)?;
        let after = metric.of(&remedy.scenario.outcome().ok()?)?;
        (metric.gain(before, after) >= LEAST_GAIN).then(|| Advice {
            bound,
            phase,
            r#do: remedy.action,
            predicted_effect: metric.describe(before, after),
            metric,
            before,
            after,
        })
    })
}

impl Scenario {
    /// Remedies against the measured bottlenecks `found`, of each phase and of the whole run (`None`). Where none was found, the
    /// bottlenecks of `prediction`, which belongs to this scenario, are used. Largest predicted gain first.
    pub fn advise_against(
        &self,
        prediction: &Prediction,
        found: impl Fn(Option<Phase>) -> Option<BottleneckKind>,
    ) -> Vec<Advice> {
        advise_against(self, prediction, found)
    }

    fn for_cache(&self) -> Vec<RemedyCandidate> {
        let metric = ImprovedMetric::KvCapacityTokens;
        let mut remedies = self.narrower_weights(metric);
        remedies.push(self.fp8_cache(metric));
        remedies.push(self.more_ranks(metric));
        if self
            .flags
            .gpu_memory_utilization
            .is_none_or(|share| share < HIGH_UTILIZATION)
        {
            let action = format!("--gpu-memory-utilization {HIGH_UTILIZATION}");
            remedies.push(self.with_flags(action, metric, |flags| {
                flags.gpu_memory_utilization = Some(HIGH_UTILIZATION);
            }));
        }
        remedies.into_iter().map(RemedyCandidate::started).collect()
    }

    fn for_bound(
        &self,
        bound: Bound,
        view: View<'_>,
        prediction: &Prediction,
    ) -> Vec<RemedyCandidate> {
        let bytes = &view.step.bytes_by_role;
        let weights_dominate = bytes.all_weights() >= bytes.kv_read + bytes.kv_write + bytes.state;
        let mut remedies = Vec::new();
        match bound {
            Bound::MemoryBandwidth if weights_dominate => {
                remedies.extend(self.more_requests(view, prediction));
                remedies.extend(self.narrower_weights(view.time));
                remedies.extend(self.speculation(view));
                remedies.push(self.more_ranks(view.time));
            }
            Bound::MemoryBandwidth => {
                remedies.push(self.fp8_cache(view.time));
                remedies.push(self.more_ranks(view.time));
            }
            Bound::Compute => {
                remedies.extend(self.narrower_arithmetic(view.time));
                remedies.push(self.more_ranks(view.time));
                remedies.extend(self.cached_prefix(view));
            }
            Bound::Host | Bound::KernelLatency | Bound::Overhead => {
                remedies.extend(self.cuda_graphs(view.time));
                remedies.extend(self.more_requests(view, prediction));
                remedies.extend(self.fewer_ranks(view.time));
            }
            Bound::Interconnect => remedies.extend(self.fewer_ranks(view.time)),
            Bound::Idle | Bound::Unknown => {}
        }
        remedies
    }

    fn with_flags(
        &self,
        action: String,
        metric: ImprovedMetric,
        change: impl FnOnce(&mut DeploymentFlags),
    ) -> RemedyCandidate {
        let mut scenario = self.clone();
        change(&mut scenario.flags);
        RemedyCandidate {
            action,
            metric,
            scenario,
        }
    }

    /// Other checkpoints of an unquantised model, each a method for `--quantization` and the advice to give.
    fn checkpoints(&self, metric: ImprovedMetric, known: &[(&str, &str)]) -> Vec<RemedyCandidate> {
        let stated = Quantization::read(
            self.model.quantization_config.as_ref(),
            self.flags.quantization.as_deref(),
        );
        if stated.is_ok_and(|quantization| quantization.method().is_some()) {
            return Vec::new();
        }
        let remedy = |(method, action): &(&str, &str)| {
            self.with_flags((*action).to_owned(), metric, |flags| {
                flags.quantization = Some((*method).to_owned());
            })
        };
        known.iter().map(remedy).collect()
    }

    /// Fewer bytes per weight.
    fn narrower_weights(&self, metric: ImprovedMetric) -> Vec<RemedyCandidate> {
        let int4 = ("awq", "a 4-bit checkpoint (AWQ or GPTQ)");
        self.checkpoints(metric, &[int4, ("fp8", "--quantization fp8")])
    }

    /// Multiplications in a format with a higher peak, where the GPU has it.
    fn narrower_arithmetic(&self, metric: ImprovedMetric) -> Vec<RemedyCandidate> {
        let known = [
            (Precision::Fp4, ("modelopt_fp4", "an NVFP4 checkpoint")),
            (Precision::Fp8, ("fp8", "--quantization fp8")),
            (Precision::Int8, ("int8", "an INT8 W8A8 checkpoint")),
        ];
        let runs = |precision| {
            let gpu = self.gpu.as_ref();
            gpu.is_some_and(|gpu| gpu.peak(precision).is_some())
        };
        let known: Vec<(&str, &str)> = known
            .into_iter()
            .filter(|(precision, _)| runs(*precision))
            .map(|(_, checkpoint)| checkpoint)
            .collect();
        self.checkpoints(metric, &known)
    }

    fn fp8_cache(&self, metric: ImprovedMetric) -> RemedyCandidate {
        self.with_flags("--kv-cache-dtype fp8".to_owned(), metric, |flags| {
            flags.kv_cache_dtype = Some("fp8".to_owned());
        })
    }

    fn more_ranks(&self, metric: ImprovedMetric) -> RemedyCandidate {
        let ranks = 2 * self.flags.tensor_parallel_size.unwrap_or(1);
        self.with_flags(format!("--tensor-parallel-size {ranks}"), metric, |flags| {
            flags.tensor_parallel_size = Some(ranks);
        })
    }

    fn fewer_ranks(&self, metric: ImprovedMetric) -> Option<RemedyCandidate> {
        let ranks = self.flags.tensor_parallel_size.unwrap_or(1) / 2;
        let action =
            format!("--tensor-parallel-size {ranks}, and a replica on the GPUs that frees");
        (ranks > 0).then(|| {
            self.with_flags(action, metric, |flags| {
                flags.tensor_parallel_size = Some(ranks);
            })
        })
    }

    fn cuda_graphs(&self, metric: ImprovedMetric) -> Option<RemedyCandidate> {
        let action = "CUDA graphs: drop --enforce-eager".to_owned();
        self.flags
            .enforce_eager
            .then(|| self.with_flags(action, metric, |flags| flags.enforce_eager = false))
    }

    /// Propose three tokens per step.
    fn speculation(&self, view: View<'_>) -> Option<RemedyCandidate> {
        let config = r#"{"method":"ngram","num_speculative_tokens":3}"#;
        let is_load = matches!(self.workload, Workload::Serving(_));
        let applies =
            is_load && view.step.phase == Phase::Decode && self.flags.speculative_config.is_none();
        applies.then(|| {
            self.with_flags(
                format!("--speculative-config '{config}'"),
                view.time,
                |flags| {
                    flags.speculative_config = Some(config.to_owned());
                },
            )
        })
    }

    /// As many requests as the knee, the memory and the targets allow.
    fn more_requests(&self, view: View<'_>, prediction: &Prediction) -> Option<RemedyCandidate> {
        let limits = prediction.limits.as_ref()?;
        let bounds = [
            limits.knee_batch,
            limits.kv_capacity_batch,
            limits.slo_batch,
        ];
        let batch = bounds.into_iter().flatten().min()?;
        let now = self.workload.batch();
        let action = format!(
            "{batch} requests at a time instead of {now:.0} (--max-num-seqs {batch} or more)"
        );
        let mut remedy =
            self.with_flags(action, view.rate, |flags| flags.max_num_seqs = Some(batch));
        remedy.scenario.workload = self.workload.with_batch(to_f64(batch));
        (view.step.phase != Phase::Prefill && to_f64(batch) > now).then_some(remedy)
    }

    /// Half of each prompt from the prefix cache.
    fn cached_prefix(&self, view: View<'_>) -> Option<RemedyCandidate> {
        let halved = |group: &RequestGroup| RequestGroup {
            new_tokens: group.new_tokens / 2.0,
            cached_tokens_before: group.cached_tokens_before + group.new_tokens / 2.0,
            ..*group
        };
        let workload = match &self.workload {
            Workload::Serving(serving) => Workload::Serving(Serving {
                cached_tokens: serving.input_tokens / 2.0,
                ..*serving
            }),
            Workload::Step(groups) => Workload::Step(groups.iter().map(halved).collect()),
        };
        (view.step.phase == Phase::Prefill).then(|| RemedyCandidate {
            action: "prompts that share half of their tokens (prefix caching)".to_owned(),
            metric: view.time,
            scenario: Self {
                workload,
                ..self.clone()
            },
        })
    }
}
