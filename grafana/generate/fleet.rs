//! Many pods and models: who is bound by what, and who is worst.

use serde_json::json;

use super::dashboard::{Dashboard, Variable};
use super::panel::Panel;
use super::style::{COMPONENTS, StateSet};

pub(crate) const UID: &str = "vllm-roofline-fleet";

/// What tells engines apart.
const IDENTITY: &str = "namespace, pod, instance, model_name, engine";

pub(crate) fn dashboard() -> Dashboard {
    Dashboard::new(
        UID,
        "vLLM / Roofline fleet",
        "Every engine against its roofline: share of time per bound, what GPU time is lost to, worst first.",
    )
    .variables(Variable::down_to_instance("vllm_roofline_bound", "Exporter", true))
    .selector(
        "ENGINE",
        "job=~\"$job\",namespace=~\"$namespace\",pod=~\"$pod\",instance=~\"$instance\",model_name=~\"$model_name\"",
    )
    .selector("TARGET", "job=~\"$job\",namespace=~\"$namespace\",pod=~\"$pod\",instance=~\"$instance\"")
    .link("Roofline", super::roofline::UID)
    .link("Serving quality", super::serving::UID)
    .row("Now")
    .line(4, now())
    .row("Bounds")
    .beside(8, bound_shares(), [(10, engines_by_bound())])
    .line(8, [time(), lost()])
    .row("Worst first")
    .line(12, [engines()])
    .row("Models")
    .line(8, [models()])
    .line(8, [efficiency(), energy(), throughput()])
}

/// `amount` over what the GPUs could have done in the time they were observed; a pod that came halfway counts for its half.
fn utilization(by: &str, amount: &str, peak: &str, window: &str) -> String {
    let each = format!("sum by ({IDENTITY})");
    format!(
        "sum{by} (rate(vllm_roofline_{amount}{{ENGINE}}[{window}])) / sum{by} ({each} (vllm_roofline_{peak}) * {each} (rate(vllm_roofline_time_seconds_total{{ENGINE}}[{window}])))"
    )
}

fn mfu(by: &str, window: &str) -> String {
    let peak = "roof_flops_per_second{ENGINE,level=\"datasheet\",point=\"right\"}";
    utilization(by, "flops_total", peak, window)
}

fn mbu(by: &str, window: &str) -> String {
    utilization(
        by,
        "hbm_bytes_total",
        "peak_hbm_bytes_per_second{ENGINE}",
        window,
    )
}

/// The share of time that went to `component`, of all or of busy time.
fn time_share(by: &str, component: &str, window: &str) -> String {
    format!(
        "sum{by} (rate(vllm_roofline_time_seconds_total{{ENGINE,component=~\"{component}\"}}[{window}])) / (sum{by} (rate(vllm_roofline_time_seconds_total{{ENGINE}}[{window}])) > 0)"
    )
}

/// Share of busy time that the roofline explains.
fn efficiency_over(by: &str, window: &str) -> String {
    format!(
        "sum{by} (rate(vllm_roofline_time_seconds_total{{ENGINE,component=~\"compute|memory|communication\"}}[{window}])) / (sum{by} (rate(vllm_roofline_time_seconds_total{{ENGINE,component!~\"idle|stalled\"}}[{window}])) > 0)"
    )
}

fn now() -> [Panel; 8] {
    let count = |title, description, expression: &str| {
        Panel::stat(title, description)
            .now("", expression)
            .fixed_color("text")
            .no_value("0")
    };
    let ratio = |title, description, expression: &str| {
        Panel::stat(title, description)
            .now("", expression)
            .unit("percentunit")
            .default("decimals", json!(1))
            .fixed_color("text")
            .no_value("–")
    };
    let alarm = |panel: Panel| panel.thresholds(&[("green", None), ("red", Some(1.0))]);
    [
        count("Engines", "Engines with an exporter beside them.", "count(group by (job, namespace, pod, instance, model_name, engine) (vllm_roofline_bound{ENGINE}))"),
        count("GPUs", "GPUs that the exporters read.", "count(group by (gpu) (vllm_roofline_gpu_info{ENGINE}))"),
        ratio("MFU", "FLOPs over the datasheet peaks of all GPUs.", &mfu("", "$__rate_interval")),
        ratio("MBU", "HBM bytes over the peak bandwidth of all GPUs.", &mbu("", "$__rate_interval")),
        ratio("Roofline efficiency", "Share of busy time that the roofline explains, all engines.", &efficiency_over("", "$__rate_interval")),
        count("Output tokens/s", "Tokens decoded per second, draft tokens included.", "sum(rate(vllm_roofline_forward_tokens_total{ENGINE,phase=\"decode\"}[$__rate_interval]))")
            .default("decimals", json!(0)),
        alarm(count("Engines stalled or gone", "Engines that do not answer, or hold requests while nothing moves.", "sum(vllm_roofline_engine_state{ENGINE,state=~\"stalled|unreachable\"})")),
        alarm(count("Facts missing", "Facts of engines that could not be found: without model and GPU there is no roofline.", "count(vllm_roofline_missing_fact{ENGINE}) or vector(0)")),
    ]
}

fn bound_shares() -> Panel {
    Panel::bars(
        "Share of time per bound",
        "How much of the time range, summed over all engines, each bound held.",
    )
    .now(
        "{{bound}}",
        "sort_desc(sum by (bound) (increase(vllm_roofline_bound_seconds_total{ENGINE}[$__range])) / ignoring (bound) group_left () sum(increase(vllm_roofline_bound_seconds_total{ENGINE}[$__range])))",
    )
    .unit("percentunit")
    .range(0.0, 1.0)
    .colors(StateSet::bound().colors())
}

fn engines_by_bound() -> Panel {
    Panel::timeseries("Engines per bound", "How many engines each bound held.")
        .line("{{bound}}", "sum by (bound) (vllm_roofline_bound{ENGINE})")
        .custom("lineInterpolation", json!("stepAfter"))
        .unit("short")
        .min(0.0)
        .stacked()
        .colors(StateSet::bound().colors())
}

fn time() -> Panel {
    Panel::timeseries(
        "Where the fleet's time goes",
        "Engine time by roofline component; overhead is busy time that the roofline does not explain.",
    )
    .line(
        "{{component}}",
        "sum by (component) (rate(vllm_roofline_time_seconds_total{ENGINE}[$__rate_interval])) / ignoring (component) group_left () sum(rate(vllm_roofline_time_seconds_total{ENGINE}[$__rate_interval]))",
    )
    .unit("percentunit")
    .range(0.0, 1.0)
    .stacked()
    .colors(COMPONENTS)
}

fn lost() -> Panel {
    Panel::timeseries(
        "Most time lost",
        "The ten engines that spend the largest share of their time on overhead or stalled.",
    )
    .line(
        "{{pod}} {{instance}} {{model_name}} {{engine}}",
        &format!(
            "topk(10, {})",
            time_share(
                &format!(" by ({IDENTITY})"),
                "overhead|stalled",
                "$__rate_interval"
            )
        ),
    )
    .unit("percentunit")
    .range(0.0, 1.0)
}

/// The columns of the table of engines: name, title, expression.
fn engine_columns() -> [(&'static str, &'static str, String); 10] {
    let by = format!(" by ({IDENTITY})");
    let window = "$__range";
    let share = |component| time_share(&by, component, window);
    let tokens = format!(
        "sum{by} (rate(vllm_roofline_forward_tokens_total{{ENGINE,phase=\"decode\"}}[{window}])) / (sum{by} (rate(vllm_roofline_time_seconds_total{{ENGINE}}[{window}])) > 0)"
    );
    let limited =
        format!("avg{by} (avg_over_time(vllm_roofline_power_limited_ratio{{ENGINE}}[{window}]))");
    [
        ("bound", "Bound now", StateSet::bound().code(IDENTITY)),
        (
            "efficiency",
            "Roofline efficiency",
            efficiency_over(&by, window),
        ),
        ("overhead", "Overhead", share("overhead")),
        ("memory", "Memory", share("memory")),
        ("compute", "Compute", share("compute")),
        ("idle", "Idle", share("idle")),
        ("mfu", "MFU", mfu(&by, window)),
        ("mbu", "MBU", mbu(&by, window)),
        ("tokens", "Tokens/s", tokens),
        ("limited", "Power-limited", limited),
    ]
}

fn engines() -> Panel {
    let columns = engine_columns();
    let renamed: serde_json::Map<_, _> = columns
        .iter()
        .map(|(name, title, _)| (format!("Value #{name}"), json!(title)))
        .collect();
    let table = Panel::table(
        "Engines",
        "Every engine over the time range, the least efficient first. Efficiency: share of busy time that the roofline explains.",
    );
    let table = columns
        .iter()
        .fold(table, |table, (name, _, expression)| {
            table.column(name, expression)
        })
        .transformation(
            "organize",
            &json!({"excludeByName": {"Time": true}, "renameByName": renamed}),
        )
        .transformation(
            "sortBy",
            &json!({"sort": [{"field": "Roofline efficiency", "desc": false}]}),
        );
    styled(table)
}

/// Units, bars and links of the table of engines.
fn styled(table: Panel) -> Panel {
    let link = json!([{
        "title": "Roofline of this engine",
        "url": format!("/d/{}?var-datasource=${{datasource}}&var-instance=${{__data.fields.instance}}&${{__url_time_range}}", super::roofline::UID),
    }]);
    let percent = [
        ("unit", json!("percentunit")),
        ("decimals", json!(1)),
        ("custom.width", json!(100)),
    ];
    let bar = |color: &str| {
        [
            ("unit", json!("percentunit")),
            ("decimals", json!(1)),
            ("min", json!(0)),
            ("max", json!(1)),
            ("color", json!({"mode": "fixed", "fixedColor": color})),
            (
                "custom.cellOptions",
                json!({"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}),
            ),
        ]
    };
    table
        .named("instance", &[("links", link)])
        .named(
            "Bound now",
            &[
                ("mappings", json!([StateSet::bound().mapping()])),
                ("custom.cellOptions", json!({"type": "color-text"})),
                ("custom.width", json!(150)),
            ],
        )
        .named("Roofline efficiency", &bar("text"))
        .named("Overhead", &bar("red"))
        .named("Memory", &bar("green"))
        .named("Compute", &bar("blue"))
        .matching("/^(Idle|MFU|MBU|Power-limited)$/", &percent)
        .named(
            "Tokens/s",
            &[("decimals", json!(0)), ("custom.width", json!(100))],
        )
}

fn models() -> Panel {
    let by = " by (model_name)";
    let window = "$__range";
    let tokens = format!(
        "sum{by} (rate(vllm_roofline_forward_tokens_total{{ENGINE,phase=\"decode\"}}[{window}]))"
    );
    let per_token = |metric: &str| {
        format!("sum{by} (rate(vllm_roofline_{metric}{{ENGINE}}[{window}])) / ({tokens} > 0)")
    };
    Panel::table("Models", "Every model over the time range.")
        .column("engines", "count by (model_name) (group by (job, namespace, pod, instance, model_name, engine) (vllm_roofline_bound{ENGINE}))")
        .column("tokens", &tokens)
        .column("mfu", &mfu(by, window))
        .column("mbu", &mbu(by, window))
        .column("efficiency", &efficiency_over(by, window))
        .column("overhead", &time_share(by, "overhead", window))
        .column("idle", &time_share(by, "idle", window))
        .column("energy", &per_token("energy_joules_total"))
        .column("cost", &format!("1e6 * {}", per_token("cost_dollars_total")))
        .transformation("organize", &json!({"excludeByName": {"Time": true}, "renameByName": {
            "Value #engines": "Engines", "Value #tokens": "Tokens/s", "Value #mfu": "MFU", "Value #mbu": "MBU",
            "Value #efficiency": "Roofline efficiency", "Value #overhead": "Overhead", "Value #idle": "Idle",
            "Value #energy": "Energy per token", "Value #cost": "Cost per million tokens",
        }}))
        .transformation("sortBy", &json!({"sort": [{"field": "Roofline efficiency", "desc": false}]}))
        .matching("/^(MFU|MBU|Roofline efficiency|Overhead|Idle)$/", &[("unit", json!("percentunit")), ("decimals", json!(1))])
        .named("Tokens/s", &[("decimals", json!(0))])
        .named("Energy per token", &[("unit", json!("joule"))])
        .named("Cost per million tokens", &[("unit", json!("currencyUSD"))])
}

fn efficiency() -> Panel {
    Panel::timeseries(
        "Roofline efficiency by model",
        "Share of busy time that the roofline explains.",
    )
    .line(
        "{{model_name}}",
        &efficiency_over(" by (model_name)", "$__rate_interval"),
    )
    .unit("percentunit")
    .range(0.0, 1.0)
}

fn energy() -> Panel {
    Panel::timeseries("Energy per decoded token by model", "Energy of all its GPUs over its decoded tokens.")
        .line("{{model_name}}", "sum by (model_name) (rate(vllm_roofline_energy_joules_total{ENGINE}[$__rate_interval])) / (sum by (model_name) (rate(vllm_roofline_forward_tokens_total{ENGINE,phase=\"decode\"}[$__rate_interval])) > 0)")
        .unit("joule")
        .logarithmic()
}

fn throughput() -> Panel {
    Panel::timeseries("Decoded tokens/s by model", "Draft tokens included.")
        .line("{{model_name}}", "sum by (model_name) (rate(vllm_roofline_forward_tokens_total{ENGINE,phase=\"decode\"}[$__rate_interval]))")
        .unit("short")
        .min(0.0)
        .stacked()
}
