//! Collects metric families, and writes their text.

use std::collections::BTreeMap;

use prometheus::TextEncoder;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::catalogue::{CatalogueFamily, FamilyKind};

/// The families of one page.
#[derive(Debug, Default)]
pub(crate) struct MetricsPage {
    families: BTreeMap<&'static str, MetricFamily>,
}

impl MetricsPage {
    /// Adds one series. A value that is not finite is left out: undefined is absent, never NaN, and never 0.
    pub(crate) fn add(&mut self, family: &CatalogueFamily, labels: &[(&str, &str)], value: f64) {
        if !value.is_finite() {
            return;
        }
        let mut metric = Metric::from_label(labels.iter().copied().map(label).collect());
        match family.kind {
            FamilyKind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            FamilyKind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.families
            .entry(family.name)
            .or_insert_with(|| empty(family))
            .mut_metric()
            .push(metric);
    }

    /// Adds one series if there is a value.
    pub(crate) fn add_known(
        &mut self,
        family: &CatalogueFamily,
        labels: &[(&str, &str)],
        value: Option<f64>,
    ) {
        if let Some(value) = value {
            self.add(family, labels, value);
        }
    }

    /// The families, sorted by name.
    #[must_use]
    pub(crate) fn into_families(self) -> Vec<MetricFamily> {
        self.families.into_values().collect()
    }
}

fn label((name, value): (&str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn empty(family: &CatalogueFamily) -> MetricFamily {
    let mut empty = MetricFamily::default();
    empty.set_name(family.name.to_owned());
    empty.set_help(family.help.to_owned());
    empty.set_field_type(match family.kind {
        FamilyKind::Counter => MetricType::COUNTER,
        FamilyKind::Gauge => MetricType::GAUGE,
    });
    empty
}

/// Text format 0.0.4.
#[must_use]
pub fn text(families: &[MetricFamily]) -> String {
    let mut text = String::with_capacity(16 << 10);
    if let Err(error) = TextEncoder::new().encode_utf8(families, &mut text) {
        // Only a family without series can fail, and a page has none.
        tracing::error!(%error, "cannot write the metrics page");
    }
    text
}
