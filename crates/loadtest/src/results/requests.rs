//! Figures derived from single requests.

use super::{CompletedRequest, ConfidenceInterval, Distribution, Latencies};
use roofline::units::ratio;

/// Slices of a run, whose throughputs show how steady it was.
const SLICES: usize = 10;
/// Two-sided 95 % quantile of Student's t with nine degrees of freedom.
const STUDENT_95: f64 = 2.262;

/// The latencies of `requests`.
pub(super) fn latencies(requests: &[CompletedRequest]) -> Latencies {
    Latencies {
        ttft: Distribution::of(requests.iter().filter_map(|request| request.ttft)),
        tpot: Distribution::of(requests.iter().filter_map(CompletedRequest::tpot)),
        itl: Distribution::of(
            requests
                .iter()
                .flat_map(|request| request.itl.iter().copied()),
        ),
        e2e: Distribution::of(requests.iter().map(|request| request.e2e)),
    }
}

/// 95 % interval of the output tokens per second of a run of `duration` seconds, by batch means over ten slices. The first and the last
/// slice are left out: there the load ramps up and drains.
pub(super) fn throughput_interval(
    requests: &[CompletedRequest],
    duration: f64,
) -> Option<ConfidenceInterval> {
    if requests.len() < 2 * SLICES || duration <= 0.0 {
        return None;
    }
    let mut tokens = [0.0; SLICES + 2];
    let slice = duration / (SLICES + 2) as f64;
    for request in requests {
        spread(request, slice, &mut tokens);
    }
    let rates: Vec<f64> = tokens[1..=SLICES]
        .iter()
        .map(|tokens| tokens / slice)
        .collect();
    let mean = rates.iter().sum::<f64>() / SLICES as f64;
    let variance =
        rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / (SLICES - 1) as f64;
    let half = STUDENT_95 * (variance / SLICES as f64).sqrt();
    let produced: f64 = requests.iter().map(|request| request.output_tokens).sum();
    let whole = ratio(produced, duration)?;
    Some(ConfidenceInterval {
        low: whole - half,
        high: whole + half,
    })
}

/// Spreads the tokens of `request` evenly over the time in which it produced them.
fn spread(request: &CompletedRequest, slice: f64, tokens: &mut [f64]) {
    let first = request.start + request.ttft.unwrap_or(0.0);
    let last = (request.start + request.e2e).max(first + 1e-9);
    for (place, total) in tokens.iter_mut().enumerate() {
        let (from, to) = (place as f64 * slice, (place + 1) as f64 * slice);
        let overlap = (last.min(to) - first.max(from)).max(0.0);
        *total += request.output_tokens * overlap / (last - first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_run_is_sure_of_its_throughput_and_an_uneven_one_is_not() {
        let run = |rest: &dyn Fn(u32) -> f64| -> Vec<CompletedRequest> {
            (0..100)
                .map(|place| CompletedRequest {
                    start: f64::from(place),
                    output_tokens: rest(place),
                    ttft: Some(0.1),
                    e2e: 1.0,
                    ..CompletedRequest::default()
                })
                .collect()
        };
        let steady = throughput_interval(&run(&|_| 50.0), 100.0).unwrap();
        let uneven = throughput_interval(&run(&|place| f64::from(place)), 100.0).unwrap();
        assert!(steady.high - steady.low < 2.0, "{steady:?}");
        assert!(uneven.high - uneven.low > 20.0, "{uneven:?}");
        assert_eq!(throughput_interval(&run(&|_| 50.0)[..10], 10.0), None);
    }
}
