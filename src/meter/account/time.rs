//! Busy time by component: each step's seconds go to its larger roofline component; the rest is host time where no kernel ran, and kernel
//! latency where one did.

use crate::meter::interval::Interval;
use crate::meter::steps::IntervalSteps;
use roofline::bound::TimeSeconds;
use roofline::cost::ceiling::Ceiling;
use roofline::cost::step::StepWork;
use roofline::units::{Bytes, Seconds, ratio};

use super::Account;
use super::work::{PerPhase, PricedStep};

impl Account {
    /// The seconds by component, or `None` while the model or the GPU is unknown.
    #[must_use]
    pub fn time_seconds(&self) -> Option<TimeSeconds> {
        let measured = self.hardware.active_known_seconds > Seconds::ZERO;
        self.time_spent().components(measured)
    }
}

/// Busy time by component, in seconds of wall time. The parts add up to the busy seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BusyTime {
    /// Steps whose FLOPs take longer than their bytes, at the attainable ceilings.
    pub compute: Seconds,
    /// Steps whose bytes take longer than their FLOPs.
    pub memory: Seconds,
    /// Collectives between GPUs.
    pub communication: Seconds,
    /// No kernel ran: the GPU waited for the engine's process, its scheduler, an API server or a kernel launch.
    pub host: Seconds,
    /// A kernel ran that none of the components above explains.
    pub kernel_latency: Seconds,
    /// Host or kernel latency, where no measurement separates the two.
    pub overhead: Seconds,
}

impl BusyTime {
    /// Time the roofline explains.
    #[must_use]
    pub fn roofline(&self) -> Seconds {
        self.compute + self.memory + self.communication
    }

    /// Time the roofline does not explain.
    #[must_use]
    pub(crate) fn unexplained(&self) -> Seconds {
        self.host + self.kernel_latency + self.overhead
    }

    /// Known kernel time that the roofline does not explain.
    pub(crate) fn unexplained_kernels(&self) -> Seconds {
        self.kernel_latency + self.overhead
    }

    /// Attributes the part of `busy` that the roofline does not explain: to the host as far as no kernel ran (`without_kernel`), and
    /// otherwise to kernel latency; to overhead without that measurement.
    pub(crate) fn fill(&mut self, busy: Seconds, without_kernel: Option<Seconds>) {
        let rest = (busy - self.roofline()).max(Seconds::ZERO);
        match without_kernel {
            Some(idle) => {
                self.host = idle.min(rest);
                self.kernel_latency = rest - self.host;
            }
            None => self.overhead = rest,
        }
    }

    /// Moves `seconds` out of the unexplained kernel time.
    pub(crate) fn explain(&mut self, seconds: Seconds) {
        let before = self.unexplained_kernels();
        let left = ratio((before - seconds).0, before.0)
            .unwrap_or(0.0)
            .max(0.0);
        self.kernel_latency = self.kernel_latency * left;
        self.overhead = self.overhead * left;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.compute += other.compute;
        self.memory += other.memory;
        self.communication += other.communication;
        self.host += other.host;
        self.kernel_latency += other.kernel_latency;
        self.overhead += other.overhead;
    }

    pub(crate) fn scaled(&self, factor: f64) -> Self {
        Self {
            compute: self.compute * factor,
            memory: self.memory * factor,
            communication: self.communication * factor,
            host: self.host * factor,
            kernel_latency: self.kernel_latency * factor,
            overhead: self.overhead * factor,
        }
    }
}

/// The seconds of one or several spans by component.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeSpent {
    /// Wall time.
    pub seconds: Seconds,
    /// Of these, seconds with a request running and progress.
    pub busy: Seconds,
    /// Of these, seconds with a request running and no progress.
    pub stalled: Seconds,
    /// The busy seconds by component; absent while the model or the GPU is unknown.
    pub busy_time: Option<BusyTime>,
}

impl TimeSpent {
    /// A span that was busy throughout, with `busy_time` as its components.
    #[cfg(test)]
    pub(crate) fn busy_throughout(busy_time: BusyTime) -> Self {
        let seconds = busy_time.roofline() + busy_time.unexplained();
        Self {
            seconds,
            busy: seconds,
            stalled: Seconds::ZERO,
            busy_time: Some(busy_time),
        }
    }

    /// The seconds by component, or `None` while the model or the GPU is unknown. `split` says whether the GPU's own activity was measured
    /// in any of them.
    #[must_use]
    pub fn components(&self, split: bool) -> Option<TimeSeconds> {
        let known = self.busy_time.or_else(|| {
            // A span without busy time needs no roofline.
            (self.busy <= Seconds::ZERO).then(Default::default)
        })?;
        Some(TimeSeconds {
            compute: known.compute,
            memory: known.memory,
            communication: known.communication,
            host: split.then_some(known.host),
            kernel_latency: split.then_some(known.kernel_latency),
            overhead: known.overhead,
            idle: (self.seconds - self.busy - self.stalled).max(Seconds::ZERO),
            stalled: self.stalled,
        })
    }

    /// Adds the seconds of another span.
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.busy += other.busy;
        self.stalled += other.stalled;
        if let Some(time) = &other.busy_time {
            self.busy_time.get_or_insert_default().add(time);
        }
    }
}

/// Seconds that the roofline predicts for the steps of a span, which may exceed the span.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Demand {
    /// By phase and component.
    pub(super) time: PerPhase<BusyTime>,
    /// Steps; those with prompts and decodes are divided in proportion to their needs.
    pub(super) steps: PerPhase<f64>,
}

impl Demand {
    /// The demand of `priced` at `ceiling`; `traffic` scales the modelled bytes to the measured ones.
    pub(super) fn of(priced: &[PricedStep], ceiling: &Ceiling, traffic: f64) -> Self {
        let mut demand = Self::default();
        for steps in priced {
            let time = roofline(&steps.whole, ceiling, traffic).scaled(steps.kind.count);
            let share = prompt_share(steps, ceiling);
            demand.time.prefill.add(&time.scaled(share));
            demand.time.decode.add(&time.scaled(1.0 - share));
            demand.steps.prefill += steps.kind.count * share;
            demand.steps.decode += steps.kind.count * (1.0 - share);
        }
        demand
    }

    pub(super) fn seconds(&self) -> Seconds {
        self.time.prefill.roofline() + self.time.decode.roofline()
    }

    /// Prefill's share of the overhead: each step costs the same.
    pub(super) fn prefill_overhead(&self) -> f64 {
        ratio(self.steps.prefill, self.steps.total()).unwrap_or(0.0)
    }
}

/// Roofline time of one step, attributed to its larger component.
fn roofline(step: &StepWork, ceiling: &Ceiling, traffic: f64) -> BusyTime {
    let (compute, memory) = components(step, ceiling, traffic);
    let mut time = BusyTime {
        communication: step.communication.seconds(&ceiling.link),
        ..BusyTime::default()
    };
    if compute > memory {
        time.compute = compute;
    } else {
        time.memory = memory;
    }
    time
}

fn components(step: &StepWork, ceiling: &Ceiling, traffic: f64) -> (Seconds, Seconds) {
    let bytes: Bytes = step.bytes.total() + step.activation_bytes;
    (step.compute_seconds(ceiling), bytes / ceiling.hbm * traffic)
}

/// Share of a step's time that its prompts need: their roofline time relative to the additional time of the decodes.
fn prompt_share(steps: &PricedStep, ceiling: &Ceiling) -> f64 {
    let (compute, memory) = components(&steps.prompts, ceiling, 1.0);
    let (whole_compute, whole_memory) = components(&steps.whole, ceiling, 1.0);
    let prompts = compute.max(memory);
    let decodes = (whole_compute - compute).max(whole_memory - memory);
    ratio(prompts.0, (prompts + decodes.max(Seconds::ZERO)).0).unwrap_or(0.0)
}

/// Seconds of the interval with a request in the engine; `took` of them are explained by the roofline or had a kernel running.
///
/// With a request at both ends: all of them, unless the GPU reports kernel times: then at most the time that requests were there, which may
/// have gaps. Otherwise the time of the steps, from inter-token latency. Without decodes (embeddings, answers of one token) there is no
/// such latency: then the time that requests waited for their only output, or the whole interval where that is unknown.
pub(super) fn busy_seconds(
    interval: &Interval,
    steps: &IntervalSteps,
    took: Seconds,
    kernels: Option<Seconds>,
) -> Seconds {
    let whole = interval.seconds();
    if interval.before.requests() > 0.0 && interval.after.requests() > 0.0 {
        return kernels.map_or(whole, |kernels| {
            interval.request_seconds().max(took).max(kernels).min(whole)
        });
    }
    let stepping = match steps.decode_batch {
        Some(batch) => interval.decode_request_seconds() / batch,
        None => interval.first_token_seconds(),
    };
    if stepping <= 0.0 && interval.produced() {
        return whole;
    }
    Seconds(stepping)
        .max(took)
        .max(kernels.unwrap_or(Seconds::ZERO))
        .min(whole)
}
