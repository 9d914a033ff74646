//! Caveats: what makes the figures of a span less than exact, in words.

use roofline::units::{Seconds, ratio};

use crate::sample::engine::PromptCount;

use super::account::Account;
use super::reconcile::Impossible;
use roofline::engine::EngineFacts;

/// Bounds whose shares of busy time differ by less than this are hard to distinguish.
const CLOSE: f64 = 0.1;
/// From this share of deferred work, there is a caveat.
const MUCH_EARLY: f64 = 0.05;

/// The caveats of `account`.
#[must_use]
pub fn caveats(account: &Account, facts: &EngineFacts) -> Vec<&'static str> {
    of_facts(account, facts)
        .into_iter()
        .chain(of_counters(account))
        .chain(of_model(account, facts))
        .filter_map(|(applies, text)| applies.then_some(text))
        .collect()
}

/// Whether it applies, and its text.
type Caveat = (bool, &'static str);

/// Caveats for missing or implausible facts.
fn of_facts(account: &Account, facts: &EngineFacts) -> [Caveat; 5] {
    let impossible = Impossible::of(account, facts).unwrap_or_default();
    [
        (
            facts.served.is_none() && !quantization_unknown(facts),
            "the model is not known: no FLOPs, no bytes, no bound",
        ),
        (
            quantization_unknown(facts),
            "the quantization is not known: no FLOPs, no bytes, no bound",
        ),
        (
            facts.gpu.is_none(),
            "the GPU is not known: no roof, no utilisation, no bound",
        ),
        (
            impossible.compute,
            "more FLOPs than the GPUs can do: the GPU, the model, its quantization or its parallelism differs from what the exporter assumes",
        ),
        (
            impossible.memory,
            "more bytes than the memory bus carries: the GPU, the model, its quantization or its parallelism differs from what the exporter assumes",
        ),
    ]
}

/// Caveats for information that vLLM's counters lack.
fn of_counters(account: &Account) -> [Caveat; 7] {
    [
        (
            account.preemptions > 0.0,
            "preempted requests are computed again, which no counter shows: FLOPs and bytes are lower bounds",
        ),
        (
            clients_left(account),
            "requests ended unfinished: prompts given up before their first token are in no counter, FLOPs and bytes are lower bounds",
        ),
        (
            account.several_api_servers,
            "several API servers share the page: step counts are estimated from the running batch",
        ),
        (
            account.prompt_count == PromptCount::Estimated,
            "vLLM before 0.16 does not count computed prompt tokens: they are estimated from its lookups in the prefix cache (before 0.11.2, tokens that a KV connector brought count as computed)",
        ),
        (
            account.prompt_count == PromptCount::Roughly,
            "vLLM before 0.16 does not count computed prompt tokens, and looks requests up again and again while the KV cache is full: prefill FLOPs and bytes are rough, by up to a quarter in tests",
        ),
        (
            account.prompt_count == PromptCount::Unknown,
            "this vLLM reports nothing about its prefix cache: every prompt token counts as computed, FLOPs and bytes are upper bounds",
        ),
        (
            much_early(account),
            "prompts were counted here that ran before this span: FLOPs and bytes are too high",
        ),
    ]
}

/// Caveats for effects that the model of a step omits.
fn of_model(account: &Account, facts: &EngineFacts) -> [Caveat; 8] {
    let served = facts.served.as_ref();
    let adapted = account.running_adapters > 0.0;
    let slots_known = served.is_some_and(|served| served.deployment.adapters.is_some());
    [
        (
            served.is_some_and(|served| served.deployment.model.has_encoders),
            "the encoder of images or audio is in no counter: FLOPs and bytes of requests that bring some are lower bounds",
        ),
        (
            adapted && !slots_known,
            "LoRA: the FLOPs and bytes of adapters are not counted, as --enable-lora and --max-lora-rank are not known",
        ),
        (
            !adapted && slots_known,
            "LoRA: vLLM names no adapter here, nor would it for requests that end with their first token: FLOPs and bytes are lower bounds",
        ),
        (
            adapted && slots_known,
            "LoRA: while an adapter runs, every request counts as using one; requests for the base model need less",
        ),
        (
            served.is_some_and(|served| {
                let deployment = &served.deployment;
                deployment.speculative_tokens > 0 && deployment.draft.is_none()
            }),
            "speculative decoding: the target's verification is counted, the draft model is not",
        ),
        (
            account
                .experts
                .is_some_and(|experts| experts.told_steps <= 0.0),
            "routing is taken as uniform: skew reads fewer distinct experts, so the bytes of their weights are an upper bound",
        ),
        (
            account
                .experts
                .is_some_and(|experts| experts.priced < experts.uniform),
            "the router prefers some experts: the bytes of their weights follow what GPM measured, not uniform routing",
        ),
        (
            between_bounds(account),
            "two components are within 10 % of busy time of each other: the bound is between them",
        ),
    ]
}

fn quantization_unknown(facts: &EngineFacts) -> bool {
    let unread = |missing: &roofline::engine::MissingFact| {
        missing.fact == "model" && missing.why.contains("quanti")
    };
    facts.served.is_none() && facts.missing.iter().any(unread)
}

/// A few requests cross the edges of any span.
fn clients_left(account: &Account) -> bool {
    account.vanished > 4.0 + 0.1 * account.time_to_first_token.count
}

fn much_early(account: &Account) -> bool {
    account
        .early
        .is_some_and(|early| early.time.roofline() > account.busy * MUCH_EARLY)
}

fn between_bounds(account: &Account) -> bool {
    let Some(time) = account.busy_time else {
        return false;
    };
    let parts = [
        time.compute,
        time.memory,
        time.communication,
        time.host,
        time.kernel_latency,
        time.overhead,
    ];
    let share = |part: Seconds| ratio(part.0, account.busy.0);
    let mut shares: Vec<f64> = parts.into_iter().filter_map(share).collect();
    shares.sort_by(|one, other| other.total_cmp(one));
    matches!(shares[..], [first, second, ..] if first - second < CLOSE)
}
