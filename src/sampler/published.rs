//! A snapshot with its texts, rendered once per tick for all clients.

use std::io::Write;
use std::sync::OnceLock;

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::config::Settings;
use crate::export::families::families;
use crate::export::process;
use crate::export::{openmetrics, page, snapshot_json, verdict_json};
use crate::landing;
use crate::snapshot::Snapshot;

/// A snapshot with its texts, rendered once for all clients.
#[derive(Debug)]
pub struct Published {
    /// The snapshot.
    pub snapshot: Snapshot,
    text: Text,
    openmetrics: Text,
    home: OnceLock<Option<Text>>,
    json: OnceLock<Text>,
    verdict: OnceLock<Text>,
    history: OnceLock<Text>,
}

/// A text, with its compressed form, which is made on the first request.
#[derive(Debug)]
pub struct Text {
    plain: Bytes,
    gzipped: OnceLock<Option<Bytes>>,
}

impl Text {
    fn new(text: String) -> Self {
        Self {
            plain: text.into(),
            gzipped: OnceLock::new(),
        }
    }

    /// The uncompressed text.
    #[must_use]
    pub fn plain(&self) -> Bytes {
        self.plain.clone()
    }

    /// The text compressed by gzip; `None` on failure, which only lack of memory can cause.
    #[must_use]
    pub(crate) fn gzipped(&self) -> Option<Bytes> {
        let packed = self.gzipped.get_or_init(|| {
            let room = Vec::with_capacity(self.plain.len() / 8);
            let mut encoder = GzEncoder::new(room, Compression::fast());
            encoder.write_all(&self.plain).ok()?;
            encoder.finish().ok().map(Bytes::from)
        });
        packed.clone()
    }
}

impl Published {
    /// Renders `snapshot`; `own_process` adds `process_*`.
    #[must_use]
    pub fn new(snapshot: Snapshot, own_process: bool) -> Self {
        // Both formats at once: the families take several times the memory of their text, so they are built once and not kept.
        let mut all = families(&snapshot);
        if own_process {
            all.extend(process::families());
        }
        Self {
            text: Text::new(page::text(&all)),
            openmetrics: Text::new(openmetrics::text(&all)),
            snapshot,
            home: OnceLock::new(),
            json: OnceLock::new(),
            verdict: OnceLock::new(),
            history: OnceLock::new(),
        }
    }

    /// The families of the catalogue, without those of our own process.
    #[cfg(feature = "otlp")]
    #[must_use]
    pub fn families(&self) -> Vec<prometheus::proto::MetricFamily> {
        families(&self.snapshot)
    }

    /// Text format 0.0.4.
    #[must_use]
    pub const fn text(&self) -> &Text {
        &self.text
    }

    /// OpenMetrics 1.0.
    #[must_use]
    pub const fn openmetrics(&self) -> &Text {
        &self.openmetrics
    }

    /// The landing page, rendered on the first request with the `settings` then in force; `None` if rendering fails.
    #[must_use]
    pub fn home(&self, settings: &Settings) -> Option<&Text> {
        let made = self.home.get_or_init(|| {
            landing::page(Some(&self.snapshot), settings)
                .inspect_err(|error| tracing::error!(%error, "cannot write the landing page"))
                .ok()
                .map(Text::new)
        });
        made.as_ref()
    }

    /// The snapshot as JSON, rendered on the first request.
    #[must_use]
    pub fn json(&self) -> &Text {
        self.json
            .get_or_init(|| Text::new(snapshot_json::of(&self.snapshot).to_string()))
    }

    /// The verdict as JSON, rendered on the first request.
    #[must_use]
    pub fn verdict(&self) -> &Text {
        self.verdict
            .get_or_init(|| Text::new(verdict_json::verdict(&self.snapshot).to_string()))
    }

    /// The last hour as JSON, rendered on the first request.
    #[must_use]
    pub fn history(&self) -> &Text {
        self.history
            .get_or_init(|| Text::new(verdict_json::history(&self.snapshot).to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However often a page is requested between two ticks, it is rendered once.
    #[test]
    fn every_page_is_written_once() {
        let settings = Settings::defaults().unwrap();
        let published = Published::new(Snapshot::default(), true);
        let pages = || {
            let home = published.home(&settings).unwrap();
            let texts = [home, published.text(), published.openmetrics()];
            let answers = [published.json(), published.verdict(), published.history()];
            let all = texts.into_iter().chain(answers);
            all.flat_map(|text| [text.plain().as_ptr(), text.gzipped().unwrap().as_ptr()])
                .collect::<Vec<_>>()
        };
        assert_eq!(pages(), pages());
    }
}
