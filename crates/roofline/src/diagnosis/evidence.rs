//! The evidence: the figures behind a finding, each with its origin.

use super::text::{count, duration, percent};
use super::{FindingKind, Observation};
use crate::bound::{Admission, Bound};

/// Smaller shares of busy time are not listed.
const LEAST_SHARE: f64 = 0.01;

/// The evidence for a finding of kind `id` in `seen`.
pub(super) fn of(id: FindingKind, seen: &Observation) -> Vec<String> {
    match id {
        FindingKind::KvCapacity
        | FindingKind::MaxNumSeqs
        | FindingKind::TokenBudget
        | FindingKind::Waiting => queue(seen),
        FindingKind::FrontEnd => front_end(seen),
        FindingKind::Compute
        | FindingKind::MemoryBandwidth
        | FindingKind::Interconnect
        | FindingKind::Host
        | FindingKind::KernelLatency
        | FindingKind::Overhead => hardware(seen),
        _ => Vec::new(),
    }
}

fn queue(seen: &Observation) -> Vec<String> {
    let users = &seen.users;
    let preempted = (seen.preemptions_per_second > 0.0).then(|| {
        format!(
            "{} requests per second are preempted and computed again (measured by vLLM)",
            count(seen.preemptions_per_second)
        )
    });
    let capacity = seen.kv_capacity_tokens.map(|tokens| {
        let each = seen.input_tokens.zip(seen.output_tokens).map_or_else(
            String::new,
            |(input, output)| {
                format!(
                    "; a request brings {} prompt and {} output tokens",
                    count(input),
                    count(output)
                )
            },
        );
        format!("it holds {} tokens{each} (measured by vLLM)", count(tokens))
    });
    [
        kv_usage(seen),
        capacity,
        preempted,
        users.ttft_seconds.map(|seconds| {
            format!(
                "the first token takes {} on average, waiting included (measured by vLLM)",
                duration(seconds)
            )
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn front_end(seen: &Observation) -> Vec<String> {
    let whole = seen.request_seconds.zip(seen.outside_share);
    let whole = whole.map(|(seconds, share)| {
        format!(
            "a request takes {}, of which {} waiting for the engine and in it (measured by vLLM)",
            duration(seconds),
            duration(seconds * (1.0 - share))
        )
    });
    let token = seen.felt().tpot_seconds.zip(seen.users.tpot_seconds);
    let token = token.map(|(felt, engine)| {
        format!(
            "users wait {} for a token, the engine takes {} (measured by vLLM)",
            duration(felt),
            duration(engine)
        )
    });
    whole.into_iter().chain(token).collect()
}

/// The usage of the KV cache; its maximum if requests wait for the cache.
fn kv_usage(seen: &Observation) -> Option<String> {
    let most = seen
        .kv_usage_most
        .filter(|_| seen.admission == Admission::KvCapacity);
    match (most, seen.kv_usage) {
        (Some(most), _) => Some(format!(
            "KV cache up to {} used (measured by vLLM)",
            percent(most)
        )),
        (None, used) => {
            used.map(|used| format!("KV cache {} used (measured by vLLM)", percent(used)))
        }
    }
}

fn hardware(seen: &Observation) -> Vec<String> {
    let shares: Vec<String> = seen
        .busy_shares
        .iter()
        .filter(|(_, share)| *share >= LEAST_SHARE)
        .map(|(bound, share)| format!("{} {}", bound.as_str().replace('_', " "), percent(*share)))
        .collect();
    let traffic = seen.hbm_share.map(|(share, measured)| {
        let origin = if measured {
            "measured by GPM"
        } else {
            "modelled"
        };
        format!(
            "HBM traffic is {} of the datasheet peak ({origin})",
            percent(share)
        )
    });
    let flops = seen.flops_share.map(|share| {
        format!(
            "FLOPs are {} of the datasheet peak (modelled)",
            percent(share)
        )
    });
    let batch = seen.decode_batch.map(|batch| {
        format!(
            "a decode step serves {} (from vLLM's counters)",
            super::text::requests(batch, "", "").trim()
        )
    });
    [
        (!shares.is_empty()).then(|| {
            let split = [Bound::Host, Bound::KernelLatency];
            let split = split
                .into_iter()
                .any(|bound| seen.share_of(bound).is_some());
            format!(
                "of busy time: {} (modelled{})",
                shares.join(", "),
                if split {
                    "; the split of the rest is measured by the GPU"
                } else {
                    ""
                }
            )
        }),
        traffic,
        flops,
        batch,
    ]
    .into_iter()
    .flatten()
    .collect()
}
