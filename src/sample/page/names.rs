//! Maps a sample's name to its metric.

use crate::exposition::Sample;
use crate::sample::metrics::{Counter, Distribution, Gauge, MetricQuantity, VllmMetric};

/// Prefixes of vLLM's names: as vLLM writes them, as Ray Serve re-exports them, and as OpenMetrics escapes them.
const PREFIXES: [(&str, Publisher); 4] = [
    ("vllm:", Publisher::Vllm),
    ("ray_vllm_", Publisher::Ray),
    ("ray_vllm:", Publisher::Ray),
    ("vllm_", Publisher::Vllm),
];
/// Prefixes of the lines that are parsed.
pub(super) const READ: [&str; 3] = ["vllm", "ray_vllm", PROCESS_STARTED];
/// Start time of the server's process; absent if several processes share their metrics through files.
pub(super) const PROCESS_STARTED: &str = "process_start_time_seconds";
/// Our own names resemble escaped names of vLLM.
const OWN: &str = "vllm_roofline_";

/// The writer of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publisher {
    /// vLLM itself.
    Vllm,
    /// Ray's metrics agent, which publishes periodically.
    Ray,
}

/// Part of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HistogramPart {
    Bucket,
    Sum,
    Count,
}

const PARTS: [(&str, HistogramPart); 3] = [
    ("_bucket", HistogramPart::Bucket),
    ("_sum", HistogramPart::Sum),
    ("_count", HistogramPart::Count),
];

/// The role of a sample.
#[derive(Clone, Copy, Debug)]
pub(super) enum SampleField {
    /// A counter's value; `place` 0 is its current name, 1 the previous one.
    Counter(Counter, usize),
    /// A gauge's value.
    Gauge(Gauge, usize),
    /// One line of a histogram.
    Distribution(Distribution, usize, HistogramPart),
    /// Facts of the KV cache.
    CacheConfig,
    /// LoRA adapters.
    Adapters,
}

/// The name of a vLLM metric without its prefix, and the writer of the page.
#[inline]
pub(super) fn without_prefix(name: &str) -> Option<(&str, Publisher)> {
    let (rest, publisher) = PREFIXES
        .iter()
        .find_map(|&(prefix, publisher)| Some((name.strip_prefix(prefix)?, publisher)))?;
    (!name.starts_with(OWN)).then_some((rest, publisher))
}

/// The role of the sample `name`, without its prefix.
pub(super) fn field(name: &str, sample: &Sample<'_>) -> Option<SampleField> {
    if let Some(field) = distribution(name) {
        return Some(field);
    }
    for &gauge in Gauge::ALL {
        if let Some(place) = place(gauge.metric(), name) {
            return picked(gauge.metric(), sample).then_some(SampleField::Gauge(gauge, place));
        }
    }
    for &counter in Counter::ALL {
        if let Some(place) = place(counter.metric(), name) {
            return picked(counter.metric(), sample)
                .then_some(SampleField::Counter(counter, place));
        }
    }
    [
        (MetricQuantity::CacheConfig, SampleField::CacheConfig),
        (MetricQuantity::Adapters, SampleField::Adapters),
    ]
    .into_iter()
    .find_map(|(quantity, field)| (quantity.metric().name.text == name).then_some(field))
}

fn distribution(name: &str) -> Option<SampleField> {
    let (family, part) = PARTS
        .iter()
        .find_map(|&(suffix, part)| Some((name.strip_suffix(suffix)?, part)))?;
    let (which, place) = Distribution::ALL
        .iter()
        .find_map(|&which| Some((which, place(which.metric(), family)?)))?;
    wanted(which.metric(), part).then_some(SampleField::Distribution(which, place, part))
}

/// The index of `name` among the metric's names.
#[inline]
fn place(metric: &VllmMetric, name: &str) -> Option<usize> {
    if metric.name.text == name {
        return Some(0);
    }
    metric
        .former
        .is_some_and(|former| former.text == name)
        .then_some(1)
}

fn picked(metric: &VllmMetric, sample: &Sample<'_>) -> bool {
    metric
        .picked
        .is_none_or(|(label, value)| sample.labels.get(label).as_deref() == Some(value))
}

fn wanted(metric: &VllmMetric, part: HistogramPart) -> bool {
    !metric.without_buckets || part != HistogramPart::Bucket
}

/// The metrics needed from a vLLM that `counts_computed` prompt tokens, or does not.
pub fn needed(counts_computed: bool) -> impl Iterator<Item = MetricQuantity> {
    MetricQuantity::all()
        .filter(move |quantity| !(counts_computed && quantity.metric().for_estimate))
}

/// The sample names of [`needed`] metrics, for requests to a server that can filter its page.
#[must_use]
pub fn needed_names(counts_computed: bool) -> Vec<String> {
    let mut names = Vec::new();
    for quantity in needed(counts_computed) {
        let metric = quantity.metric();
        for name in metric.names() {
            let full = format!("{}{}", PREFIXES[0].0, name.text);
            match quantity {
                MetricQuantity::Distribution(_) => {
                    let parts = PARTS.iter().filter(|&&(_, part)| wanted(metric, part));
                    names.extend(parts.map(|(suffix, _)| format!("{full}{suffix}")));
                }
                _ => names.push(full),
            }
        }
    }
    names.push(PROCESS_STARTED.to_owned());
    names
}
