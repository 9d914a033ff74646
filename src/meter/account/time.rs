//! Where busy time went: each step's seconds go to its larger roofline component; what is left is the host's where no kernel ran, and
//! kernel latency where one did.

use crate::meter::interval::Interval;
use crate::meter::steps::IntervalSteps;
use roofline::bound::TimeSeconds;
use roofline::cost::ceiling::Ceiling;
use roofline::cost::step::StepWork;
use roofline::units::{Bytes, Seconds, ratio};

use super::Account;
use super::work::{PerPhase, PricedStep};

impl Account {
    /// Where the seconds went, or `None` while the model or the GPU is unknown.
    #[must_use]
    pub fn time_seconds(&self) -> Option<TimeSeconds> {
        let measured = self.hardware.active_known_seconds > Seconds::ZERO;
        self.time_spent().components(measured)
    }
}

/// Where busy time went, in seconds of wall time. The parts add up to the busy seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BusyTime {
    /// Steps whose FLOPs take longer than their bytes, at the attainable ceilings.
    pub compute: Seconds,
    /// Steps whose bytes take longer than their FLOPs.
    pub memory: Seconds,
    /// Collectives between GPUs.
    pub communication: Seconds,
    /// No kernel ran: the GPU waited for the engine's process, its scheduler, an API server or a launch.
    pub host: Seconds,
    /// A kernel ran that none of the above explains.
    pub kernel_latency: Seconds,
    /// Host or kernel latency, where nothing tells the two apart.
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
    pub fn unexplained(&self) -> Seconds {
        self.host + self.kernel_latency + self.overhead
    }

    /// Time with a kernel running, as far as is known, that the roofline does not explain.
    pub(crate) fn unexplained_kernels(&self) -> Seconds {
        self.kernel_latency + self.overhead
    }

    /// Gives `busy` seconds, less what the roofline explains, to the host as far as no kernel ran in `without_kernel` of them, and
    /// else to kernel latency; to overhead where that is not known.
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

    /// Takes `seconds` from what kernels ran for without explanation.
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

/// Where the seconds of a span went, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeSpent {
    /// Wall time.
    pub seconds: Seconds,
    /// Of these, seconds with a request running and progress.
    pub busy: Seconds,
    /// Of these, seconds with a request running and no progress.
    pub stalled: Seconds,
    /// Where the busy seconds went; absent while the model or the GPU is unknown.
    pub busy_time: Option<BusyTime>,
}

impl TimeSpent {
    /// A span that was busy throughout, as `busy_time` says.
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

    /// The seconds by component, or `None` while the model or the GPU is unknown. `split` says whether the GPU's own activity was
    /// measured in any of them.
    #[must_use]
    pub fn components(&self, split: bool) -> Option<TimeSeconds> {
        let known = self.busy_time.or_else(|| {
            // A span without busy time is explained without a roofline.
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

/// Seconds that the roofline gives to the steps of a span, whether or not the span had so many.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Demand {
    /// By phase and component.
    pub(super) time: PerPhase<BusyTime>,
    /// Steps, those with prompts and decodes divided by what each needs.
    pub(super) steps: PerPhase<f64>,
}

impl Demand {
    /// The demand of `priced` at `ceiling`; `traffic` scales the modelled bytes to the measured.
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

    /// Share of the overhead that prefill bears: each step costs the same.
    pub(super) fn prefill_overhead(&self) -> f64 {
        ratio(self.steps.prefill, self.steps.total()).unwrap_or(0.0)
    }
}

/// Roofline time of one step, given to its larger component.
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

/// Share of a step's time that its prompts take: their roofline time beside that of what the decodes add.
fn prompt_share(steps: &PricedStep, ceiling: &Ceiling) -> f64 {
    let (compute, memory) = components(&steps.prompts, ceiling, 1.0);
    let (whole_compute, whole_memory) = components(&steps.whole, ceiling, 1.0);
    let prompts = compute.max(memory);
    let decodes = (whole_compute - compute).max(whole_memory - memory);
    ratio(prompts.0, (prompts + decodes.max(Seconds::ZERO)).0).unwrap_or(0.0)
}

/// Seconds of the interval with a request in the engine, of which the roofline or a kernel `took` some.
///
/// Where one was in it at both ends: all of them, unless the GPU says how long kernels ran: then no more than requests were there
/// for, which between two of them may be less. Else what the steps took, by their own clock (inter-token latency). Without decodes
/// (embeddings, answers of one token) no step has a clock of its own: then as long as the requests waited for their only output, or
/// all of it where that is not known.
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
