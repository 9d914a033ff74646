//! Chooses the best setting, and decides when a sweep stops.

use serde::Serialize;

use super::setting::{Setting, SweepPoint};
use super::{Objective, Slo};

/// The best setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BestSetting {
    /// The values to set.
    #[serde(flatten)]
    pub point: SweepPoint,
    /// The value of `metric` there.
    pub value: f64,
    /// Whether it meets the SLO; if not, no setting does.
    pub meets_slo: bool,
    /// The reason, in words.
    pub why: String,
}

/// The best of `settings`.
///
/// Among those that meet the SLO, or among all if none does: those within `noise` of the best by `metric`; among these, the one that is
/// best in the other dimension: lowest latency for a throughput objective, highest throughput for a latency objective.
#[must_use]
pub fn best(settings: &[Setting], metric: Objective, slo: &Slo, noise: f64) -> Option<BestSetting> {
    let keeping: Vec<&Setting> = settings
        .iter()
        .filter(|setting| setting.meets_slo && setting.figure(metric).is_some())
        .collect();
    let meets_slo = !keeping.is_empty();
    let candidates = if meets_slo {
        keeping
    } else {
        settings
            .iter()
            .filter(|setting| setting.figure(metric).is_some())
            .collect()
    };
    let score = |setting: &&Setting| {
        setting
            .figure(metric)
            .map_or(f64::NEG_INFINITY, |value| value * sign(metric))
    };
    let top = candidates.iter().map(score).reduce(f64::max)?;
    let other = match metric {
        Objective::Throughput | Objective::Goodput => Objective::Tpot,
        Objective::Ttft | Objective::Tpot => Objective::Throughput,
    };
    let other_score = |setting: &&Setting| {
        setting
            .figure(other)
            .map_or(0.0, |value| value * sign(other))
    };
    let equals: Vec<&Setting> = candidates
        .iter()
        .copied()
        .filter(|setting| score(setting) >= top - noise * top.abs())
        .collect();
    let chosen = equals
        .iter()
        .max_by(|one, two| other_score(one).total_cmp(&other_score(two)))?;
    Some(BestSetting {
        point: chosen.point,
        value: chosen.figure(metric)?,
        meets_slo,
        why: why(metric, slo, meets_slo, equals.len(), noise),
    })
}

/// 1 if a higher value is better, −1 if a lower one is.
const fn sign(metric: Objective) -> f64 {
    match metric {
        Objective::Throughput | Objective::Goodput => 1.0,
        Objective::Ttft | Objective::Tpot => -1.0,
    }
}

fn why(metric: Objective, slo: &Slo, meets_slo: bool, equals: usize, noise: f64) -> String {
    let superlative = match metric {
        Objective::Throughput => "most output tokens per second",
        Objective::Ttft => "shortest time to first token",
        Objective::Tpot => "shortest time per output token",
        Objective::Goodput => "most requests per second within the targets",
    };
    let promise = format!(
        "P{} TTFT ≤ {:.0} ms and TPOT ≤ {:.0} ms",
        slo.percentile,
        slo.ttft_seconds.0 * 1e3,
        slo.tpot_seconds.0 * 1e3
    );
    let among = if meets_slo {
        format!("{superlative} of the settings with {promise}")
    } else {
        format!("{superlative}; no setting has {promise}")
    };
    if equals > 1 {
        let tie = match metric {
            Objective::Throughput | Objective::Goodput => "the shortest time per output token",
            Objective::Ttft | Objective::Tpot => "the highest throughput",
        };
        format!(
            "{among}; of {equals} within {:.0} % of each other, {tie}",
            noise * 100.0
        )
    } else {
        among
    }
}

/// Whether the last two of `settings`, each at a larger batch, gained no more than `gain` over the best before them: the server is
/// saturated.
#[must_use]
pub fn saturated(settings: &[Setting], gain: f64) -> bool {
    let throughput: Vec<f64> = settings
        .iter()
        .filter_map(|setting| setting.figure(Objective::Throughput))
        .collect();
    let Some((before @ [_, ..], last)) = throughput
        .len()
        .checked_sub(2)
        .map(|at| throughput.split_at(at))
    else {
        return false;
    };
    let best = before.iter().copied().fold(0.0, f64::max);
    last.iter().all(|value| *value <= best * (1.0 + gain))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::setting::{MeasuredPoint, Spread};
    use super::*;
    use roofline::units::Seconds;

    const SLO: Slo = Slo {
        ttft_seconds: Seconds(0.5),
        tpot_seconds: Seconds(0.1),
        percentile: 50.0,
    };

    fn setting(batch: u32, throughput: f64, tpot: f64) -> Setting {
        let spread = |mean| Spread {
            mean,
            min: mean,
            max: mean,
        };
        Setting {
            point: SweepPoint {
                batch,
                gpu_memory_utilization: None,
                max_num_batched_tokens: None,
            },
            meets_slo: tpot <= 0.1,
            error: None,
            measured: Some(MeasuredPoint {
                repeats: 1,
                completed: 10,
                failed: 0,
                errors: BTreeMap::new(),
                output_tokens_per_second: spread(throughput),
                requests_per_second: spread(throughput / 100.0),
                goodput_requests_per_second: spread(throughput / 100.0),
                ttft_seconds: Some(spread(0.1)),
                tpot_seconds: Some(spread(tpot)),
                input_tokens: 100.0,
                output_tokens: 100.0,
            }),
        }
    }

    fn check(settings: &[Setting], metric: Objective, batch: u32, meets_slo: bool) {
        let choice = best(settings, metric, &SLO, 0.03).unwrap();
        assert_eq!(
            (choice.point.batch, choice.meets_slo),
            (batch, meets_slo),
            "{}",
            choice.why
        );
    }

    #[test]
    fn the_best_keeps_the_promise_and_a_tie_goes_to_the_other_side() {
        let rising = [
            setting(1, 100.0, 0.010),
            setting(2, 180.0, 0.011),
            setting(4, 300.0, 0.2),
        ];
        check(&rising, Objective::Throughput, 2, true);
        check(&rising, Objective::Tpot, 1, true);
        let flat = [setting(4, 300.0, 0.02), setting(8, 305.0, 0.04)];
        check(&flat, Objective::Throughput, 4, true);
        let slow = [setting(1, 100.0, 0.3), setting(2, 150.0, 0.4)];
        check(&slow, Objective::Throughput, 2, false);
        let failed = Setting::failed(slow[0].point, "no".to_owned());
        assert_eq!(best(&[failed], Objective::Throughput, &SLO, 0.03), None);
    }

    #[test]
    fn two_steps_without_gain_are_saturation() {
        let sweep = |values: &[f64]| {
            let settings: Vec<_> = values
                .iter()
                .map(|value| setting(1, *value, 0.01))
                .collect();
            saturated(&settings, 0.03)
        };
        assert!(sweep(&[100.0, 180.0, 182.0, 184.0]));
        assert!(sweep(&[100.0, 90.0, 80.0]));
        assert!(!sweep(&[100.0, 180.0, 182.0]));
        assert!(!sweep(&[100.0, 180.0, 182.0, 200.0]));
        assert!(!sweep(&[100.0]));
        assert!(!sweep(&[]));
    }
}
