//! A load with a capture beside it: what the client saw, and what vLLM and the GPUs did meanwhile.

use std::path::Path;

use crate::capture::write::Recorder;
use crate::config::Settings;
use loadtest::load::{self, LoadError, LoadRun, LoadSettings, RunProgress};

use super::gpu_source;
use super::interrupt::Interrupt;
use super::record::record;
use super::usage::UsageError;

/// A load test, and why there is no capture of it, if there is none.
#[derive(Debug)]
pub struct CapturedRun {
    /// What the client saw.
    pub run: LoadRun,
    /// Why nothing was recorded.
    pub not_recorded: Option<anyhow::Error>,
}

impl CapturedRun {
    /// What the missing capture leaves out, in words.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        self.not_recorded.as_ref().map(|error| {
            format!("vLLM's counters were not recorded beside the load ({error:#}): what it did follows from the client's counts")
        })
    }

    /// Why a run that was cut short is a failure, unless the user `wanted` that.
    #[must_use]
    pub fn shortfall(&self, wanted: bool) -> Option<anyhow::Error> {
        (self.run.interrupted && !wanted).then(|| {
            anyhow::anyhow!("the server went away during the load: the figures are those of the requests up to then")
        })
    }
}

/// Puts `load` on the server of `settings`, and writes a capture of the same time into `directory`. Without a capture the load
/// counts all the same.
///
/// # Errors
/// A [`UsageError`] for what makes no sense, such as a `directory` that holds a capture already; any other where the load does not
/// begin.
pub async fn measure(
    settings: &Settings,
    load: &LoadSettings,
    directory: &Path,
    interrupt: &Interrupt,
    progress: impl Fn(RunProgress),
) -> anyhow::Result<CapturedRun> {
    let recorder = Recorder::create(directory).map_err(UsageError::new)?;
    let gpu = gpu_source::open(settings)?;
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let ending = async {
        // Told or not: with nobody left to tell, it is over too.
        let _ = told.await;
    };
    let recording = tokio::spawn(record(settings.clone(), gpu, recorder, ending));
    let run = load::run(load, interrupt.wait(), progress).await;
    drop(tell);
    let recorded = recording.await.map_err(anyhow::Error::from).flatten();
    Ok(CapturedRun {
        run: run.map_err(told_apart)?,
        not_recorded: recorded.err(),
    })
}

/// What was asked for wrongly is told from what went wrong.
pub(super) fn told_apart(error: LoadError) -> anyhow::Error {
    if error.is_usage() {
        UsageError::new(error).into()
    } else {
        error.into()
    }
}
