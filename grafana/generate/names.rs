//! Which metrics a PromQL expression reads, and whether they exist.

use std::collections::BTreeSet;

use vllm_roofline_exporter::export::catalogue::{self, CatalogueFamily, FamilyProvenance};
use vllm_roofline_exporter::exposition::{Line, Lines};

/// Pages of vLLM 0.32 after load, without and with speculative decoding: its current names.
const VLLM_PAGES: [&str; 2] = [
    include_str!("../../tests/fixtures/vllm/vllm-0.32.0-cpu-after-load.prom"),
    include_str!("../../tests/fixtures/vllm/vllm-0.32.0-cpu-specdecode-ngram.prom"),
];
/// The rules whose records panels and alerts read.
const RULES: [&str; 2] = [
    include_str!("../../deploy/prometheus/recording.yaml"),
    include_str!("../../deploy/prometheus/fleet.yaml"),
];
/// Targets that users record themselves: absent until then.
const TARGETS: [&str; 1] = ["target:vllm_generation_tokens:rate"];
/// Former names of vLLM's metrics, queried in addition to the current ones: KV cache usage up to 0.11, inter-token latency up to 0.14.
const FORMER: [&str; 4] = [
    "vllm:gpu_cache_usage_perc",
    "vllm:time_per_output_token_seconds_bucket",
    "vllm:time_per_output_token_seconds_count",
    "vllm:time_per_output_token_seconds_sum",
];
/// What Prometheus itself and vLLM's web server export.
const OTHERS: [(&str, &[&str]); 4] = [
    ("ALERTS", &ALERT_LABELS),
    ("ALERTS_FOR_STATE", &ALERT_LABELS),
    ("http_requests_total", &["method", "handler", "status"]),
    ("process_start_time_seconds", &[]),
];
const ALERT_LABELS: [&str; 8] = [
    "alertname",
    "alertstate",
    "severity",
    "cause",
    "slo",
    "model_name",
    "engine",
    SERVER_LABEL,
];
/// Labels that Prometheus adds to a target, and `le` of histograms.
const TARGET_LABELS: [&str; 7] = [
    "job",
    "instance",
    "cluster",
    "namespace",
    "pod",
    "role",
    "le",
];
const ENGINE_LABELS: [&str; 2] = ["model_name", "engine"];
/// The label of the server if one exporter reads several.
const SERVER_LABEL: &str = "target";

/// A metric in an expression, with the labels that are matched on it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selection<'a> {
    pub(crate) metric: &'a str,
    pub(crate) labels: Vec<&'a str>,
}

/// The exporter's and vLLM's metrics in `expression`, and what rules record of them, in order.
pub(crate) fn selections(expression: &str) -> Vec<Selection<'_>> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_name) {
        let tail = &rest[start..];
        let end = tail.find(|c: char| !is_name(c)).unwrap_or(tail.len());
        let (metric, after) = tail.split_at(end);
        let is_other = OTHERS.iter().any(|(name, _)| *name == metric);
        let is_engines = metric.starts_with("vllm_roofline_") || metric.starts_with("vllm:");
        if is_engines || is_record(metric) || is_other {
            found.push(Selection {
                metric,
                labels: matched_labels(after),
            });
        }
        rest = after;
    }
    found
}

/// `level:metric:operations`, as rules record it.
fn is_record(metric: &str) -> bool {
    metric.contains(":vllm_")
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// The labels in `{label="value",…}`, where that comes next.
fn matched_labels(after: &str) -> Vec<&str> {
    let Some((matchers, _)) = after
        .strip_prefix('{')
        .and_then(|rest| rest.split_once('}'))
    else {
        return Vec::new();
    };
    matchers
        .split(',')
        .filter_map(|matcher| matcher.find(['=', '!']).map(|at| matcher[..at].trim()))
        .collect()
}

/// Checks every metric of `expression`, every label it matches and every label it groups by.
///
/// # Errors
/// Names the first that does not exist.
pub(crate) fn check(expression: &str) -> Result<(), String> {
    let mut all: BTreeSet<String> = TARGET_LABELS.map(str::to_owned).into();
    for Selection { metric, labels } in selections(expression) {
        let known = labels_of(metric)
            .ok_or_else(|| format!("nobody exports `{metric}`, which `{expression}` asks for"))?;
        if let Some(label) = labels
            .iter()
            .find(|label| !known.contains(**label) && !TARGET_LABELS.contains(label))
        {
            return Err(format!("`{metric}` has no label `{label}`: `{expression}`"));
        }
        all.extend(known);
    }
    let grouping = ["by (", "without (", "on (", "ignoring (", "group_left ("];
    let mut grouping = lists(expression, &grouping).flatten();
    match grouping.find(|label| {
        // label_replace and label_join name the label they make in quotes.
        !all.contains(*label) && !expression.contains(&format!("\"{label}\""))
    }) {
        Some(label) => Err(format!("nothing in `{expression}` has the label `{label}`")),
        None => Ok(()),
    }
}

/// The labels in each `by (…)`, `on (…)` or whatever `openings` begin.
pub(crate) fn lists<'a>(
    expression: &'a str,
    openings: &[&'a str],
) -> impl Iterator<Item = Vec<&'a str>> {
    openings
        .iter()
        .flat_map(|opening| expression.split(opening).skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(labels, _)| {
            let labels = labels.split(',').map(str::trim);
            labels.filter(|label| !label.is_empty()).collect()
        })
}

/// The provenance of `metric`, in a word.
pub(crate) fn provenance(metric: &str) -> &'static str {
    match family(metric).map(|family| family.provenance) {
        Some(FamilyProvenance::Modelled) => "modelled",
        Some(FamilyProvenance::Specified) => "specified",
        Some(FamilyProvenance::Own) => "the exporter's own state",
        Some(FamilyProvenance::Measured) => "measured",
        None if is_record(metric) => "recorded by a rule",
        None if metric.starts_with("ALERTS") => "Prometheus's own",
        None => "measured by vLLM",
    }
}

fn family(metric: &str) -> Option<&'static CatalogueFamily> {
    catalogue::ALL.iter().find(|family| family.name == metric)
}

/// The labels `metric` has, or `None` where it does not exist.
fn labels_of(metric: &str) -> Option<BTreeSet<String>> {
    if let Some(family) = family(metric) {
        let engine = ENGINE_LABELS.iter().filter(|_| family.per_engine);
        return Some(
            family
                .labels
                .iter()
                .chain(engine)
                .chain([&SERVER_LABEL])
                .map(|label| (*label).to_owned())
                .collect(),
        );
    }
    if FORMER.contains(&metric) || TARGETS.contains(&metric) {
        return Some(ENGINE_LABELS.map(str::to_owned).into());
    }
    if let Some((_, labels)) = OTHERS.iter().find(|(name, _)| *name == metric) {
        return Some(labels.iter().map(|label| (*label).to_owned()).collect());
    }
    if is_record(metric) {
        return labels_of_record(metric);
    }
    let samples = VLLM_PAGES
        .into_iter()
        .flat_map(Lines::new)
        .filter_map(Result::ok);
    samples
        .filter_map(|line| match line {
            Line::Sample(sample) if sample.name == metric => Some(sample),
            _ => None,
        })
        .map(|sample| {
            sample
                .labels
                .iter()
                .map(|(name, _)| name.to_owned())
                .collect()
        })
        .reduce(|mut all: BTreeSet<String>, more| {
            all.extend(more);
            all
        })
}

/// The labels of everything that the rule called `record` reads, including those that it drops, or `None` for an unknown rule.
fn labels_of_record(record: &str) -> Option<BTreeSet<String>> {
    let heading = format!("- record: {record}\n");
    let rule = RULES
        .iter()
        .find_map(|rules| Some(rules.split_once(&heading)?.1))?;
    let rule = rule.split("- record: ").next().unwrap_or_default();
    let parts = selections(rule).into_iter();
    let labels = parts.filter_map(|part| labels_of(part.metric));
    labels.reduce(|mut all, more| {
        all.extend(more);
        all
    })
}
