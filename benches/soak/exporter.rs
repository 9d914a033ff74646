//! The exporter under test: the real program.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep};
use vllm_roofline_exporter::exposition::Exposition;
use vllm_roofline_exporter::sampler::now;

use super::lives::{Counters, Life};

/// A constant page is read within this time, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
/// A read may start before the page becomes constant, and be recorded after it.
const IN_FLIGHT: f64 = 0.4;

pub(crate) struct Exporter {
    process: Mutex<Child>,
    pub(crate) pid: u32,
    url: String,
    client: reqwest::Client,
    ended: AtomicBool,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.end();
    }
}

impl Exporter {
    pub(crate) fn start(vllm: &str, tick: Duration) -> anyhow::Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_vllm-roofline-exporter"))
            .args(["serve", "--vllm-url", vllm])
            .args(["--gpu", "H100", "--gpu-source", "none"])
            .args(["--web.listen-address", "127.0.0.1:0", "--tick"])
            .arg(format!("{}ms", tick.as_millis()))
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(process.stderr.take().context("no stderr")?).lines();
        let url = loop {
            let line = lines.next().context("the exporter ended")??;
            if let Some((_, url)) = line.split_once("serving on ") {
                break url.split([' ', '"']).next().unwrap_or_default().to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self {
            pid: process.id(),
            process: Mutex::new(process),
            url,
            // Each request uses a new connection, so that connections open and close.
            client: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .build()?,
            ended: AtomicBool::new(false),
        })
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Ok(mut process) = self.process.lock() {
            // Fails only if it has already ended.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(crate) async fn page(&self, path: &str) -> anyhow::Result<String> {
        let answer = self
            .client
            .get(format!("{}{path}", self.url))
            .send()
            .await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Waits until it has read the page that is constant from now on.
    pub(crate) async fn has_read_what_stands(&self) -> anyhow::Result<()> {
        let (still, started) = (now().0, Instant::now());
        while started.elapsed() < PATIENCE {
            let page = self.page("/metrics").await?;
            let (page, _) = Exposition::parse(&page);
            let read = page.value(
                "vllm_roofline_source_last_success_timestamp_seconds",
                &[("source", "vllm")],
            );
            if read.is_some_and(|read| read > still + IN_FLIGHT) {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("vLLM's page was not read for {PATIENCE:?}")
    }

    /// Its counters for the engine of `life`, over all its runs.
    pub(crate) async fn counters(&self, life: &Life) -> anyhow::Result<Counters> {
        let page = self.page("/metrics").await?;
        let (page, _) = Exposition::parse(&page);
        let models = page.family("vllm_roofline_model_info");
        let served = models.map_or(Vec::new(), |family| {
            let names = family
                .samples
                .iter()
                .map(|sample| sample.labels.get("model_name"));
            names.flatten().collect()
        });
        anyhow::ensure!(
            served == [life.model_name.as_str()],
            "{served:?} on the page where {} is served",
            life.model_name
        );
        let sum = |name: &str, phase: &str| {
            let family = page.family(name);
            family.map_or(0.0, |family| {
                let of_phase = |sample: &&vllm_roofline_exporter::exposition::Sample<'_>| {
                    sample.labels.get("phase").as_deref() == Some(phase)
                };
                family
                    .samples
                    .iter()
                    .filter(of_phase)
                    .map(|sample| sample.value)
                    .sum()
            })
        };
        let both = |name: &str| sum(name, "prefill") + sum(name, "decode");
        Ok(Counters {
            prefill_tokens: sum("vllm_roofline_forward_tokens_total", "prefill"),
            decode_tokens: sum("vllm_roofline_forward_tokens_total", "decode"),
            flops: both("vllm_roofline_flops_total"),
            hbm_bytes: both("vllm_roofline_hbm_bytes_total"),
        })
    }

    /// Its failed reads and discarded windows, by reason.
    pub(crate) async fn errors(&self) -> anyhow::Result<String> {
        let page = self.page("/metrics").await?;
        let (page, _) = Exposition::parse(&page);
        let counted = |name: &str| {
            let samples = page.family(name).map_or(&[][..], |family| &family.samples);
            let some: Vec<_> = samples
                .iter()
                .filter(|sample| sample.value > 0.0)
                .map(|sample| {
                    let reason = sample.labels.get("reason").unwrap_or_default();
                    format!("{reason} {}", sample.value)
                })
                .collect();
            some.join(", ")
        };
        Ok(format!(
            "failed reads: {}; discarded windows: {}",
            counted("vllm_roofline_source_errors_total"),
            counted("vllm_roofline_window_discards_total")
        ))
    }
}
