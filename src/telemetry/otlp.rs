//! Metrics pushed over OTLP: those of `/metrics`, under the same names, for places that nothing scrapes.
//!
//! OpenTelemetry's own variables configure it (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_RESOURCE_ATTRIBUTES`, …):
//! the SDK reads them. Without an endpoint nothing is pushed.

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

/// Pushes metrics until it is dropped; the newest ones once more then.
#[derive(Debug)]
pub struct MetricPush(SdkMeterProvider);

impl Drop for MetricPush {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last push over OTLP failed");
        }
    }
}

/// Starts to push what is `published`, if the environment names an endpoint.
///
/// # Errors
/// An endpoint that is not a URL.
pub fn start(
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

/// Whether the environment names an endpoint.
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

/// The resource that the environment describes, under the program's name where it gives none.
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

/// One instrument for each family of the catalogue. An instrument reports the series that its callback observes and no others, so what
/// is gone from `/metrics` is gone here.
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

/// The families of the newest snapshot, made once for all instruments.
struct NewestFamilies {
    published: watch::Receiver<Option<Arc<Published>>>,
    made: Mutex<Made>,
}

/// Families by name, and the snapshot that they were made of.
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
