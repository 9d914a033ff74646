//! The number of tokens that a decoding request attends to, and how many of them other requests share.

use crate::sample::engine::Counter;
use roofline::statistics::Histogram;
use roofline::units::ratio;

use super::interval::Interval;
use roofline::engine::EngineFacts;

/// Mean lengths of the newest prompts and outputs, from counters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RecentPrompts {
    /// Tokens of a prompt, cached ones included.
    pub tokens: f64,
    /// Of these, tokens found in the prefix cache.
    pub cached: f64,
    /// Tokens of an output.
    pub output: f64,
}

impl RecentPrompts {
    /// Updates the lengths that `interval` contains; the others stay.
    pub(super) fn learn(&mut self, interval: &Interval) {
        let prompts = interval.first_tokens();
        if let Some(tokens) = ratio(interval.grew(Counter::PromptTokens), prompts) {
            self.tokens = tokens;
            let computed = interval.computed_prompt_tokens() / prompts;
            self.cached = (tokens - computed).max(0.0);
        }
        let outputs = &interval.observed.request_generation_tokens;
        if let Some(mean) = outputs.as_ref().and_then(Histogram::mean) {
            self.output = mean;
        }
    }

    /// Mean context of a request halfway through its output.
    fn halfway(&self) -> f64 {
        self.tokens + self.output / 2.0
    }
}

/// The context of a decoding request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Context {
    /// Attended tokens, including the new one.
    pub attended: f64,
    /// Of these, tokens whose keys and values the other requests of the step read too.
    pub shared: f64,
}

impl Context {
    /// The mean context over `interval`: resident tokens divided by running requests; from request lengths if the gauges are empty.
    ///
    /// The KV gauge counts a block once, however many requests share it. If prompts had cached tokens, and there are fewer resident tokens
    /// than the requests' lengths require, the difference is shared, up to the number of cached tokens.
    pub(super) fn of(interval: &Interval, facts: &EngineFacts, prompts: &RecentPrompts) -> Self {
        let Some((own, running)) = resident_per_request(interval, facts) else {
            return Self {
                attended: prompts.halfway(),
                shared: 0.0,
            };
        };
        let attended = own.max(prompts.halfway().min(own + prompts.cached));
        let others = running - 1.0;
        let shared = if others > 0.0 {
            ((attended - own) * running / others).min(prompts.cached)
        } else {
            0.0
        };
        Self { attended, shared }
    }
}

/// Resident tokens per running request, without the half-empty last block, and the mean number of running requests.
fn resident_per_request(interval: &Interval, facts: &EngineFacts) -> Option<(f64, f64)> {
    let moments = [interval.before, interval.after];
    let running: f64 = moments.iter().map(|moment| moment.running).sum();
    let resident: f64 = moments
        .iter()
        .map(|moment| moment.resident_tokens)
        .sum::<Option<f64>>()?;
    let each = ratio(resident, running).filter(|each| *each > 0.0)?;
    let tokens = facts.tokens_held(each) - (interval.block_size - 1.0) / 2.0;
    Some((tokens.max(1.0), running / 2.0))
}
