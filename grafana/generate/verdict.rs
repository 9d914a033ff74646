//! The first row of every dashboard: what is wrong, what is the bound and since when, what to do, what it costs.

use serde_json::{Map, json};

use super::panel::Panel;
use super::style::{StateSet, finding_mapping, largest_part, part_mapping, remedy_mapping};

const RUNBOOKS: &str = "https://github.com/vllm-roofline-exporter/vllm-roofline-exporter/blob/main/deploy/prometheus/runbooks";

/// The wasted components of time, as a matcher.
pub(crate) const LOST: &str = "component=~\"host|kernel_latency|overhead|stalled\"";

/// Alerts that fire, each with a link to the page of its cause.
pub(crate) fn alerts() -> Panel {
    let labels = "alertname, severity, cause, model_name, pod, target";
    let firing = "ALERTS{alertname=~\"VllmRoofline.+\",alertstate=\"firing\",SCOPE}";
    let since = "ALERTS_FOR_STATE{alertname=~\"VllmRoofline.+\",SCOPE}";
    let table = alert_table()
        .column(
            "since",
            &format!("1000 * min by ({labels}) ({since}) and on ({labels}) group by ({labels}) ({firing})"),
        )
        .column("order", &order(firing, labels));
    listed(table, &[("pod", "Pod"), ("target", "Server")])
        // An alert about a model belongs to no single pod.
        .named("Pod", &[("noValue", json!("all"))])
        .named("Server", &[("noValue", json!("all"))])
}

/// The first finding of each engine, as the first sentence of its page begins. `findings` selects the engines, and `labels` name them.
pub(crate) fn first_sentence(findings: &str, labels: &[(&'static str, &'static str)]) -> Panel {
    let by: Vec<_> = labels.iter().map(|(label, _)| *label).collect();
    let columns = [("finding", "Finding"), ("severity", "Severity")];
    let columns = || columns.iter().chain(labels);
    let order: Map<_, _> = columns()
        .enumerate()
        .map(|(at, (label, _))| ((*label).to_owned(), json!(at)))
        .collect();
    let renamed: Map<_, _> = columns()
        .map(|(label, title)| ((*label).to_owned(), json!(title)))
        .collect();
    Panel::table(
        "What holds it back now",
        "The first finding of the exporter's live verdict, in the words of its page; the page and /api/v1/verdict have the evidence and the remedies.",
    )
    .column(
        "finding",
        &format!("max by (finding, severity, {}) ({findings})", by.join(", ")),
    )
    .transformation(
        "organize",
        &json!({
            "excludeByName": {"Time": true, "Value": true},
            "indexByName": order,
            "renameByName": renamed,
        }),
    )
    .named("Finding", &[("mappings", json!([finding_mapping()]))])
    .named("Severity", &[("custom.width", json!(90))])
    .no_value("The exporter reads no engine")
}

/// The same by model, from recording rules: hundreds of pods may have the same problem.
pub(crate) fn alerts_by_model() -> Panel {
    let labels = "alertname, severity, cause, model_name";
    let since = "namespace_model:vllm_roofline_alerts_since:min{SCOPE}";
    let count = "namespace_model:vllm_roofline_alerts:count{SCOPE}";
    let table = alert_table()
        .column("since", &format!("1000 * min by ({labels}) ({since})"))
        .column("count", &format!("sum by ({labels}) ({count})"))
        .column("order", &order(count, labels));
    listed(table, &[("Value #count", "Times")]).named("Times", &[("custom.width", json!(70))])
}

/// What follows from other causes.
const SYMPTOMS: &str = "slow-first-token|slow-output|saturated|low-throughput";
/// What keeps requests waiting.
const QUEUE: &str = "kv-capacity|max-num-seqs|token-budget|stalled";

/// The place of each of the alerts `firing`: what keeps requests waiting first, what follows from other causes last.
fn order(firing: &str, labels: &str) -> String {
    let of = |place: u8, matcher: &str| {
        let own = firing.replace("SCOPE", &format!("{matcher}SCOPE"));
        format!("{place} * group by ({labels}) ({own})")
    };
    let queue = of(1, &format!("cause=~\"{QUEUE}\","));
    let symptoms = of(3, &format!("cause=~\"{SYMPTOMS}\","));
    format!("{queue} or {symptoms} or {}", of(2, ""))
}

fn alert_table() -> Panel {
    let link = json!([{
        "title": "What to do: runbook of ${__data.fields.cause}", "targetBlank": true,
        "url": format!("{RUNBOOKS}/${{__data.fields.cause}}.md"),
    }]);
    Panel::table(
        "What is wrong, and what to do",
        "Alerts that fire. The name leads to the runbook of the cause: how to confirm it, what to run, what to expect of it.",
    )
    .named("Alert", &[("links", link), ("custom.width", json!(300))])
    .named("Since", &[("unit", json!("dateTimeFromNow")), ("custom.width", json!(130))])
    .named("Severity", &[("custom.width", json!(90))])
    .no_value("No alert fires")
}

/// The columns of a table of alerts, with `more` at the end, in the order of their places.
fn listed(table: Panel, more: &[(&str, &str)]) -> Panel {
    let first = [
        ("alertname", "Alert"),
        ("cause", "cause"),
        ("Value #since", "Since"),
        ("severity", "Severity"),
        ("model_name", "Model"),
    ];
    let columns = || first.iter().chain(more).enumerate();
    let order: Map<_, _> = columns()
        .map(|(at, (column, _))| ((*column).to_owned(), json!(at)))
        .collect();
    let renamed: Map<_, _> = columns()
        .map(|(_, (column, title))| ((*column).to_owned(), json!(title)))
        .collect();
    table
        .transformation(
            "sortBy",
            &json!({"sort": [{"field": "Value #order", "desc": false}]}),
        )
        .transformation(
            "organize",
            &json!({
                "excludeByName": {"Time": true, "Value #order": true},
                "indexByName": order,
                "renameByName": renamed,
            }),
        )
}

/// Shares of time, largest first: the bound is the longest bar. `shares` has the label `component` and no other.
pub(crate) fn shares(shares: &str) -> Panel {
    Panel::bars(
        "What bounds it",
        "Where the time of the last five minutes went; the longest bar but idle is the bound. Idle is a lack of demand.",
    )
    .now(
        "{{component}}",
        &format!("sort_desc({shares} > 0.005)"),
    )
    .unit("percentunit")
    .default("decimals", json!(0))
    .range(0.0, 1.0)
    .parts()
}

/// The predicted effect of the first remedies. `gain` selects ratios of the figure FIGURE, and `labels` identify the engine.
pub(crate) fn remedies(gain: &str, labels: &[(&'static str, &'static str)]) -> Panel {
    let by: String = labels
        .iter()
        .map(|(label, _)| format!(", {label}"))
        .collect();
    let change = |figure: &str| {
        let own = gain.replace("FIGURE", &format!("figure=\"{figure}\""));
        format!("avg by (remedy{by}) ({own}) - 1")
    };
    let figures = [
        ("tokens", "Output tokens/s", "output_tokens_per_second"),
        ("ttft", "First token", "ttft_seconds"),
        ("tpot", "Per token", "tpot_seconds"),
    ];
    let mut renamed = Map::from_iter([("remedy".to_owned(), json!("Remedy"))]);
    let mut order = Map::from_iter([("remedy".to_owned(), json!(0))]);
    for (label, title) in labels {
        renamed.insert((*label).to_owned(), json!(title));
    }
    for (at, (name, title, _)) in figures.iter().enumerate() {
        renamed.insert(format!("Value #{name}"), json!(title));
        order.insert(format!("Value #{name}"), json!(1 + at));
    }
    let table = Panel::table(
        "What would help most",
        "The first remedies of the verdict over the last five minutes, and what the predictor expects them to change for the load as measured: more output tokens per second is better, less time is better. The name leads to how it is done.",
    );
    figures
        .iter()
        .fold(table, |table, (name, _, figure)| table.column(name, &change(figure)))
        .transformation(
            "organize",
            &json!({"excludeByName": {"Time": true}, "indexByName": order, "renameByName": renamed}),
        )
        .transformation("sortBy", &json!({"sort": [{"field": "Output tokens/s", "desc": true}]}))
        .unit("percentunit")
        .default("decimals", json!(0))
        .named(
            "Remedy",
            &[
                ("mappings", json!([remedy_mapping()])),
                ("custom.width", json!(330)),
                ("links", json!([{
                    "title": "How it is done, and what else to know", "targetBlank": true,
                    "url": format!("{RUNBOOKS}/README.md#remedies"),
                }])),
            ],
        )
        .no_value("Nothing would gain more than a prediction errs by")
}

/// Since when: the reason that requests wait, which is most important, and the largest component of time.
pub(crate) fn since(admission: &str, shares: &str, labels: &str, legend: &str) -> Panel {
    let queue = StateSet::admission();
    Panel::state_timeline(
        "Since when",
        "What kept requests waiting, and the largest share of time, by the same shares as beside it, over five minutes. A queue comes first: what the GPUs do meanwhile follows from it.",
    )
    .line(&format!("queue {legend}"), &queue.code(admission, labels))
    .line(&format!("time {legend}"), &largest_part(shares, labels))
    .mappings(&[queue.mapping(), part_mapping()])
}

/// Dollars an hour by `bill` in dollars per second, and `per_token` in dollars.
pub(crate) fn cost(bill: &str, per_token: &str) -> Panel {
    Panel::stat(
        "What it costs",
        "The GPUs' price, an hour; and for a million output tokens all dollars of the last hour, prompts and pauses included, which is what the remedies say they change. At --gpu-hour-price, else at the list price of the GPU.",
    )
    .now("per hour", &format!("3600 * {bill}"))
    .now("per million out", &format!("1e6 * {per_token}"))
    .option("textMode", json!("value_and_name"))
    // Side by side.
    .option("orientation", json!("vertical"))
    .unit("currencyUSD")
    .default("decimals", json!(2))
    .fixed_color("text")
    .no_value("no price")
}

/// Wasted share of the time with requests in the engine.
pub(crate) fn lost(share: &str) -> Panel {
    Panel::stat(
        "Time lost",
        "Share of the last five minutes in which requests were in the engine and the GPUs waited for the host, ran kernels that nothing explains, or stood still: the same share of the bill bought nothing.",
    )
    .now("", share)
    .unit("percentunit")
    .default("decimals", json!(0))
    .thresholds(&[("green", None), ("orange", Some(0.4)), ("red", Some(0.6))])
    .no_value("–")
}
