//! `Latency`: time to first token, time per output token and throughput under a steady load.
//!
//! Bound. TTFT: a prompt alone, chunk by chunk. TPOT: decode steps alone, averaged over the growing context. Throughput: in one request's
//! cycle the engine processes B prompts, each of which yields a first token, and decodes the other `osl − 1` tokens of B requests, so a
//! cycle takes at least `max((osl − 1)·t_memory, (osl − 1)·t_compute + B·t_compute of a prompt)`.
//!
//! Expected. The steps that decode other requests also process prompts. Each prompt delays the others by the time that its steps take
//! longer than decode steps (where answers are short, several prompts share a step); over a cycle, this delay is spread over all of a
//! request's tokens. With a pipeline a token passes through all stages, each of which works on its own share of the requests. For the time
//! to first token, including the wait, see [`arrival`](super::arrival).

use serde::{Deserialize, Serialize};

use super::arrival::{Burst, Prefill, Steady, Waves};
use super::{GpuRoof, Predictor, Serving};
use crate::cost::step::RequestGroup;
use crate::spec::to_f64;
use crate::units::Seconds;

/// Number of points over the length of an answer at which decode steps are evaluated.
const SAMPLES: u32 = 8;

/// Assumed acceptance rate of successive proposed tokens, without a measurement.
pub(super) const ASSUMED_ACCEPTANCE: f64 = 0.7;

/// User-visible latency and throughput.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Lower bound of the time to first token, for a prompt alone.
    pub ttft_bound_seconds: Seconds,
    /// Expected time to first token: the mean over `waves` waves of requests, the first of which starts at once.
    pub ttft_expected_seconds: Seconds,
    /// The same for requests that arrive one by one, each when another ends.
    #[serde(default)]
    pub ttft_steady_seconds: Seconds,
    /// The same for requests that all start at once.
    #[serde(default)]
    pub ttft_burst_seconds: Seconds,
    /// Lower bound of the time per output token.
    pub tpot_bound_seconds: Seconds,
    /// Expected time per output token, including delays by other requests' prompts.
    pub tpot_expected_seconds: Seconds,
    /// Upper bound of tokens per second of all replicas together.
    pub output_tokens_per_second_bound: f64,
    /// Expected tokens per second of all replicas together.
    pub output_tokens_per_second_expected: f64,
    /// Concurrent requests of one engine; the others wait.
    pub running_requests: f64,
}

/// A decode step, averaged over the length of the answers.
#[derive(Clone, Copy, Debug, Default)]
struct Decode {
    compute: Seconds,
    memory: Seconds,
    bound: Seconds,
    expected: Seconds,
}

/// The prefill of a prompt.
#[derive(Clone, Copy, Debug, Default)]
struct PrefillPrompt {
    /// Lower bound of its time when nothing else runs.
    bound: Seconds,
    /// Lower bound of the time that it occupies the tensor cores of a stage.
    compute: Seconds,
    /// Expected time among the running requests.
    expected: Seconds,
    /// Number of its steps.
    chunks: f64,
    /// Additional time of its steps compared with decode steps, shared among the prompts in them.
    delay: Seconds,
    /// Prompts that share its steps, including itself.
    together: f64,
}

impl Predictor {
    /// User-visible figures under the load `serving`; `None` without a GPU, or where not one request fits.
    #[must_use]
    pub fn latency(&self, serving: &Serving) -> Option<Latency> {
        let roof = self.roof.as_ref()?;
        let limit = to_f64(self.deployment.limits.max_num_seqs);
        // Among requests that started at different times, the average one holds the cache of half its answer.
        let length = serving.input_tokens + serving.output_tokens / 2.0;
        let running = serving
            .batch
            .min(limit)
            .min(self.most_running(roof, length));
        self.latency_of(roof, serving, running)
    }

    /// The same with `running` requests in the steps, as measured, and the rest of the load waiting.
    pub(crate) fn latency_at(&self, serving: &Serving, running: f64) -> Option<Latency> {
        self.latency_of(self.roof.as_ref()?, serving, running)
    }

    /// Maximum number of concurrent requests of `length` tokens: each needs its cache, and its share of a step's token budget.
    pub(super) fn most_running(&self, roof: &GpuRoof, length: f64) -> f64 {
        let budget = to_f64(self.deployment.limits.max_num_batched_tokens);
        let fitting = roof.memory.sequences(length).floor();
        fitting.min(budget / self.decode_group(1.0, length).tokens())
    }

    /// User-visible figures with `running` requests in the steps and the rest of the load waiting.
    pub(super) fn latency_of(
        &self,
        roof: &GpuRoof,
        serving: &Serving,
        running: f64,
    ) -> Option<Latency> {
        if running < 1.0 {
            return None;
        }
        let stages = self.stages();
        let prompt = self.prompt(roof, serving, running);
        let all = self.mean_decode(roof, serving, serving.batch);
        let decode = self.mean_decode(roof, serving, running);
        let (most_tokens, mean_tokens) = self.tokens_per_step();

        let tokens = serving.output_tokens;
        let delay = prompt.delay * ((running - prompt.together).max(0.0) / tokens);
        let tpot = decode.expected * stages / mean_tokens + delay;
        let new_tokens = serving.input_tokens - serving.cached_tokens;
        let steady = Steady {
            running,
            output_tokens: tokens,
            decode: decode.expected,
            tpot,
            prefill: Prefill {
                seconds: prompt.expected,
                steps: prompt.chunks,
                delay: prompt.delay * prompt.together,
                together: prompt.together,
            },
            outside: roof.timer.per_request(new_tokens),
        }
        .ttft(roof.timer.waits());
        let cycle = steady + tpot * (tokens - 1.0);
        let queued = cycle * (serving.batch / running - 1.0).max(0.0);
        let burst = self.burst(roof, serving).ttft() + roof.timer.per_request(new_tokens);
        let waves = Waves {
            steady: steady + queued,
            burst: burst * (running / serving.batch).min(1.0) + queued * 0.5,
        };

        let steps = stages * (tokens - 1.0) / most_tokens;
        let with_prompts = all.compute * steps + prompt.compute * serving.batch;
        let shortest_cycle = with_prompts.max(all.memory * steps);
        let generated = tokens * to_f64(self.deployment.parallelism.data);
        Some(Latency {
            ttft_bound_seconds: prompt.bound,
            ttft_expected_seconds: waves.mean(serving.waves),
            ttft_steady_seconds: waves.steady,
            ttft_burst_seconds: waves.burst,
            tpot_bound_seconds: decode.bound * stages / most_tokens,
            tpot_expected_seconds: tpot,
            output_tokens_per_second_bound: generated * serving.batch / shortest_cycle.0,
            output_tokens_per_second_expected: generated * running / cycle.0,
            running_requests: running,
        })
    }

    /// The prompts of the whole load, as one burst.
    fn burst(&self, roof: &GpuRoof, serving: &Serving) -> Burst {
        let budget = to_f64(self.deployment.limits.max_num_batched_tokens);
        let new_tokens = serving.input_tokens - serving.cached_tokens;
        let together = (budget / new_tokens).min(serving.batch).max(1.0);
        let full: Seconds = chunks(serving, budget)
            .map(|chunk| {
                let step = RequestGroup {
                    count: together,
                    ..chunk
                };
                roof.expected(&self.shard.work_of_step(&[step]))
            })
            .sum();
        Burst {
            prompts: serving.batch,
            together,
            seconds: full * self.stages(),
        }
    }

    /// Maximum and expected tokens per decode step and request: `(1 − a^{g+1}) / (1 − a)` of g proposed with acceptance rate a.
    fn tokens_per_step(&self) -> (f64, f64) {
        let verified = 1.0 + to_f64(self.deployment.speculative_tokens);
        let accepted = (1.0 - ASSUMED_ACCEPTANCE.powf(verified)) / (1.0 - ASSUMED_ACCEPTANCE);
        (verified, accepted)
    }

    /// A decode step of `batch` requests, averaged over the length of the answers.
    fn mean_decode(&self, roof: &GpuRoof, serving: &Serving, batch: f64) -> Decode {
        let mut mean = Decode::default();
        let weight = 1.0 / f64::from(SAMPLES);
        for sample in 0..SAMPLES {
            let share = (f64::from(sample) + 0.5) * weight;
            let context = serving.input_tokens + serving.output_tokens * share;
            let work = self
                .shard
                .work_of_step(&[self.decode_group(batch, context)]);
            mean.compute += work.compute_seconds(&roof.theoretical) * weight;
            mean.memory += work.memory_seconds(&roof.theoretical) * weight;
            mean.bound += roof.bound(&work) * weight;
            mean.expected += roof.expected(&work) * weight;
        }
        mean
    }

    /// A prompt alone in the engine, and among `running` requests, which leave it at least one token of each step's budget.
    fn prompt(&self, roof: &GpuRoof, serving: &Serving, running: f64) -> PrefillPrompt {
        let passed_on = self.stages() - 1.0;
        let budget = to_f64(self.deployment.limits.max_num_batched_tokens);
        let mut prompt = PrefillPrompt::default();
        let mut last = Seconds::ZERO;
        for chunk in chunks(serving, budget) {
            let work = self.shard.work_of_step(&[chunk]);
            last = roof.bound(&work);
            prompt.bound += last;
            prompt.compute += work.compute_seconds(&roof.theoretical);
        }
        prompt.bound += last * passed_on;

        // Only the first of a request's tokens comes from its prompt; for the others it is in the decode batch.
        let others = (running - 1.0) * (1.0 - 1.0 / serving.output_tokens);
        let mut beside = self.decode_group(others, serving.mean_context());
        beside.count = beside.count.min(others);
        let left = (budget - beside.tokens()).max(1.0);
        let decode = if others > 0.0 {
            roof.expected(&self.shard.work_of_step(&[beside]))
        } else {
            Seconds::ZERO
        };
        // Prompts arrive as fast as answers end; as many as fit in the budget share a step.
        let length = serving.input_tokens - serving.cached_tokens;
        prompt.together = (running / serving.output_tokens)
            .min((left / length).floor())
            .max(1.0);
        for chunk in chunks(serving, left) {
            let shared = RequestGroup {
                count: prompt.together,
                ..chunk
            };
            last = roof.expected(&self.shard.work_of_step(&[shared, beside]));
            prompt.expected += last;
            prompt.chunks += 1.0;
            prompt.delay += (last - decode) * (1.0 / prompt.together);
        }
        prompt.expected += last * passed_on;
        prompt
    }
}

/// The steps of a prompt, `chunk` tokens at a time.
fn chunks(serving: &Serving, chunk: f64) -> impl Iterator<Item = RequestGroup> {
    let tokens = serving.input_tokens;
    let starts = std::iter::successors(Some(serving.cached_tokens), move |start| {
        Some(start + chunk)
    });
    starts
        .take_while(move |start| *start < tokens)
        .map(move |start| RequestGroup::prefill(1.0, chunk.min(tokens - start), start))
}
