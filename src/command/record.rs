//! `record`: a capture from live sources.

use std::path::PathBuf;

use anyhow::Context;
use tokio::time::{MissedTickBehavior, interval};

use crate::capture::format::{FORMAT, GpuLine, GpuLineFacts, Manifest, VllmLine};
use crate::capture::write::Recorder;
use crate::config::Settings;
use crate::config::duration::Span;
use crate::config::flags::SettingsFlags;
use crate::sampler::now;
use crate::source::discovery;
use crate::source::gpu::GpuSource;
use crate::source::vllm::VllmSource;
use crate::spec::lookup::find_config;
use crate::telemetry;

use super::serve;
use super::usage::UsageError;

/// Arguments of `record`.
#[derive(Clone, Debug, clap::Args)]
pub struct RecordArgs {
    /// Directory to write the capture to
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// How long to record [default: until interrupted]
    #[arg(long, value_name = "DURATION")]
    pub duration: Option<Span>,
    /// Settings of `serve`.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// Records until the time is over or until it is told to stop.
///
/// # Errors
/// Wrong settings, or a directory that cannot be written.
pub fn run(args: &RecordArgs) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings)?;
    telemetry::start(&settings.log).map_err(UsageError::of)?;
    let gpu = serve::gpu_source(&settings)?;
    let recorder = Recorder::create(&args.output).map_err(UsageError::new)?;
    let limit = args.duration;
    serve::block_on(record(settings, gpu, recorder, limit))
}

async fn record(
    settings: Settings,
    mut gpu: GpuSource,
    mut recorder: Recorder,
    limit: Option<Span>,
) -> anyhow::Result<()> {
    let timeout = settings.tick.0.mul_f64(0.9);
    let key = settings.vllm_api_key_file.clone();
    let mut vllm = VllmSource::new(&settings.vllm_url, key, timeout).map_err(UsageError::of)?;
    describe(&settings, &vllm, &gpu, &recorder).await?;
    let uuids: Vec<_> = gpu.facts().into_iter().map(|gpu| gpu.uuid).collect();
    let started = now();
    let mut ticks = interval(settings.tick.0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ending = serve::terminated();
    tokio::pin!(ending);
    let mut pages = 0_u64;
    while limit.is_none_or(|limit| now() - started < limit.seconds()) {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut ending => break,
        }
        let line = page(&mut vllm).await;
        pages += u64::from(line.body.is_some());
        recorder.page(&line).context("cannot write the page")?;
        for reading in gpu.read(now())? {
            let index = uuids
                .iter()
                .position(|uuid| *uuid == reading.uuid)
                .unwrap_or(0);
            recorder
                .reading(&GpuLine::of(&reading, index))
                .context("cannot write the reading")?;
        }
    }
    recorder.finish().context("cannot end the capture")?;
    tracing::info!(pages, "recorded");
    anyhow::ensure!(
        pages > 0,
        "vLLM at {} never answered: the capture has no page",
        settings.vllm_url
    );
    Ok(())
}

async fn page(vllm: &mut VllmSource) -> VllmLine {
    let started = now();
    let read = vllm.read_whole(now).await;
    let (body, error) = match read {
        Ok(reading) => (String::from_utf8(reading.body).ok(), None),
        Err(error) => (None, Some(error.to_string())),
    };
    VllmLine {
        t_start: started.0,
        t_end: body.as_ref().map(|_| now().0),
        body,
        error,
    }
}

/// Writes down what the recording is of, as far as it can be found out.
async fn describe(
    settings: &Settings,
    vllm: &VllmSource,
    gpu: &GpuSource,
    recorder: &Recorder,
) -> anyhow::Result<()> {
    let models = vllm.models().await.unwrap_or_default();
    let root = settings
        .deployment
        .model
        .clone()
        .or_else(|| discovery::root_of(&models, ""));
    let config = root.and_then(|model| find_config(&model).ok());
    if config.is_none() {
        tracing::warn!(
            "the model's config.json was not found; give --model, or add config.json to the capture"
        );
    }
    let manifest = Manifest {
        format: FORMAT,
        name: settings.vllm_url.clone(),
        vllm_version: None,
        vllm_args: discovery::command_line(vllm.url()).unwrap_or_default(),
        v1_models: models,
        kv_cache_tokens_logged: None,
        gpu: GpuLineFacts::of(&gpu.facts()),
        phases: Vec::new(),
    };
    recorder
        .describe(&manifest, config.as_ref().map(|(_, text)| text.as_str()))
        .context("cannot write capture.json")
}
