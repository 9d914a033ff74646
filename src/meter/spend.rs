//! The cost of an engine's time: dollars and joules by use.
//!
//! Time is paid for, and a GPU always draws power. So both are divided like the seconds: computing prompts, decoding, or neither. Energy is
//! the GPU's own counter; the division of the seconds is modelled.

use std::collections::BTreeMap;

use serde::Serialize;

use roofline::engine::EngineFacts;
use roofline::units::ratio;

use super::account::{Account, PerPhase};

/// An amount, divided by the use of the engine's time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerUse {
    /// Computing prompts.
    pub prefill: f64,
    /// Decoding.
    pub decode: f64,
    /// Neither: no request ran, or none made progress.
    pub idle: f64,
}

impl PerUse {
    /// The seconds of `account`, or `None` while the model or the GPU is unknown.
    fn seconds(account: &Account, facts: &EngineFacts) -> Option<Self> {
        let time = account.time_seconds()?;
        let PerPhase { prefill, decode } = account.phase_seconds(facts);
        Some(Self {
            prefill: prefill.0,
            decode: decode.0,
            idle: (time.idle + time.stalled).0,
        })
    }

    fn total(&self) -> f64 {
        self.prefill + self.decode + self.idle
    }

    fn add_scaled(&mut self, other: &Self, factor: f64) {
        self.prefill += other.prefill * factor;
        self.decode += other.decode * factor;
        self.idle += other.idle * factor;
    }

    /// The amounts with their label values.
    #[must_use]
    pub fn uses(&self) -> [(&'static str, f64); 3] {
        [
            ("prefill", self.prefill),
            ("decode", self.decode),
            ("idle", self.idle),
        ]
    }
}

/// Sums over settled time, each absent until it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spend {
    /// Dollars.
    pub dollars: Option<PerUse>,
    /// Of these, dollars for time in which neither arithmetic, memory traffic nor links were the limit, by component.
    pub wasted_dollars: BTreeMap<&'static str, f64>,
    /// Joules.
    pub joules: Option<PerUse>,
}

impl Spend {
    /// Adds the cost of `account`, at the user's price per GPU-hour or the list price.
    pub(super) fn add(&mut self, account: &Account, facts: &EngineFacts, price: Option<f64>) {
        let Some(seconds) = PerUse::seconds(account, facts) else {
            return;
        };
        if let Some(dollars) = facts.dollars_per_second(price) {
            let sum = self.dollars.get_or_insert_default();
            sum.add_scaled(&seconds, dollars);
            for (component, wasted) in account.time_seconds().iter().flat_map(|time| time.wasted())
            {
                *self.wasted_dollars.entry(component).or_default() += wasted.0 * dollars;
            }
        }
        let watts = joules(account, facts).and_then(|joules| ratio(joules, seconds.total()));
        if let Some(watts) = watts {
            let sum = self.joules.get_or_insert_default();
            sum.add_scaled(&seconds, watts);
        }
    }
}

/// The cost of a span. Time without work is divided between the phases like their own seconds: tokens pay for all of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CostFigures {
    /// Dollars per hour for all GPUs; `null` without a price.
    pub dollars_per_hour: Option<f64>,
    /// The origin of the price.
    pub price_origin: Option<String>,
    /// Dollars per million tokens: computed prompt tokens, and output tokens.
    pub dollars_per_million_tokens: PerPhase<Option<f64>>,
    /// Joules per token: computed prompt tokens, and output tokens.
    pub joules_per_token: PerPhase<Option<f64>>,
    /// Dollars per hour for time in which neither arithmetic, memory traffic nor links are the limit, by component.
    pub wasted_dollars_per_hour: BTreeMap<&'static str, f64>,
}

impl CostFigures {
    /// The cost of `account`, at the user's price per GPU-hour or the list price.
    pub(super) fn of(account: &Account, facts: &EngineFacts, price: Option<f64>) -> Self {
        let rate = facts.dollars_per_second(price);
        let dollars = rate.map(|rate| rate * account.seconds.0);
        let per_token = |amount: Option<f64>| {
            let each = amount.and_then(|amount| each_token(amount, account, facts));
            each.unwrap_or_default()
        };
        let time = account.time_seconds();
        let wasted = rate.into_iter().flat_map(|rate| {
            let wasted = time.iter().flat_map(|time| time.wasted());
            wasted.filter_map(move |(name, seconds)| {
                let share = ratio(seconds.0, account.seconds.0)?;
                Some((name, share * rate * 3600.0))
            })
        });
        Self {
            dollars_per_hour: rate.map(|rate| rate * 3600.0),
            price_origin: facts.gpu_hour_price(price).map(|price| price.origin()),
            dollars_per_million_tokens: per_token(dollars.map(|dollars| dollars * 1e6)),
            joules_per_token: per_token(joules(account, facts)),
            wasted_dollars_per_hour: wasted.filter(|(_, dollars)| *dollars > 0.0).collect(),
        }
    }
}

/// The share of each token in `amount`, which is divided between the phases like their seconds.
fn each_token(
    amount: f64,
    account: &Account,
    facts: &EngineFacts,
) -> Option<PerPhase<Option<f64>>> {
    let PerUse {
        prefill, decode, ..
    } = PerUse::seconds(account, facts)?;
    let each = |seconds: f64, tokens| {
        let own = amount * ratio(seconds, prefill + decode)?;
        ratio(own, tokens)
    };
    Some(PerPhase {
        prefill: each(prefill, account.tokens.prefill),
        decode: each(decode, account.output_tokens),
    })
}

/// Joules of all GPUs of the engine, from their counters.
fn joules(account: &Account, facts: &EngineFacts) -> Option<f64> {
    let (read, gpus) = (facts.gpus_read(), facts.gpus());
    let used = &account.hardware;
    let energy = used.measured_energy(account.seconds, read, gpus)?;
    Some(energy.0)
}
