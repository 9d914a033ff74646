//! An interval's counters become engine steps: how many, and what one of each kind looked like.
//!
//! vLLM counts tokens and requests, the roofline speaks of steps. Two kinds are told apart: steps that only decode, and steps that
//! carry prompt tokens (with the running decodes beside them). See ARCHITECTURE.md, "From counters to steps".

use crate::roofline::step::RequestGroup;
use crate::sample::engine::Counter;

use super::interval::Interval;

/// Prompt tokens a step can carry when `--max-num-batched-tokens` is not known: vLLM's default for a large GPU.
const USUAL_TOKEN_BUDGET: f64 = 8192.0;

/// `count` engine steps that all look like the mean one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepKind {
    /// How many; a fraction where an interval cuts one.
    pub count: f64,
    /// Requests whose prompt is computed in one such step.
    pub prefill: RequestGroup,
    /// Requests that decode in one such step.
    pub decode: RequestGroup,
}

/// The steps of one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Steps {
    /// Steps without prompt tokens.
    pub decoding: StepKind,
    /// Steps with prompt tokens.
    pub prefilling: StepKind,
    /// Mean tokens a decoding request attends to, its new one included.
    pub context_tokens: f64,
    /// Prompt tokens computed.
    pub prefill_tokens: f64,
    /// Tokens decoded: one per request and step, draft tokens included.
    pub decode_tokens: f64,
}

impl Steps {
    /// All engine steps.
    #[must_use]
    pub fn count(&self) -> f64 {
        self.decoding.count + self.prefilling.count
    }

    /// Request-steps of decode over the steps that decode: the mean decode batch.
    #[must_use]
    pub fn decode_batch(&self) -> Option<f64> {
        let batch = if self.decoding.count > 0.0 {
            self.decoding.decode.count
        } else {
            self.prefilling.decode.count
        };
        (batch > 0.0).then_some(batch)
    }

    /// Recovers the steps of `interval`; `token_budget` is `--max-num-batched-tokens`.
    #[must_use]
    pub fn recover(interval: &Interval, token_budget: Option<f64>) -> Self {
        let decode_request_steps = interval.decode_request_steps();
        let draft_tokens = interval.grew(Counter::DraftTokens);
        let prefill_tokens = interval.computed_prompt_tokens();
        let context_tokens = context_tokens(interval);

        let with_decode = steps_with_decode(interval, decode_request_steps);
        let batch = per(decode_request_steps, with_decode);
        let with_prompt = steps_with_prompt(
            interval,
            batch + per(draft_tokens, with_decode),
            prefill_tokens / token_budget.unwrap_or(USUAL_TOKEN_BUDGET),
        );
        let decoding_only = (with_decode - with_prompt).max(0.0);
        // Decodes go along in every step; only where prompt steps outnumber them are they spread thinner.
        let decodes_beside_prompt = per(decode_request_steps - batch * decoding_only, with_prompt);
        let group = |count| RequestGroup {
            count,
            new_tokens: 1.0 + per(draft_tokens, decode_request_steps),
            cached_tokens_before: (context_tokens - 1.0).max(0.0),
            is_prefill: false,
        };
        Self {
            decoding: StepKind {
                count: decoding_only,
                prefill: RequestGroup::default(),
                decode: group(batch),
            },
            prefilling: StepKind {
                count: with_prompt,
                prefill: prompts_per_step(interval, prefill_tokens, with_prompt),
                decode: group(decodes_beside_prompt),
            },
            context_tokens,
            prefill_tokens,
            decode_tokens: decode_request_steps + draft_tokens,
        }
    }
}

fn per(amount: f64, parts: f64) -> f64 {
    if parts > 0.0 { amount / parts } else { 0.0 }
}

/// Steps that decoded: the steps with outputs, but never more than request-steps. Where step counts cannot be trusted, request-steps
/// over the running batch.
fn steps_with_decode(interval: &Interval, decode_request_steps: f64) -> f64 {
    if let Some(output_steps) = interval.output_steps() {
        return output_steps.min(decode_request_steps);
    }
    let concurrency = interval.decode_request_seconds() / interval.seconds().0;
    let running = f64::midpoint(interval.before.running, interval.after.running);
    per(decode_request_steps, running.max(concurrency).max(1.0))
}

/// Steps that carried prompt tokens: those whose token count lies above the decode batch, at most one per first token, at least
/// what the token budget forces (a chunk that ends no prompt is in no histogram).
fn steps_with_prompt(interval: &Interval, decode_tokens_per_step: f64, least: f64) -> f64 {
    let first_tokens = interval.first_tokens();
    let larger_than_decode = interval
        .observed
        .iteration_tokens
        .as_ref()
        .map_or(first_tokens, |steps| {
            steps.count_above(decode_tokens_per_step)
        });
    // A prompt too short to leave the decode bucket still took a step: at least one per interval.
    let seen = larger_than_decode
        .min(first_tokens)
        .max(first_tokens.min(1.0));
    seen.max(least)
}

/// The mean prompt group of a step: prompts that ended in it, each with the tokens computed and the tokens found in the cache.
fn prompts_per_step(interval: &Interval, prefill_tokens: f64, steps: f64) -> RequestGroup {
    let prompts = interval.first_tokens();
    if prompts <= 0.0 || steps <= 0.0 {
        return RequestGroup::default();
    }
    let cached = (interval.grew(Counter::PromptTokens) - prefill_tokens).max(0.0);
    RequestGroup {
        count: prompts / steps,
        new_tokens: prefill_tokens / prompts,
        cached_tokens_before: cached / prompts,
        is_prefill: true,
    }
}

/// Mean tokens a running request attends to: resident tokens over running requests, less the half-empty last block; from the
/// lengths of finished requests where the gauges saw nothing.
fn context_tokens(interval: &Interval) -> f64 {
    let moments = [interval.before, interval.after];
    let running: f64 = moments.iter().map(|moment| moment.running).sum();
    let resident: Option<f64> = moments.iter().map(|moment| moment.resident_tokens).sum();
    match resident {
        Some(resident) if running > 0.0 && resident > 0.0 => {
            (resident / running - (interval.block_size - 1.0) / 2.0).max(1.0)
        }
        _ => {
            let prompt = per(
                interval.grew(Counter::PromptTokens),
                interval.first_tokens(),
            );
            let output = interval
                .observed
                .request_generation_tokens
                .as_ref()
                .and_then(crate::sample::histogram::Histogram::mean)
                .unwrap_or(0.0);
            prompt + output / 2.0
        }
    }
}
