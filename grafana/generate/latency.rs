//! Latencies: means, shares within target, percentiles if the buckets resolve them, error budgets.

use serde_json::json;

use super::panel::Panel;
use super::style::{DECODE, MEAN, PERCENTILE, PREFILL, WAITING};

/// Time per output token under vLLM's current name, otherwise under its name up to 0.10 (then per step instead of per request).
pub(crate) fn tpot(part: &str) -> String {
    format!(
        "(rate(vllm:request_time_per_output_token_seconds_{part}[$__rate_interval]) or rate(vllm:time_per_output_token_seconds_{part}[$__rate_interval]))"
    )
}

/// The exact mean of a vLLM latency.
pub(crate) fn mean(metric: &str) -> String {
    let total =
        |part: &str| format!("sum(rate(vllm:{metric}_seconds_{part}{{VLLM}}[$__rate_interval]))");
    format!("{} / ({} > 0)", total("sum"), total("count"))
}

/// The mean time per output token.
pub(crate) fn tpot_mean() -> String {
    format!(
        "sum({}) / (sum({}) > 0)",
        tpot("sum{VLLM}"),
        tpot("count{VLLM}")
    )
}

/// The 95th percentile if the buckets resolve it: within a bucket of `narrow`, whose bounds differ by at most half of the lower one.
/// Elsewhere it would only be the middle of a bucket.
fn known_percentile(rates: &str, narrow: &[(&str, &str)]) -> String {
    let percentile = format!("histogram_quantile(0.95, sum by (le) {rates})");
    let within: Vec<_> = narrow
        .iter()
        .map(|(low, high)| format!("({percentile} > {low} <= {high})"))
        .collect();
    within.join(" or ")
}

/// Mean and percentile of a latency over time.
fn figures(panel: Panel, mean: &str, percentile: &str) -> Panel {
    panel
        .line("mean", mean)
        .line("P95, where the buckets know it", percentile)
        .unit("s")
        .min(0.0)
        .no_value("No traffic")
        .colors([
            ("mean", MEAN),
            ("P95, where the buckets know it", PERCENTILE),
        ])
}

/// Stretches of narrow buckets: time to first token and end to end, time per output token.
const TTFT_NARROW: [(&str, &str); 3] = [("0.04", "0.1"), ("0.5", "1"), ("5", "10")];
const TPOT_NARROW: [(&str, &str); 1] = [("0.05", "1")];
const E2E_NARROW: [(&str, &str); 2] = [("1", "2.5"), ("10", "30")];

fn slo(panel: Panel, name: &str) -> Panel {
    panel
        .line(
            "target",
            &format!("max(vllm_roofline_slo_seconds{{POD,slo=\"{name}\"}})"),
        )
        .dashed("target", "text")
}

pub(crate) fn ttft() -> Panel {
    let panel = Panel::timeseries(
        "Time to first token",
        "From arrival to the first output token, queue included. The mean is exact; a percentile is drawn only where it lies between two close bounds.",
    );
    let rates = "(rate(vllm:time_to_first_token_seconds_bucket{VLLM}[$__rate_interval]))";
    slo(
        figures(
            panel,
            &mean("time_to_first_token"),
            &known_percentile(rates, &TTFT_NARROW),
        ),
        "ttft",
    )
}

pub(crate) fn per_token() -> Panel {
    let panel = Panel::timeseries(
        "Time per output token",
        "Per finished request: decode time over output tokens after the first. The mean is exact; a percentile is drawn only where it lies between two close bounds.",
    );
    slo(
        figures(
            panel,
            &tpot_mean(),
            &known_percentile(&tpot("bucket{VLLM}"), &TPOT_NARROW),
        ),
        "tpot",
    )
}

pub(crate) fn end_to_end() -> Panel {
    let panel = Panel::timeseries(
        "End to end",
        "From arrival to the last output token, per finished request.",
    );
    let rates = "(rate(vllm:e2e_request_latency_seconds_bucket{VLLM}[$__rate_interval]))";
    figures(
        panel,
        &mean("e2e_request_latency"),
        &known_percentile(rates, &E2E_NARROW),
    )
}

/// Queue and prefill time before the first token.
pub(crate) fn queue_and_prefill() -> Panel {
    Panel::timeseries(
        "Queue and prefill time",
        "Mean seconds that a finished request waited in the queue, and that its prompt was computed for. Whichever is longer says where to look.",
    )
    .line("queue", &mean("request_queue_time"))
    .line("prefill", &mean("request_prefill_time"))
    .unit("s")
    .min(0.0)
    .no_value("No traffic")
    .stacked()
    .colors([("queue", WAITING), ("prefill", PREFILL)])
}

/// The share of observations at most `bound`, exact since `bound` is a bucket's.
fn share(buckets: &str, counts: &str) -> String {
    format!("sum({buckets}) / (sum({counts}) > 0)")
}

pub(crate) fn ttft_share(bound: &str, window: &str) -> String {
    share(
        &format!("rate(vllm:time_to_first_token_seconds_bucket{{VLLM,le=\"{bound}\"}}[{window}])"),
        &format!("rate(vllm:time_to_first_token_seconds_count{{VLLM}}[{window}])"),
    )
}

pub(crate) fn tpot_share(bound: &str, window: &str) -> String {
    let on = |part: &str| tpot(part).replace("$__rate_interval", window);
    share(
        &on(&format!("bucket{{VLLM,le=\"{bound}\"}}")),
        &on("count{VLLM}"),
    )
}

pub(crate) fn within() -> Panel {
    Panel::timeseries(
        "Requests within target",
        "Share of requests within each latency, exact: each is the bound of a bucket. A median is within target where its line is above 50 %.",
    )
    .line("TTFT ≤ 100 ms", &ttft_share("0.1", "$__rate_interval"))
    .line("TTFT ≤ 500 ms", &ttft_share("0.5", "$__rate_interval"))
    .line("TPOT ≤ 50 ms", &tpot_share("0.05", "$__rate_interval"))
    .line("TPOT ≤ 100 ms", &tpot_share("0.1", "$__rate_interval"))
    .unit("percentunit")
    .range(0.0, 1.0)
    .no_value("No traffic")
    .colors([("TTFT ≤ 500 ms", PREFILL), ("TPOT ≤ 100 ms", DECODE)])
    .dashed("TTFT ≤ 100 ms", PREFILL)
    .dashed("TPOT ≤ 50 ms", DECODE)
}

pub(crate) fn ttft_heatmap() -> Panel {
    Panel::heatmap(
        "Time to first token, distribution",
        "Requests by their time to first token.",
        "s",
    )
    .line(
        "{{le}}",
        "sum by (le) (increase(vllm:time_to_first_token_seconds_bucket{VLLM}[$__rate_interval]))",
    )
}

/// The burn rate of an error budget of 5 %, over one hour and over six: 1 is just sustainable.
fn burn(panel: Panel, within: impl Fn(&str) -> String) -> Panel {
    panel
        .line("over 5 minutes", &format!("(1 - {}) / 0.05", within("5m")))
        .line("over an hour", &format!("(1 - {}) / 0.05", within("1h")))
        .line("over 6 hours", &format!("(1 - {}) / 0.05", within("6h")))
        .unit("none")
        .min(0.0)
        .no_value("No traffic")
        .default("max", json!(20))
        .default("thresholds", json!({"mode": "absolute", "steps": [
            {"color": "green", "value": null}, {"color": "orange", "value": 6}, {"color": "red", "value": 14.4},
        ]}))
        .custom("thresholdsStyle", json!({"mode": "dashed"}))
        .colors([("over 5 minutes", "#9fa7b3"), ("over an hour", "text"), ("over 6 hours", "#6b7480")])
}

pub(crate) fn ttft_burn() -> Panel {
    burn(
        Panel::timeseries(
            "TTFT budget burn",
            "95 % of requests shall have their first token within 500 ms. 1 uses the budget up just in time; 14.4 over an hour or 6 over six hours pages.",
        ),
        |window| ttft_share("0.5", window),
    )
}

pub(crate) fn tpot_burn() -> Panel {
    burn(
        Panel::timeseries(
            "TPOT budget burn",
            "95 % of requests shall take at most 100 ms per output token. 1 uses the budget up just in time; 14.4 over an hour or 6 over six hours pages.",
        ),
        |window| tpot_share("0.1", window),
    )
}
