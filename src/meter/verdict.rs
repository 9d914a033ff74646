//! What bounds the engine, why requests wait, and whether it runs at all.

use roofline::bound::{Admission, Bound, Dominant, EngineState};
use roofline::units::{Bytes, Seconds};

use super::account::{Account, BusyTime, ByKind};

/// Under this share of busy time, the roofline does not explain where the time goes.
pub const OVERHEAD_BELOW: f64 = 0.5;

/// The bound of a span: the largest component of its busy time, unless all roofline components together are less than
/// `overhead_below` of it.
#[must_use]
pub fn bound(account: &Account, overhead_below: f64) -> Bound {
    if account.busy <= account.seconds * 0.01 {
        return if account.stalled > Seconds::ZERO {
            Bound::Unknown
        } else {
            Bound::Idle
        };
    }
    account.busy_time.as_ref().map_or(Bound::Unknown, |time| {
        if time.roofline() < account.busy * overhead_below {
            Bound::Overhead
        } else {
            largest(time)
        }
    })
}

fn largest(time: &BusyTime) -> Bound {
    [Bound::MemoryBandwidth, Bound::Compute, Bound::Interconnect]
        .into_iter()
        .max_by(|one, other| {
            component(time, *one)
                .0
                .total_cmp(&component(time, *other).0)
        })
        .unwrap_or(Bound::Unknown)
}

/// Seconds that speak for `bound`.
pub(super) fn component(time: &BusyTime, bound: Bound) -> Seconds {
    match bound {
        Bound::MemoryBandwidth => time.memory,
        Bound::Compute => time.compute,
        Bound::Interconnect => time.communication,
        Bound::Overhead => time.overhead,
        Bound::Idle | Bound::Unknown => Seconds::ZERO,
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

/// What kept requests waiting for most of the time they waited; open where they waited for less than half of the span.
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

/// The largest kind of bytes.
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

    fn busy(compute: f64, memory: f64, overhead: f64) -> Account {
        let total = compute + memory + overhead;
        Account {
            seconds: Seconds(total),
            busy: Seconds(total),
            busy_time: Some(BusyTime {
                compute: Seconds(compute),
                memory: Seconds(memory),
                communication: Seconds::ZERO,
                overhead: Seconds(overhead),
            }),
            ..Account::default()
        }
    }

    #[test]
    fn the_largest_component_bounds_unless_the_roofline_explains_too_little() {
        assert_eq!(
            bound(&busy(1.0, 8.0, 1.0), OVERHEAD_BELOW),
            Bound::MemoryBandwidth
        );
        assert_eq!(bound(&busy(8.0, 1.0, 1.0), OVERHEAD_BELOW), Bound::Compute);
        assert_eq!(bound(&busy(2.0, 2.0, 6.0), OVERHEAD_BELOW), Bound::Overhead);
        assert_eq!(bound(&busy(1.9, 2.1, 6.0), 0.3), Bound::MemoryBandwidth);
    }

    #[test]
    fn without_facts_or_work_the_bound_says_so() {
        let idle = Account::idle(Seconds(1.0), Default::default());
        assert_eq!(bound(&idle, OVERHEAD_BELOW), Bound::Idle);
        let unmodelled = Account {
            busy_time: None,
            ..busy(1.0, 1.0, 0.0)
        };
        assert_eq!(bound(&unmodelled, OVERHEAD_BELOW), Bound::Unknown);
        let stalled = Account::stalled(Seconds(1.0), Default::default());
        assert_eq!(bound(&stalled, OVERHEAD_BELOW), Bound::Unknown);
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
