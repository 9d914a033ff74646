//! The account of a span: tokens, FLOPs, bytes and where the seconds went.
//!
//! Accounts add up: the account of two neighbouring spans is the sum of theirs. Counters are the sum since the start, a window is
//! the sum of its newest spans. Engine figures sum over the engine's GPUs; seconds are wall time.

use serde::Serialize;

use crate::roofline::ceiling::Ceiling;
use crate::roofline::step::StepWork;
use crate::sample::engine::Counter;
use crate::sample::histogram::Histogram;
use crate::units::{Bytes, Flops, Seconds};

use super::facts::EngineFacts;
use super::gpu::HardwareUse;
use super::interval::Interval;
use super::steps::{StepKind, Steps};

/// One value for each phase of inference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PerPhase<T> {
    /// Computing prompts.
    pub prefill: T,
    /// Producing output tokens one step at a time.
    pub decode: T,
}

impl<T: Copy + std::ops::Add<Output = T>> PerPhase<T> {
    /// Both phases together.
    #[must_use]
    pub fn total(&self) -> T {
        self.prefill + self.decode
    }

    fn add(&mut self, other: Self) {
        self.prefill = self.prefill + other.prefill;
        self.decode = self.decode + other.decode;
    }
}

/// HBM bytes by what they carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ByKind {
    /// Weights, the LM head and embedding rows among them.
    pub weights: Bytes,
    /// KV cache reads and writes.
    pub kv: Bytes,
    /// Recurrent state, read and written.
    pub state: Bytes,
    /// Activations, and weight or activation tiles read more than once.
    pub activations: Bytes,
}

impl ByKind {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> Bytes {
        self.weights + self.kv + self.state + self.activations
    }

    fn of(step: &StepWork) -> Self {
        Self {
            weights: step.bytes.all_weights() + step.bytes.embedding,
            kv: step.bytes.kv_read + step.bytes.kv_write,
            state: step.bytes.state,
            activations: step.activation_bytes,
        }
    }

    fn scaled(self, factor: f64) -> Self {
        Self {
            weights: self.weights * factor,
            kv: self.kv * factor,
            state: self.state * factor,
            activations: self.activations * factor,
        }
    }

    fn less(self, other: Self) -> Self {
        Self {
            weights: (self.weights - other.weights).max(Bytes::ZERO),
            kv: (self.kv - other.kv).max(Bytes::ZERO),
            state: (self.state - other.state).max(Bytes::ZERO),
            activations: (self.activations - other.activations).max(Bytes::ZERO),
        }
    }
}

impl std::ops::Add for ByKind {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            weights: self.weights + other.weights,
            kv: self.kv + other.kv,
            state: self.state + other.state,
            activations: self.activations + other.activations,
        }
    }
}

/// Modelled work, summed over the engine's GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// FLOPs of each phase.
    pub flops: PerPhase<Flops>,
    /// HBM bytes of each phase.
    pub bytes: PerPhase<ByKind>,
}

/// Where busy time went, in seconds of wall time. The four add up to the busy seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BusyTime {
    /// Steps whose FLOPs take longer than their bytes, at the attainable ceilings.
    pub compute: Seconds,
    /// Steps whose bytes take longer than their FLOPs.
    pub memory: Seconds,
    /// Collectives between GPUs.
    pub communication: Seconds,
    /// The rest: launches, scheduling, sampling, bubbles.
    pub overhead: Seconds,
}

impl BusyTime {
    /// Time the roofline explains.
    #[must_use]
    pub fn roofline(&self) -> Seconds {
        self.compute + self.memory + self.communication
    }

    fn add(&mut self, other: &Self) {
        self.compute += other.compute;
        self.memory += other.memory;
        self.communication += other.communication;
        self.overhead += other.overhead;
    }
}

/// Everything that adds up over time for one engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Wall time.
    pub seconds: Seconds,
    /// Of these, seconds with a request running and progress.
    pub busy: Seconds,
    /// Of these, seconds with a request running and no progress.
    pub stalled: Seconds,
    /// Tokens through the model.
    pub tokens: PerPhase<f64>,
    /// Tokens sampled for clients.
    pub output_tokens: f64,
    /// Engine steps.
    pub steps: f64,
    /// Steps that decoded, and request-steps of them: their quotient is the decode batch.
    pub decode_steps: f64,
    /// Request-steps of decode.
    pub decode_request_steps: f64,
    /// Context tokens × decode tokens: divided by the decode tokens, the mean context.
    pub context_weight: f64,
    /// Modelled work; absent while the model is unknown.
    pub work: Option<Work>,
    /// Where the busy seconds went; absent while the model or the GPU is unknown.
    pub busy_time: Option<BusyTime>,
    /// Busy seconds by the phase that took them.
    pub phase_seconds: PerPhase<Seconds>,
    /// What the hardware's own counters say.
    pub hardware: HardwareUse,
    /// Times to first token.
    pub time_to_first_token: Histogram,
    /// Times between tokens.
    pub inter_token_latency: Histogram,
    /// Requests preempted.
    pub preemptions: f64,
    /// vLLM's own estimate of HBM bytes, all GPUs; 0 unless it was asked to make one.
    pub vllm_estimated_bytes: Bytes,
    /// vLLM's own estimate of FLOPs, all GPUs.
    pub vllm_estimated_flops: Flops,
    /// How requests queued.
    pub queue: Queue,
    /// Whether step counts were inexact because several API servers share the page.
    pub several_api_servers: bool,
}

/// Seconds for which the queue looked a certain way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Queue {
    /// Running requests × seconds.
    pub running_seconds: f64,
    /// Waiting requests × seconds.
    pub waiting_seconds: f64,
    /// Seconds with a request waiting.
    pub queued: Seconds,
    /// Of these, seconds with the KV cache too full to admit one.
    pub kv_full: Seconds,
    /// Of these, seconds with as many requests running as `--max-num-seqs` allows.
    pub seqs_full: Seconds,
}

/// From this share of the KV cache on, a waiting request is taken to wait for blocks.
const KV_FULL: f64 = 0.95;

impl Account {
    /// The account of a span in which vLLM ran nothing.
    #[must_use]
    pub fn idle(seconds: Seconds, hardware: HardwareUse) -> Self {
        Self {
            seconds,
            hardware,
            ..Self::default()
        }
    }

    /// The account of a span in which requests were running and nothing moved.
    #[must_use]
    pub fn stalled(seconds: Seconds, hardware: HardwareUse) -> Self {
        Self {
            stalled: seconds,
            ..Self::idle(seconds, hardware)
        }
    }

    /// The account of `interval`, with what the engine's GPUs did meanwhile.
    #[must_use]
    pub fn of(interval: &Interval, facts: &EngineFacts, hardware: HardwareUse) -> Self {
        let steps = Steps::recover(interval, facts.token_budget());
        let seconds = interval.seconds();
        let gpus = facts.gpus();
        let mut account = Self {
            seconds,
            tokens: PerPhase {
                prefill: steps.prefill_tokens,
                decode: steps.decode_tokens,
            },
            output_tokens: interval.grew(Counter::GenerationTokens),
            steps: steps.count(),
            decode_request_steps: interval.decode_request_steps(),
            context_weight: steps.context_tokens * steps.decode_tokens,
            hardware,
            preemptions: interval.grew(Counter::Preemptions),
            vllm_estimated_bytes: Bytes(
                interval.grew(Counter::EstimatedReadBytes)
                    + interval.grew(Counter::EstimatedWriteBytes),
            ) * gpus,
            vllm_estimated_flops: Flops(interval.grew(Counter::EstimatedFlops)) * gpus,
            queue: Queue::of(interval, facts),
            several_api_servers: !interval.single_api_server,
            ..Self::default()
        };
        account.decode_steps = steps
            .decode_batch()
            .map_or(0.0, |batch| account.decode_request_steps / batch);
        account.add_latencies(interval);
        account.add_work(interval, &steps, facts);
        account
    }

    fn add_latencies(&mut self, interval: &Interval) {
        if let Some(observed) = &interval.observed.time_to_first_token {
            self.time_to_first_token.merge(observed);
        }
        if let Some(observed) = &interval.observed.inter_token_latency {
            self.inter_token_latency.merge(observed);
        }
    }

    fn add_work(&mut self, interval: &Interval, steps: &Steps, facts: &EngineFacts) {
        let Some(served) = &facts.served else {
            self.busy = busy_seconds(interval, steps, Seconds::ZERO);
            return;
        };
        let kinds = [&steps.decoding, &steps.prefilling].map(|kind| {
            let alone = served.shard.work_of_step(&[kind.prefill]);
            let whole = served.shard.work_of_step(&[kind.prefill, kind.decode]);
            (kind, alone, whole)
        });
        let mut work = Work::default();
        for (kind, alone, whole) in &kinds {
            work.add(kind, alone, whole, facts.gpus());
        }
        self.work = Some(work);
        let Some(ceiling) = facts.ceiling(self.hardware.sm_clock_mhz()) else {
            self.busy = busy_seconds(interval, steps, Seconds::ZERO);
            return;
        };
        // The counters of the hardware outrank the model: where GPM measured the traffic, memory time follows it.
        let traffic = self
            .hardware
            .measured_hbm_bytes(self.seconds, facts.gpus())
            .and_then(|measured| crate::units::ratio(measured.0, work.bytes.total().total().0))
            .unwrap_or(1.0);
        let times = kinds.map(|(kind, _, whole)| roofline_time(kind, &whole, &ceiling, traffic));
        self.fill_time(interval, steps, &times);
    }

    /// Splits the interval's busy seconds: the roofline's components first, clipped to the time there was, the rest is overhead.
    fn fill_time(&mut self, interval: &Interval, steps: &Steps, times: &[BusyTime; 2]) {
        let mut time = times[0];
        time.add(&times[1]);
        let explained = time.roofline();
        self.busy = busy_seconds(interval, steps, explained);
        let fit = if explained > self.busy {
            self.busy / explained
        } else {
            1.0
        };
        time.compute = time.compute * fit;
        time.memory = time.memory * fit;
        time.communication = time.communication * fit;
        time.overhead = (self.busy - time.roofline()).max(Seconds::ZERO);
        self.busy_time = Some(time);
        self.phase_seconds = phase_seconds(self.busy, steps, times);
    }

    /// Seconds in which nothing ran.
    #[must_use]
    pub fn idle_seconds(&self) -> Seconds {
        (self.seconds - self.busy - self.stalled).max(Seconds::ZERO)
    }

    /// Adds the account of another span of the same engine.
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.busy += other.busy;
        self.stalled += other.stalled;
        self.tokens.add(other.tokens);
        self.output_tokens += other.output_tokens;
        self.steps += other.steps;
        self.decode_steps += other.decode_steps;
        self.decode_request_steps += other.decode_request_steps;
        self.context_weight += other.context_weight;
        if let Some(work) = &other.work {
            let sum = self.work.get_or_insert_default();
            sum.flops.add(work.flops);
            sum.bytes.add(work.bytes);
        }
        if let Some(time) = &other.busy_time {
            self.busy_time.get_or_insert_default().add(time);
        }
        self.phase_seconds.add(other.phase_seconds);
        self.hardware.merge(&other.hardware);
        self.time_to_first_token.merge(&other.time_to_first_token);
        self.inter_token_latency.merge(&other.inter_token_latency);
        self.preemptions += other.preemptions;
        self.vllm_estimated_bytes += other.vllm_estimated_bytes;
        self.vllm_estimated_flops += other.vllm_estimated_flops;
        self.queue.add(&other.queue);
        self.several_api_servers |= other.several_api_servers;
    }
}

impl Work {
    /// Adds `kind.count` steps. What the prompts alone need is prefill's, what the decodes add to the same step is decode's; a step
    /// without prompts is decode's altogether.
    fn add(&mut self, kind: &StepKind, alone: &StepWork, whole: &StepWork, gpus: f64) {
        let times = kind.count * gpus;
        let all = ByKind::of(whole).scaled(times);
        if kind.prefill.count > 0.0 {
            let prompts = ByKind::of(alone).scaled(times);
            self.flops.prefill += alone.flops.total() * times;
            self.flops.decode += (whole.flops.total() - alone.flops.total()) * times;
            self.bytes.add(PerPhase {
                prefill: prompts,
                decode: all.less(prompts),
            });
        } else {
            self.flops.decode += whole.flops.total() * times;
            self.bytes.decode = self.bytes.decode + all;
        }
    }
}

impl Queue {
    fn of(interval: &Interval, facts: &EngineFacts) -> Self {
        let seconds = interval.seconds();
        let moments = [interval.before, interval.after];
        let mut queue = Self::default();
        for moment in moments {
            let half = seconds * 0.5;
            queue.running_seconds += moment.running * half.0;
            queue.waiting_seconds += moment.waiting * half.0;
            if moment.waiting > 0.0 {
                queue.queued += half;
                if moment.kv_usage.is_some_and(|usage| usage >= KV_FULL) {
                    queue.kv_full += half;
                }
                if facts
                    .max_num_seqs()
                    .is_some_and(|limit| moment.running >= limit)
                {
                    queue.seqs_full += half;
                }
            }
        }
        queue
    }

    fn add(&mut self, other: &Self) {
        self.running_seconds += other.running_seconds;
        self.waiting_seconds += other.waiting_seconds;
        self.queued += other.queued;
        self.kv_full += other.kv_full;
        self.seqs_full += other.seqs_full;
    }
}

/// Roofline time of `kind.count` steps, each given to its larger component; `traffic` scales the modelled bytes to the measured.
fn roofline_time(kind: &StepKind, whole: &StepWork, ceiling: &Ceiling, traffic: f64) -> BusyTime {
    let compute = whole.compute_seconds(ceiling);
    let memory = (whole.bytes.total() + whole.activation_bytes) / ceiling.hbm * traffic;
    let mut time = BusyTime {
        communication: whole.communication.seconds(&ceiling.link) * kind.count,
        ..BusyTime::default()
    };
    if compute > memory {
        time.compute = compute * kind.count;
    } else {
        time.memory = memory * kind.count;
    }
    time
}

/// Seconds of the interval with a request running. Where it ran at both ends, all of them; else what the steps took, by their own
/// clock (inter-token latency) or at least by the roofline.
fn busy_seconds(interval: &Interval, steps: &Steps, explained: Seconds) -> Seconds {
    let whole = interval.seconds();
    if interval.before.running > 0.0 && interval.after.running > 0.0 {
        return whole;
    }
    let decoding = steps
        .decode_batch()
        .map_or(0.0, |batch| interval.decode_request_seconds() / batch);
    Seconds(decoding).max(explained).min(whole)
}

/// Busy seconds by phase: prompt steps get their share of the roofline time, or, where the roofline explains little, of the steps.
fn phase_seconds(busy: Seconds, steps: &Steps, times: &[BusyTime; 2]) -> PerPhase<Seconds> {
    let [decoding, prefilling] = [times[0].roofline(), times[1].roofline()];
    let share = crate::units::ratio(prefilling.0, (decoding + prefilling).0)
        .or_else(|| crate::units::ratio(steps.prefilling.count, steps.count()))
        .unwrap_or(0.0);
    PerPhase {
        prefill: busy * share,
        decode: busy * (1.0 - share),
    }
}
