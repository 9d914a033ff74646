//! One engine on its roofline: its position, its bound, its time and energy.

use serde_json::json;

use super::basis::{exporter, facts, gpus, missing, reads};
use super::chart::chart;
use super::dashboard::{Dashboard, Variable};
use super::panel::Panel;
use super::style::{DECODE, KINDS, PARTS, PREFILL, ROOFS, RUNNING, StateSet, WAITING};
use super::verdict;

pub(crate) const UID: &str = "vllm-roofline";

/// Shares of each engine's time.
const SHARES: &str = "engine:vllm_roofline_time:ratio_rate5m{ENGINE,PART}";
const GAIN: &str = "engine:vllm_roofline_advice_gain:avg5m{ENGINE,FIGURE}";
const ADMISSION: &str = "vllm_roofline_admission{ENGINE,STATE}";
/// Dollars per second, and per output token.
const BILL: &str = "sum(rate(vllm_roofline_cost_dollars_total{ENGINE}[5m]))";
const COST: &str = "sum(rate(vllm_roofline_cost_dollars_total{ENGINE}[1h])) / (sum(rate(vllm_roofline_forward_tokens_total{ENGINE,phase=\"decode\"}[1h])) > 0.1)";

pub(crate) fn dashboard() -> Dashboard {
    Dashboard::new(
        UID,
        "vLLM / Roofline",
        "One engine against the roofline of its GPUs: what bounds it, how far it is from the roof, where time and energy go.",
    )
    // One engine at a time: roofs of different GPUs do not fit in one chart.
    .variables(Variable::down_to_instance("vllm_roofline_bound", "Exporter", false))
    .variables([Variable::server("vllm_roofline_bound")])
    .selector(
        "ENGINE",
        "job=~\"$job\",namespace=~\"$namespace\",pod=~\"$pod\",instance=\"$instance\",target=\"$target\",model_name=~\"$model_name\"",
    )
    .selector(
        "TARGET",
        "job=~\"$job\",namespace=~\"$namespace\",pod=~\"$pod\",instance=\"$instance\",target=~\"$target|\"",
    )
    // vLLM's own target has another job and instance than its exporter.
    .selector(
        "VLLM",
        "namespace=~\"$namespace\",pod=~\"$pod\",model_name=~\"$model_name\"",
    )
    .selector("POD", "namespace=~\"$namespace\",pod=~\"$pod\"")
    .selector("FLAGS", "namespace=~\"$namespace\",pod=~\"$pod\",instance=\"$instance\",target=\"$target\",model_name=~\"$model_name\"")
    // Alerts about a model are of no one pod and instance.
    .selector("SCOPE", "namespace=~\"$namespace\",pod=~\"$pod|\",instance=~\"$instance|\",target=~\"$target|\",model_name=~\"$model_name|\"")
    .link("Serving quality", super::serving::UID)
    .link("Fleet", super::fleet::UID)
    .row("Verdict")
    .line(
        3,
        [verdict::first_sentence(
            "vllm_roofline_finding{ENGINE}",
            &[("model_name", "Model"), ("engine", "Engine"), ("target", "Server")],
        )],
    )
    .verdict([
        verdict::alerts(),
        verdict::remedies(GAIN, &[]),
        verdict::shares(&format!("avg by (component) ({})", SHARES.replace(",PART", ""))),
        verdict::since(ADMISSION, SHARES, "model_name, engine, target", "{{engine}}"),
        verdict::lost(&format!(
            "avg(sum without (component) ({}))",
            SHARES.replace("PART", verdict::LOST)
        )),
        verdict::cost(BILL, COST),
    ])
    .row("Now")
    .line(4, now())
    .row("Roofline")
    .beside(14, chart(), [(4, states()), (13, time())])
    .row("Utilization")
    .line(8, [utilization(), intensity()])
    .line(8, [traffic(), batch(), tokens()])
    .row("Power and cost")
    .line(8, [cost(), wasted(), energy()])
    .line(8, [power(), clocks()])
    .shut("Several GPUs: what they send to each other", [interconnect()])
    .row("What this is based on")
    .line(6, [facts(), gpus()])
    .line(6, [exporter(), reads(), missing()])
}

fn now() -> [Panel; 8] {
    let percent = |panel: Panel| {
        panel
            .unit("percentunit")
            .default("decimals", json!(1))
            .no_value("–")
    };
    [
        word(
            "Bound now",
            "The exporter's own live verdict, over its window. The shares in the row above are what alerts judge by.",
            &StateSet::bound(),
        ),
        word("Engine", "What the engine is doing now.", &StateSet::engine_state()),
        word(
            "Requests wait for",
            "What keeps waiting requests out, over the exporter's window.",
            &StateSet::admission(),
        ),
        percent(
            Panel::stat("MFU", "Model FLOPs over the dense datasheet peak of all GPUs, over the exporter's window.")
                .now("", "avg(vllm_roofline_model_flops_utilization_ratio{ENGINE})"),
        )
        .fixed_color(PARTS[0].color),
        percent(
            Panel::stat("MBU, modelled", "Modelled HBM bytes over the peak bandwidth of all GPUs, over the exporter's window.")
                .now("", "avg(vllm_roofline_model_bandwidth_utilization_ratio{ENGINE})"),
        )
        .fixed_color(PARTS[1].color),
        percent(
            Panel::stat("MBU, measured", "HBM bytes by the GPU's own counters (GPM) over the peak bandwidth. Empty where the GPU has none.")
                .now("", "avg(vllm_roofline_measured_bandwidth_utilization_ratio{ENGINE})"),
        )
        .fixed_color(PARTS[1].color),
        percent(
            Panel::stat(
                "Roofline efficiency",
                "Share of busy time that the roofline explains at the attainable ceilings. The rest is overhead: launches, scheduling, bubbles.",
            )
            .now("", "avg(vllm_roofline_roofline_efficiency_ratio{ENGINE})"),
        )
        .thresholds(&[("red", None), ("orange", Some(0.4)), ("green", Some(0.6))]),
        Panel::stat("Decode batch", "Mean requests per step that decodes, over the exporter's window.")
            .now("", "avg(vllm_roofline_decode_batch_size{ENGINE})")
            .default("decimals", json!(1))
            .no_value("–")
            .fixed_color("text"),
    ]
}

/// A state set as the word that holds.
fn word(title: &'static str, description: &'static str, set: &StateSet) -> Panel {
    let (metric, label) = (set.metric, set.label);
    Panel::stat(title, description)
        .now(
            &format!("{{{{{label}}}}}"),
            &format!("max by ({label}) ({metric}{{ENGINE}} == 1)"),
        )
        .option("textMode", json!("name"))
        .no_value("–")
        .states(set)
}

fn states() -> Panel {
    let set = StateSet::engine_state();
    Panel::state_timeline("Whether the engine runs", "What the engine was doing.")
        .line(
            "engine {{engine}}",
            &set.code("vllm_roofline_engine_state{ENGINE,STATE}", "engine, target"),
        )
        .mappings(&[set.mapping()])
}

fn time() -> Panel {
    Panel::timeseries(
        "Where the time goes",
        "Each step's time goes to its larger roofline component at the attainable ceiling of the current clock; what is left of busy time is host where no kernel ran, kernel latency where one did, overhead where nothing says which. Idle is a lack of demand.",
    )
    .line(
        "{{component}}",
        "sum by (component) (rate(vllm_roofline_time_seconds_total{ENGINE}[$__rate_interval])) / ignoring (component) group_left () sum(rate(vllm_roofline_time_seconds_total{ENGINE}[$__rate_interval]))",
    )
    .unit("percentunit")
    .range(0.0, 1.0)
    .stacked()
    .parts()
}

fn utilization() -> Panel {
    Panel::timeseries(
        "MFU and MBU",
        "FLOPs and HBM bytes over the datasheet peaks of all GPUs, from counters over the panel's interval. Measured bytes come from the GPU's counters and check the model.",
    )
    .line("MFU, modelled", "sum(rate(vllm_roofline_flops_total{ENGINE}[$__rate_interval])) / sum(vllm_roofline_roof_flops_per_second{ENGINE,level=\"datasheet\",point=\"right\"})")
    .line("MBU, modelled", "sum(rate(vllm_roofline_hbm_bytes_total{ENGINE}[$__rate_interval])) / sum(vllm_roofline_peak_hbm_bytes_per_second{ENGINE})")
    .line("MBU, measured", "sum(rate(vllm_roofline_measured_hbm_bytes_total{ENGINE}[$__rate_interval])) / sum(vllm_roofline_peak_hbm_bytes_per_second{ENGINE})")
    .line("Roofline efficiency", "avg(vllm_roofline_roofline_efficiency_ratio{ENGINE})")
    .unit("percentunit")
    .range(0.0, 1.0)
    .colors([("MFU, modelled", PARTS[0].color), ("MBU, modelled", PARTS[1].color)])
    .dashed("MBU, measured", PARTS[1].color)
    .dashed("Roofline efficiency", "text")
}

fn intensity() -> Panel {
    Panel::timeseries(
        "Arithmetic intensity",
        "FLOPs per HBM byte of each phase, and the ridge of the datasheet roof: below it memory bandwidth is the limit, above it compute.",
    )
    .line("{{phase}}", "sum by (phase) (rate(vllm_roofline_flops_total{ENGINE}[$__rate_interval])) / (sum by (phase) (rate(vllm_roofline_hbm_bytes_total{ENGINE}[$__rate_interval])) > 0) > 0")
    .line("ridge", "max(vllm_roofline_ridge_flops_per_byte{ENGINE})")
    .unit("none")
    .logarithmic()
    .custom("axisLabel", json!("FLOP per byte"))
    .colors([("prefill", PREFILL), ("decode", DECODE)])
    .dashed("ridge", ROOFS[0].2)
}

fn traffic() -> Panel {
    Panel::timeseries(
        "HBM traffic",
        "Bytes per second by what they carry, modelled, and what the GPU's counters measured.",
    )
    .line(
        "{{kind}}",
        "sum by (kind) (rate(vllm_roofline_hbm_bytes_total{ENGINE}[$__rate_interval]))",
    )
    .line(
        "measured",
        "sum(rate(vllm_roofline_measured_hbm_bytes_total{ENGINE}[$__rate_interval]))",
    )
    .line(
        "peak",
        "sum(vllm_roofline_peak_hbm_bytes_per_second{ENGINE})",
    )
    .unit("Bps")
    .min(0.0)
    .stacked()
    .colors(KINDS)
    .named(
        "measured",
        &[("custom.stacking", json!({"mode": "none", "group": "B"}))],
    )
    .named(
        "peak",
        &[("custom.stacking", json!({"mode": "none", "group": "B"}))],
    )
    .dashed("measured", "text")
    .dashed("peak", ROOFS[0].2)
}

fn interconnect() -> Panel {
    Panel::timeseries(
        "Between the GPUs",
        "Bytes per second that the engine's GPUs send to each other, modelled, what GPM saw them send over NVLink, and what their links carry one way. Empty for an engine with one GPU.",
    )
    .line("{{phase}}", "sum by (phase) (rate(vllm_roofline_interconnect_bytes_total{ENGINE}[$__rate_interval]))")
    .line("measured", "sum(rate(vllm_roofline_gpu_link_bytes_total{ENGINE,link=\"nvlink\",direction=\"sent\"}[$__rate_interval]))")
    .line("peak", "sum(vllm_roofline_peak_interconnect_bytes_per_second{ENGINE})")
    .unit("Bps")
    .logarithmic()
    .no_value("one GPU")
    .colors([("prefill", PREFILL), ("decode", DECODE)])
    .dashed("measured", "text")
    .dashed("peak", ROOFS[0].2)
}

/// The mean of `series`, which are vLLM's own, in the pod of the exporter.
fn of_this_pod(series: &str) -> String {
    format!("avg({series} and on (cluster, namespace, pod) vllm_roofline_build_info{{TARGET}})")
}

fn batch() -> Panel {
    Panel::timeseries(
        "Decode batch and its limits",
        "Requests per decode step, requests that run and wait in vLLM where Prometheus scrapes it in the same pod, and the batches at which weights become compute-bound (ridge), KV traffic equals weight traffic (knee) and the KV cache is full (kv_capacity), at the context of the window.",
    )
    .line("decode batch", "avg(vllm_roofline_decode_batch_size{ENGINE})")
    .line("running", &of_this_pod("vllm:num_requests_running{VLLM}"))
    .line("waiting", &format!("{} > 0", of_this_pod("vllm:num_requests_waiting{VLLM}")))
    .line("{{limit}}", "max by (limit) (vllm_roofline_batch_limit{ENGINE})")
    .unit("short")
    .logarithmic()
    .colors([("decode batch", DECODE), ("running", RUNNING), ("waiting", WAITING)])
    .dashed("ridge", ROOFS[0].2)
    .dashed("knee", PARTS[1].color)
    .dashed("kv_capacity", WAITING)
}

fn tokens() -> Panel {
    Panel::timeseries(
        "Tokens through the model",
        "Prompt tokens computed and tokens decoded per second; cached prompt tokens are not among them, rejected draft tokens are.",
    )
    .line("{{phase}}", "sum by (phase) (rate(vllm_roofline_forward_tokens_total{ENGINE}[$__rate_interval]))")
    .unit("short")
    .min(0.0)
    .custom("axisLabel", json!("tokens/s"))
    .colors([("prefill", PREFILL), ("decode", DECODE)])
}

/// What a token of each phase takes of `counter`, over a quarter of an hour: a pause is no spike. Idle time is shared out to both.
fn per_token(panel: Panel, counter: &str, times: &str) -> Panel {
    let rate =
        |matcher: &str| format!("sum(rate(vllm_roofline_{counter}{{ENGINE{matcher}}}[15m]))");
    let figure = |phase: &str| {
        let own = format!(",phase=\"{phase}\"");
        let tokens = format!("sum(rate(vllm_roofline_forward_tokens_total{{ENGINE{own}}}[15m]))");
        let busy = rate(",phase!=\"idle\"");
        format!(
            "{times}{} / ({tokens} > 0.1) * {} / ({busy} > 0)",
            rate(&own),
            rate("")
        )
    };
    panel
        .line("in", &figure("prefill"))
        .line("out", &figure("decode"))
        .logarithmic()
        .no_value("no price or no tokens")
        .colors([("in", PREFILL), ("out", DECODE)])
}

fn energy() -> Panel {
    let panel = Panel::timeseries(
        "Energy per token",
        "Energy of all GPUs by what their seconds were spent on, over the prompt tokens computed (in) and the tokens decoded (out). Both together pay for every joule, those of pauses too.",
    );
    per_token(panel, "phase_energy_joules_total", "").unit("joule")
}

fn power() -> Panel {
    Panel::timeseries("Power", "Mean power of each GPU, from its energy counter.")
        .line(
            "{{gpu}}",
            "sum by (gpu) (rate(vllm_roofline_energy_joules_total{ENGINE}[$__rate_interval]))",
        )
        .unit("watt")
        .min(0.0)
}

fn clocks() -> Panel {
    Panel::timeseries(
        "Clock and power limit",
        "The compute ceiling at the SM clock of the window over the datasheet's, and the share of readings with the clock held down by a power limit.",
    )
    .line("ceiling at this clock", "max(vllm_roofline_roof_flops_per_second{ENGINE,level=\"current_clock\",point=\"right\"}) / max(vllm_roofline_roof_flops_per_second{ENGINE,level=\"datasheet\",point=\"right\"})")
    .line("power-limited", "avg(vllm_roofline_power_limited_ratio{ENGINE})")
    .unit("percentunit")
    .min(0.0)
    .colors([("ceiling at this clock", PARTS[0].color), ("power-limited", WAITING)])
}

fn cost() -> Panel {
    let panel = Panel::timeseries(
        "Cost per million tokens",
        "Price of the GPUs by what their seconds were spent on, over the prompt tokens computed (in) and the tokens decoded (out). Both together pay for every second, pauses too. At --gpu-hour-price, else at the list price of the GPU.",
    );
    per_token(panel, "phase_cost_dollars_total", "1e6 * ").unit("currencyUSD")
}

fn wasted() -> Panel {
    Panel::timeseries(
        "Dollars per hour that buy nothing",
        "Price of the time in which neither arithmetic, memory traffic nor links limited, by what it went to. Idle is a lack of demand.",
    )
    .line(
        "{{component}}",
        "3600 * sum by (component) (rate(vllm_roofline_wasted_dollars_total{ENGINE}[$__rate_interval]))",
    )
    .unit("currencyUSD")
    .min(0.0)
    .stacked()
    .no_value("no price")
    .parts()
}
