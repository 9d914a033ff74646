//! The account of a time span: tokens, FLOPs, bytes and the seconds by component.
//!
//! Accounts are additive: the account of two adjacent spans is the sum of theirs. Counters are the sum since the start, a window is the sum
//! of its newest spans. Engine figures are summed over the engine's GPUs; seconds are wall time.

mod phases;
mod queue;
mod requests;
mod routing;
mod time;
mod work;

pub use queue::{Queue, QueueMeans};
pub use requests::Requests;
pub use routing::{DistinctExperts, Routing};
pub use time::{BusyTime, TimeSpent};
pub use work::{ByKind, PerPhase, Work};

use crate::sample::engine::{Counter, PromptCount};
use roofline::statistics::Histogram;
use roofline::units::{Bytes, Flops, Seconds};

use super::backfill::DeferredWork;
use super::hardware::HardwareUse;
use super::interval::Interval;
use super::steps::{IntervalSteps, RecentPrompts};
use roofline::engine::{EngineFacts, Served};
use time::Demand;
use work::PricedStep;

/// All additive quantities of one engine over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Wall time.
    pub seconds: Seconds,
    /// Of these, seconds with a request running and progress.
    pub busy: Seconds,
    /// Of these, seconds with a request running and no progress.
    pub stalled: Seconds,
    /// Tokens processed by the model.
    pub tokens: PerPhase<f64>,
    /// Tokens sampled for clients.
    pub output_tokens: f64,
    /// Engine steps.
    pub steps: f64,
    /// Steps that decoded; `decode_request_steps` divided by it is the decode batch.
    pub decode_steps: f64,
    /// Request-steps of decode.
    pub decode_request_steps: f64,
    /// Context tokens × decode tokens: divided by the decode tokens, the mean context.
    pub context_weight: f64,
    /// Modelled work; absent while the model is unknown.
    pub work: Option<Work>,
    /// The busy seconds by component; absent while the model or the GPU is unknown.
    pub busy_time: Option<BusyTime>,
    /// Busy seconds that the roofline explains, by phase.
    pub phase_roofline: PerPhase<Seconds>,
    /// Busy seconds that the roofline does not explain, by phase.
    pub phase_overhead: PerPhase<Seconds>,
    /// Work of prompts that were counted in this span but must have run earlier.
    pub early: Option<DeferredWork>,
    /// The hardware's own counters.
    pub hardware: HardwareUse,
    /// Times to first token.
    pub time_to_first_token: Histogram,
    /// Times between tokens.
    pub inter_token_latency: Histogram,
    /// Requests preempted.
    pub preemptions: f64,
    /// Requests that got a first token, and neither finished nor still run: their clients disconnected. Prompts that cross the edges of the
    /// span make it inexact by a few.
    pub vanished: f64,
    /// vLLM's own estimate of HBM bytes, all GPUs; 0 unless `--enable-mfu-metrics` is set.
    pub vllm_estimated_bytes: Bytes,
    /// vLLM's own estimate of FLOPs, all GPUs.
    pub vllm_estimated_flops: Flops,
    /// The state of the request queue.
    pub queue: Queue,
    /// The time of finished requests.
    pub requests: Requests,
    /// Token lengths of recent requests.
    pub prompts: RecentPrompts,
    /// Distinct experts that steps reached; absent for a dense or unknown model.
    pub experts: Option<DistinctExperts>,
    /// Whether step counts were inexact because several API servers share the page.
    pub several_api_servers: bool,
    /// The source of the computed prompt tokens.
    pub prompt_count: PromptCount,
    /// Maximum number of LoRA adapters that ran at the same time.
    pub running_adapters: f64,
}

impl Account {
    /// The account of a span without any request in vLLM.
    #[must_use]
    pub fn idle(seconds: Seconds, hardware: HardwareUse) -> Self {
        Self {
            seconds,
            hardware,
            ..Self::default()
        }
    }

    /// The account of a span with running requests and no progress.
    #[must_use]
    pub fn stalled(seconds: Seconds, hardware: HardwareUse) -> Self {
        Self {
            stalled: seconds,
            ..Self::idle(seconds, hardware)
        }
    }

    /// The account of `interval`, with the GPU activity of that time; `prompts` are the newest known ones, and `routing` is the state of
    /// the routing estimate, which learns from it.
    #[must_use]
    pub fn of(
        interval: &Interval,
        facts: &EngineFacts,
        prompts: &RecentPrompts,
        routing: &mut Routing,
        hardware: HardwareUse,
    ) -> Self {
        let steps = IntervalSteps::recover(interval, facts, prompts);
        let gpus = facts.gpus();
        let mut account = Self {
            seconds: interval.seconds(),
            tokens: PerPhase {
                prefill: steps.prefill_tokens,
                decode: steps.decode_tokens,
            },
            output_tokens: interval.grew(Counter::GenerationTokens),
            steps: steps.count(),
            decode_request_steps: interval.decode_request_steps(),
            context_weight: steps.context.attended * steps.decode_tokens,
            hardware,
            preemptions: interval.grew(Counter::Preemptions),
            vanished: vanished(interval),
            vllm_estimated_bytes: Bytes(
                interval.grew(Counter::EstimatedReadBytes)
                    + interval.grew(Counter::EstimatedWriteBytes),
            ) * gpus,
            vllm_estimated_flops: Flops(interval.grew(Counter::EstimatedFlops)) * gpus,
            queue: Queue::of(interval, facts),
            requests: Requests::of(interval),
            prompts: *prompts,
            several_api_servers: !interval.single_api_server,
            prompt_count: interval.prompt_count(),
            running_adapters: interval.running_adapters,
            ..Self::default()
        };
        account.decode_steps = steps
            .decode_batch
            .map_or(0.0, |batch| account.decode_request_steps / batch);
        account.add_latencies(interval);
        match &facts.served {
            Some(served) => account.add_work(interval, &steps, (served, routing), facts),
            None => {
                account.busy = time::busy_seconds(interval, &steps, Seconds::ZERO, None);
            }
        }
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

    fn add_work(
        &mut self,
        interval: &Interval,
        steps: &IntervalSteps,
        (served, routing): (&Served, &mut Routing),
        facts: &EngineFacts,
    ) {
        let measured = self.measured_hbm_bytes(facts);
        let uniform = served.shard_with_adapters(self.running_adapters);
        let routed = routing.learn(steps, &uniform, measured, facts.gpus());
        let shard = routed.as_ref().unwrap_or(&uniform);
        self.experts = routing.distinct(steps, &uniform, shard);
        let priced = work::price(steps, shard);
        let mut work = Work::default();
        for kind in &priced {
            work.add_steps(kind, facts.gpus());
        }
        self.work = Some(work);
        match self.demand(&priced, &work, facts) {
            Some(demand) => {
                let without_kernel = self.hardware.idle_seconds(self.seconds, facts.gpus_read());
                let kernels = without_kernel.map(|idle| self.seconds - idle);
                let least = self
                    .least_seconds(facts)
                    .map_or(Seconds::ZERO, |least| least.total());
                let explained = demand.seconds().max(least);
                self.busy = time::busy_seconds(interval, steps, explained, kernels);
                self.fill(&demand, without_kernel);
            }
            None => {
                self.busy = time::busy_seconds(interval, steps, Seconds::ZERO, None);
            }
        }
    }

    /// HBM bytes that the hardware counted, all GPUs.
    fn measured_hbm_bytes(&self, facts: &EngineFacts) -> Option<Bytes> {
        let (read, gpus) = (facts.gpus_read(), facts.gpus());
        self.hardware.measured_hbm_bytes(self.seconds, read, gpus)
    }

    /// The time that the roofline predicts at the current clock. Hardware counters take precedence over the model: where GPM measured the
    /// traffic, memory time follows it.
    fn demand(&self, priced: &[PricedStep], work: &Work, facts: &EngineFacts) -> Option<Demand> {
        let ceiling = facts.ceiling(self.hardware.sm_clock_mhz())?;
        let traffic = self
            .measured_hbm_bytes(facts)
            .and_then(|measured| roofline::units::ratio(measured.0, work.bytes.total().total().0))
            .unwrap_or(1.0);
        Some(Demand::of(priced, &ceiling, traffic))
    }

    /// Divides the busy seconds into components. Those `without_kernel`, as far as a request was running in them, are the host's: the GPU's
    /// own measurement takes precedence over the model. In the remaining time decodes, which are counted when they run, have priority, then
    /// prompts as far as there is time; the rest of the prompts' work ran earlier and is deferred.
    fn fill(&mut self, demand: &Demand, without_kernel: Option<Seconds>) {
        let outside = self.seconds - self.busy;
        let without_kernel = without_kernel.map(|idle| (idle - outside).max(Seconds::ZERO));
        let room = self.busy - without_kernel.unwrap_or(Seconds::ZERO);
        let fitted = |wanted: Seconds, available: Seconds| {
            roofline::units::ratio(available.0, wanted.0).map_or(1.0, |share| share.clamp(0.0, 1.0))
        };
        let decode = demand.time.decode;
        let decode = decode.scaled(fitted(decode.roofline(), room));
        let wanted = demand.time.prefill;
        let share = fitted(wanted.roofline(), room - decode.roofline());
        let prefill = wanted.scaled(share);
        let mut time = decode;
        time.add(&prefill);
        time.fill(self.busy, without_kernel);
        self.early = self
            .work
            .and_then(|work| DeferredWork::of(&work, &wanted, share));
        let prefill_overhead = demand.prefill_overhead();
        self.phase_roofline = PerPhase {
            prefill: prefill.roofline(),
            decode: decode.roofline(),
        };
        self.phase_overhead = PerPhase {
            prefill: time.unexplained() * prefill_overhead,
            decode: time.unexplained() * (1.0 - prefill_overhead),
        };
        self.busy_time = Some(time);
    }

    /// The seconds by component.
    #[must_use]
    pub const fn time_spent(&self) -> TimeSpent {
        TimeSpent {
            seconds: self.seconds,
            busy: self.busy,
            stalled: self.stalled,
            busy_time: self.busy_time,
        }
    }

    /// Seconds in which nothing ran.
    #[must_use]
    pub(crate) fn idle_seconds(&self) -> Seconds {
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
            self.work.get_or_insert_default().add(work);
        }
        if let Some(time) = &other.busy_time {
            self.busy_time.get_or_insert_default().add(time);
        }
        if let Some(early) = &other.early {
            self.early.get_or_insert_default().add(early);
        }
        if let Some(experts) = &other.experts {
            self.experts.get_or_insert_default().add(experts);
        }
        self.phase_roofline.add(other.phase_roofline);
        self.phase_overhead.add(other.phase_overhead);
        self.hardware.merge(&other.hardware);
        self.time_to_first_token.merge(&other.time_to_first_token);
        self.inter_token_latency.merge(&other.inter_token_latency);
        self.preemptions += other.preemptions;
        self.vanished += other.vanished;
        self.vllm_estimated_bytes += other.vllm_estimated_bytes;
        self.vllm_estimated_flops += other.vllm_estimated_flops;
        self.queue.add(&other.queue);
        self.requests.add(&other.requests);
        if other.prompts.tokens > 0.0 {
            self.prompts = other.prompts;
        }
        self.several_api_servers |= other.several_api_servers;
        self.prompt_count = self.prompt_count.max(other.prompt_count);
        self.running_adapters = self.running_adapters.max(other.running_adapters);
    }
}

/// First tokens, minus requests that finished, minus the increase of running requests.
fn vanished(interval: &Interval) -> f64 {
    interval.first_tokens()
        - interval.grew(Counter::FinishedRequests)
        - (interval.after.running - interval.before.running)
}
