//! Runs a load with a capture of the same time.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use super::{DynamicArgs, MeasuredOutcome};
use crate::capture::read::Capture;
use crate::command::interrupt::Interrupt;
use crate::command::measure::measure;
use crate::command::output::ResultFile;
use crate::command::progress::ProgressLine;
use crate::command::serve::block_on;
use crate::command::usage::UsageError;
use crate::config::Settings;
use crate::telemetry;
use loadtest::results::LoadResult;

/// Runs the load of `args` on the server of `settings`.
///
/// # Errors
/// A [`UsageError`] for an invalid load; any other where it cannot start, or its result cannot be written.
pub(super) fn measured(args: &DynamicArgs, settings: &Settings) -> anyhow::Result<MeasuredOutcome> {
    let load = args.load.on(settings)?;
    telemetry::start(&settings.log).map_err(UsageError::of)?;
    let place = CaptureDirectory::of(args.save_capture.as_deref())?;
    let result = args.save_result.as_deref().map(ResultFile::open);
    let result = result.transpose()?;
    let (seen, wanted) = block_on(async {
        let interrupt = Interrupt::listen();
        let line = ProgressLine::new("load");
        let seen = measure(settings, &load, place.directory(), &interrupt, |now| {
            line.load(now)
        })
        .await?;
        anyhow::Ok((seen, interrupt.heard()))
    })?;
    if let Some(file) = result {
        file.write_json(&seen.run)?;
    }
    let capture = match &seen.not_recorded {
        None => Some(Capture::open(place.directory()).context("the capture beside the load")?),
        Some(_) => None,
    };
    Ok(MeasuredOutcome {
        results: vec![LoadResult::from(&seen.run)],
        capture,
        notes: seen.note().into_iter().collect(),
        shortfall: seen.shortfall(wanted),
    })
}

/// The directory of the capture: the requested one, or a temporary one.
enum CaptureDirectory {
    Kept(PathBuf),
    Passing(TempDir),
}

impl CaptureDirectory {
    fn of(kept: Option<&Path>) -> anyhow::Result<Self> {
        match kept {
            Some(path) => Ok(Self::Kept(path.to_owned())),
            None => TempDir::new()
                .map(Self::Passing)
                .context("cannot make a directory for the capture; name one with --save-capture"),
        }
    }

    fn directory(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(directory) => directory.path(),
        }
    }
}
