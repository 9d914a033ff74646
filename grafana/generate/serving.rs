//! What users of the model feel, against the targets.

use serde_json::json;

use super::dashboard::{Dashboard, Variable};
use super::latency::{
    end_to_end, per_token, tpot, tpot_burn, ttft, ttft_burn, ttft_heatmap, within,
};
use super::panel::Panel;

pub(crate) const UID: &str = "vllm-serving-quality";

/// Green, orange and red around a good and a bad latency.
const fn latency_thresholds(good: f64, bad: f64) -> [(&'static str, Option<f64>); 3] {
    [("green", None), ("orange", Some(good)), ("red", Some(bad))]
}

/// KV cache usage as vLLM calls it now, else what it was called up to 0.11.
const KV_USAGE: &str = "(vllm:kv_cache_usage_perc{VLLM} or vllm:gpu_cache_usage_perc{VLLM})";

/// A rate extrapolates, to a little over 1 of a GPU that never rests.
const GPU_BUSY: &str =
    "avg(clamp_max(rate(vllm_roofline_gpu_busy_seconds_total{ENGINE}[$__rate_interval]), 1))";

pub(crate) fn dashboard() -> Dashboard {
    Dashboard::new(
        UID,
        "vLLM / Serving quality",
        "Throughput, latency, queue and KV cache of vLLM against the targets: over 200 output tokens/s (bad below 150), median time to first token under 100 ms (bad over 500 ms), median time per output token under 50 ms (bad over 100 ms), GPUs busy 80 to 95 % of the time (bad below 50 % or at 100 %).",
    )
    .variables(Variable::down_to_instance("vllm:num_requests_running", "Instance", true))
    .selector(
        "VLLM",
        "job=~\"$job\",namespace=~\"$namespace\",pod=~\"$pod\",instance=~\"$instance\",model_name=~\"$model_name\"",
    )
    .selector("TARGET", "job=~\"$job\",namespace=~\"$namespace\",pod=~\"$pod\",instance=~\"$instance\"")
    // The exporter's target has another job and instance than vLLM's.
    .selector("ENGINE", "namespace=~\"$namespace\",pod=~\"$pod\",model_name=~\"$model_name\"")
    .selector("POD", "namespace=~\"$namespace\",pod=~\"$pod\"")
    .link("Roofline", super::roofline::UID)
    .link("Fleet", super::fleet::UID)
    .row("Targets")
    .line(4, targets())
    .row("Latency")
    .line(8, [ttft(), per_token(), end_to_end()])
    .line(8, [within(), ttft_heatmap()])
    .row("Throughput")
    .line(8, [tokens(), per_instance(), requests()])
    .row("Queue and KV cache")
    .line(8, [queue(), waiting_reasons(), admission()])
    .line(8, [kv_cache(), preemptions(), prefix_cache(), gpu_busy()])
    .row("Error budget")
    .line(8, [ttft_burn(), tpot_burn()])
}

fn targets() -> [Panel; 6] {
    [
        Panel::stat(
            "Output tokens/s per instance",
            "Mean over the instances. Target: over 200, bad below 150; without demand it means nothing.",
        )
        .now("", "avg(sum by (job, namespace, pod, instance) (rate(vllm:generation_tokens_total{VLLM}[$__rate_interval])))")
        .thresholds(&[("red", None), ("orange", Some(150.0)), ("green", Some(200.0))])
        .default("decimals", json!(0))
        .no_value("No traffic"),
        Panel::stat("TTFT, median", "Time to first token. Target: under 100 ms, bad over 500 ms.")
            .now("", "histogram_quantile(0.5, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket{VLLM}[$__rate_interval])))")
            .unit("s")
            .thresholds(&latency_thresholds(0.1, 0.5))
            .mappings(&[no_traffic()]),
        Panel::stat("TPOT, median", "Time per output token. Target: under 50 ms, bad over 100 ms.")
            .now("", &format!("histogram_quantile(0.5, sum by (le) {})", tpot("bucket{VLLM}")))
            .unit("s")
            .thresholds(&latency_thresholds(0.05, 0.1))
            .mappings(&[no_traffic()]),
        Panel::stat(
            "GPUs busy",
            "Share of time with a kernel on the GPU. Target: 80 to 95 %, bad below 50 % or at 100 %. It says that something runs, not how well: see MFU and MBU.",
        )
        .now("", GPU_BUSY)
        .unit("percentunit")
        .thresholds(&[
            ("red", None),
            ("orange", Some(0.5)),
            ("green", Some(0.8)),
            ("orange", Some(0.95)),
            ("red", Some(0.995)),
        ])
        .no_value("no GPU reading"),
        Panel::stat("Waiting requests", "Requests in the queue of all instances.")
            .now("", "sum(vllm:num_requests_waiting{VLLM})")
            .thresholds(&[("green", None), ("orange", Some(1.0))])
            .no_value("–"),
        Panel::stat("KV cache in use", "The fullest instance; blocks that only a prefix cache holds count as free.")
            .now("", &format!("max({KV_USAGE})"))
            .unit("percentunit")
            .thresholds(&[("green", None), ("orange", Some(0.9)), ("red", Some(0.98))])
            .no_value("–"),
    ]
}

/// A quantile of nothing is NaN.
fn no_traffic() -> serde_json::Value {
    json!({"type": "special", "options": {"match": "nan", "result": {"text": "No traffic", "color": "text", "index": 0}}})
}

fn tokens() -> Panel {
    Panel::timeseries(
        "Tokens per second",
        "Prompt tokens (cached ones included) and output tokens of all instances.",
    )
    .line(
        "prompt",
        "sum(rate(vllm:prompt_tokens_total{VLLM}[$__rate_interval]))",
    )
    .line(
        "output",
        "sum(rate(vllm:generation_tokens_total{VLLM}[$__rate_interval]))",
    )
    .unit("short")
    .min(0.0)
    .colors([("prompt", "blue"), ("output", "green")])
}

fn per_instance() -> Panel {
    Panel::timeseries(
        "Output tokens/s per instance",
        "Against the target of 200 tokens/s, and 150, below which an instance with a queue is in trouble.",
    )
    .line("{{instance}}", "sum by (instance) (rate(vllm:generation_tokens_total{VLLM}[$__rate_interval]))")
    .unit("short")
    .min(0.0)
    .default("thresholds", json!({"mode": "absolute", "steps": [
        {"color": "red", "value": null}, {"color": "orange", "value": 150}, {"color": "green", "value": 200},
    ]}))
    .custom("thresholdsStyle", json!({"mode": "dashed"}))
}

fn requests() -> Panel {
    Panel::timeseries(
        "Requests finished",
        "Per second, by why they ended. Requests a client gave up are not among them.",
    )
    .line(
        "{{finished_reason}}",
        "sum by (finished_reason) (rate(vllm:request_success_total{VLLM}[$__rate_interval]))",
    )
    .unit("reqps")
    .min(0.0)
    .stacked()
}

fn queue() -> Panel {
    Panel::timeseries("Requests", "Running and waiting, all instances.")
        .line("running", "sum(vllm:num_requests_running{VLLM})")
        .line("waiting", "sum(vllm:num_requests_waiting{VLLM})")
        .unit("short")
        .min(0.0)
        .colors([("running", "green"), ("waiting", "red")])
}

fn waiting_reasons() -> Panel {
    Panel::timeseries(
        "Waiting, by vLLM's reason",
        "capacity: no room in the batch or the KV cache; deferred: waiting for a transfer.",
    )
    .line(
        "{{reason}}",
        "sum by (reason) (vllm:num_requests_waiting_by_reason{VLLM})",
    )
    .unit("short")
    .min(0.0)
    .stacked()
}

fn admission() -> Panel {
    let set = super::style::StateSet::admission();
    Panel::timeseries(
        "Engines, by what holds their queue",
        "open: nothing waits. What to do differs: see the runbooks.",
    )
    .line(
        "{{state}}",
        "sum by (state) (vllm_roofline_admission{ENGINE})",
    )
    .custom("lineInterpolation", json!("stepAfter"))
    .unit("short")
    .min(0.0)
    .stacked()
    .colors(set.colors())
}

fn kv_cache() -> Panel {
    Panel::timeseries("KV cache in use", "The fullest instance and the mean.")
        .line("max", &format!("max({KV_USAGE})"))
        .line("mean", &format!("avg({KV_USAGE})"))
        .unit("percentunit")
        .range(0.0, 1.0)
        .colors([("max", "red"), ("mean", "text")])
}

fn preemptions() -> Panel {
    Panel::timeseries("Preemptions", "Requests thrown out of the KV cache per second; their tokens are computed again, uncounted.")
        .line("preemptions/s", "sum(rate(vllm:num_preemptions_total{VLLM}[$__rate_interval]))")
        .unit("short")
        .min(0.0)
        .fixed_color("red")
}

fn prefix_cache() -> Panel {
    Panel::timeseries(
        "Prompt tokens by source",
        "Computed here, found in a cache, or transferred.",
    )
    .line(
        "{{source}}",
        "sum by (source) (rate(vllm:prompt_tokens_by_source_total{VLLM}[$__rate_interval]))",
    )
    .unit("short")
    .min(0.0)
    .stacked()
}

fn gpu_busy() -> Panel {
    Panel::timeseries(
        "GPUs busy",
        "Share of time with a kernel on the GPU, target 80 to 95 %, beside MBU and MFU, which say how well it is used.",
    )
    .line("busy", GPU_BUSY)
    .line("MBU", "avg(vllm_roofline_model_bandwidth_utilization_ratio{ENGINE})")
    .line("MFU", "avg(vllm_roofline_model_flops_utilization_ratio{ENGINE})")
    .unit("percentunit")
    .range(0.0, 1.0)
    .colors([("busy", "text"), ("MBU", "green"), ("MFU", "blue")])
}
