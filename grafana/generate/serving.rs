//! User-visible figures of the model, with their targets.

use serde_json::json;

use super::dashboard::{Dashboard, Variable};
use super::latency::{
    end_to_end, mean, per_token, queue_and_prefill, tpot_burn, tpot_mean, tpot_share, ttft,
    ttft_burn, ttft_heatmap, ttft_share, within,
};
use super::panel::Panel;
use super::style::{DECODE, PARTS, PREFILL, RUNNING, WAITING};
use super::verdict;

pub(crate) const UID: &str = "vllm-serving-quality";

/// Shares of each engine's time.
const SHARES: &str = "engine:vllm_roofline_time:ratio_rate5m{ENGINE,PART}";
/// Dollars per second, and per output token.
const BILL: &str = "sum(rate(vllm_roofline_cost_dollars_total{ENGINE}[5m]))";
const COST: &str = "sum(rate(vllm_roofline_cost_dollars_total{ENGINE}[1h])) / (sum(rate(vllm_roofline_forward_tokens_total{ENGINE,phase=\"decode\"}[1h])) > 0.1)";

/// Green, orange and red around a good and a bad latency.
const fn latency_thresholds(good: f64, bad: f64) -> [(&'static str, Option<f64>); 3] {
    [("green", None), ("orange", Some(good)), ("red", Some(bad))]
}

/// KV cache usage under vLLM's current name, otherwise under its name up to 0.11.
const KV_USAGE: &str = "(vllm:kv_cache_usage_perc{VLLM} or vllm:gpu_cache_usage_perc{VLLM})";

/// A rate extrapolates, to slightly over 1 for a GPU that is always busy.
const GPU_BUSY: &str =
    "avg(clamp_max(rate(vllm_roofline_gpu_busy_seconds_total{ENGINE}[$__rate_interval]), 1))";

pub(crate) fn dashboard() -> Dashboard {
    Dashboard::new(
        UID,
        "vLLM / Serving quality",
        "Throughput, latency, queue and KV cache of vLLM against the targets: time to first token under 100 ms (bad over 500 ms), time per output token under 50 ms (bad over 100 ms) for half of the requests. Throughput is judged against what the GPUs could give, in the verdict.",
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
    .selector("FLAGS", "namespace=~\"$namespace\",pod=~\"$pod\",model_name=~\"$model_name\"")
    // Alerts about a model have no pod.
    .selector("SCOPE", "namespace=~\"$namespace\",pod=~\"$pod|\",model_name=~\"$model_name|\"")
    .link("Roofline", super::roofline::UID)
    .link("Fleet", super::fleet::UID)
    .row("Verdict")
    .line(
        3,
        [verdict::first_sentence(
            "vllm_roofline_finding{ENGINE}",
            &[("pod", "Pod"), ("target", "Server"), ("model_name", "Model"), ("engine", "Engine")],
        )],
    )
    .verdict([
        verdict::alerts(),
        verdict::remedies(
            "engine:vllm_roofline_advice_gain:avg5m{ENGINE,FIGURE}",
            &[("pod", "Pod"), ("target", "Server")],
        ),
        verdict::shares(&format!("avg by (component) ({})", SHARES.replace(",PART", ""))),
        verdict::since(
            "vllm_roofline_admission{ENGINE,STATE}",
            SHARES,
            "pod, target, model_name, engine",
            "{{pod}} {{target}} {{engine}}",
        ),
        verdict::lost(&format!(
            "avg(sum without (component) ({}))",
            SHARES.replace("PART", verdict::LOST)
        )),
        verdict::cost(BILL, COST),
    ])
    .row("Targets")
    .line(4, targets())
    .row("Latency")
    .line(8, [ttft(), queue_and_prefill(), per_token()])
    .line(8, [within(), end_to_end(), ttft_heatmap()])
    .row("Throughput and errors")
    .line(8, [tokens(), per_instance(), requests(), errors()])
    .row("Queue and KV cache")
    .line(8, [queue(), waiting_reasons(), admission()])
    .line(8, [kv_cache(), preemptions(), prefix_cache(), gpu_busy()])
    .row("Error budget")
    .line(8, [ttft_burn(), tpot_burn()])
    .shut("Speculative decoding", [acceptance(), drafts()])
}

fn targets() -> [Panel; 8] {
    let share = |title, description, expression: &str| {
        Panel::stat(title, description)
            .now("", expression)
            .unit("percentunit")
            .default("decimals", json!(0))
            .thresholds(&[("red", None), ("orange", Some(0.5)), ("green", Some(0.95))])
            .no_value("No traffic")
    };
    [
        Panel::stat("TTFT, mean", "Time to first token, exact. Good under 100 ms, bad over 500 ms.")
            .now("", &mean("time_to_first_token"))
            .unit("s")
            .thresholds(&latency_thresholds(0.1, 0.5))
            .no_value("No traffic"),
        share(
            "TTFT within 500 ms",
            "Share of requests, exact. Over half: the median is met; 95 % is the objective.",
            &ttft_share("0.5", "$__rate_interval"),
        ),
        Panel::stat("TPOT, mean", "Time per output token, exact. Good under 50 ms, bad over 100 ms.")
            .now("", &tpot_mean())
            .unit("s")
            .thresholds(&latency_thresholds(0.05, 0.1))
            .no_value("No traffic"),
        share(
            "TPOT within 100 ms",
            "Share of requests, exact. Over half: the median is met; 95 % is the objective.",
            &tpot_share("0.1", "$__rate_interval"),
        ),
        Panel::stat(
            "Output tokens/s per instance",
            "Mean over the instances. What is good depends on model, GPU and load: the verdict judges it.",
        )
        .now("", "avg(sum by (job, namespace, pod, instance) (rate(vllm:generation_tokens_total{VLLM}[$__rate_interval])))")
        .fixed_color("text")
        .default("decimals", json!(0))
        .no_value("No traffic"),
        Panel::stat(
            "GPUs busy",
            "Share of time with a kernel on the GPU. It says that something runs, not how well; near 100 % is what an efficient engine shows.",
        )
        .now("", GPU_BUSY)
        .unit("percentunit")
        .default("decimals", json!(0))
        .fixed_color("text")
        .no_value("no GPU reading"),
        Panel::stat("Waiting requests", "Requests in the queue of all instances.")
            .now("", "sum(vllm:num_requests_waiting{VLLM})")
            .thresholds(&[("green", None), ("orange", Some(1.0))])
            .no_value("–"),
        Panel::stat("KV cache in use", "The fullest instance; blocks that only a prefix cache holds count as free.")
            .now("", &format!("max({KV_USAGE})"))
            .unit("percentunit")
            .default("decimals", json!(0))
            .thresholds(&[("green", None), ("orange", Some(0.9)), ("red", Some(0.98))])
            .no_value("–"),
    ]
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
    .colors([("prompt", PREFILL), ("output", DECODE)])
}

fn per_instance() -> Panel {
    Panel::timeseries(
        "Output tokens/s per instance",
        "An instance far below the others is the one to look at.",
    )
    .line(
        "{{instance}}",
        "sum by (instance) (rate(vllm:generation_tokens_total{VLLM}[$__rate_interval]))",
    )
    .unit("short")
    .min(0.0)
}

fn errors() -> Panel {
    Panel::timeseries(
        "HTTP answers but 2xx",
        "Per second, by status: 4xx are refused requests, 5xx errors of the server. Clients that gave up are not among them.",
    )
    .line(
        "{{status}}",
        "sum by (status) (rate(http_requests_total{TARGET,status!=\"2xx\"}[$__rate_interval]))",
    )
    .line("requests aborted or failed", "sum(rate(vllm:request_success_total{VLLM,finished_reason=~\"abort|error\"}[$__rate_interval]))")
    .unit("reqps")
    .min(0.0)
    .no_value("none")
    .colors([("4xx", WAITING), ("5xx", "red"), ("requests aborted or failed", RUNNING)])
}

fn acceptance() -> Panel {
    Panel::timeseries(
        "Draft tokens accepted",
        "Share of the drafted tokens that the model kept. Under a third the drafts cost more than they save.",
    )
    .line("accepted", "sum(rate(vllm:spec_decode_num_accepted_tokens_total{VLLM}[$__rate_interval])) / (sum(rate(vllm:spec_decode_num_draft_tokens_total{VLLM}[$__rate_interval])) > 0)")
    .unit("percentunit")
    .range(0.0, 1.0)
    .fixed_color(DECODE)
}

fn drafts() -> Panel {
    Panel::timeseries("Tokens per step and request", "One without speculation; each accepted draft token adds one.")
        .line("tokens", "1 + sum(rate(vllm:spec_decode_num_accepted_tokens_total{VLLM}[$__rate_interval])) / (sum(rate(vllm:spec_decode_num_drafts_total{VLLM}[$__rate_interval])) > 0)")
        .unit("none")
        .min(1.0)
        .fixed_color(DECODE)
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
    .colors([
        ("stop", "#9fa7b3"),
        ("length", "#6b7480"),
        ("abort", WAITING),
        ("error", "red"),
        ("repetition", "#d6bfff"),
    ])
}

fn queue() -> Panel {
    Panel::timeseries("Requests", "Running and waiting, all instances.")
        .line("running", "sum(vllm:num_requests_running{VLLM})")
        .line("waiting", "sum(vllm:num_requests_waiting{VLLM})")
        .unit("short")
        .min(0.0)
        .colors([("running", RUNNING), ("waiting", WAITING)])
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
    .colors([("capacity", WAITING), ("deferred", RUNNING)])
}

fn admission() -> Panel {
    let set = super::style::StateSet::admission();
    Panel::timeseries(
        "Engines, by what holds their queue",
        "What to do differs: see the runbooks.",
    )
    .line(
        "{{state}}",
        "sum by (state) (vllm_roofline_admission{ENGINE})",
    )
    .custom("lineInterpolation", json!("stepAfter"))
    .unit("short")
    .min(0.0)
    .stacked()
    .states(&set)
}

fn kv_cache() -> Panel {
    Panel::timeseries("KV cache in use", "The fullest instance and the mean.")
        .line("max", &format!("max({KV_USAGE})"))
        .line("mean", &format!("avg({KV_USAGE})"))
        .unit("percentunit")
        .range(0.0, 1.0)
        .colors([("max", "text"), ("mean", RUNNING)])
}

fn preemptions() -> Panel {
    Panel::timeseries("Preemptions", "Requests thrown out of the KV cache per second; their tokens are computed again, uncounted.")
        .line("preemptions/s", "sum(rate(vllm:num_preemptions_total{VLLM}[$__rate_interval]))")
        .unit("short")
        .min(0.0)
        .fixed_color(WAITING)
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
    .colors([
        ("local_compute", PREFILL),
        ("local_cache_hit", "#9fa7b3"),
        ("external_kv_transfer", "#6b7480"),
    ])
}

fn gpu_busy() -> Panel {
    Panel::timeseries(
        "GPUs busy",
        "Share of time with a kernel on the GPU, beside MBU and MFU, which say how well it is used.",
    )
    .line("busy", GPU_BUSY)
    .line("MBU", "avg(vllm_roofline_model_bandwidth_utilization_ratio{ENGINE})")
    .line("MFU", "avg(vllm_roofline_model_flops_utilization_ratio{ENGINE})")
    .unit("percentunit")
    .range(0.0, 1.0)
    .colors([("busy", "text"), ("MBU", PARTS[1].color), ("MFU", PARTS[0].color)])
}
