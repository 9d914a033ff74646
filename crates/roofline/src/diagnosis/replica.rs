//! Compares a replica with its peers: engines with the same model, GPU and flags should perform alike.

use super::finding::{Finding, FindingKind, Severity};
use super::text::{count, percent, requests};

/// An efficiency below this share of its peers' is significant.
const LEAST_EFFICIENCY: f64 = 0.7;
/// A queue this many times as long as its peers' is significant…
const LONGEST_QUEUE: f64 = 2.0;
/// … if it is longer by this many requests.
const LEAST_EXTRA: f64 = 8.0;
/// Up to this ratio of decode batches, efficiencies are comparable: small batches leave more time to the host.
const LIKE_BATCH: f64 = 1.5;

/// The measurements of one of several equal engines.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Replica {
    /// Share of busy time that the roofline explains.
    pub efficiency: Option<f64>,
    /// Requests of a decode step.
    pub decode_batch: Option<f64>,
    /// Requests waiting.
    pub waiting: Option<f64>,
}

impl Replica {
    /// How this replica differs from its peers `others`; a queue is reported before an efficiency.
    #[must_use]
    pub fn difference(&self, others: &[Self]) -> Option<Finding> {
        self.longer_queue(others)
            .or_else(|| self.lower_efficiency(others))
    }

    fn longer_queue(&self, others: &[Self]) -> Option<Finding> {
        let own = self.waiting?;
        let usual = median(others.iter().filter_map(|other| other.waiting))?;
        let is_longer = own >= usual * LONGEST_QUEUE && own - usual >= LEAST_EXTRA;
        is_longer.then(|| {
            finding(
                None,
                format!(
                    "{} here, beside {} at its like: the router gives this replica too much, or it is slow.",
                    requests(own, "waits", "wait"),
                    count(usual)
                ),
                format!("vllm:num_requests_waiting {}, at {} like replicas {} (median)", count(own), others.len(), count(usual)),
            )
        })
    }

    fn lower_efficiency(&self, others: &[Self]) -> Option<Finding> {
        let own = self.efficiency?;
        let batch = self.decode_batch?;
        let alike = others.iter().filter(|other| {
            let ratio = other.decode_batch.map(|other| other / batch);
            ratio.is_some_and(|ratio| (1.0 / LIKE_BATCH..=LIKE_BATCH).contains(&ratio))
        });
        let usual = median(alike.filter_map(|other| other.efficiency))?;
        (own < usual * LEAST_EFFICIENCY).then(|| {
            finding(
                Some(1.0 - own / usual),
                format!(
                    "This replica is {} less efficient than its like under the same load: compare clocks, power limits, host CPUs and links.",
                    percent(1.0 - own / usual)
                ),
                format!("the roofline explains {} of busy time, at like replicas {} (median)", percent(own), percent(usual)),
            )
        })
    }
}

fn finding(share: Option<f64>, sentence: String, evidence: String) -> Finding {
    let mut found = Finding::new(FindingKind::Replica, Severity::Warning, share, sentence);
    found.evidence.push(evidence);
    found
}

/// The median of `values`, the lower of two; `None` without any.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(efficiency: f64, decode_batch: f64, waiting: f64) -> Replica {
        Replica {
            efficiency: Some(efficiency),
            decode_batch: Some(decode_batch),
            waiting: Some(waiting),
        }
    }

    #[test]
    fn a_replica_that_fares_as_the_others_is_none_to_name() {
        let others = [replica(0.8, 32.0, 3.0), replica(0.75, 30.0, 0.0)];
        assert_eq!(replica(0.6, 32.0, 7.0).difference(&others), None);
        assert_eq!(replica(0.1, 32.0, 90.0).difference(&[]), None);
        assert_eq!(Replica::default().difference(&others), None);
    }

    #[test]
    fn a_slow_replica_is_named_under_the_same_load_only() {
        let others = [replica(0.8, 32.0, 0.0), replica(0.8, 30.0, 0.0)];
        let found = replica(0.4, 31.0, 0.0).difference(&others).unwrap();
        assert_eq!(found.id, FindingKind::Replica);
        assert!(found.finding.contains("50 %"), "{}", found.finding);
        assert_eq!(replica(0.4, 2.0, 0.0).difference(&others), None);
    }

    #[test]
    fn a_queue_that_only_one_has_is_named() {
        let others = [replica(0.8, 32.0, 10.0), replica(0.8, 32.0, 12.0)];
        let found = replica(0.8, 32.0, 40.0).difference(&others).unwrap();
        assert!(
            found
                .finding
                .starts_with("40 requests wait here, beside 10"),
            "{}",
            found.finding
        );
        assert_eq!(replica(0.8, 32.0, 16.0).difference(&others), None);
    }
}
