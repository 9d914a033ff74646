//! `record`: records a capture from live sources.

use std::future::Future;
use std::path::PathBuf;

use anyhow::Context;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::capture::format::{FORMAT, GpuLine, GpuLineFacts, Manifest, VllmLine};
use crate::capture::write::Recorder;
use crate::config::Settings;
use crate::config::duration::TimeSpan;
use crate::config::flags::SettingsFlags;
use crate::sample::gpu::GpuIdentity;
use crate::sampler::now;
use crate::source::discovery::process;
use crate::source::gpu::{GpuError, GpuReadResult, GpuSource};
use crate::source::lookup::find_config_aside;
use crate::source::vllm::VllmSource;
use crate::telemetry;
use roofline::spec::deployment::DeploymentFlags;

use super::progress::ProgressLine;
use super::usage::UsageError;
use super::{gpu_source, local_vllm, serve};

/// Error text of a recording that cannot continue.
const WHAT_STANDS: &str = "the recording ends here, and what was recorded until now can be replayed; make room, or record to another --output";
/// Error text of a recording that cannot start.
const NOTHING_STANDS: &str = "nothing was recorded; make room, or record to another --output";

/// Arguments of `record`.
#[derive(Clone, Debug, clap::Args)]
pub struct RecordArgs {
    /// Directory to write the capture to
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// How long to record [default: until interrupted]
    #[arg(long, value_name = "DURATION")]
    pub duration: Option<TimeSpan>,
    /// Settings of `serve`.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// Records until the duration has passed or a signal arrives.
///
/// # Errors
/// Invalid settings, or a directory that cannot be written.
pub fn run(args: &RecordArgs) -> anyhow::Result<()> {
    let settings = local_vllm::settings(&args.settings)?;
    telemetry::start(&settings.log).map_err(UsageError::of)?;
    let gpu = gpu_source::open(&settings)?;
    let recorder = Recorder::create(&args.output).map_err(UsageError::new)?;
    serve::block_on(async {
        let ending = async {
            match args.duration {
                Some(limit) => tokio::select! {
                    () = sleep(limit.0) => {}
                    () = serve::terminated() => {}
                },
                None => serve::terminated().await,
            }
        };
        let (line, begun) = (ProgressLine::new("record"), now());
        let progress = |pages| {
            let passed = (now() - begun).0;
            match args.duration {
                Some(limit) => line.time(&format!("{pages} pages, "), passed, limit.seconds().0),
                None => line.say(&format!("{pages} pages in {passed:.0} s; Ctrl-C ends it")),
            }
        };
        record(settings, gpu, recorder, ending, progress).await
    })
}

/// Records until `ending`, and reports the pages so far to `progress`.
///
/// # Errors
/// Files that cannot be written; a vLLM that never answers.
pub(super) async fn record(
    settings: Settings,
    mut gpu: GpuSource,
    mut recorder: Recorder,
    ending: impl Future<Output = ()>,
    progress: impl Fn(u64),
) -> anyhow::Result<()> {
    let url = settings.vllm_url.only().map_err(UsageError::of)?;
    let mut vllm =
        VllmSource::new(url, &settings.vllm_request_options()).map_err(UsageError::of)?;
    let mut gpus = RecordedGpus::default();
    // The first reading shows which GPUs there are.
    gpus.write(gpu.read(now).await, gpu.facts(), &mut recorder)?;
    let (mut manifest, config) = describe(&settings, &vllm).await;
    let named = manifest.gpu.take();
    let gpus_of = |gpus: &RecordedGpus| GpuLineFacts::of(&gpus.known).or_else(|| named.clone());
    manifest.gpu = gpus_of(&gpus);
    recorder
        .describe(&manifest, config.as_deref())
        .context(NOTHING_STANDS)?;
    let mut ticks = interval(settings.tick.0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(ending);
    let mut pages = 0_u64;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut ending => break,
        }
        let (line, sight) = tokio::join!(page(&mut vllm), gpu.read(now));
        pages += u64::from(line.body.is_some());
        progress(pages);
        let written = recorder.page(&line);
        written.context(WHAT_STANDS)?;
        gpus.write(sight, gpu.facts(), &mut recorder)?;
    }
    if pages == 0 {
        recorder.discard();
        anyhow::bail!("vLLM at {} never answered: nothing was recorded", url);
    }
    manifest.gpu = gpus_of(&gpus);
    recorder.describe(&manifest, None).context(WHAT_STANDS)?;
    recorder.finish().context(WHAT_STANDS)?;
    tracing::info!(pages, "recorded");
    Ok(())
}

/// The GPUs of the recording, in the order of their indices.
#[derive(Default)]
struct RecordedGpus {
    known: Vec<GpuIdentity>,
    problem: Option<GpuError>,
}

impl RecordedGpus {
    /// Writes the readings of `sight`, for the GPUs in `facts`. A GPU that cannot be read is logged when that changes.
    fn write(
        &mut self,
        sight: GpuReadResult,
        facts: Vec<GpuIdentity>,
        recorder: &mut Recorder,
    ) -> anyhow::Result<()> {
        for gpu in facts {
            if self.index(&gpu.uuid).is_none() {
                self.known.push(gpu);
            }
        }
        for reading in &sight.readings {
            if let Some(index) = self.index(&reading.uuid) {
                recorder
                    .reading(&GpuLine::of(reading, index))
                    .context(WHAT_STANDS)?;
            }
        }
        if sight.problem != self.problem {
            if let Some(error) = &sight.problem {
                tracing::warn!(reason = error.reason(), "{error}");
            }
            self.problem = sight.problem;
        }
        Ok(())
    }

    fn index(&self, uuid: &str) -> Option<usize> {
        self.known.iter().position(|gpu| gpu.uuid == uuid)
    }
}

async fn page(vllm: &mut VllmSource) -> VllmLine {
    let started = now();
    let read = vllm.read_whole(now).await;
    let (body, error) = match read {
        Ok(reading) => (Some(reading.body), None),
        Err(error) => (None, Some(error.to_string())),
    };
    VllmLine {
        t_start: started.0,
        t_end: body.as_ref().map(|_| now().0),
        body,
        error,
    }
}

/// The manifest of the recording, as far as known, and the model's config.json.
async fn describe(settings: &Settings, vllm: &VllmSource) -> (Manifest, Option<String>) {
    let models = vllm.models().await.unwrap_or_default();
    // Of vLLM's command line, only the flags that describe the deployment: others may contain keys.
    let flags = process::server(vllm.url())
        .and_then(|server| DeploymentFlags::from_vllm_command_line(&server.arguments).ok())
        .unwrap_or_default()
        .overridden_by(settings.deployment.clone());
    let root = flags.model.as_deref().or_else(|| models.root_of(""));
    let config = match root {
        Some(model) => find_config_aside(vec![model.to_owned()]).await.ok(),
        None => None,
    };
    if config.is_none() {
        tracing::warn!(
            "the model's config.json was not found; give --model, or add config.json to the capture"
        );
    }
    let manifest = Manifest {
        format: FORMAT,
        name: settings.vllm_url.to_string(),
        vllm_version: None,
        vllm_args: flags.to_vllm_command_line(),
        v1_models: serde_json::to_value(&models).unwrap_or_default(),
        kv_cache_tokens_logged: None,
        gpu: named_gpu(settings),
        phases: Vec::new(),
    };
    (manifest, config.map(|(_, text)| text))
}

/// The GPU that `--gpu` names, if none is read.
fn named_gpu(settings: &Settings) -> Option<GpuLineFacts> {
    let name = settings.gpu.clone().filter(|name| name != "none")?;
    Some(GpuLineFacts {
        name,
        count: 1,
        ..GpuLineFacts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// vLLM's command line may contain keys; none of them may be written to a capture, whatever its flag.
    #[test]
    fn only_what_describes_the_deployment_is_written() {
        let line =
            "serve m -tp 2 --api-key sk-1 --hf-token=hf-2 --some-new-secret s-3 --max-num-seqs 7";
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let flags = DeploymentFlags::from_vllm_command_line(&arguments).unwrap();
        let written = flags.to_vllm_command_line().join(" ");
        for described in ["m", "--tensor-parallel-size", "7"] {
            assert!(written.contains(described), "{written}");
        }
        for secret in ["sk-1", "hf-2", "s-3"] {
            assert!(!written.contains(secret), "{written}");
        }
    }
}
