//! Runs a load and records vLLM and the GPUs at the same time.

use std::path::Path;

use crate::capture::write::Recorder;
use crate::config::Settings;
use loadtest::load::{self, LoadError, LoadRun, LoadSettings, RunProgress};

use super::gpu_source;
use super::interrupt::Interrupt;
use super::record::record;
use super::usage::UsageError;

/// A load test, and the reason if it has no capture.
#[derive(Debug)]
pub struct CapturedRun {
    /// The client's record.
    pub run: LoadRun,
    /// Why nothing was recorded.
    pub not_recorded: Option<anyhow::Error>,
}

impl CapturedRun {
    /// What is absent without the capture, in words.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        self.not_recorded.as_ref().map(|error| {
            format!("vLLM's counters were not recorded beside the load ({error:#}): what it did follows from the client's counts")
        })
    }

    /// Why an interrupted run is a failure, unless the user `wanted` the interruption.
    #[must_use]
    pub(crate) fn shortfall(&self, wanted: bool) -> Option<anyhow::Error> {
        (self.run.interrupted && !wanted).then(|| {
            anyhow::anyhow!("the server went away during the load: the figures are those of the requests up to then")
        })
    }
}

/// Runs `load` on the server of `settings`, and records a capture of the same time in `directory`. If the capture fails, the load still
/// counts.
///
/// # Errors
/// A [`UsageError`] for invalid arguments, such as a `directory` that already contains a capture; any other if the load cannot start.
pub async fn measure(
    settings: &Settings,
    load: &LoadSettings,
    directory: &Path,
    interrupt: &Interrupt,
    progress: impl Fn(RunProgress),
) -> anyhow::Result<CapturedRun> {
    let recorder = Recorder::create(directory).map_err(UsageError::new)?;
    let gpu = gpu_source::open(settings)?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let ending = async {
        // A message or a dropped sender both end the recording.
        let _ = stopped.await;
    };
    let recording = tokio::spawn(record(settings.clone(), gpu, recorder, ending, |_| ()));
    let run = load::run(load, interrupt.wait(), progress).await;
    drop(stop);
    let recorded = recording.await.map_err(anyhow::Error::from).flatten();
    Ok(CapturedRun {
        run: run.map_err(told_apart)?,
        not_recorded: recorded.err(),
    })
}

/// Separates usage errors from failures.
pub(super) fn told_apart(error: LoadError) -> anyhow::Error {
    if error.is_usage() {
        UsageError::new(error).into()
    } else {
        error.into()
    }
}
