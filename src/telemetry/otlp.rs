//! Pushes the metrics of `/metrics` over OTLP, under the same names, for environments without a scraper.
//!
//! OpenTelemetry's own variables configure it (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_RESOURCE_ATTRIBUTES`,
//! …): the SDK reads them. Without an endpoint there is no push.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::metrics::{AsyncInstrument, MeterProvider};
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::proto::{Metric, MetricFamily};
use tokio::sync::watch;

use crate::export::catalogue::{self, CatalogueFamily, FamilyKind};
use crate::sampler::Published;

/// Pushes metrics until it is dropped, which pushes the newest ones once more.
#[derive(Debug)]
pub(crate) struct MetricPush(SdkMeterProvider);

impl Drop for MetricPush {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last push over OTLP failed");
        }
    }
}

/// Starts pushing what is `published`, if the environment has an endpoint.
///
/// # Errors
/// An endpoint that is not a URL.
pub(crate) fn start(
    published: watch::Receiver<Option<Arc<Published>>>,
) -> Result<Option<MetricPush>, ExporterBuildError> {
    if !has_endpoint() {
        return Ok(None);
    }
    let exporter = MetricExporter::builder().with_http().build()?;
    let provider = SdkMeterProvider::builder()
        .with_periodic_exporter(exporter)
        .with_resource(resource())
        .build();
    observe_all(&provider, &Arc::new(NewestFamilies::new(published)));
    tracing::info!("pushing metrics over OTLP");
    Ok(Some(MetricPush(provider)))
}

/// Whether the environment has an endpoint.
#[expect(
    clippy::disallowed_methods,
    reason = "the SDK reads these variables itself; without one it would push to its default"
)]
fn has_endpoint() -> bool {
    let names = [
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT,
        OTEL_EXPORTER_OTLP_ENDPOINT,
    ];
    let is_set = |name| std::env::var(name).is_ok_and(|endpoint| !endpoint.is_empty());
    names.into_iter().any(is_set)
}

/// The resource from the environment, with the program's name as the default.
fn resource() -> Resource {
    let described = Resource::builder().build();
    let name = described.get(&Key::new("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if is_named {
        return described;
    }
    let builder = Resource::builder();
    builder.with_service_name(env!("CARGO_PKG_NAME")).build()
}

/// One instrument per family of the catalogue. An instrument reports only the series that its callback observes, so a series that is no
/// longer on `/metrics` is no longer pushed.
fn observe_all(provider: &SdkMeterProvider, newest: &Arc<NewestFamilies>) {
    let meter = provider.meter(env!("CARGO_PKG_NAME"));
    for &family in catalogue::ALL {
        let newest = Arc::clone(newest);
        let observe =
            move |instrument: &dyn AsyncInstrument<f64>| newest.observe(&family, instrument);
        match family.kind {
            FamilyKind::Counter => drop(
                meter
                    .f64_observable_counter(family.name)
                    .with_description(family.help)
                    .with_callback(observe)
                    .build(),
            ),
            FamilyKind::Gauge => drop(
                meter
                    .f64_observable_gauge(family.name)
                    .with_description(family.help)
                    .with_callback(observe)
                    .build(),
            ),
        }
    }
}

/// The families of the newest snapshot, built once for all instruments.
struct NewestFamilies {
    published: watch::Receiver<Option<Arc<Published>>>,
    made: Mutex<Made>,
}

/// Families by name, and their snapshot.
#[derive(Default)]
struct Made {
    of: Option<Arc<Published>>,
    families: BTreeMap<String, MetricFamily>,
}

impl NewestFamilies {
    fn new(published: watch::Receiver<Option<Arc<Published>>>) -> Self {
        Self {
            published,
            made: Mutex::default(),
        }
    }

    fn observe(&self, family: &CatalogueFamily, instrument: &dyn AsyncInstrument<f64>) {
        let newest = self.published.borrow().clone();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = match (&made.of, &newest) {
            (Some(of), Some(newest)) => Arc::ptr_eq(of, newest),
            (of, newest) => of.is_none() && newest.is_none(),
        };
        if !is_same {
            let families = newest.iter().flat_map(|newest| newest.families());
            made.families = families
                .map(|family| (family.name().to_owned(), family))
                .collect();
            made.of = newest;
        }
        let series = made.families.get(family.name);
        for metric in series.iter().flat_map(|family| family.get_metric()) {
            instrument.observe(value(metric, family.kind), &attributes(metric));
        }
    }
}

fn value(metric: &Metric, kind: FamilyKind) -> f64 {
    match kind {
        FamilyKind::Counter => metric.get_counter().get_value(),
        FamilyKind::Gauge => metric.get_gauge().get_value(),
    }
}

fn attributes(metric: &Metric) -> Vec<KeyValue> {
    let labels = metric.get_label().iter();
    labels
        .map(|label| KeyValue::new(label.name().to_owned(), label.value().to_owned()))
        .collect()
}
