//! Converts a snapshot into metric families. Pure: the same snapshot gives the same page.

mod counters;
mod facts;
mod gpu;
mod spend;
mod window;

use prometheus::proto::MetricFamily;

use crate::build_info::BUILD;
use crate::snapshot::{EngineSnapshot, Snapshot, SourceStatus};
use roofline::bound::{Admission, Bound, EngineState};

use super::catalogue::{self as c, CatalogueFamily};
use super::page::MetricsPage;

/// The families of `snapshot`, sorted by name.
#[must_use]
pub fn families(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let mut page = MetricsPage::default();
    own(&mut page, snapshot);
    for source in &snapshot.sources {
        self::source(&mut page, source);
    }
    for engine in &snapshot.engines {
        let reachable = snapshot.is_read(engine);
        let mut series = EngineSeries {
            page: &mut page,
            engine,
        };
        series.states();
        if reachable {
            series.counters(snapshot);
            series.facts();
        }
        if let Some(window) = engine.window.as_ref().filter(|_| reachable) {
            series.window(window);
        }
    }
    page.into_families()
}

fn own(page: &mut MetricsPage, snapshot: &Snapshot) {
    let build = [
        ("version", BUILD.version),
        ("revision", BUILD.revision),
        ("rustc", BUILD.rustc),
    ];
    page.add(&c::BUILD_INFO, &build, 1.0);
    for (reason, &count) in &snapshot.discards {
        page.add(
            &c::WINDOW_DISCARDS_TOTAL,
            &[("reason", reason)],
            count as f64,
        );
    }
    if let Some(reload) = snapshot.reload {
        let successful = f64::from(u8::from(reload.successful));
        page.add(&c::RELOAD_SUCCESSFUL, &[], successful);
        page.add(&c::RELOAD_LAST_SUCCESS, &[], reload.last_success.0);
    }
    for (slo, target) in snapshot.slo {
        page.add(&c::SLO, &[("slo", slo)], target.0);
    }
}

fn source(page: &mut MetricsPage, status: &SourceStatus) {
    let target = status.target.as_deref().map(|target| ("target", target));
    let labels: Vec<_> = std::iter::once(("source", status.source))
        .chain(target)
        .collect();
    if status.source == "vllm" {
        page.add(&c::UP, &labels[1..], f64::from(u8::from(status.is_up())));
    }
    page.add_known(
        &c::SOURCE_SUCCESS,
        &labels,
        status.success.map(|good| f64::from(u8::from(good))),
    );
    page.add_known(
        &c::SOURCE_LAST_SUCCESS,
        &labels,
        status.last_success.map(|time| time.0),
    );
    page.add_known(
        &c::SOURCE_READ_SECONDS,
        &labels,
        status.read_seconds.map(|time| time.0),
    );
    for (reason, &count) in &status.errors {
        let labels = [&labels[..1], &[("reason", reason)], &labels[1..]].concat();
        page.add(&c::SOURCE_ERRORS_TOTAL, &labels, count as f64);
    }
}

/// The series of one engine.
struct EngineSeries<'a> {
    page: &'a mut MetricsPage,
    engine: &'a EngineSnapshot,
}

impl EngineSeries<'_> {
    fn add(
        &mut self,
        family: &CatalogueFamily,
        labels: &[(&str, &str)],
        value: impl Into<Option<f64>>,
    ) {
        let Some(value) = value.into() else {
            return;
        };
        let key = &self.engine.key;
        let mut all = Vec::with_capacity(labels.len() + 3);
        all.extend([
            ("model_name", key.model_name.as_str()),
            ("engine", key.engine.as_str()),
        ]);
        let target = self.engine.target.as_deref();
        all.extend(target.map(|target| ("target", target)));
        all.extend_from_slice(labels);
        self.page.add(family, &all, value);
    }

    /// One series per state, 1 for the current one.
    fn state_set<T: PartialEq + Copy>(
        &mut self,
        family: &CatalogueFamily,
        label: &str,
        states: &[T],
        held: T,
        name: impl Fn(T) -> &'static str,
    ) {
        for &state in states {
            let value = if state == held { 1.0 } else { 0.0 };
            self.add(family, &[(label, name(state))], value);
        }
    }

    /// The states stay while vLLM is unreachable: they say so, and the time counts towards the unknown bound.
    fn states(&mut self) {
        let engine = self.engine;
        let (bound, state) = (engine.bound, engine.state);
        self.state_set(&c::BOUND, "bound", Bound::ALL, bound, Bound::as_str);
        self.state_set(
            &c::ENGINE_STATE,
            "state",
            EngineState::ALL,
            state,
            EngineState::as_str,
        );
        if let Some(first) = engine.verdict.first() {
            let labels = [
                ("finding", first.id.as_str()),
                ("severity", first.severity.as_str()),
            ];
            self.add(&c::FINDING, &labels, 1.0);
        }
        for (&bound, seconds) in Bound::ALL.iter().zip(self.engine.bound_seconds) {
            self.add(
                &c::BOUND_SECONDS_TOTAL,
                &[("bound", bound.as_str())],
                seconds.0,
            );
        }
        let admission = self
            .engine
            .window
            .as_ref()
            .map_or(Admission::Unknown, |window| window.admission);
        self.state_set(
            &c::ADMISSION,
            "state",
            Admission::ALL,
            admission,
            Admission::as_str,
        );
    }
}
