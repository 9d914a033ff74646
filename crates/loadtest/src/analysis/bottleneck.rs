//! What limits each phase, with the figures that show it.
//!
//! The exporter uses the same rule: the largest roofline component, unless all components together explain less than a configurable share
//! of the time; then the bound is overhead. For a capture, the time is the busy time from vLLM's counters; for a client's results, it is
//! the measured time per token, compared with a roofline step at the measured load.

use super::recording::{ObservedBound, PhaseWork, RecordedStretch};
use super::run::{Basis, Bottleneck, MeasuredRun};
use super::subject::Subject;
use super::text::{count, duration, percent, scaled};
use roofline::bound::Admission;
use roofline::bound::Bound;
use roofline::predict::{BottleneckKind, Phase, PredictedSteps, Prediction, StepPrediction};
use roofline::units::{Seconds, ratio};

/// A phase with a smaller share of the time than this limits nothing.
const LEAST_SHARE: f64 = 0.02;

/// Roofline seconds of a phase by component, and the seconds that the phase took.
struct Times {
    compute: Seconds,
    memory: Seconds,
    communication: Seconds,
    took: Seconds,
}

impl Times {
    fn bound(&self, overhead_below: f64) -> Bound {
        let parts = [
            (self.memory, Bound::MemoryBandwidth),
            (self.compute, Bound::Compute),
            (self.communication, Bound::Interconnect),
        ];
        let explained: Seconds = parts.iter().map(|(seconds, _)| *seconds).sum();
        let mut largest = parts[0];
        for part in parts {
            if part.0 > largest.0 {
                largest = part;
            }
        }
        if explained < self.took * overhead_below {
            Bound::Overhead
        } else {
            largest.1
        }
    }
}

/// Bottlenecks from a capture.
pub(super) fn from_capture(
    subject: &Subject,
    recorded: &RecordedStretch,
    overhead_below: f64,
) -> Vec<Bottleneck> {
    let observed = &recorded.observed;
    let mut found = Vec::new();
    found.extend(whole(observed, &recorded.measured));
    for (phase, own) in [
        (Phase::Prefill, &observed.prefill),
        (Phase::Decode, &observed.decode),
    ] {
        let clock = recorded.measured.sm_clock_mhz;
        found.extend(phase_of(
            subject,
            observed,
            phase,
            own,
            clock,
            overhead_below,
        ));
    }
    found
}

/// The verdict on the run as a whole.
fn whole(observed: &ObservedBound, measured: &MeasuredRun) -> Option<Bottleneck> {
    let bound = match (observed.admission, observed.bound) {
        (Admission::KvCapacity, _) => BottleneckKind::KvCapacity,
        (_, Bound::Idle | Bound::Unknown) => return None,
        (_, bound) => BottleneckKind::Step(bound),
    };
    let mut evidence = Vec::new();
    if let Some(time) = observed.time_seconds {
        let shares = time
            .components()
            .into_iter()
            .filter_map(|(name, seconds)| Some((name, ratio(seconds.0, observed.seconds.0)?)))
            .filter(|(_, share)| *share >= 0.005)
            .map(|(name, share)| format!("{name} {}", percent(share)));
        evidence.push(format!(
            "of the time: {} (modelled from vLLM's counters{})",
            shares.collect::<Vec<_>>().join(", "),
            if observed.memory_is_measured {
                ", memory time follows GPM"
            } else {
                ""
            }
        ));
    }
    if let Some(share) = measured.hbm_utilization {
        evidence.push(format!(
            "HBM traffic was {} of the datasheet peak (measured by GPM)",
            percent(share)
        ));
    }
    if let Some(share) = measured.power_limited_ratio.filter(|share| *share > 0.05) {
        evidence.push(format!(
            "a power limit held the clock down in {} of the readings",
            percent(share)
        ));
    }
    evidence.extend(waiting(observed));
    Some(Bottleneck {
        phase: None,
        bound,
        basis: Basis::VllmCounters,
        evidence,
    })
}

/// Why requests waited, in words.
fn waiting(observed: &ObservedBound) -> Option<String> {
    let sentence = match observed.admission {
        Admission::Open => return None,
        Admission::KvCapacity => {
            "requests waited for room in the KV cache, or were preempted for it"
        }
        Admission::MaxNumSeqs => {
            "requests waited since as many ran as --max-num-seqs allows, beside free KV cache"
        }
        Admission::TokenBudget => {
            "requests waited for their share of --max-num-batched-tokens, beside free KV cache"
        }
        Admission::Unknown => {
            "requests waited beside free KV cache; --max-num-seqs is not known, so why is not either"
        }
    };
    Some(format!("{sentence} (measured by vLLM)"))
}

fn phase_of(
    subject: &Subject,
    observed: &ObservedBound,
    phase: Phase,
    own: &PhaseWork,
    sm_clock_mhz: Option<f64>,
    overhead_below: f64,
) -> Option<Bottleneck> {
    let (flops, bytes) = own.flops.zip(own.hbm_bytes)?;
    if own.busy_seconds < observed.seconds * LEAST_SHARE {
        return None;
    }
    let ceiling = subject.facts.ceiling(sm_clock_mhz)?;
    let gpus = subject.facts.gpus();
    let peak = ceiling.peak(subject.facts.main_precision()?) * gpus;
    let bandwidth = ceiling.hbm * gpus;
    let collectives = observed
        .time_seconds
        .map_or(Seconds::ZERO, |time| time.communication);
    let share = ratio(own.busy_seconds.0, observed.seconds.0)?;
    let times = Times {
        compute: flops / peak,
        memory: bytes / bandwidth,
        communication: collectives * share,
        took: own.busy_seconds,
    };
    let of = |part: Seconds| ratio(part.0, times.took.0).map_or_else(String::new, percent);
    let evidence = vec![
        format!(
            "{} took {} of {}",
            phase.name(),
            duration(times.took.0),
            duration(observed.seconds.0)
        ),
        format!(
            "its {}B of HBM traffic need {} at the attainable {}B/s: {} of that",
            scaled(bytes.0),
            duration(times.memory.0),
            scaled(bandwidth.0),
            of(times.memory)
        ),
        format!(
            "its {}FLOP need {} at the attainable {}FLOP/s{}: {} of that",
            scaled(flops.0),
            duration(times.compute.0),
            scaled(peak.0),
            sm_clock_mhz.map_or("", |_| " of the current clock"),
            of(times.compute)
        ),
    ];
    Some(Bottleneck {
        phase: Some(phase),
        bound: BottleneckKind::Step(times.bound(overhead_below)),
        basis: Basis::VllmCounters,
        evidence,
    })
}

/// Bottlenecks from a client's results, compared with the prediction for the measured load.
pub(super) fn from_prediction(
    prediction: &Prediction,
    measured: &MeasuredRun,
    overhead_below: f64,
) -> Vec<Bottleneck> {
    let PredictedSteps::Steps(steps) = &prediction.steps else {
        return Vec::new();
    };
    let mut found = Vec::new();
    found.extend(prefill(&steps.prefill, prediction, measured));
    let tpot = measured
        .latency
        .per_token()
        .and_then(|tpot| tpot.p50_seconds);
    found.extend(tpot.and_then(|tpot| decode(&steps.decode, Seconds(tpot), overhead_below)));
    found
}

fn decode(step: &StepPrediction, measured: Seconds, overhead_below: f64) -> Option<Bottleneck> {
    let time = step.time_seconds?;
    let times = Times {
        compute: time.compute,
        memory: time.memory,
        communication: time.communication,
        took: measured,
    };
    let roofline = time.compute + time.memory + time.communication;
    Some(Bottleneck {
        phase: Some(Phase::Decode),
        bound: BottleneckKind::Step(times.bound(overhead_below)),
        basis: Basis::ClientCounts,
        evidence: vec![
            format!(
                "a decode step of {} requests needs {} for its HBM traffic and {} for its arithmetic at the datasheet's peaks (modelled)",
                count(step.batch),
                duration(step.memory_seconds?.0),
                duration(step.compute_seconds?.0),
            ),
            format!(
                "a token took {} at the median (measured): at the attainable ceilings the roofline explains {} of it",
                duration(measured.0),
                ratio(roofline.0, measured.0).map_or_else(String::new, percent)
            ),
        ],
    })
}

fn prefill(
    step: &StepPrediction,
    prediction: &Prediction,
    measured: &MeasuredRun,
) -> Option<Bottleneck> {
    let mut evidence = vec![format!(
        "the first step of a prompt needs {} for its arithmetic and {} for its HBM traffic at the datasheet's peaks, and {} in all (modelled)",
        duration(step.compute_seconds?.0),
        duration(step.memory_seconds?.0),
        duration(step.expected_seconds?.0)
    )];
    let first = measured
        .latency
        .ttft
        .as_ref()
        .and_then(|ttft| ttft.p50_seconds);
    if let Some((first, latency)) = first.zip(prediction.latency.as_ref()) {
        evidence.push(format!(
            "the first token took {} at the median (measured), {} are expected under this load: what is beyond is waiting",
            duration(first),
            duration(latency.ttft_expected_seconds.0)
        ));
    }
    Some(Bottleneck {
        phase: Some(Phase::Prefill),
        bound: BottleneckKind::Step(step.bottleneck?),
        basis: Basis::ClientCounts,
        evidence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_roofline_does_not_explain_is_overhead() {
        let times = |compute, memory, took| Times {
            compute: Seconds(compute),
            memory: Seconds(memory),
            communication: Seconds::ZERO,
            took: Seconds(took),
        };
        assert_eq!(times(1.0, 5.0, 8.0).bound(0.5), Bound::MemoryBandwidth);
        assert_eq!(times(5.0, 1.0, 8.0).bound(0.5), Bound::Compute);
        assert_eq!(times(1.0, 2.0, 8.0).bound(0.5), Bound::Overhead);
        assert_eq!(times(1.0, 2.0, 8.0).bound(0.3), Bound::MemoryBandwidth);
    }
}
