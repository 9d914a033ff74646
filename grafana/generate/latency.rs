//! Latencies: quantiles, shares within target, error budgets.

use serde_json::json;

use super::panel::Panel;

/// Time per output token as vLLM calls it now, else what it was called up to 0.10 (then per step rather than per request).
pub(crate) fn tpot(part: &str) -> String {
    format!(
        "(rate(vllm:request_time_per_output_token_seconds_{part}[$__rate_interval]) or rate(vllm:time_per_output_token_seconds_{part}[$__rate_interval]))"
    )
}

/// Quantiles of a latency; `rates` are its buckets' rates.
fn quantiles(panel: Panel, rates: &str) -> Panel {
    [("P50", 0.5), ("P90", 0.9), ("P99", 0.99)]
        .into_iter()
        .fold(panel, |panel, (name, quantile)| {
            panel.line(
                name,
                &format!("histogram_quantile({quantile}, sum by (le) {rates})"),
            )
        })
        .unit("s")
        .logarithmic()
        .colors([("P50", "green"), ("P90", "yellow"), ("P99", "red")])
}

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
        "From arrival to the first output token, queue included.",
    );
    slo(
        quantiles(
            panel,
            "(rate(vllm:time_to_first_token_seconds_bucket{VLLM}[$__rate_interval]))",
        ),
        "ttft",
    )
}

pub(crate) fn per_token() -> Panel {
    let panel = Panel::timeseries(
        "Time per output token",
        "Per finished request: decode time over output tokens after the first. The lowest bucket is 10 ms: quantiles below it are guesses.",
    );
    slo(quantiles(panel, &tpot("bucket{VLLM}")), "tpot")
}

pub(crate) fn end_to_end() -> Panel {
    let panel = Panel::timeseries(
        "End to end",
        "From arrival to the last output token, per finished request.",
    );
    quantiles(
        panel,
        "(rate(vllm:e2e_request_latency_seconds_bucket{VLLM}[$__rate_interval]))",
    )
}

/// The share of observations at most `bound`, exact since `bound` is a bucket's.
fn share(buckets: &str, counts: &str) -> String {
    format!("sum({buckets}) / (sum({counts}) > 0)")
}

fn ttft_share(bound: &str, window: &str) -> String {
    share(
        &format!("rate(vllm:time_to_first_token_seconds_bucket{{VLLM,le=\"{bound}\"}}[{window}])"),
        &format!("rate(vllm:time_to_first_token_seconds_count{{VLLM}}[{window}])"),
    )
}

fn tpot_share(bound: &str, window: &str) -> String {
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
    .colors([
        ("TTFT ≤ 100 ms", "light-blue"),
        ("TTFT ≤ 500 ms", "blue"),
        ("TPOT ≤ 50 ms", "light-green"),
        ("TPOT ≤ 100 ms", "green"),
    ])
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

/// How fast an error budget of 5 % is used up, over an hour and over six: 1 is just sustainable.
fn burn(panel: Panel, within: impl Fn(&str) -> String) -> Panel {
    panel
        .line("over 5 minutes", &format!("(1 - {}) / 0.05", within("5m")))
        .line("over an hour", &format!("(1 - {}) / 0.05", within("1h")))
        .line("over 6 hours", &format!("(1 - {}) / 0.05", within("6h")))
        .unit("none")
        .min(0.0)
        .default("max", json!(20))
        .default("thresholds", json!({"mode": "absolute", "steps": [
            {"color": "green", "value": null}, {"color": "orange", "value": 6}, {"color": "red", "value": 14.4},
        ]}))
        .custom("thresholdsStyle", json!({"mode": "dashed"}))
        .colors([("over 5 minutes", "text"), ("over an hour", "orange"), ("over 6 hours", "red")])
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
