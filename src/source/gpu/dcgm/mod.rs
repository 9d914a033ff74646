//! GPUs from a dcgm-exporter, or AMD's device-metrics-exporter: this needs access only to their page, not to the GPU.
//!
//! On Hopper and newer, DCGM reads the same GPM counters as NVML, as means over its own collect interval (30 s by default). Each scrape
//! uses the current values: totals are correct, bursts are smoothed.

mod fields;
mod page;

use std::collections::BTreeMap;

use reqwest::Url;

use crate::address::{Address, RequestOptions};
use crate::exposition;
use crate::sample::gpu::GpuIdentity;
use crate::source::http::{FetchError, Fetcher, shown};
use roofline::units::{Joules, Seconds};

use super::{GpuError, GpuReadResult};
use page::{DcgmPage, DcgmRow, MOST_GPUS};

/// Maximum bytes of a page: all MIG slices of a node with sixteen GPUs have 3 MB.
const LARGEST_PAGE: usize = 4 << 20;
/// An energy counter that is constant for this long means that the exporter has stopped collecting.
const STALE_AFTER: Seconds = Seconds(150.0);

/// Which GPUs of the page are the engine's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// UUIDs or indices; all where empty.
    pub devices: Vec<String>,
    /// `NAMESPACE/POD` or `POD`, as the exporter labels GPUs with data from the kubelet.
    pub pod: Option<String>,
}

/// Readings of a dcgm-exporter.
#[derive(Debug)]
pub struct DcgmSource {
    url: Url,
    /// The URL for display.
    shown: String,
    fetcher: Fetcher,
    selection: Selection,
    facts: Vec<GpuIdentity>,
    /// The energy of each GPU, and since when it is constant.
    energies: BTreeMap<String, (Joules, Seconds)>,
}

impl DcgmSource {
    /// The exporter at `url`.
    ///
    /// # Errors
    /// An invalid URL, in words.
    pub fn new(
        url: &Address,
        selection: Selection,
        options: &RequestOptions,
    ) -> Result<Self, String> {
        let mut parsed = Url::parse(url.as_given()).map_err(|error| {
            format!(
                "dcgm-url `{url}` is not a URL ({error}); give one such as http://NODE:9400/metrics"
            )
        })?;
        if parsed.path() == "/" {
            parsed.set_path("/metrics");
        }
        let fetcher = Fetcher::new(&parsed, options).map_err(|error| error.to_string())?;
        Ok(Self {
            shown: shown(&parsed),
            url: parsed,
            fetcher,
            selection,
            facts: Vec::new(),
            energies: BTreeMap::new(),
        })
    }

    pub(super) fn facts(&self) -> Vec<GpuIdentity> {
        self.facts.clone()
    }

    pub(super) async fn read(&mut self, clock: fn() -> Seconds) -> GpuReadResult {
        let body = match self
            .fetcher
            .get(&self.url, "text/plain;version=0.0.4", LARGEST_PAGE)
            .await
        {
            Ok(body) => body,
            Err(error) => return self.failed(&error).into(),
        };
        self.look(&body, clock())
    }

    /// The readings on the page `body`, read at `now`, of the selected GPUs.
    pub fn look(&mut self, body: &[u8], now: Seconds) -> GpuReadResult {
        let read = self.rows(body);
        read.map_or_else(GpuReadResult::from, |rows| self.sight(rows, now))
    }

    fn failed(&self, error: &FetchError) -> GpuError {
        let message = match error {
            FetchError::Status { status, .. } => format!(
                "{} answered {status}; does the URL point at a dcgm-exporter's metrics?",
                self.shown
            ),
            other => other.to_string(),
        };
        GpuError::Fetch {
            reason: error.reason(),
            message,
        }
    }

    /// The selected GPUs on the page.
    fn rows(&self, body: &[u8]) -> Result<Vec<DcgmRow>, GpuError> {
        let nothing = |cause: String| GpuError::NoGpuOnPage {
            url: self.shown.clone(),
            cause,
        };
        let text = exposition::utf8(body).map_err(|error| nothing(error.to_string()))?;
        let page = DcgmPage::read(text);
        if page.too_many {
            return Err(GpuError::Fetch {
                reason: "too_large",
                message: format!(
                    "{} shows more than {MOST_GPUS} GPUs; give the dcgm-exporter of this node",
                    self.shown
                ),
            });
        }
        if page.rows.is_empty() {
            return Err(nothing(page.fault.map_or_else(
                || "it has none of a dcgm-exporter's metrics".to_owned(),
                |fault| fault.to_string(),
            )));
        }
        let seen = page.names();
        let rows = page.rows.into_iter();
        let rows: Vec<_> = match &self.selection.pod {
            Some(pod) => rows.filter(|row| row.is_of_pod(pod)).collect(),
            None => rows.collect(),
        };
        if rows.is_empty() {
            return Err(nothing(format!(
                "none of {seen} is labelled with the pod {}; does the exporter map GPUs to pods, and is it this node's?",
                self.selection.pod.as_deref().unwrap_or_default()
            )));
        }
        self.asked_for(rows, seen)
    }

    fn asked_for(&self, rows: Vec<DcgmRow>, seen: String) -> Result<Vec<DcgmRow>, GpuError> {
        let devices = &self.selection.devices;
        let unseen = devices
            .iter()
            .find(|device| !rows.iter().any(|row| row.is_called(device)));
        if let Some(asked) = unseen {
            return Err(GpuError::NoSuchGpu {
                asked: asked.clone(),
                seen,
            });
        }
        let mut rows = rows;
        rows.retain(|row| devices.is_empty() || devices.iter().any(|device| row.is_called(device)));
        Ok(rows)
    }

    fn sight(&mut self, rows: Vec<DcgmRow>, now: Seconds) -> GpuReadResult {
        let mut sight = GpuReadResult::default();
        self.facts = rows.iter().map(DcgmRow::facts).collect();
        self.energies
            .retain(|uuid, _| rows.iter().any(|row| row.is_called(uuid)));
        for row in rows {
            let reading = row.into_reading(now);
            if let Some(since) = reading
                .energy
                .and_then(|energy| self.stands_since(&reading.uuid, energy, now))
            {
                sight.problem = Some(GpuError::Stale {
                    url: self.shown.clone(),
                    seconds: format!("{:.0}", (now - since).0),
                });
            } else {
                sight.readings.push(reading);
            }
        }
        sight
    }

    /// Since when the energy of this GPU is constant, if that is too long.
    fn stands_since(&mut self, uuid: &str, energy: Joules, now: Seconds) -> Option<Seconds> {
        let entry = self
            .energies
            .entry(uuid.to_owned())
            .or_insert((energy, now));
        if entry.0 != energy {
            *entry = (energy, now);
        }
        (now - entry.1 >= STALE_AFTER).then_some(entry.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_more_gpus_than_a_node_has_is_refused() {
        let url = "http://127.0.0.1:1/metrics";
        let source = source(url);
        let of = |gpus: usize| -> String {
            let line =
                |gpu| format!("DCGM_FI_DEV_POWER_USAGE{{gpu=\"{gpu}\",UUID=\"GPU-{gpu}\"}} 100\n");
            (0..gpus).map(line).collect()
        };
        assert_eq!(
            source.rows(of(MOST_GPUS).as_bytes()).unwrap().len(),
            MOST_GPUS
        );
        let refused = source.rows(of(5000).as_bytes()).unwrap_err();
        assert_eq!(refused.reason(), "too_large");
        assert!(refused.to_string().contains(url), "{refused}");
    }

    #[test]
    fn labels_without_end_name_no_gpu_and_no_pod() {
        let long = "a".repeat(60_000);
        let url = "http://127.0.0.1:1/metrics";
        let source = source(url);
        let page = format!("DCGM_FI_DEV_POWER_USAGE{{UUID=\"{long}\"}} 100\n");
        let refused = source.rows(page.as_bytes()).unwrap_err();
        assert!(refused.to_string().len() < 1000);
        let pod = |pod| format!("DCGM_FI_DEV_POWER_USAGE{{UUID=\"GPU-a\",pod=\"p{pod}\"}} 100\n");
        let page: String = (0..50_000).map(pod).collect();
        assert_eq!(source.rows(page.as_bytes()).unwrap().len(), 1);
    }

    fn page(energy: u64) -> String {
        format!(
            "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{gpu=\"0\",UUID=\"GPU-a\"}} {energy}\nDCGM_FI_DEV_POWER_USAGE{{gpu=\"0\",UUID=\"GPU-a\"}} 100\n"
        )
    }

    fn source(url: &str) -> DcgmSource {
        let options = RequestOptions {
            limit: std::time::Duration::from_secs(1),
            ..RequestOptions::default()
        };
        DcgmSource::new(&url.to_owned().into(), Selection::default(), &options).unwrap()
    }

    #[tokio::test]
    async fn no_error_shows_a_password() {
        let mut source = source("http://scraper:hunter2@127.0.0.1:1/metrics");
        let refused = source.read(|| Seconds(0.0)).await.problem.unwrap();
        let nothing = source.rows(b"up 1\n").unwrap_err();
        for error in [refused, nothing] {
            let message = error.to_string();
            assert!(message.contains("scraper:<secret>@"), "{message}");
        }
    }

    #[test]
    fn an_energy_that_stands_for_minutes_is_nobodys_reading() {
        let mut source = source("http://127.0.0.1:1");
        let mut look = |energy: u64, time: f64| source.look(page(energy).as_bytes(), Seconds(time));
        assert_eq!(look(1000, 0.0).readings.len(), 1);
        assert_eq!(look(1000, 120.0).problem, None);
        let stale = look(1000, 200.0);
        assert_eq!(stale.readings, []);
        assert_eq!(stale.problem.unwrap().reason(), "stale");
        assert_eq!(look(1001, 201.0).problem, None);
    }
}
