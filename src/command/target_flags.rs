//! Flags for targets.

use clap::Args;

use crate::config::duration::TimeSpan;
use loadtest::analysis::FigureTargets;
use roofline::units::Seconds;

/// Targets that differ from the defaults.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Targets")]
pub struct TargetFlags {
    /// Output tokens per second from which a run is good [default: 200]
    #[arg(long, value_name = "TOKENS/S")]
    pub throughput_good: Option<f64>,
    /// Output tokens per second below which a run is bad [default: 150]
    #[arg(long, value_name = "TOKENS/S")]
    pub throughput_bad: Option<f64>,
    /// Median time to first token up to which a run is good [default: 100ms]
    #[arg(long, value_name = "DURATION")]
    pub ttft_good: Option<TimeSpan>,
    /// Median time to first token above which a run is bad [default: 500ms]
    #[arg(long, value_name = "DURATION")]
    pub ttft_bad: Option<TimeSpan>,
    /// Median time per output token up to which a run is good [default: 50ms]
    #[arg(long, value_name = "DURATION")]
    pub tpot_good: Option<TimeSpan>,
    /// Median time per output token above which a run is bad [default: 100ms]
    #[arg(long, value_name = "DURATION")]
    pub tpot_bad: Option<TimeSpan>,
    /// Range of good GPU utilization, in percent [default: 80-95]
    #[arg(long, value_name = "LOW-HIGH", value_parser = percent_range)]
    pub gpu_utilization_good: Option<(f64, f64)>,
    /// GPU utilization is bad below LOW and from HIGH, in percent [default: 50-100]
    #[arg(long, value_name = "LOW-HIGH", value_parser = percent_range)]
    pub gpu_utilization_bad: Option<(f64, f64)>,
}

/// `80-95`, as shares.
fn percent_range(text: &str) -> Result<(f64, f64), String> {
    let range = text
        .trim_end_matches('%')
        .split_once('-')
        .and_then(|(low, high)| {
            let (low, high): (f64, f64) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
            (0.0 <= low && low <= high && high <= 100.0).then_some((low / 100.0, high / 100.0))
        });
    range.ok_or_else(|| format!("`{text}` is no range of percent such as 80-95"))
}

impl TargetFlags {
    /// The targets: as given, otherwise the defaults.
    ///
    /// # Errors
    /// A good value that is worse than the bad one.
    pub fn targets(&self) -> Result<FigureTargets, String> {
        let known = FigureTargets::default();
        let good = self
            .gpu_utilization_good
            .unwrap_or((known.gpu_utilization_good, known.gpu_utilization_good_up_to));
        let bad = self
            .gpu_utilization_bad
            .unwrap_or((known.gpu_utilization_bad, known.gpu_utilization_full));
        let seconds =
            |given: Option<TimeSpan>, default: Seconds| given.map_or(default, TimeSpan::seconds);
        let targets = FigureTargets {
            throughput_good: self.throughput_good.unwrap_or(known.throughput_good),
            throughput_bad: self.throughput_bad.unwrap_or(known.throughput_bad),
            ttft_good_seconds: seconds(self.ttft_good, known.ttft_good_seconds),
            ttft_bad_seconds: seconds(self.ttft_bad, known.ttft_bad_seconds),
            tpot_good_seconds: seconds(self.tpot_good, known.tpot_good_seconds),
            tpot_bad_seconds: seconds(self.tpot_bad, known.tpot_bad_seconds),
            gpu_utilization_good: good.0,
            gpu_utilization_good_up_to: good.1,
            gpu_utilization_bad: bad.0,
            gpu_utilization_full: bad.1,
        };
        let order = [
            (
                "--throughput-bad",
                "--throughput-good",
                targets.throughput_bad,
                targets.throughput_good,
            ),
            (
                "--ttft-good",
                "--ttft-bad",
                targets.ttft_good_seconds.0,
                targets.ttft_bad_seconds.0,
            ),
            (
                "--tpot-good",
                "--tpot-bad",
                targets.tpot_good_seconds.0,
                targets.tpot_bad_seconds.0,
            ),
            (
                "the low end of --gpu-utilization-bad",
                "that of --gpu-utilization-good",
                bad.0,
                good.0,
            ),
            (
                "the high end of --gpu-utilization-good",
                "that of --gpu-utilization-bad",
                good.1,
                bad.1,
            ),
        ];
        for (less, more, low, high) in order {
            if low > high {
                return Err(format!("{less} must not be above {more}"));
            }
        }
        Ok(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_in_the_wrong_order_are_named() {
        assert_eq!(
            TargetFlags::default().targets(),
            Ok(FigureTargets::default())
        );
        let flags = TargetFlags {
            throughput_good: Some(10.0),
            ..TargetFlags::default()
        };
        let problem = flags.targets().unwrap_err();
        assert_eq!(
            problem,
            "--throughput-bad must not be above --throughput-good"
        );
        assert!(percent_range("95-80").is_err());
        assert!(percent_range("80").is_err());
        assert_eq!(percent_range("80-95"), Ok((0.8, 0.95)));
    }
}
