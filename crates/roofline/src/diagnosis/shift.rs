//! Describes the effect of a remedy in words.

use super::text::{dollars, duration, rate};
use super::{Effect, Finding, Remedy};

/// A figure before and after a remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Its name.
    pub name: &'static str,
    /// Measured value.
    pub now: String,
    /// Predicted value.
    pub then: String,
    /// Whether it is better for users: a gain in one figure may cost another.
    pub better: bool,
}

/// A user-visible figure: its name, its value, its format, and whether a higher value is better.
type Felt = (
    &'static str,
    fn(&Effect) -> Option<f64>,
    fn(f64) -> String,
    bool,
);

const FELT: [Felt; 4] = [
    (
        "output",
        |effect| effect.output_tokens_per_second,
        rate,
        true,
    ),
    ("TTFT", |effect| effect.ttft_seconds, duration, false),
    ("TPOT", |effect| effect.tpot_seconds, duration, false),
    (
        "per 1M output tokens, prompts included",
        |effect| effect.dollars_per_million_tokens,
        dollars,
        false,
    ),
];

impl Remedy {
    /// The `measured` figures that the remedy changes.
    #[must_use]
    pub fn shifts(&self, measured: &Effect) -> Vec<Shift> {
        let shift = |(name, of, show, more_is_better): Felt| {
            let (now, then) = (of(measured)?, of(&self.predicted)?);
            Some(Shift {
                name,
                now: show(now),
                then: show(then),
                better: (then > now) == more_is_better,
            })
        };
        let shifts = FELT.into_iter().filter_map(shift);
        shifts.filter(|shift| shift.now != shift.then).collect()
    }
}

/// The best `most` remedies of all findings, those of the weightiest finding first, without duplicates.
#[must_use]
pub fn best_remedies(verdict: &[Finding], most: usize) -> Vec<&Remedy> {
    let mut best: Vec<&Remedy> = Vec::new();
    for remedy in verdict.iter().flat_map(|finding| &finding.remedies) {
        if best.len() < most && best.iter().all(|known| known.id != remedy.id) {
            best.push(remedy);
        }
    }
    best
}
