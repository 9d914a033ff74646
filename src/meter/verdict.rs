//! Determines the bound of the engine, why requests wait, and the engine's state.

use roofline::bound::{Admission, Bound, Dominant, EngineState};
use roofline::units::{Bytes, Seconds, ratio};

use super::account::{Account, BusyTime, ByKind, TimeSpent};

/// If overhead is not split: below this share of busy time, the roofline does not explain where the time goes.
pub(crate) const OVERHEAD_BELOW: f64 = 0.5;

/// The bound of a span: the component with the largest part of its busy time.
///
/// If no measurement separates host and kernel latency, the bound is overhead when all roofline components together are less than
/// `overhead_below` of busy time.
#[must_use]
pub fn bound(spent: &TimeSpent, overhead_below: f64) -> Bound {
    if spent.busy <= spent.seconds * 0.01 {
        return if spent.stalled > Seconds::ZERO {
            Bound::Unknown
        } else {
            Bound::Idle
        };
    }
    spent.busy_time.as_ref().map_or(Bound::Unknown, |time| {
        if is_split(time) {
            largest(time, &SPLIT)
        } else if time.roofline() < spent.busy * overhead_below {
            Bound::Overhead
        } else {
            largest(time, &ROOFLINE)
        }
    })
}

/// Components of the roofline.
const ROOFLINE: [Bound; 3] = [Bound::Interconnect, Bound::Compute, Bound::MemoryBandwidth];
/// All components, where host and kernel latency are separate.
const SPLIT: [Bound; 5] = [
    Bound::KernelLatency,
    Bound::Host,
    Bound::Interconnect,
    Bound::Compute,
    Bound::MemoryBandwidth,
];

/// Whether host and kernel latency are separate in most of the time that the roofline does not explain.
pub(super) fn is_split(time: &BusyTime) -> bool {
    time.overhead <= time.unexplained() * 0.5
}

fn largest(time: &BusyTime, among: &[Bound]) -> Bound {
    let most = among.iter().max_by(|one, other| {
        component(time, **one)
            .0
            .total_cmp(&component(time, **other).0)
    });
    most.copied().unwrap_or(Bound::Unknown)
}

/// Seconds of the component behind `bound`.
pub(super) fn component(time: &BusyTime, bound: Bound) -> Seconds {
    match bound {
        Bound::MemoryBandwidth => time.memory,
        Bound::Compute => time.compute,
        Bound::Interconnect => time.communication,
        Bound::Host => time.host,
        Bound::KernelLatency => time.kernel_latency,
        Bound::Overhead => time.overhead,
        Bound::Idle | Bound::Unknown => Seconds::ZERO,
    }
}

/// The lead of `one` over `other`, as a share of busy time. If overhead is not split, it is what the roofline leaves: its lead is the
/// distance to the threshold.
pub(super) fn lead(spent: &TimeSpent, one: Bound, other: Bound, overhead_below: f64) -> f64 {
    let Some(time) = &spent.busy_time else {
        return 0.0;
    };
    let share = |seconds: Seconds| ratio(seconds.0, spent.busy.0).unwrap_or(0.0);
    if one == Bound::Overhead || other == Bound::Overhead {
        (share(time.roofline()) - overhead_below).abs()
    } else {
        share(component(time, one)) - share(component(time, other))
    }
}

/// The state of the engine over a span.
#[must_use]
pub fn engine_state(account: &Account, asleep: bool) -> EngineState {
    if asleep {
        EngineState::Sleeping
    } else if account.stalled > account.seconds * 0.5 {
        EngineState::Stalled
    } else if account.busy > Seconds::ZERO {
        EngineState::Running
    } else {
        EngineState::Idle
    }
}

/// Why requests waited for most of the waiting time; open if they waited for less than half of the span.
#[must_use]
pub fn admission(account: &Account, max_num_seqs: Option<f64>) -> Admission {
    let queue = &account.queue;
    if queue.queued < account.seconds * 0.5 {
        Admission::Open
    } else if account.preemptions > 0.0 || queue.kv_full >= queue.queued * 0.5 {
        Admission::KvCapacity
    } else if queue.seqs_full >= queue.queued * 0.5 {
        Admission::MaxNumSeqs
    } else if max_num_seqs.is_some() {
        Admission::TokenBudget
    } else {
        Admission::Unknown
    }
}

/// The dominant kind of bytes.
#[must_use]
pub fn dominant(bytes: &ByKind) -> Option<Dominant> {
    let kinds = [
        (bytes.weights, Dominant::Weights),
        (bytes.kv + bytes.state, Dominant::Kv),
        (bytes.activations, Dominant::Activations),
    ];
    let (most, kind) = kinds
        .into_iter()
        .max_by(|one, other| one.0.0.total_cmp(&other.0.0))?;
    (most > Bytes::ZERO).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(compute: f64, memory: f64, overhead: f64) -> TimeSpent {
        TimeSpent::busy_throughout(BusyTime {
            compute: Seconds(compute),
            memory: Seconds(memory),
            overhead: Seconds(overhead),
            ..BusyTime::default()
        })
    }

    #[test]
    fn the_largest_component_bounds_unless_the_roofline_explains_too_little() {
        let of =
            |compute, memory, overhead| bound(&busy(compute, memory, overhead), OVERHEAD_BELOW);
        assert_eq!(of(1.0, 8.0, 1.0), Bound::MemoryBandwidth);
        assert_eq!(of(8.0, 1.0, 1.0), Bound::Compute);
        assert_eq!(of(2.0, 2.0, 6.0), Bound::Overhead);
        assert_eq!(bound(&busy(1.9, 2.1, 6.0), 0.3), Bound::MemoryBandwidth);
    }

    #[test]
    fn host_and_kernel_latency_are_components_like_others() {
        let of = |memory, host, kernel_latency| {
            let total = Seconds(memory + host + kernel_latency);
            let spent = TimeSpent {
                seconds: total,
                busy: total,
                stalled: Seconds::ZERO,
                busy_time: Some(BusyTime {
                    memory: Seconds(memory),
                    host: Seconds(host),
                    kernel_latency: Seconds(kernel_latency),
                    ..BusyTime::default()
                }),
            };
            bound(&spent, OVERHEAD_BELOW)
        };
        assert_eq!(of(4.0, 3.0, 3.0), Bound::MemoryBandwidth);
        assert_eq!(of(3.0, 4.0, 3.0), Bound::Host);
        assert_eq!(of(3.0, 2.0, 5.0), Bound::KernelLatency);
    }

    #[test]
    fn without_facts_or_work_the_bound_says_so() {
        let of = |spent: TimeSpent| bound(&spent, OVERHEAD_BELOW);
        let idle = Account::idle(Seconds(1.0), Default::default());
        assert_eq!(of(idle.time_spent()), Bound::Idle);
        let unmodelled = TimeSpent {
            busy_time: None,
            ..busy(1.0, 1.0, 0.0)
        };
        assert_eq!(of(unmodelled), Bound::Unknown);
        let stalled = Account::stalled(Seconds(1.0), Default::default());
        assert_eq!(of(stalled.time_spent()), Bound::Unknown);
        assert_eq!(engine_state(&stalled, false), EngineState::Stalled);
        assert_eq!(engine_state(&idle, true), EngineState::Sleeping);
    }

    #[test]
    fn admission_names_what_holds_the_queue() {
        let queued = |kv_full, seqs_full, preemptions| Account {
            seconds: Seconds(10.0),
            preemptions,
            queue: super::super::account::Queue {
                queued: Seconds(9.0),
                kv_full: Seconds(kv_full),
                seqs_full: Seconds(seqs_full),
                ..Default::default()
            },
            ..Account::default()
        };
        assert_eq!(
            admission(
                &Account {
                    seconds: Seconds(1.0),
                    ..Account::default()
                },
                None
            ),
            Admission::Open
        );
        assert_eq!(
            admission(&queued(8.0, 0.0, 0.0), None),
            Admission::KvCapacity
        );
        assert_eq!(
            admission(&queued(0.0, 0.0, 3.0), None),
            Admission::KvCapacity
        );
        assert_eq!(
            admission(&queued(0.0, 9.0, 0.0), Some(8.0)),
            Admission::MaxNumSeqs
        );
        assert_eq!(
            admission(&queued(0.0, 0.0, 0.0), Some(256.0)),
            Admission::TokenBudget
        );
        assert_eq!(admission(&queued(0.0, 0.0, 0.0), None), Admission::Unknown);
    }
}
