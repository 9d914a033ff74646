//! A tick: from a page in memory to a snapshot and its rendered text.

use std::fmt::Write;

use roofline::spec::deployment::DeploymentFlags;
use roofline::spec::gpu::GpuTable;
use roofline::units::Seconds;
use vllm_roofline_exporter::capture::playback::Pages;
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::config::Settings;
use vllm_roofline_exporter::meter::Meter;
use vllm_roofline_exporter::sample::page;
use vllm_roofline_exporter::sampler::Published;
use vllm_roofline_exporter::snapshot::Snapshot;
use vllm_roofline_exporter::snapshot::memory::Memory;
use vllm_roofline_exporter::snapshot::take::SnapshotContext;
use vllm_roofline_exporter::source::discovery::{DiscoveryInputs, KnownValue};

/// Pages made in advance, one per second, with growing counters.
const PAGES: usize = 120;
/// The data of a tick.
pub(crate) struct Ticker {
    settings: Settings,
    table: GpuTable,
    clues: DiscoveryInputs,
    meter: Meter,
    memory: Memory,
    pages: Vec<String>,
    ticks: usize,
}

impl Ticker {
    pub(crate) fn new(engines: usize) -> anyhow::Result<Self> {
        let capture = Capture::demo()?;
        let settings = Settings::defaults()?;
        let playback = Pages::of(&capture);
        let pages = (0..PAGES).map(|second| several(&playback.at(second as f64), engines));
        Ok(Self {
            meter: Meter::new(settings.meter()),
            table: GpuTable::embedded()?,
            clues: clues(&capture)?,
            memory: Memory::default(),
            pages: pages.collect(),
            settings,
            ticks: 0,
        })
    }

    /// One tick; at the end of the pages it starts over, as after a restart of vLLM.
    pub(crate) fn tick(&mut self) -> anyhow::Result<Published> {
        let time = Seconds(1e9 + self.ticks as f64);
        let page = &self.pages[self.ticks % PAGES];
        self.ticks += 1;
        let engines = page::read(page, time)?;
        let (clues, table) = (&self.clues, &self.table);
        self.meter
            .observe_engines(engines, |totals| clues.facts(table, totals, 0));
        let around = SnapshotContext {
            time,
            vllm_url: self.settings.vllm_url.to_string(),
            sources: Vec::new(),
            reachable: true,
            reload: None,
            gpus_since: Seconds(f64::NEG_INFINITY),
        };
        let snapshot = Snapshot::take(&mut self.meter, &mut self.memory, &self.settings, around);
        Ok(Published::new(snapshot, false))
    }
}

fn clues(capture: &Capture) -> anyhow::Result<DiscoveryInputs> {
    Ok(DiscoveryInputs {
        model_config: capture.model_config.clone().map(|value| {
            Ok(KnownValue {
                value,
                origin: "the recording".to_owned(),
            })
        }),
        flags: DeploymentFlags::from_vllm_command_line(&capture.manifest.vllm_args)?,
        gpu: Some("H100".to_owned()),
        ..DiscoveryInputs::default()
    })
}

/// The page of a vLLM with this many equal engines.
fn several(page: &str, engines: usize) -> String {
    let mut whole = String::with_capacity(page.len() * engines);
    for line in page.lines() {
        let copies = if line.contains("engine=\"0\"") {
            engines
        } else {
            1
        };
        for engine in 0..copies {
            // Writing to a String cannot fail.
            let _ = writeln!(
                whole,
                "{}",
                line.replace("engine=\"0\"", &format!("engine=\"{engine}\""))
            );
        }
    }
    whole
}
