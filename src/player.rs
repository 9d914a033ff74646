//! Plays a capture through a meter, as `serve` would have read it live.

use std::sync::Arc;

use crate::capture::format::{GpuLine, VllmLine};
use crate::capture::read::Capture;
use crate::config::Settings;
use crate::meter::Meter;
use crate::meter::backfill;
use crate::meter::engine::MeterSettings;
use crate::meter::figures::Figures;
use crate::meter::interval::Interval;
use crate::meter::spans::{AccountedSpan, sum};
use crate::meter::steps::IntervalSteps;
use crate::sample::engine::{EngineKey, EngineTotals};
use crate::sample::page;
use crate::source::discovery::{DiscoveryInputs, KnownValue};
use crate::source::lookup::{find_config, with_draft};
use roofline::cost::coefficients::Coefficients;
use roofline::engine::EngineFacts;
use roofline::spec::deployment::DeploymentFlags;
use roofline::spec::gpu::GpuTable;
use roofline::units::Seconds;

/// GPU readings up to this many seconds after a page are processed before it.
const LOOK_AHEAD: f64 = 1.0;

/// Seconds around a time span in which prompts are searched for backfill.
const BACKFILL_SECONDS: f64 = 10.0;

/// Plays time spans of a capture through a meter, for one of its engines.
#[derive(Clone, Debug)]
pub struct CapturePlayer<'a> {
    capture: &'a Capture,
    settings: MeterSettings,
    clues: DiscoveryInputs,
    table: GpuTable,
    /// The selected engine; `None` for a capture without a page.
    engine: Option<EngineKey>,
    facts: Arc<EngineFacts>,
}

impl<'a> CapturePlayer<'a> {
    /// A player of the first engine of `capture`, under `settings`.
    ///
    /// # Errors
    /// A deployment that the capture's arguments do not describe.
    pub fn new(capture: &'a Capture, settings: &Settings) -> anyhow::Result<Self> {
        let tables = settings.tables()?;
        let mut player = Self {
            capture,
            settings: settings.meter(),
            clues: clues(capture, settings, tables.coefficients)?,
            table: tables.gpus,
            engine: None,
            facts: Arc::default(),
        };
        player.tell_of(0);
        Ok(player)
    }

    /// A player for each engine of `capture`.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub(crate) fn of_all(capture: &'a Capture, settings: &Settings) -> anyhow::Result<Vec<Self>> {
        let first = Self::new(capture, settings)?;
        let of_engine = |rank| {
            let mut player = first.clone();
            player.tell_of(rank);
            player
        };
        Ok((0..first.engines().len()).map(of_engine).collect())
    }

    /// The engines on the first page.
    fn engines(&self) -> Vec<EngineTotals> {
        let first = self.capture.pages.iter().find_map(engines_of);
        first.unwrap_or_default()
    }

    fn tell_of(&mut self, rank: usize) {
        if let Some(totals) = self.engines().get(rank) {
            self.facts = self.clues.facts(&self.table, totals, rank);
            self.engine = Some(totals.key.clone());
        }
    }

    /// The first page of the capture, which is complete.
    pub(crate) fn first_body(&self) -> &'a str {
        self.capture
            .pages
            .iter()
            .find_map(|line| line.body.as_deref())
            .unwrap_or_default()
    }

    /// When the last page was read.
    #[must_use]
    pub(crate) fn last_page(&self) -> Option<Seconds> {
        let mut read = self.capture.pages.iter().rev();
        read.find(|line| line.body.is_some()).map(VllmLine::time)
    }

    /// The accounted spans of the pages within `from..=to`.
    #[must_use]
    pub fn play(&self, from: f64, to: f64) -> Vec<AccountedSpan> {
        let mut spans = Vec::new();
        self.watch(from, to, |_, _, accounted| spans.extend(accounted));
        spans
    }

    /// The accounted span of the pages within `from..=to`, merged and with backfill: without prompts that are counted early in it but ran
    /// before it, and with those that are counted soon after it but ran in it.
    pub fn stretch(&self, from: f64, to: f64) -> Option<AccountedSpan> {
        let inside = self.play(from, to);
        let (start, end) = (inside.first()?.start.0, inside.last()?.end.0);
        let before = self.play(start - BACKFILL_SECONDS, start);
        let after = self.play(end, end + BACKFILL_SECONDS);
        let (first, count) = (before.len(), inside.len());
        let mut all = [before, inside, after].concat();
        backfill::settle(&mut all);
        sum(&all[first..first + count])
    }

    /// The steps from the pages within `from..=to`, and the account of the time between those pages.
    #[must_use]
    pub fn steps(&self, from: f64, to: f64) -> Option<(IntervalSteps, AccountedSpan)> {
        let span = self.stretch(from, to)?;
        let inside = |line: &&VllmLine| (span.start..=span.end).contains(&line.time());
        let mut own = self
            .capture
            .pages
            .iter()
            .filter(inside)
            .filter_map(engines_of)
            .filter_map(|engines| {
                let is_own = |engine: &EngineTotals| Some(&engine.key) == self.engine.as_ref();
                engines.into_iter().find(is_own)
            });
        let (first, last) = (own.next()?, own.next_back()?);
        let interval = Interval::between(&first, &last, self.settings.longest_interval).ok()?;
        let steps = IntervalSteps::recover(&interval, &self.facts, &span.account.prompts);
        Some((steps, span))
    }

    /// Plays the pages within `from..=to`, and after each readable one passes the meter, the page and the completed spans to the callback.
    pub fn watch(
        &self,
        from: f64,
        to: f64,
        mut show: impl FnMut(&mut Meter, &VllmLine, Vec<AccountedSpan>),
    ) {
        let mut meter = Meter::new(self.settings);
        let mut readings = self.capture.readings.iter().peekable();
        let inside = self
            .capture
            .pages
            .iter()
            .filter(|line| (from..=to).contains(&line.time().0));
        for line in inside {
            let Some(engines) = engines_of(line) else {
                continue;
            };
            // The reading that covers the time of the page arrives slightly after it.
            while let Some(reading) =
                readings.next_if(|reading| reading.t <= line.time().0 + LOOK_AHEAD)
            {
                self.observe_gpu(&mut meter, reading);
            }
            let rank_of = |totals: &EngineTotals| {
                engines
                    .iter()
                    .position(|engine| engine.key == totals.key)
                    .unwrap_or(0)
            };
            let accounted = meter.observe_engines(engines.clone(), |totals| {
                self.clues.facts(&self.table, totals, rank_of(totals))
            });
            let own = accounted
                .into_iter()
                .filter(|(key, _)| Some(key) == self.engine.as_ref());
            let spans = own.map(|(_, span)| span).collect();
            show(&mut meter, line, spans);
        }
    }

    fn observe_gpu(&self, meter: &mut Meter, line: &GpuLine) {
        if let Some(gpu) = &self.capture.manifest.gpu {
            meter.observe_gpus(vec![line.reading(gpu.uuid(line.gpu))], |_| {
                gpu.facts(line.gpu)
            });
        }
    }

    /// Windows of the configured length over the whole capture.
    pub fn windows(&self) -> Vec<Figures> {
        let mut spans = self.play(f64::NEG_INFINITY, f64::INFINITY);
        backfill::settle(&mut spans);
        let mut windows = Vec::new();
        let mut rest = spans.as_slice();
        while let Some(first) = rest.first() {
            let end = first.start + self.settings.window;
            let length = rest
                .iter()
                .take_while(|span| span.end <= end + Seconds(0.5))
                .count()
                .max(1);
            let (window, later) = rest.split_at(length);
            windows.extend(sum(window).map(|window| self.figures(&window)));
            rest = later;
        }
        windows
    }

    /// Facts about the engine.
    #[must_use]
    pub fn facts(&self) -> Arc<EngineFacts> {
        Arc::clone(&self.facts)
    }

    /// The name that the model is served under.
    #[must_use]
    pub fn served_name(&self) -> Option<String> {
        Some(self.engine.as_ref()?.model_name.clone())
    }

    /// The figures of `span`.
    #[must_use]
    pub fn figures(&self, span: &AccountedSpan) -> Figures {
        Figures {
            engine: self.engine.as_ref().map(|key| key.engine.clone()),
            ..Figures::of(span, &self.facts, false, &self.settings).with_verdict(
                span,
                &self.facts,
                self.settings.gpu_hour_price,
            )
        }
    }
}

/// The engines on a page, or `None` where the scrape failed.
#[must_use]
pub fn engines_of(line: &VllmLine) -> Option<Vec<EngineTotals>> {
    let body = line.body.as_deref()?;
    match page::read(body, line.time()) {
        Ok(mut engines) => {
            // Later bodies of a capture contain only vLLM's lines, so they lack the mark of a single API server.
            for engine in &mut engines {
                engine.single_api_server = true;
            }
            Some(engines)
        }
        Err(error) => {
            tracing::warn!(time = line.time().0, "page skipped: {error}");
            None
        }
    }
}

/// The deployment of the capture, each fact overridable by flag.
fn clues(
    capture: &Capture,
    settings: &Settings,
    coefficients: Coefficients,
) -> anyhow::Result<DiscoveryInputs> {
    let manifest = &capture.manifest;
    let recorded = DeploymentFlags::from_vllm_command_line(&manifest.vllm_args)?;
    let explicit = settings.deployment.clone();
    let is_numbered = |version: &&String| version.starts_with(|start: char| start.is_ascii_digit());
    let version = DeploymentFlags {
        vllm_version: manifest.vllm_version.as_ref().filter(is_numbered).cloned(),
        ..DeploymentFlags::default()
    };
    let given = explicit.model.as_deref().map(|model| {
        find_config(model)
            .map(|(path, value)| KnownValue {
                value,
                origin: format!("--model: {}", path.display()),
            })
            .map_err(|error| error.to_string())
    });
    let recorded_model = capture.model_config.clone().map(|value| {
        Ok(KnownValue {
            value,
            origin: "the capture's config.json".to_owned(),
        })
    });
    Ok(DiscoveryInputs {
        model_config: given.or(recorded_model),
        flags: with_draft(version.overridden_by(recorded).overridden_by(explicit)),
        flags_origin: "the capture's vllm_args under our own flags".to_owned(),
        coefficients,
        gpu: settings.gpu.clone(),
        gpus: manifest
            .gpu
            .iter()
            .flat_map(|gpu| (0..gpu.count).map(|index| gpu.facts(index)))
            .collect(),
        ..DiscoveryInputs::default()
    })
}
