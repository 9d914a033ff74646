//! Many pods and models: which lose time to what, and which are worst. Every query reads recording rules, so that thousands of pods are as
//! fast as one.

use serde_json::json;

use super::dashboard::{Dashboard, Variable};
use super::panel::Panel;
use super::style::{PARTS, StateSet, WAITING};
use super::verdict;

pub(crate) const UID: &str = "vllm-roofline-fleet";

/// Time by component in units of engines, by model.
const TIME: &str = "namespace_model:vllm_roofline_time:rate5m{MODEL,PART}";
/// Engines by the reason that requests wait, by model.
const ADMISSION: &str = "namespace_model:vllm_roofline_admission:sum{MODEL,STATE}";
/// Shares of each engine's time.
const SHARES: &str = "engine:vllm_roofline_time:ratio_rate5m{MODEL,PART}";

pub(crate) fn dashboard() -> Dashboard {
    Dashboard::new(
        UID,
        "vLLM / Roofline fleet",
        "Every engine against its roofline: what GPU time is lost to, worst first. Reads recording rules only.",
    )
    .variables(Variable::down_to_model("namespace_model:vllm_roofline_engines:count"))
    .selector("MODEL", "cluster=~\"$cluster\",namespace=~\"$namespace\",model_name=~\"$model_name\"")
    .selector("SCOPE", "cluster=~\"$cluster|\",namespace=~\"$namespace\",model_name=~\"$model_name|\"")
    .selector("POD", "cluster=~\"$cluster|\",namespace=~\"$namespace\"")
    .selector("FLAGS", "cluster=~\"$cluster|\",namespace=~\"$namespace\",model_name=~\"$model_name\"")
    .alerts("namespace_model:vllm_roofline_alerts:count{SCOPE}", "{{model_name}}")
    .link("Roofline", super::roofline::UID)
    .link("Serving quality", super::serving::UID)
    .row("Verdict")
    .verdict([
        verdict::alerts_by_model(),
        verdict::remedies("namespace_model:vllm_roofline_advice_gain:avg{MODEL,FIGURE}", &[("model_name", "Model")]),
        verdict::shares(&format!(
            "sum by (component) ({time}) / ignoring (component) group_left () sum({time})",
            time = TIME.replace(",PART", "")
        )),
        verdict::since(ADMISSION, TIME, "namespace, model_name", "{{model_name}}"),
        verdict::lost(&format!("sum({}) / sum({})", TIME.replace("PART", verdict::LOST), TIME.replace(",PART", ""))),
        verdict::cost(
            &format!("sum({})", recorded("cost_dollars:rate5m")),
            &format!("avg({})", recorded("cost_dollars_per_decode_token:ratio_rate1h")),
        ),
    ])
    .row("Now")
    .line(4, now())
    .row("Where the time goes")
    .line(9, [time(), worst(), waiting()])
    .row("Worst first")
    .line(12, [engines()])
    .row("Models")
    .line(8, [models()])
    .line(8, [efficiency(), energy(), throughput()])
}

/// A recording rule by model.
fn recorded(name: &str) -> String {
    format!("namespace_model:vllm_roofline_{name}{{MODEL}}")
}

/// A recording rule by engine.
fn of_engine(name: &str) -> String {
    format!("engine:vllm_roofline_{name}{{MODEL}}")
}

/// Time in units of engines of the matching components, by the labels of `by`.
fn time_of(by: &str, component: &str) -> String {
    let matcher = format!("component=~\"{component}\"");
    format!("sum{by} ({})", TIME.replace("PART", &matcher))
}

fn busy_share(by: &str, component: &str) -> String {
    let busy = PARTS
        .iter()
        .map(|part| part.component)
        .filter(|part| !["idle", "stalled"].contains(part));
    let busy: Vec<_> = busy.collect();
    format!(
        "{} / ({} > 0)",
        time_of(by, component),
        time_of(by, &busy.join("|"))
    )
}

const EXPLAINED: &str = "compute|memory|communication";
const NOT_EXPLAINED: &str = "host|kernel_latency|overhead|stalled";

/// Dollars per hour that buy nothing, of the parts that match, by the labels of `by`.
fn wasted(by: &str, component: &str) -> String {
    format!(
        "3600 * sum{by} (namespace_model:vllm_roofline_wasted_dollars:rate5m{{MODEL,{component}}})"
    )
}

fn now() -> [Panel; 8] {
    let count = |title, description, expression: &str| {
        Panel::stat(title, description)
            .now("", expression)
            .fixed_color("text")
            .default("decimals", json!(0))
            .no_value("0")
    };
    let dollars = |title, description, expression: &str| {
        count(title, description, expression)
            .unit("currencyUSD")
            .default("decimals", json!(2))
            .no_value("no price")
    };
    [
        count("Engines", "Engines with an exporter beside them.", &format!("sum({})", recorded("engines:count"))),
        count("GPUs", "GPUs that the exporters read.", &format!("sum({})", recorded("gpus:count"))),
        count(
            "Engines' worth of time lost",
            "So many engines would be saved if nothing were lost to the host, to kernels that nothing explains and to stalls.",
            &time_of("", NOT_EXPLAINED),
        )
        .default("decimals", json!(1)),
        count(
            "Engines' worth of idle time",
            "So many engines had no request: demand, not a fault.",
            &time_of("", "idle"),
        )
        .default("decimals", json!(1)),
        dollars(
            "Dollars lost per hour",
            "What pays for the host, for kernels that nothing explains and for stalls.",
            &wasted("", "component!=\"idle\""),
        ),
        dollars(
            "Dollars idle per hour",
            "What pays for engines without a request: demand, not a fault.",
            &wasted("", "component=\"idle\""),
        ),
        count(
            "Decoded tokens/s",
            "Draft tokens included.",
            "sum(namespace_model:vllm_roofline_forward_tokens:rate5m{MODEL,phase=\"decode\"})",
        ),
        count(
            "Engines stalled or gone",
            "Engines that do not answer, or hold requests while nothing moves.",
            &format!("sum({})", recorded("engines_not_serving:count")),
        )
        .thresholds(&[("green", None), ("red", Some(1.0))]),
    ]
}

fn time() -> Panel {
    Panel::timeseries(
        "Where the fleet's time goes",
        "Engines' worth of time by part.",
    )
    .line(
        "{{component}}",
        &format!("sum by (component) ({})", TIME.replace(",PART", "")),
    )
    .unit("short")
    .min(0.0)
    .stacked()
    .parts()
}

fn worst() -> Panel {
    Panel::timeseries(
        "Worst engines",
        "The ten engines whose queue is held longest and that lose most time to the host, to kernels that nothing explains, and to stalls: the two shares, added.",
    )
    .line(
        "{{pod}} {{target}} {{model_name}} {{engine}}",
        &format!("topk(10, {})", of_engine("worst:topk50")),
    )
    .unit("percentunit")
    .range(0.0, 2.0)
}

fn waiting() -> Panel {
    let set = StateSet::admission();
    Panel::timeseries(
        "Engines, by what holds their queue",
        "What to do differs: see the runbooks.",
    )
    .line(
        "{{state}}",
        &format!("sum by (state) ({})", recorded("admission:sum")),
    )
    .unit("short")
    .min(0.0)
    .stacked()
    .states(&set)
}

/// Maximum number of engines in the table.
const WORST: usize = 50;

/// The columns of the table of engines: name, title, expression.
fn engine_columns() -> [(&'static str, &'static str, String); 11] {
    let by = "(cluster, namespace, pod, instance, target, model_name, engine)";
    let sum = |series: &str| format!("sum by {by} ({series})");
    let worst = format!("topk({WORST}, {})", sum(&of_engine("worst:topk50")));
    let of_worst = |series: &str| format!("{} and on {by} {worst}", sum(series));
    let share = |component: &str| {
        let matcher = format!("component=~\"{component}\"");
        of_worst(&SHARES.replace("PART", &matcher))
    };
    let own = |name: &str| of_worst(&of_engine(name));
    [
        ("queue", "Queue held", own("queue_held:avg5m")),
        ("lost", "Time lost", own("waste:ratio_rate5m")),
        ("compute", "compute", share("compute")),
        ("memory", "memory bandwidth", share("memory")),
        ("kernels", "kernel latency", share("kernel_latency")),
        ("host", "host", share("host")),
        ("overhead", "overhead", share("overhead")),
        ("idle", "idle", share("idle")),
        ("mfu", "MFU", own("model_flops_utilization:ratio_rate5m")),
        (
            "mbu",
            "MBU",
            own("model_bandwidth_utilization:ratio_rate5m"),
        ),
        ("tokens", "Tokens/s", own("decode_tokens:rate5m")),
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
        "The fifty engines with the longest held queue and the most time lost, over the last five minutes. The instance leads to its own dashboard.",
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
            &json!({"sort": [{"field": "Time lost", "desc": true}]}),
        )
        // A stable sort: equal queues stay in the order of the time lost.
        .transformation(
            "sortBy",
            &json!({"sort": [{"field": "Queue held", "desc": true}]}),
        );
    styled(table)
}

/// Units, bars and links of the table of engines.
fn styled(table: Panel) -> Panel {
    let link = |of: &str, chosen: &str| {
        let url = format!(
            "/d/{}?var-datasource=${{datasource}}{chosen}&${{__url_time_range}}",
            super::roofline::UID
        );
        json!([{"title": format!("Roofline of this {of}"), "url": url}])
    };
    let instance = "&var-instance=${__data.fields.instance}";
    let server = format!("{instance}&var-target=${{__data.fields.target}}");
    let percent = [
        ("unit", json!("percentunit")),
        ("decimals", json!(1)),
        ("custom.width", json!(100)),
    ];
    let bar = |color: &str| {
        [
            ("unit", json!("percentunit")),
            ("decimals", json!(0)),
            ("min", json!(0)),
            ("max", json!(1)),
            ("color", json!({"mode": "fixed", "fixedColor": color})),
            (
                "custom.cellOptions",
                json!({"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}),
            ),
        ]
    };
    let table = table
        .named("instance", &[("links", link("engine", instance))])
        // Present only if an exporter reads several servers.
        .named("target", &[("links", link("server", &server))])
        .named("Queue held", &bar(WAITING))
        .named("Time lost", &bar("red"))
        .matching("/^(MFU|MBU)$/", &percent)
        .named(
            "Tokens/s",
            &[("decimals", json!(0)), ("custom.width", json!(100))],
        );
    PARTS.iter().fold(table, |table, part| {
        table.named(part.name, &bar(part.color))
    })
}

fn models() -> Panel {
    let by = " by (namespace, model_name)";
    let summed = |name: &str| format!("sum{by} ({})", recorded(name));
    let mean = |name: &str| format!("avg{by} ({})", recorded(name));
    Panel::table("Models", "Every model over the last five minutes; cost and energy over an hour.")
        .column("engines", &summed("engines:count"))
        .column("tokens", &format!("sum{by} (namespace_model:vllm_roofline_forward_tokens:rate5m{{MODEL,phase=\"decode\"}})"))
        .column("mfu", &mean("model_flops_utilization:ratio_rate5m"))
        .column("mbu", &mean("model_bandwidth_utilization:ratio_rate5m"))
        .column("efficiency", &busy_share(by, EXPLAINED))
        .column("idle", &time_of(by, "idle"))
        .column("energy", &mean("energy_joules_per_decode_token:ratio_rate1h"))
        .column("wasted", &wasted(by, "component!=\"idle\""))
        .column("cost", &format!("1e6 * {}", mean("cost_dollars_per_decode_token:ratio_rate1h")))
        .transformation("organize", &json!({"excludeByName": {"Time": true}, "renameByName": {
            "Value #engines": "Engines", "Value #tokens": "Tokens/s", "Value #mfu": "MFU", "Value #mbu": "MBU",
            "Value #efficiency": "Roofline efficiency", "Value #idle": "Engines idle",
            "Value #energy": "Energy per output token, prompts included", "Value #wasted": "Lost per hour", "Value #cost": "Per million out, prompts included",
        }}))
        .transformation("sortBy", &json!({"sort": [{"field": "Roofline efficiency", "desc": false}]}))
        .matching("/^(MFU|MBU|Roofline efficiency)$/", &[("unit", json!("percentunit")), ("decimals", json!(1))])
        .named("Tokens/s", &[("decimals", json!(0))])
        .named("Engines idle", &[("decimals", json!(1))])
        .named("Energy per output token, prompts included", &[("unit", json!("joule"))])
        .named("Lost per hour", &[("unit", json!("currencyUSD"))])
        .named("Per million out, prompts included", &[("unit", json!("currencyUSD"))])
}

fn efficiency() -> Panel {
    Panel::timeseries(
        "Roofline efficiency by model",
        "Share of busy time that the roofline explains.",
    )
    .no_value("No traffic")
    .line("{{model_name}}", &busy_share(" by (model_name)", EXPLAINED))
    .unit("percentunit")
    .range(0.0, 1.0)
}

fn energy() -> Panel {
    Panel::timeseries(
        "Energy per output token by model, prompts included",
        "Energy of all its GPUs over its decoded tokens, in an hour: a pause in decoding is no spike.",
    )
    .line(
        "{{model_name}}",
        &format!(
            "avg by (model_name) ({})",
            recorded("energy_joules_per_decode_token:ratio_rate1h")
        ),
    )
    .unit("joule")
    .min(0.0)
    .no_value("No traffic")
}

fn throughput() -> Panel {
    Panel::timeseries("Decoded tokens/s by model", "Draft tokens included.")
        .line("{{model_name}}", "sum by (model_name) (namespace_model:vllm_roofline_forward_tokens:rate5m{MODEL,phase=\"decode\"})")
        .unit("short")
        .min(0.0)
        .stacked()
}
