//! A snapshot with its texts, made once a tick and served to everyone.

use std::sync::OnceLock;

use axum::body::Bytes;
use prometheus::proto::MetricFamily;

use crate::export::families::families;
use crate::export::process;
use crate::export::{openmetrics, page};
use crate::snapshot::Snapshot;

/// A snapshot and its texts, made once and served to everyone.
#[derive(Debug)]
pub struct Published {
    /// What it shows.
    pub snapshot: Snapshot,
    families: Vec<MetricFamily>,
    text: Bytes,
    openmetrics: OnceLock<Bytes>,
}

impl Published {
    /// Renders `snapshot`; `own_process` adds `process_*`.
    #[must_use]
    pub fn new(snapshot: Snapshot, own_process: bool) -> Self {
        let mut families = families(&snapshot);
        if own_process {
            families.extend(process::families());
        }
        Self {
            text: page::text(&families).into(),
            snapshot,
            families,
            openmetrics: OnceLock::new(),
        }
    }

    /// Text format 0.0.4.
    #[must_use]
    pub fn text(&self) -> Bytes {
        self.text.clone()
    }

    /// OpenMetrics 1.0, made when it is first asked for.
    #[must_use]
    pub fn openmetrics(&self) -> Bytes {
        self.openmetrics
            .get_or_init(|| openmetrics::text(&self.families).into())
            .clone()
    }
}
