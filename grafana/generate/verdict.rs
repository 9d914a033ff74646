//! The row that every dashboard begins with: what is wrong, what bounds it and since when, what to do, what it costs.

use serde_json::json;

use super::panel::Panel;
use super::style::{largest_part, part_mapping};

const RUNBOOKS: &str = "https://github.com/vllm-roofline-exporter/vllm-roofline-exporter/blob/main/deploy/prometheus/runbooks";

/// The parts of time that nothing is gained from, as a matcher.
pub(crate) const LOST: &str = "component=~\"host|kernel_latency|overhead|stalled\"";

/// Alerts that fire, each with a link to the page of its cause.
pub(crate) fn alerts() -> Panel {
    let labels = "alertname, severity, cause, model_name, pod";
    let firing = "ALERTS{alertname=~\"VllmRoofline.+\",alertstate=\"firing\",SCOPE}";
    let since = "ALERTS_FOR_STATE{alertname=~\"VllmRoofline.+\",SCOPE}";
    let link = json!([{
        "title": "What to do: runbook of ${__data.fields.cause}", "targetBlank": true,
        "url": format!("{RUNBOOKS}/${{__data.fields.cause}}.md"),
    }]);
    Panel::table(
        "What is wrong, and what to do",
        "Alerts that fire. The name leads to the runbook of the cause: how to confirm it, what to run, what to expect of it.",
    )
    .column(
        "since",
        &format!("1000 * min by ({labels}) ({since}) and on ({labels}) group by ({labels}) ({firing})"),
    )
    .transformation(
        "organize",
        &json!({
            "excludeByName": {"Time": true, "Value": false},
            "indexByName": {"alertname": 0, "cause": 1, "Value": 2, "severity": 3, "model_name": 4, "pod": 5},
            "renameByName": {"alertname": "Alert", "cause": "cause", "Value": "Since", "severity": "Severity", "model_name": "Model", "pod": "Pod"},
        }),
    )
    .named("Alert", &[("links", link), ("custom.width", json!(300))])
    .named("Since", &[("unit", json!("dateTimeFromNow")), ("custom.width", json!(130))])
    .named("Severity", &[("custom.width", json!(90))])
    .no_value("No alert fires")
}

/// Shares of time, largest first: the bound is the longest bar. `shares` selects series with a label `component`.
pub(crate) fn shares(shares: &str) -> Panel {
    Panel::bars(
        "What bounds it",
        "Where the time of the last five minutes went; the longest bar but idle is the bound. Idle is a lack of demand.",
    )
    .now(
        "{{component}}",
        &format!("sort_desc(avg by (component) ({shares}) > 0.005)"),
    )
    .unit("percentunit")
    .default("decimals", json!(0))
    .range(0.0, 1.0)
    .parts()
}

/// The largest part of each engine's time, over time.
pub(crate) fn since(shares: &str, labels: &str, legend: &str) -> Panel {
    Panel::state_timeline(
        "Since when",
        "The largest share of time at each moment, by the same shares as beside it, over five minutes.",
    )
    .line(legend, &largest_part(shares, labels))
    .mappings(&[part_mapping()])
}

/// Dollars per million tokens over an hour, or where no price is set what share of the time nothing was gained from.
pub(crate) fn cost(cost: &str) -> Panel {
    Panel::stat(
        "Per million tokens",
        "Price of the GPUs over the tokens decoded in the last hour; a pause costs and is no spike. Needs --gpu-hour-price.",
    )
    .now("", cost)
    .unit("currencyUSD")
    .default("decimals", json!(2))
    .fixed_color("text")
    .no_value("no price set")
}

/// Share of time that nothing was gained from although requests were in the engine.
pub(crate) fn lost(shares: &str) -> Panel {
    Panel::stat(
        "Time lost",
        "Share of the last five minutes in which requests were in the engine and the GPUs waited for the host, ran kernels that nothing explains, or stood still. Half of it is half of the bill.",
    )
    .now("", &format!("avg(sum without (component) ({shares}))"))
    .unit("percentunit")
    .default("decimals", json!(0))
    .thresholds(&[("green", None), ("orange", Some(0.4)), ("red", Some(0.6))])
    .no_value("–")
}
