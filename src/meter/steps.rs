//! Recovers engine steps from an interval's counters: how many, and the mean step of each kind.
//!
//! vLLM counts tokens and requests, the roofline needs steps. Distinguished are steps with only decode, and, by their size in the iteration
//! histogram, steps with prompt tokens (together with the running decodes). See ARCHITECTURE.md, "From counters to steps".

use crate::sample::engine::Counter;
use roofline::cost::step::RequestGroup;
use roofline::units::ratio;

use super::context::Context;
pub use super::context::RecentPrompts;
use super::interval::Interval;
use roofline::engine::EngineFacts;

/// Prompt tokens that fit in a step if `--max-num-batched-tokens` is unknown: vLLM's default for a large GPU.
const USUAL_TOKEN_BUDGET: f64 = 8192.0;

/// `count` engine steps, represented by their mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepKind {
    /// Number of steps; a fraction where the interval cuts one.
    pub count: f64,
    /// Requests in prefill in one such step.
    pub prefill: RequestGroup,
    /// Requests in decode in one such step.
    pub decode: RequestGroup,
}

/// The steps of one interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntervalSteps {
    /// Groups of equal steps.
    pub kinds: Vec<StepKind>,
    /// Request-steps of decode divided by the steps that decode: the mean decode batch.
    pub decode_batch: Option<f64>,
    /// The context of a decoding request.
    pub context: Context,
    /// Prompt tokens computed.
    pub prefill_tokens: f64,
    /// Tokens decoded: one per request and step, draft tokens included.
    pub decode_tokens: f64,
}

/// Steps with prompt tokens, in groups of equal ones.
#[derive(Clone, Copy, Debug, PartialEq)]
struct PromptSteps {
    count: f64,
    /// Prompt tokens of one step.
    tokens: f64,
}

impl IntervalSteps {
    /// All engine steps.
    #[must_use]
    pub fn count(&self) -> f64 {
        self.kinds.iter().map(|kind| kind.count).sum()
    }

    /// Recovers the steps of `interval`; `prompts` are the newest known ones.
    #[must_use]
    pub(crate) fn recover(
        interval: &Interval,
        facts: &EngineFacts,
        prompts: &RecentPrompts,
    ) -> Self {
        let request_steps = interval.decode_request_steps();
        let drafts = interval.grew(Counter::DraftTokens);
        let prefill_tokens = interval.computed_prompt_tokens();
        let context = Context::of(interval, facts, prompts);
        let budget = facts.token_budget().unwrap_or(USUAL_TOKEN_BUDGET);

        let with_output = steps_with_output(interval, request_steps);
        let usual_batch = per(request_steps, with_output);
        let prompt_steps = prompt_steps(
            interval,
            usual_batch + per(drafts, with_output),
            prefill_tokens,
            budget,
        );
        let with_prompt: f64 = prompt_steps.iter().map(|steps| steps.count).sum();
        let decoding_only = (with_output - with_prompt).max(0.0).min(request_steps);
        // Every step also decodes; only if prompt steps outnumber the decodes are these spread over fewer steps.
        let batch = per(
            request_steps,
            request_steps.min(decoding_only + with_prompt),
        );
        let beside_prompt = per(
            (request_steps - batch * decoding_only).max(0.0),
            with_prompt,
        );
        let decode = |count| RequestGroup {
            count,
            new_tokens: 1.0 + per(drafts, request_steps),
            cached_tokens_before: (context.attended - 1.0).max(0.0),
            is_prefill: false,
        };
        let mut kinds = Vec::with_capacity(1 + prompt_steps.len());
        if decoding_only > 0.0 {
            kinds.push(StepKind {
                count: decoding_only,
                prefill: RequestGroup::default(),
                decode: decode(batch),
            });
        }
        kinds.extend(prompt_steps.into_iter().map(|steps| StepKind {
            count: steps.count,
            prefill: prompt_group(steps.tokens, prefill_tokens, interval, prompts),
            decode: decode(beside_prompt),
        }));
        let decode_batch = if decoding_only > 0.0 {
            batch
        } else {
            beside_prompt
        };
        Self {
            kinds,
            decode_batch: (decode_batch > 0.0).then_some(decode_batch),
            context,
            prefill_tokens,
            decode_tokens: request_steps + drafts,
        }
    }
}

fn per(amount: f64, parts: f64) -> f64 {
    ratio(amount, parts).unwrap_or(0.0)
}

/// Steps with an output. If step counts are not exact, request-steps divided by the running batch.
fn steps_with_output(interval: &Interval, request_steps: f64) -> f64 {
    if let Some(output_steps) = interval.output_steps() {
        return output_steps;
    }
    let concurrency = interval.decode_request_seconds() / interval.seconds().0;
    let running = f64::midpoint(interval.before.running, interval.after.running);
    per(request_steps, running.max(concurrency).max(1.0))
}

/// Steps with prompt tokens: those whose size exceeds the decode batch, the largest first, at most one per first token.
///
/// The histogram's buckets give their relative sizes, the prompt tokens the absolute ones. A step above the token budget represents
/// several: a chunk that does not end a prompt is not in the histogram, and the step that ends one is reported with the whole prompt.
fn prompt_steps(
    interval: &Interval,
    decode_tokens_per_step: f64,
    prompt_tokens: f64,
    budget: f64,
) -> Vec<PromptSteps> {
    let first_tokens = interval.first_tokens();
    if prompt_tokens <= 0.0 {
        return Vec::new();
    }
    let mut steps = sized_above(interval, decode_tokens_per_step, first_tokens, budget);
    if steps.is_empty() {
        // Prompts too short to leave the decode bucket, or counted without a first token: at least one step processed them.
        steps.push(PromptSteps {
            count: 1.0,
            tokens: 1.0,
        });
    }
    let guessed: f64 = steps.iter().map(|steps| steps.count * steps.tokens).sum();
    for steps in &mut steps {
        let tokens = steps.tokens * prompt_tokens / guessed;
        steps.count *= (tokens / budget).max(1.0);
        steps.tokens = tokens.min(budget);
    }
    steps
}

/// The steps in buckets above `decode_tokens`, at most `most` of them, with their bucket's midpoint as their size.
fn sized_above(
    interval: &Interval,
    decode_tokens: f64,
    most: f64,
    budget: f64,
) -> Vec<PromptSteps> {
    let Some(sizes) = &interval.observed.iteration_tokens else {
        return vec![PromptSteps {
            count: most.max(1.0),
            tokens: 1.0,
        }];
    };
    let mut left = most;
    let mut steps = Vec::new();
    let lower_bounds = std::iter::once(0.0).chain(sizes.buckets.iter().map(|&(le, _)| le));
    let counts_below = std::iter::once(0.0).chain(sizes.buckets.iter().map(|&(_, count)| count));
    let buckets: Vec<_> = sizes
        .buckets
        .iter()
        .zip(lower_bounds.zip(counts_below))
        .map(|(&(upper, at_most), (lower, below))| (lower, upper, at_most - below))
        .collect();
    for &(lower, upper, count) in buckets.iter().rev() {
        if lower < decode_tokens || left <= 0.0 {
            break;
        }
        let taken = count.min(left);
        left -= taken;
        let middle = f64::midpoint(lower, upper.min(lower.max(budget + decode_tokens)));
        if taken > 0.0 {
            steps.push(PromptSteps {
                count: taken,
                tokens: (middle - decode_tokens).max(1.0),
            });
        }
    }
    steps
}

/// The prompts in a step with `tokens` prompt tokens: several whole prompts, or a chunk of one, which on average starts halfway through the
/// tokens of the other chunks.
fn prompt_group(
    tokens: f64,
    prefill_tokens: f64,
    interval: &Interval,
    prompts: &RecentPrompts,
) -> RequestGroup {
    let first_tokens = interval.first_tokens();
    let computed = ratio(prefill_tokens, first_tokens).unwrap_or(tokens);
    let (count, new) = if computed > tokens {
        (1.0, tokens)
    } else {
        (per(tokens, computed), computed)
    };
    RequestGroup::prefill(count, new, prompts.cached + (computed - new) / 2.0)
}
