//! `Figure`: a quantity that is compared with a prediction, a target or an earlier run.

use serde::{Deserialize, Serialize};

use super::run::Run;
use super::text;
use crate::results::{Latencies, ResultRates};
use roofline::predict::{BottleneckKind, Phase};

/// A figure that can be predicted and measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Output tokens per second.
    OutputTokensPerSecond,
    /// Requests per second.
    RequestsPerSecond,
    /// Mean time to first token.
    TtftMeanSeconds,
    /// Mean time per output token.
    TpotMeanSeconds,
    /// Median time to first token.
    TtftP50Seconds,
    /// 99th percentile of the time to first token.
    TtftP99Seconds,
    /// Median time per output token.
    TpotP50Seconds,
    /// 99th percentile of the time per output token.
    TpotP99Seconds,
    /// Median end-to-end latency.
    E2eP50Seconds,
    /// Model FLOPs utilisation.
    Mfu,
    /// Model bandwidth utilisation.
    Mbu,
    /// Share of time with a kernel running.
    GpuUtilization,
}

impl Figure {
    /// Label for the report.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::OutputTokensPerSecond => "output tokens/s",
            Self::RequestsPerSecond => "requests/s",
            Self::TtftMeanSeconds => "TTFT mean",
            Self::TpotMeanSeconds => "TPOT mean",
            Self::TtftP50Seconds => "TTFT P50",
            Self::TtftP99Seconds => "TTFT P99",
            Self::TpotP50Seconds => "TPOT P50",
            Self::TpotP99Seconds => "TPOT P99",
            Self::E2eP50Seconds => "end-to-end P50",
            Self::Mfu => "MFU",
            Self::Mbu => "MBU",
            Self::GpuUtilization => "GPU utilisation",
        }
    }

    /// Whether a higher value is better.
    #[must_use]
    pub const fn more_is_better(self) -> bool {
        !matches!(
            self,
            Self::TtftMeanSeconds
                | Self::TpotMeanSeconds
                | Self::TtftP50Seconds
                | Self::TtftP99Seconds
                | Self::TpotP50Seconds
                | Self::TpotP99Seconds
                | Self::E2eP50Seconds
        )
    }

    /// Formats a value with its unit: `23.4 ms`, `1,194`, `63.2 %`.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::OutputTokensPerSecond | Self::RequestsPerSecond => text::count(value),
            Self::Mfu | Self::Mbu | Self::GpuUtilization => text::percent(value),
            _ => text::duration(value),
        }
    }
}

impl Run {
    /// The value of `figure` in this run.
    #[must_use]
    pub fn figure(&self, figure: Figure) -> Option<f64> {
        let Latencies { ttft, e2e, .. } = &self.measured.latency;
        let (ttft, e2e) = (ttft.as_ref(), e2e.as_ref());
        let tpot = self.measured.latency.per_token();
        let modelled = self.modelled.as_ref();
        match figure {
            Figure::OutputTokensPerSecond => self.measured.rates.output_tokens_per_second,
            Figure::RequestsPerSecond => self.measured.rates.requests_per_second,
            Figure::TtftMeanSeconds => ttft?.mean_seconds,
            Figure::TpotMeanSeconds => tpot?.mean_seconds,
            Figure::TtftP50Seconds => ttft?.p50_seconds,
            Figure::TtftP99Seconds => ttft?.p99_seconds,
            Figure::TpotP50Seconds => tpot?.p50_seconds,
            Figure::TpotP99Seconds => tpot?.p99_seconds,
            Figure::E2eP50Seconds => e2e?.p50_seconds,
            Figure::Mfu => modelled?.mfu,
            Figure::Mbu => modelled?.mbu,
            Figure::GpuUtilization => self.measured.gpu_utilization,
        }
    }

    /// The bottleneck that was found for `phase`, or for the whole run.
    pub(super) fn obstacle_of(&self, phase: Option<Phase>) -> Option<BottleneckKind> {
        let found = self.bottlenecks.iter().find(|found| found.phase == phase);
        found.map(|found| found.bound)
    }

    /// Adopts the figures of a capture. The client's own measurements stay: they are what users experience.
    pub(super) fn adopt(&mut self, recorded: super::recording::RecordedStretch) {
        let client = std::mem::take(&mut self.measured);
        let seen = recorded.measured;
        self.measured = super::run::MeasuredRun {
            rates: over(client.rates, seen.rates),
            latency: Latencies {
                ttft: client.latency.ttft.or(seen.latency.ttft),
                tpot: client.latency.tpot.or(seen.latency.tpot),
                itl: client.latency.itl.or(seen.latency.itl),
                e2e: client.latency.e2e.or(seen.latency.e2e),
            },
            ..seen
        };
        let (client, seen) = (self.load, recorded.load);
        self.load = super::run::RunWorkload {
            sent: if client == super::run::RunWorkload::default() {
                seen.sent
            } else {
                client.sent
            },
            concurrency: client.concurrency.or(seen.concurrency),
            input_tokens: client.input_tokens.or(seen.input_tokens),
            cached_tokens: client.cached_tokens.or(seen.cached_tokens),
            output_tokens: client.output_tokens.or(seen.output_tokens),
        };
        self.modelled = Some(recorded.modelled);
        self.timeline = recorded.timeline;
    }
}

/// `client`'s rates; `seen` where the client has none.
fn over(client: ResultRates, seen: ResultRates) -> ResultRates {
    ResultRates {
        requests_per_second: client.requests_per_second.or(seen.requests_per_second),
        output_tokens_per_second: client
            .output_tokens_per_second
            .or(seen.output_tokens_per_second),
        total_tokens_per_second: client
            .total_tokens_per_second
            .or(seen.total_tokens_per_second),
        ..client
    }
}
