//! Compares load tests and captures with the roofline under the settings in force; shared by `dynamic` and `analyze`.

use crate::capture::read::Capture;
use crate::config::Settings;
use crate::player::CapturePlayer;
use crate::recording::CaptureRecording;
use crate::source::lookup::{find_config, with_draft};
use loadtest::analysis::{
    Analysis, FigureTargets, Inputs, ModelConfig, Recording, Subject, analyze,
};
use loadtest::results::LoadResult;
use roofline::predict::{Prediction, Targets};

/// Analyses `results` and `capture` under `settings`.
///
/// # Errors
/// When the model is not found, the GPU is unknown, vLLM would refuse the deployment, or the prediction is for another model.
pub(super) fn analysis(
    results: Vec<LoadResult>,
    capture: Option<&Capture>,
    settings: &Settings,
    targets: FigureTargets,
    prediction: Option<Prediction>,
) -> anyhow::Result<Analysis> {
    let recording = capture
        .map(|capture| {
            let player = CapturePlayer::new(capture, settings)?;
            anyhow::Ok(CaptureRecording { capture, player })
        })
        .transpose()?;
    analyze(&Inputs {
        results,
        recording: recording
            .as_ref()
            .map(|recording| recording as &dyn Recording),
        subject: subject(settings, recording.as_ref())?,
        overhead_below: settings.overhead_below,
        targets,
        prediction,
    })
}

/// The subject of the analysis: the engine of the recording, otherwise what the flags describe.
fn subject(
    settings: &Settings,
    recording: Option<&CaptureRecording<'_>>,
) -> anyhow::Result<Subject> {
    let tables = settings.tables()?;
    let gpu = settings.gpu.as_deref().filter(|name| *name != "none");
    let targets = Targets {
        ttft: settings.slo_ttft.seconds(),
        tpot: settings.slo_tpot.seconds(),
    };
    if let Some(recording) = recording {
        // An unknown name is an error here too, although the recording knows its GPU.
        gpu.map(|name| tables.gpus.find(name)).transpose()?;
        return Ok(Subject::of_engine(recording.player.facts(), targets));
    }
    let config = settings
        .deployment
        .model
        .as_deref()
        .map(find_config)
        .transpose()?
        .map(|(path, text)| ModelConfig {
            origin: path.display().to_string(),
            text,
        });
    Subject::of_flags(
        &with_draft(settings.deployment.clone()),
        config.as_ref(),
        gpu,
        &tables.gpus,
        tables.coefficients,
        targets,
    )
}
