//! The runs of vLLM, one per recording, and their figures by `replay`.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use vllm_roofline_exporter::capture::format::{Manifest, VllmLine};
use vllm_roofline_exporter::capture::playback::Pages;
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::config::Settings;
use vllm_roofline_exporter::player::{CapturePlayer, engines_of};

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/captures");
/// Tokens are integers; sums of floats may not be.
const WHOLE: f64 = 0.5;

/// The counters of one engine.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) prefill_tokens: f64,
    pub(crate) decode_tokens: f64,
    pub(crate) flops: f64,
    pub(crate) hbm_bytes: f64,
}

impl Counters {
    fn since(self, before: &Self) -> Self {
        Self {
            prefill_tokens: self.prefill_tokens - before.prefill_tokens,
            decode_tokens: self.decode_tokens - before.decode_tokens,
            flops: self.flops - before.flops,
            hbm_bytes: self.hbm_bytes - before.hbm_bytes,
        }
    }

    fn add(&mut self, other: &Self) {
        self.prefill_tokens += other.prefill_tokens;
        self.decode_tokens += other.decode_tokens;
        self.flops += other.flops;
        self.hbm_bytes += other.hbm_bytes;
    }
}

/// One recording as a run of vLLM.
pub(crate) struct Life {
    pub(crate) name: String,
    pub(crate) model_name: String,
    directory: PathBuf,
    pages: Pages,
    seconds: f64,
    /// The figures of `replay` for it.
    replayed: Counters,
}

/// The runs of all recordings, replayed from one page every `stride` recorded seconds.
pub(crate) fn recorded(stride: f64) -> anyhow::Result<Vec<Arc<Life>>> {
    let mut directories: Vec<_> = std::fs::read_dir(RECORDINGS)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    directories.sort();
    directories
        .into_iter()
        .map(|directory| Life::of(directory, stride).map(Arc::new))
        .collect()
}

impl Life {
    fn of(directory: PathBuf, stride: f64) -> anyhow::Result<Self> {
        let capture = Capture::open(&directory)?;
        let pages = Pages::of(&capture);
        let last = capture.pages.last().context("no page")?.time().0;
        let engines = capture.pages.iter().find_map(engines_of);
        let engine = engines.and_then(|engines| engines.into_iter().next());
        let mut life = Self {
            name: capture.manifest.name.clone(),
            model_name: engine.context("no engine")?.key.model_name,
            seconds: last - pages.origin,
            directory,
            pages,
            replayed: Counters::default(),
        };
        life.replayed = life.replay(capture, stride)?;
        Ok(life)
    }

    /// Length of the recording.
    pub(crate) const fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The answer of `/v1/models`.
    pub(crate) fn models(&self) -> String {
        serde_json::json!({"data": [{"id": self.model_name, "root": self.directory}]}).to_string()
    }

    /// The page at this recorded second, of a process that started at `birth`.
    pub(crate) fn page(&self, recorded: f64, birth: usize) -> String {
        let page = self.pages.at(recorded.min(self.seconds));
        format!("process_start_time_seconds {birth}.0\n{page}")
    }

    /// The exporter does not get its command line and its GPU readings, so the replay omits them too.
    fn replay(&self, capture: Capture, stride: f64) -> anyhow::Result<Counters> {
        let mut times: Vec<_> = (0..)
            .map(|page| f64::from(page) * stride)
            .take_while(|time| *time < self.seconds)
            .collect();
        times.push(self.seconds);
        let pages = times.into_iter().map(|time| VllmLine {
            t_start: time,
            t_end: Some(time),
            body: Some(self.page(time, 1)),
            error: None,
        });
        let capture = Capture {
            manifest: Manifest {
                vllm_args: Vec::new(),
                gpu: None,
                ..capture.manifest
            },
            model_config: capture.model_config,
            pages: pages.collect(),
            readings: Vec::new(),
            cut_off: Vec::new(),
        };
        let settings = Settings {
            gpu: Some("H100".to_owned()),
            ..Settings::defaults()?
        };
        let mut counted = Counters::default();
        for span in CapturePlayer::new(&capture, &settings)?.play(f64::NEG_INFINITY, f64::INFINITY)
        {
            let work = span.account.work.unwrap_or_default();
            counted.add(&Counters {
                prefill_tokens: span.account.tokens.prefill,
                decode_tokens: span.account.tokens.decode,
                flops: work.flops.total().0,
                hbm_bytes: (work.bytes.prefill + work.bytes.decode).total().0,
            });
        }
        Ok(counted)
    }

    /// The difference between the counters' increase from `before` to `after` and the figures of `replay`.
    pub(crate) fn drift(&self, before: &Counters, after: &Counters) -> anyhow::Result<Drift> {
        let counted = after.since(before);
        let same = |counted: f64, replayed: f64| (counted - replayed).abs() < WHOLE;
        anyhow::ensure!(
            same(counted.prefill_tokens, self.replayed.prefill_tokens)
                && same(counted.decode_tokens, self.replayed.decode_tokens),
            "counted {} prefill and {} decode tokens, of which replay counts {} and {}",
            counted.prefill_tokens,
            counted.decode_tokens,
            self.replayed.prefill_tokens,
            self.replayed.decode_tokens
        );
        let mut drift = Drift {
            counted,
            replayed: self.replayed,
            ..Drift::default()
        };
        drift.worst_flops = drift.of(|counters| counters.flops).abs();
        drift.worst_hbm_bytes = drift.of(|counters| counters.hbm_bytes).abs();
        Ok(drift)
    }
}

/// The exporter's counters compared with those of `replay`.
#[derive(Default)]
pub(crate) struct Drift {
    counted: Counters,
    replayed: Counters,
    worst_flops: f64,
    worst_hbm_bytes: f64,
}

impl Drift {
    pub(crate) fn add(&mut self, other: &Self) {
        self.counted.add(&other.counted);
        self.replayed.add(&other.replayed);
        self.worst_flops = self.worst_flops.max(other.worst_flops);
        self.worst_hbm_bytes = self.worst_hbm_bytes.max(other.worst_hbm_bytes);
    }

    fn of(&self, which: fn(&Counters) -> f64) -> f64 {
        which(&self.counted) / which(&self.replayed) - 1.0
    }
}

impl Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| share * 100.0;
        write!(
            f,
            "drift from replay: prefill tokens {:+} of {}, decode tokens {:+} of {}, FLOPs {:+.3} % (one life at most {:.3} %), HBM bytes {:+.3} % (at most {:.3} %)",
            self.counted.prefill_tokens - self.replayed.prefill_tokens,
            self.replayed.prefill_tokens,
            self.counted.decode_tokens - self.replayed.decode_tokens,
            self.replayed.decode_tokens,
            percent(self.of(|counters| counters.flops)),
            percent(self.worst_flops),
            percent(self.of(|counters| counters.hbm_bytes)),
            percent(self.worst_hbm_bytes)
        )
    }
}
